package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// alertTx runs mark, an UPDATE that sets alerted_at and returns the order, its reservation, the step and the failed
// attempts. If mark updates a row, alertTx publishes COMPENSATION_FAILED and returns true.
func alertTx(ctx context.Context, tx pgx.Tx, sagaType, reason, mark string, args ...any) (bool, error) {
	failed := events.CompensationFailed{Reason: reason}
	err := tx.QueryRow(ctx, mark, args...).Scan(&failed.OrderID, &failed.ReservationID, &failed.Step, &failed.Attempts)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("alert about %s: %w", reason, err)
	}
	if err := recordSagaTx(ctx, tx, sagaType, failed.OrderID, failed.Type(), order.SagaFailed,
		compensationFailed{Reason: reason, Step: failed.Step, Attempts: failed.Attempts}); err != nil {
		return false, err
	}
	return true, outbox.AddTx(ctx, tx, source, failed)
}

// Unfinished returns a page of the unfinished sagas, the newest first, and one more saga if there is a next page. If
// stuck is set, it returns only those that operations were alerted about. A refund that the bank refused is unfinished
// until another one is requested. The reason of an order that has not failed is that of its last alert.
func (s *Store) Unfinished(ctx context.Context, stuck bool, page paging.Page) ([]order.Unfinished, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, order_id, saga_type, status, step, tries,
		       CASE WHEN failure_code = '' AND alerted_at IS NOT NULL THEN coalesce((
		           SELECT payload->>'reason' FROM saga_events
		           WHERE saga_id = s.id AND event_type = 'COMPENSATION_FAILED' ORDER BY position DESC LIMIT 1), '')
		       ELSE failure_code END,
		       created_at, alerted_at, nullif(resume_at, 'infinity')
		FROM (
			SELECT id, id AS order_id, '`+purchaseSaga+`' AS saga_type, status, step, tries,
			       coalesce(failure_code, '') AS failure_code, created_at, alerted_at, resume_at
			FROM orders WHERE `+unfinishedOrders+`
			UNION ALL
			SELECT id, order_id, '`+refundSaga+`', status, step, tries, failure_code, created_at, alerted_at, resume_at
			FROM refunds r WHERE `+unfinishedRefunds+` OR `+abandonedRefund+`) s
		WHERE (alerted_at IS NOT NULL OR NOT $1) AND (created_at, id) < (coalesce($2::timestamptz, 'infinity'), $3)
		ORDER BY created_at DESC, id DESC LIMIT $4 + 1`, stuck, page.After, page.AfterID, page.Limit)
	if err != nil {
		return nil, fmt.Errorf("unfinished sagas: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[order.Unfinished])
	if err != nil {
		return nil, fmt.Errorf("unfinished sagas: %w", err)
	}
	return found, nil
}

// abandonedRefund is the SQL condition for a refund r that failed, was alerted about, and has neither been repeated nor
// been replaced: no later refund has its tickets, and its order is not refunded as a whole, by refunds or by the bank.
const abandonedRefund = `(r.status = 'FAILED' AND r.alerted_at IS NOT NULL
	AND NOT EXISTS (SELECT FROM refunds again WHERE again.retry_of = r.id)
	AND NOT EXISTS (SELECT FROM order_tickets t WHERE t.order_id = r.order_id
		AND t.ticket_id = ANY (r.ticket_ids) AND t.refund_id IS NOT NULL)
	AND EXISTS (SELECT FROM orders o WHERE o.id = r.order_id
		AND (o.refunding_minor + o.disputed_minor < o.total_minor OR o.total_minor = 0)))`

// Retry makes the order's unfinished sagas due now. For each refund that failed and was alerted about, it creates
// another one with a key of its own, because the gateway returns the stored outcome for the old key. Retry returns
// order.ErrNotFound, order.ErrNotStuck and the errors of refund.Ledger's Admit.
func (s *Store) Retry(ctx context.Context, id, by uuid.UUID) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		o, err := lockTx(ctx, tx, id)
		if err != nil {
			return err
		}
		due, err := makeDueTx(ctx, tx, id)
		if err != nil {
			return err
		}
		abandoned, err := failedRefundsTx(ctx, tx, o, abandonedRefund)
		if err != nil {
			return err
		}
		if !due && len(abandoned) == 0 {
			return order.ErrNotStuck
		}
		if err := recordTx(ctx, tx, id, "RETRY_REQUESTED", order.SagaPending, retryRequested{RequestedBy: by}); err != nil {
			return err
		}
		for _, failed := range abandoned {
			if err := retryRefundTx(ctx, tx, o, failed); err != nil {
				return err
			}
		}
		return nil
	})
}

// StuckOrders returns the ids of up to limit orders with sagas that operations were alerted about, the oldest first.
func (s *Store) StuckOrders(ctx context.Context, limit int) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT order_id FROM (
			SELECT id AS order_id, created_at FROM orders WHERE alerted_at IS NOT NULL AND `+unfinishedOrders+`
			UNION ALL
			SELECT order_id, created_at FROM refunds r
			WHERE alerted_at IS NOT NULL AND (`+unfinishedRefunds+` OR `+abandonedRefund+`)) s
		GROUP BY order_id ORDER BY min(created_at), order_id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("stuck orders: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("stuck orders: %w", err)
	}
	return ids, nil
}

// failedRefundsTx returns the refunds of an order that satisfy a condition, the oldest first. They are failed ones.
func failedRefundsTx(ctx context.Context, tx pgx.Tx, o order.Order, condition string) ([]refund.Refund, error) {
	rows, err := tx.Query(ctx, `
		SELECT id, holder_id, whole, ticket_ids, keep_used, amount_minor, reason FROM refunds r
		WHERE order_id = $1 AND `+condition+` ORDER BY created_at, id`, o.ID)
	if err != nil {
		return nil, fmt.Errorf("failed refunds of order %s: %w", o.ID, err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (refund.Refund, error) {
		r := refund.Refund{OrderID: o.ID, Amount: money.Of(0, o.Total.Currency), Step: refund.ReturnMoney, Trace: o.Trace}
		var holder *uuid.UUID
		err := row.Scan(&r.ID, &holder, &r.Whole, &r.TicketIDs, &r.KeepUsed, &r.Amount.Minor, &r.Reason)
		r.HolderID = value(holder)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("failed refunds of order %s: %w", o.ID, err)
	}
	return found, nil
}

// retryRefundTx creates a refund that repeats a failed one.
func retryRefundTx(ctx context.Context, tx pgx.Tx, o order.Order, failed refund.Refund) error {
	again := failed
	again.ID = uuid.New()
	if o.Status == order.Completed { // the late charge of a FAILED order is refunded as before
		ledger, err := ledgerTx(ctx, tx, o)
		if err != nil {
			return err
		}
		if again, err = ledger.Admit(again); err != nil {
			return err
		}
	}
	if err := insertRefundTx(ctx, tx, again); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE refunds SET retry_of = $2 WHERE id = $1`, again.ID, failed.ID); err != nil {
		return fmt.Errorf("repeat refund %s: %w", failed.ID, err)
	}
	return nil
}

// makeDueTx makes the unfinished sagas of an order due now. It returns false if there are none.
func makeDueTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (bool, error) {
	orders, err := tx.Exec(ctx, `UPDATE orders SET resume_at = now() WHERE id = $1 AND `+unfinishedOrders, id)
	if err != nil {
		return false, fmt.Errorf("make order %s due: %w", id, err)
	}
	refunds, err := tx.Exec(ctx, `UPDATE refunds SET resume_at = now() WHERE order_id = $1 AND `+unfinishedRefunds, id)
	if err != nil {
		return false, fmt.Errorf("make refunds of order %s due: %w", id, err)
	}
	return orders.RowsAffected()+refunds.RowsAffected() > 0, nil
}

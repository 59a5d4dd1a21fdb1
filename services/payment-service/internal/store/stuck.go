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
// until another one is requested.
func (s *Store) Unfinished(ctx context.Context, stuck bool, page paging.Page) ([]order.Unfinished, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, order_id, saga_type, status, step, tries, failure_code, created_at, alerted_at, resume_at FROM (
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

// abandonedRefund is the SQL condition for a refund r that failed, was alerted about, and has no later refund of its
// order.
const abandonedRefund = `(r.status = 'FAILED' AND r.alerted_at IS NOT NULL AND NOT EXISTS (
	SELECT FROM refunds later
	WHERE later.order_id = r.order_id AND (later.created_at, later.id) > (r.created_at, r.id)))`

// Retry makes the order's unfinished sagas due now. For a refund that failed and was alerted about, it creates another
// one with a key of its own, because the gateway returns the stored outcome for the old key. Retry returns
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
		failed := refund.Refund{
			ID: uuid.New(), OrderID: id, Amount: money.Of(0, o.Total.Currency), Step: refund.ReturnMoney,
			Trace: o.Trace,
		}
		err = tx.QueryRow(ctx, `
			SELECT whole, ticket_ids, amount_minor, reason FROM refunds r
			WHERE order_id = $1 AND `+abandonedRefund, id).
			Scan(&failed.Whole, &failed.TicketIDs, &failed.Amount.Minor, &failed.Reason)
		abandoned := err == nil
		switch {
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("failed refund of order %s: %w", id, err)
		case !abandoned && !due:
			return order.ErrNotStuck
		}
		if err := recordTx(ctx, tx, id, "RETRY_REQUESTED", order.SagaPending,
			retryRequested{RequestedBy: by}); err != nil || !abandoned {
			return err
		}
		if o.Status == order.Completed { // the late charge of a FAILED order is refunded as before
			ledger, err := ledgerTx(ctx, tx, o)
			if err != nil {
				return err
			}
			if failed, err = ledger.Admit(failed); err != nil {
				return err
			}
		}
		return insertRefundTx(ctx, tx, failed)
	})
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

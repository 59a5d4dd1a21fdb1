package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// Postpone ends the lease of a step that got no answer. The sweeper comes back to it later each time:
// after 5 s, 10 s, 20 s and so on, but within 30 s or a tenth of the order's age, five minutes at most, so that
// what was away for long keeps nobody waiting long. A reserve it leaves alone for a minute, in which
// the buyer may come back for it. A release that was in vain order.MaxTries times is told to people, once,
// which Postpone reports; it goes on all the same. An order that somebody has moved on meanwhile stays as
// it is.
func (s Store) Postpone(ctx context.Context, o order.Order) (alerted bool, err error) {
	err = postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if err := postponeTx(ctx, tx, orderTable, o.ID, string(o.Step)); err != nil {
			return err
		}
		var err error
		alerted, err = alertTx(ctx, tx, purchase, "RESERVATION_NOT_RELEASED", `
			UPDATE orders SET alerted_at = now()
			WHERE id = $1 AND alerted_at IS NULL AND step = $3 AND tries >= $2
			RETURNING id, reservation_id, step, tries`, o.ID, order.MaxTries, order.Release)
		return err
	})
	return alerted, err
}

// PostponeRefund does with a refund what Postpone does with an order. A promise of the bank's is no
// try in vain.
func (s Store) PostponeRefund(ctx context.Context, r refund.Refund, promised bool) (alerted bool, err error) {
	err = postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		alerted = false
		if err := postponeTx(ctx, tx, refundTable, r.ID, string(r.Step)); err != nil || promised {
			return err
		}
		reason := "MONEY_NOT_RETURNED"
		if r.Step == refund.CancelTickets {
			reason = "TICKETS_NOT_CANCELLED"
		}
		var err error
		alerted, err = alertTx(ctx, tx, refunds, reason, `
			UPDATE refunds r SET alerted_at = now() FROM orders o
			WHERE r.id = $1 AND o.id = r.order_id AND r.alerted_at IS NULL AND r.step <> $3 AND r.tries >= $2
			RETURNING r.order_id, o.reservation_id, r.step, r.tries`, r.ID, order.MaxTries, refund.Done)
		return err
	})
	return alerted, err
}

func postponeTx(ctx context.Context, tx pgx.Tx, table string, id uuid.UUID, step string) error {
	_, err := tx.Exec(ctx, `
		UPDATE `+table+` SET leased_until = '-infinity', tries = tries + 1,
		    resume_at = now() + CASE WHEN step = 'RESERVE' THEN interval '1 minute'
		        ELSE least(interval '5 seconds' * 2 ^ least(tries, 10),
		            greatest(interval '30 seconds', (now() - created_at) / 10), interval '5 minutes') END
		WHERE id = $1 AND step = $2`, id, step)
	if err != nil {
		return fmt.Errorf("postpone %s of %s: %w", id, table, err)
	}
	return nil
}

// alertTx announces COMPENSATION_FAILED if mark finds something to mark, which returns what it is.
func alertTx(ctx context.Context, tx pgx.Tx, sagaType, reason, mark string, args ...any) (bool, error) {
	failed := events.CompensationFailed{Reason: reason}
	err := tx.QueryRow(ctx, mark, args...).Scan(&failed.OrderID, &failed.ReservationID, &failed.Step, &failed.Attempts)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("alert of %s: %w", reason, err)
	}
	if err := recordSagaTx(ctx, tx, sagaType, failed.OrderID, failed.Type(), order.SagaFailed,
		map[string]any{"reason": reason, "step": failed.Step, "attempts": failed.Attempts}); err != nil {
		return false, err
	}
	return true, messaging.AddTx(ctx, tx, source, failed)
}

// Unfinished gives a page of the sagas that have not ended, and one more if there is one, the newest
// first; or only those that are stuck. A refund that the bank refused counts as one of them until another
// one is asked for.
func (s Store) Unfinished(ctx context.Context, stuck bool, page paging.Page) ([]order.Unfinished, error) {
	rows, err := s.Pool.Query(ctx, `
		SELECT id, order_id, saga_type, status, step, tries, failure_code, created_at, alerted_at, resume_at FROM (
			SELECT id, id AS order_id, '`+purchase+`' AS saga_type, status, step, tries, coalesce(failure_code, '') AS failure_code,
			       created_at, alerted_at, resume_at
			FROM orders WHERE `+unfinishedOrders+`
			UNION ALL
			SELECT id, order_id, '`+refunds+`', status, step, tries, failure_code, created_at, alerted_at, resume_at
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

// abandonedRefund is true of a refund r that failed in a way that only a person can mend, as long as
// nobody has tried.
const abandonedRefund = `(r.status = 'FAILED' AND r.alerted_at IS NOT NULL AND NOT EXISTS (
	SELECT FROM refunds later WHERE later.order_id = r.order_id AND (later.created_at, later.id) > (r.created_at, r.id)))`

// Retry makes the order's sagas due now. In place of a refund that failed and needed a person it asks for
// another one, under a key of its own: to the old one the bank would say the same again. It returns
// order.ErrNotFound, order.ErrNotStuck and the errors of refund.Ledger's Admit.
func (s Store) Retry(ctx context.Context, id, by uuid.UUID) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		o, err := lockTx(ctx, tx, id)
		if err != nil {
			return err
		}
		due, err := hastenTx(ctx, tx, id)
		if err != nil {
			return err
		}
		failed := refund.Refund{
			ID: uuid.New(), OrderID: id, Amount: money.Of(0, o.Total.Currency), Step: refund.ReturnMoney, Trace: o.Trace,
		}
		err = tx.QueryRow(ctx, `
			SELECT whole, ticket_ids, amount_minor, reason FROM refunds r WHERE order_id = $1 AND `+abandonedRefund, id).
			Scan(&failed.Whole, &failed.TicketIDs, &failed.Amount.Minor, &failed.Reason)
		again := err == nil
		switch {
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("failed refund of order %s: %w", id, err)
		case !again && !due:
			return order.ErrNotStuck
		}
		if err := recordTx(ctx, tx, id, "RETRY_REQUESTED", order.SagaPending, map[string]any{"requestedBy": by}); err != nil || !again {
			return err
		}
		if o.Status == order.Completed { // not FAILED, whose late charge goes back as it is
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

// hastenTx makes due what has to be done for an order, and reports whether there is anything.
func hastenTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (bool, error) {
	ofOrder, err := tx.Exec(ctx, `UPDATE orders SET resume_at = now() WHERE id = $1 AND `+unfinishedOrders, id)
	if err != nil {
		return false, fmt.Errorf("hasten order %s: %w", id, err)
	}
	ofRefunds, err := tx.Exec(ctx, `UPDATE refunds SET resume_at = now() WHERE order_id = $1 AND `+unfinishedRefunds, id)
	if err != nil {
		return false, fmt.Errorf("hasten refunds of order %s: %w", id, err)
	}
	return ofOrder.RowsAffected()+ofRefunds.RowsAffected() > 0, nil
}

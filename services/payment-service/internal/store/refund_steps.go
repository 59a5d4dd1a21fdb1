package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// TicketsCancelled moves CANCEL_TICKETS to REFUND. The tickets are not valid any more.
func (s *Store) TicketsCancelled(ctx context.Context, r refund.Refund, tickets int) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		moved, err := moveRefundTx(ctx, tx, r.ID, refund.CancelTickets, refund.ReturnMoney, "")
		if err != nil || !moved {
			return err
		}
		return recordSagaTx(ctx, tx, refundSaga, r.OrderID, "TICKETS_CANCELLED", order.SagaCompensated,
			ticketsCancelled{detailsOf(r), tickets})
	})
}

// RefundSucceeded moves REFUND to DONE and publishes REFUND_PROCESSED. The order becomes REFUNDED if everything has
// been refunded now. If the order is at REFUND, it moves to DONE.
func (s *Store) RefundSucceeded(ctx context.Context, r refund.Refund, gatewayRefundID string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		o, err := lockTx(ctx, tx, r.OrderID)
		if err != nil {
			return err
		}
		moved, err := moveRefundTx(ctx, tx, r.ID, refund.ReturnMoney, refund.Done,
			`, status = 'SUCCEEDED', gateway_refund_id = $5`, gatewayRefundID)
		if err != nil || !moved {
			return err
		}
		refunded := o.Refunded.Plus(r.Amount)
		// The sums of a free order are equal from the start. It is fully refunded by a refund of the whole order, or when
		// all its tickets are refunded.
		everything := refunded == o.Total && (o.Total.Minor > 0 || r.Whole)
		if o.Total.Minor == 0 && !r.Whole {
			if err := tx.QueryRow(ctx, `
				SELECT coalesce(bool_and(coalesce(f.status = 'SUCCEEDED', false)), false)
				FROM order_tickets t LEFT JOIN refunds f ON f.id = t.refund_id
				WHERE t.order_id = $1`, o.ID).Scan(&everything); err != nil {
				return fmt.Errorf("refunded tickets of order %s: %w", o.ID, err)
			}
		}
		if _, err := tx.Exec(ctx, `
			UPDATE orders SET refunded_minor = $2,
			    status = CASE WHEN $3 AND status = 'COMPLETED' THEN 'REFUNDED' ELSE status END
			WHERE id = $1`, o.ID, refunded.Minor, everything); err != nil {
			return fmt.Errorf("refunded sum of order %s: %w", o.ID, err)
		}
		if err := recordSagaTx(ctx, tx, refundSaga, r.OrderID, "PAYMENT_REFUNDED", order.SagaCompensated,
			paymentRefunded{detailsOf(r), gatewayRefundID}); err != nil {
			return err
		}
		if _, err := moveTx(ctx, tx, o.ID, order.Refund, order.Done, ""); err != nil {
			return err
		}
		return outbox.AddTx(ctx, tx, source, events.RefundProcessed{
			OrderID: o.ID, UserID: o.UserID, EventID: o.EventID, RefundID: r.ID.String(),
			Amount: r.Amount.Decimal(), RefundedTotal: refunded.Decimal(), Currency: r.Amount.Currency,
			Reason: r.Reason, OrderRefunded: everything,
		})
	})
}

// RefundFailed moves a refund from its step to DONE with the status FAILED. Its amount and its tickets may be refunded
// by another refund. If the order is at REFUND, it moves to DONE and stays COMPLETED.
//
// RefundFailed publishes COMPENSATION_FAILED if the bank refused the refund or if a saga requested it, unless
// operations were alerted about it before. A person who requested a refund sees that its tickets were refused.
//
// If ticket-service refused to cancel the tickets and the event has been cancelled in the meantime, RefundFailed
// creates a refund for that reason, which ticket-service accepts even for used tickets.
func (s *Store) RefundFailed(ctx context.Context, r refund.Refund, f refund.Failure) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		o, err := lockTx(ctx, tx, r.OrderID)
		if err != nil {
			return err
		}
		moved, err := moveRefundTx(ctx, tx, r.ID, r.Step, refund.Done,
			`, status = 'FAILED', failure_code = $5, failure_message = $6`, f.Code, f.Message)
		if err != nil || !moved {
			return err
		}
		if err := undoRefundTx(ctx, tx, r, f); err != nil {
			return err
		}
		if r.Step == refund.ReturnMoney {
			if err := outbox.AddTx(ctx, tx, source, refundFailedEvent(o, r, f, false)); err != nil {
				return err
			}
		}
		if r.Step == refund.ReturnMoney || r.RequestedBy == uuid.Nil {
			if _, err := alertTx(ctx, tx, refundSaga, f.Code, `
				UPDATE refunds r SET alerted_at = now() FROM orders o
				WHERE r.id = $1 AND o.id = r.order_id AND r.alerted_at IS NULL
				RETURNING r.order_id, o.reservation_id, $2::text, r.tries + 1`, r.ID, r.Step); err != nil {
				return err
			}
		}
		if _, err := moveTx(ctx, tx, r.OrderID, order.Refund, order.Done, ""); err != nil {
			return err
		}
		// RefundCancelled may have skipped the order, because nothing was left of it while this refund was in progress.
		if r.Step == refund.CancelTickets && r.Reason != refund.ReasonCancelled {
			return refundIfCancelledTx(ctx, tx, r.OrderID)
		}
		return nil
	})
}

// undoRefundTx takes a failed refund out of the sums of its order, frees its tickets for another refund, and records
// the failure.
func undoRefundTx(ctx context.Context, tx pgx.Tx, r refund.Refund, f refund.Failure) error {
	if _, err := tx.Exec(ctx, `UPDATE orders SET refunding_minor = refunding_minor - $2 WHERE id = $1`,
		r.OrderID, r.Amount.Minor); err != nil {
		return fmt.Errorf("refunding sum of order %s: %w", r.OrderID, err)
	}
	if _, err := tx.Exec(ctx, `UPDATE order_tickets SET refund_id = NULL WHERE order_id = $1 AND refund_id = $2`,
		r.OrderID, r.ID); err != nil {
		return fmt.Errorf("tickets of refund %s: %w", r.ID, err)
	}
	return recordSagaTx(ctx, tx, refundSaga, r.OrderID, "REFUND_FAILED", order.SagaFailed,
		refundFailed{detailsOf(r), f.Code})
}

// refundSentBackTx reopens a refund that the bank sent back after it had succeeded: it becomes FAILED, and its order is
// not refunded by it any more. It publishes COMPENSATION_FAILED and REFUND_FAILED, so that operations and the buyer
// know. It makes a refund that has not succeeded yet due, so that its driver learns the outcome.
func refundSentBackTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, failure order.Failure) error {
	rows, err := tx.Query(ctx, `SELECT order_id FROM refunds WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("order of refund %s: %w", id, err)
	}
	orderIDs, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(orderIDs) == 0 {
		return err
	}
	o, err := lockTx(ctx, tx, orderIDs[0])
	if err != nil {
		return err
	}
	r := refund.Refund{ID: id, OrderID: o.ID, Amount: money.Of(0, o.Total.Currency), Step: refund.ReturnMoney}
	f := refund.Failure{Code: cmp.Or(failure.Code, "REFUND_SENT_BACK"), Message: failure.Message}
	err = tx.QueryRow(ctx, `
		UPDATE refunds SET status = 'FAILED', failure_code = $2, failure_message = $3, alerted_at = NULL
		WHERE id = $1 AND status = 'SUCCEEDED' RETURNING amount_minor, reason`, id, f.Code, f.Message).
		Scan(&r.Amount.Minor, &r.Reason)
	if errors.Is(err, pgx.ErrNoRows) {
		if _, err := tx.Exec(ctx, `UPDATE refunds SET resume_at = now() WHERE id = $1 AND step <> $2`,
			id, refund.Done); err != nil {
			return fmt.Errorf("make refund %s due: %w", id, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reopen refund %s: %w", id, err)
	}
	o.Refunded.Minor -= r.Amount.Minor
	if _, err := tx.Exec(ctx, `
		UPDATE orders SET refunded_minor = $2,
		    status = CASE WHEN status = 'REFUNDED' THEN 'COMPLETED' ELSE status END
		WHERE id = $1`, o.ID, o.Refunded.Minor); err != nil {
		return fmt.Errorf("refunded sum of order %s: %w", o.ID, err)
	}
	if err := undoRefundTx(ctx, tx, r, f); err != nil {
		return err
	}
	if _, err := alertTx(ctx, tx, refundSaga, f.Code, `
		UPDATE refunds r SET alerted_at = now() FROM orders o
		WHERE r.id = $1 AND o.id = r.order_id
		RETURNING r.order_id, o.reservation_id, $2::text, r.tries + 1`, id, refund.ReturnMoney); err != nil {
		return err
	}
	return outbox.AddTx(ctx, tx, source, refundFailedEvent(o, r, f, true))
}

// refundFailedEvent returns the event about a refund of o that failed. The refunded sum of o is without it.
func refundFailedEvent(o order.Order, r refund.Refund, f refund.Failure, reversed bool) events.RefundFailed {
	return events.RefundFailed{
		OrderID: o.ID, UserID: o.UserID, EventID: o.EventID, RefundID: r.ID.String(),
		Amount: r.Amount.Decimal(), RefundedTotal: o.Refunded.Decimal(), Currency: r.Amount.Currency,
		Reason: f.Code, Reversed: reversed,
	}
}

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
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// CreateRefund admits a refund that a person asked for, stores it with the trace of ctx and leases its
// saga to the caller. The order stays locked meanwhile, so that of two refunds each knows of the other. If
// the person has used the idempotency key for this order before, it gives the refund of that time and
// false instead. It returns order.ErrNotFound, order.ErrKeyReused and the errors of refund.Ledger's Admit.
func (s Store) CreateRefund(ctx context.Context, r refund.Refund, idempotencyKey string, requestHash []byte) (id uuid.UUID, created bool, err error) {
	return s.createRefund(ctx, r, idempotencyKey, requestHash, func(pgx.Tx, order.Order) error { return nil })
}

// createRefund makes the refund of a locked order that may have it.
func (s Store) createRefund(
	ctx context.Context, r refund.Refund, idempotencyKey string, requestHash []byte, may func(pgx.Tx, order.Order) error,
) (id uuid.UUID, created bool, err error) {
	err = postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		id, created = r.ID, true
		o, err := lockTx(ctx, tx, r.OrderID)
		if err != nil {
			return err
		}
		var sameRequest bool
		err = tx.QueryRow(ctx, `
			SELECT id, request_hash = $4 FROM refunds WHERE order_id = $1 AND requested_by = $2 AND idempotency_key = $3`,
			r.OrderID, r.RequestedBy, idempotencyKey, requestHash).Scan(&id, &sameRequest)
		switch {
		case err == nil && !sameRequest:
			return order.ErrKeyReused
		case err == nil:
			created = false
			return nil
		case !errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("earlier refund of order %s: %w", r.OrderID, err)
		}
		if err := may(tx, o); err != nil {
			return err
		}
		ledger, err := ledgerTx(ctx, tx, o)
		if err != nil {
			return err
		}
		admitted, err := ledger.Admit(r)
		if err != nil {
			return err
		}
		admitted.Trace = telemetry.From(ctx)
		if err := insertRefundTx(ctx, tx, admitted); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			UPDATE refunds SET requested_by = $2, idempotency_key = $3, request_hash = $4, leased_until = now() + $5
			WHERE id = $1`, r.ID, r.RequestedBy, idempotencyKey, requestHash, lease); err != nil {
			return fmt.Errorf("key of refund %s: %w", r.ID, err)
		}
		return nil
	})
	return id, created, err
}

// lockTx reads an order, without its items, that nobody else can change until tx ends. It returns
// order.ErrNotFound.
func lockTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (order.Order, error) {
	rows, err := tx.Query(ctx, `SELECT `+orderColumns+` FROM orders WHERE id = $1 FOR UPDATE`, id)
	if err != nil {
		return order.Order{}, fmt.Errorf("lock order %s: %w", id, err)
	}
	o, err := pgx.CollectExactlyOneRow(rows, scanOrder)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, order.ErrNotFound
	}
	if err != nil {
		return o, fmt.Errorf("lock order %s: %w", id, err)
	}
	return o, nil
}

func ledgerTx(ctx context.Context, tx pgx.Tx, o order.Order) (refund.Ledger, error) {
	l := refund.Ledger{Order: o, Refunding: money.Of(0, o.Total.Currency)}
	if err := tx.QueryRow(ctx, `
		SELECT coalesce(sum(amount_minor), 0)::bigint, coalesce(bool_or(whole OR amount_minor > 0), false)
		FROM refunds WHERE order_id = $1 AND status <> 'FAILED'`, o.ID).Scan(&l.Refunding.Minor, &l.HasRefund); err != nil {
		return l, fmt.Errorf("refunds of order %s: %w", o.ID, err)
	}
	rows, err := tx.Query(ctx, `
		SELECT t.ticket_id, i.unit_price_minor, t.refund_id IS NOT NULL
		FROM order_tickets t JOIN order_items i USING (order_id, ticket_type_id)
		WHERE order_id = $1 ORDER BY t.ticket_id`, o.ID)
	if err != nil {
		return l, fmt.Errorf("tickets of order %s: %w", o.ID, err)
	}
	l.Tickets, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (refund.Ticket, error) {
		t := refund.Ticket{Price: money.Of(0, o.Total.Currency)}
		err := row.Scan(&t.ID, &t.Price.Minor, &t.Refunded)
		return t, err
	})
	if err != nil {
		return l, fmt.Errorf("tickets of order %s: %w", o.ID, err)
	}
	return l, nil
}

// insertRefundTx stores the intent. The database refuses it where it would give back more than there was.
func insertRefundTx(ctx context.Context, tx pgx.Tx, r refund.Refund) error {
	if _, err := tx.Exec(ctx, `
		INSERT INTO refunds (id, order_id, whole, ticket_ids, amount_minor, reason, step, correlation_id, traceparent)
		VALUES ($1, $2, $3, coalesce($4::uuid[], '{}'), $5, $6, $7, $8, $9)`,
		r.ID, r.OrderID, r.Whole, r.TicketIDs, r.Amount.Minor, r.Reason, r.Step, r.Trace.CorrelationID, r.Trace.Parent); err != nil {
		return fmt.Errorf("create refund: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE orders SET refunding_minor = refunding_minor + $2 WHERE id = $1`, r.OrderID, r.Amount.Minor); err != nil {
		return fmt.Errorf("promise refund: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE order_tickets SET refund_id = $2 WHERE order_id = $1 AND ticket_id = ANY ($3)`,
		r.OrderID, r.ID, r.TicketIDs); err != nil {
		return fmt.Errorf("tickets of refund: %w", err)
	}
	return recordRefundTx(ctx, tx, r, "REFUND_REQUESTED", order.SagaPending,
		map[string]any{"reason": r.Reason, "tickets": len(r.TicketIDs)})
}

// recordRefundTx adds a line about a refund to its order's history.
func recordRefundTx(ctx context.Context, tx pgx.Tx, r refund.Refund, eventType string, status order.SagaStatus, payload map[string]any) error {
	payload["refundId"], payload["amount"], payload["currency"] = r.ID, r.Amount.Decimal(), r.Amount.Currency
	return recordSagaTx(ctx, tx, refunds, r.OrderID, eventType, status, payload)
}

// refundAllTx stores the intent to give back everything of an order that was never done and has no other
// refund, from this step on. It goes by the ids of the purchase, whoever found out.
func refundAllTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, reason string, step refund.Step) error {
	o, err := lockTx(ctx, tx, id)
	if err != nil {
		return err
	}
	return insertRefundTx(ctx, tx, refund.Refund{
		ID: uuid.New(), OrderID: id, Whole: true, Amount: o.Total, Reason: reason, Step: step, Trace: o.Trace,
	})
}

// LeaseRefund takes the saga of one refund, if nobody else holds it.
func (s Store) LeaseRefund(ctx context.Context, id uuid.UUID) (bool, error) {
	return s.lease(ctx, refundTable, id, string(refund.Done))
}

// LeaseDueRefunds does with refunds what LeaseDue does with orders.
func (s Store) LeaseDueRefunds(ctx context.Context, limit int) ([]uuid.UUID, error) {
	return s.leaseDue(ctx, refundTable, unfinishedRefunds, limit)
}

// TicketsCancelled moves CANCEL_TICKETS to REFUND: nobody can use the tickets any more.
func (s Store) TicketsCancelled(ctx context.Context, r refund.Refund, tickets int) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		moved, err := moveRefundTx(ctx, tx, r.ID, refund.CancelTickets, refund.ReturnMoney, "")
		if err != nil || !moved {
			return err
		}
		return recordRefundTx(ctx, tx, r, "TICKETS_CANCELLED", order.SagaCompensated, map[string]any{"tickets": tickets})
	})
}

// RefundSucceeded moves REFUND to its end and announces REFUND_PROCESSED. With the last of its money the
// order is REFUNDED, and with the refund an order that waits for it is done.
func (s Store) RefundSucceeded(ctx context.Context, r refund.Refund, gatewayRefundID string) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
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
		// Nothing is all that can go back of a free order, which that alone does not undo.
		everything := refunded == o.Total && (o.Total.Minor > 0 || r.Whole)
		if _, err := tx.Exec(ctx, `
			UPDATE orders SET refunded_minor = $2, status = CASE WHEN $3 AND status = 'COMPLETED' THEN 'REFUNDED' ELSE status END
			WHERE id = $1`, o.ID, refunded.Minor, everything); err != nil {
			return fmt.Errorf("refunded part of order %s: %w", o.ID, err)
		}
		if err := recordRefundTx(ctx, tx, r, "PAYMENT_REFUNDED", order.SagaCompensated, map[string]any{"gatewayRefundId": gatewayRefundID}); err != nil {
			return err
		}
		if _, err := moveTx(ctx, tx, o.ID, order.Refund, order.Done, ""); err != nil {
			return err
		}
		return messaging.AddTx(ctx, tx, source, events.RefundProcessed{
			OrderID: o.ID, UserID: o.UserID, EventID: o.EventID, RefundID: r.ID.String(),
			Amount: r.Amount.Decimal(), RefundedTotal: refunded.Decimal(), Currency: r.Amount.Currency,
			Reason: r.Reason, OrderRefunded: everything,
		})
	})
}

// RefundFailed moves a refund from its step to its end: nothing goes back. Its money and its tickets may be
// asked for again, and an order that waits for it is done, though it stays COMPLETED. When the bank refused
// it, or nobody waits to hear of it, COMPENSATION_FAILED tells people, unless they know of it already. What
// ticket-service refused because it had not heard yet that the event is cancelled is asked for anew.
func (s Store) RefundFailed(ctx context.Context, r refund.Refund, f refund.Failure) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if _, err := lockTx(ctx, tx, r.OrderID); err != nil {
			return err
		}
		moved, err := moveRefundTx(ctx, tx, r.ID, r.Step, refund.Done,
			`, status = 'FAILED', failure_code = $5, failure_message = $6`, f.Code, f.Message)
		if err != nil || !moved {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE orders SET refunding_minor = refunding_minor - $2 WHERE id = $1`, r.OrderID, r.Amount.Minor); err != nil {
			return fmt.Errorf("take back refund %s: %w", r.ID, err)
		}
		if _, err := tx.Exec(ctx, `UPDATE order_tickets SET refund_id = NULL WHERE order_id = $1 AND refund_id = $2`, r.OrderID, r.ID); err != nil {
			return fmt.Errorf("tickets of refund %s: %w", r.ID, err)
		}
		if err := recordRefundTx(ctx, tx, r, "REFUND_FAILED", order.SagaFailed, map[string]any{"reason": f.Code}); err != nil {
			return err
		}
		if r.Step == refund.ReturnMoney || r.RequestedBy == uuid.Nil {
			if _, err := alertTx(ctx, tx, refunds, f.Code, `
				UPDATE refunds r SET alerted_at = now() FROM orders o
				WHERE r.id = $1 AND o.id = r.order_id AND r.alerted_at IS NULL
				RETURNING r.order_id, o.reservation_id, $2::text, r.tries + 1`, r.ID, r.Step); err != nil {
				return err
			}
		}
		if _, err := moveTx(ctx, tx, r.OrderID, order.Refund, order.Done, ""); err != nil {
			return err
		}
		// RefundCancelled may have passed the order by, of which nothing was left while this refund was under way.
		if r.Step == refund.CancelTickets && r.Reason != refund.ReasonCancelled {
			return refundIfCancelledTx(ctx, tx, r.OrderID)
		}
		return nil
	})
}

// moveRefundTx does with a refund what moveTx does with an order.
func moveRefundTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, from, to refund.Step, set string, args ...any) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE refunds SET step = $3, tries = 0, resume_at = now(),
		    leased_until = CASE WHEN $3 = 'DONE' THEN '-infinity' ELSE now() + $4::interval END`+set+`
		WHERE id = $1 AND step = $2`, append([]any{id, from, to, lease}, args...)...)
	if err != nil {
		return false, fmt.Errorf("refund %s from %s to %s: %w", id, from, to, err)
	}
	return tag.RowsAffected() == 1, nil
}

// Refund gives a refund. It returns order.ErrNotFound for one that does not exist.
func (s Store) Refund(ctx context.Context, id uuid.UUID) (refund.Refund, error) {
	found, err := s.refunds(ctx, `WHERE r.id = $1`, id)
	if err != nil {
		return refund.Refund{}, err
	}
	if len(found) == 0 {
		return refund.Refund{}, order.ErrNotFound
	}
	return found[0], nil
}

// RefundsOf gives a page of an order's refunds, and one more if there is one, the oldest first.
func (s Store) RefundsOf(ctx context.Context, orderID uuid.UUID, page paging.Page) ([]refund.Refund, error) {
	return s.refunds(ctx, `
		WHERE r.order_id = $1 AND (r.created_at, r.id) > (coalesce($2::timestamptz, '-infinity'), $3)
		ORDER BY r.created_at, r.id LIMIT $4 + 1`, orderID, page.After, page.AfterID, page.Limit)
}

func (s Store) refunds(ctx context.Context, clause string, args ...any) ([]refund.Refund, error) {
	rows, err := s.Pool.Query(ctx, `
		SELECT r.id, r.order_id, r.requested_by, r.whole, r.ticket_ids, r.amount_minor, o.currency, r.reason, r.status, r.step,
		       r.failure_code, r.failure_message, r.correlation_id, r.traceparent, r.created_at, coalesce(o.transaction_id, '')
		FROM refunds r JOIN orders o ON o.id = r.order_id `+clause, args...)
	if err != nil {
		return nil, fmt.Errorf("refunds: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (refund.Refund, error) {
		var r refund.Refund
		var person *uuid.UUID
		err := row.Scan(&r.ID, &r.OrderID, &person, &r.Whole, &r.TicketIDs, &r.Amount.Minor, &r.Amount.Currency, &r.Reason, &r.Status, &r.Step,
			&r.Failure.Code, &r.Failure.Message, &r.Trace.CorrelationID, &r.Trace.Parent, &r.CreatedAt, &r.TransactionID)
		r.RequestedBy = value(person)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("refunds: %w", err)
	}
	return found, nil
}

package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// EventCancelled handles EVENT_CANCELLED, once per message: it records the event, so that all its orders are refunded.
// RefundCancelled refunds those that are done. Fulfilled refunds the others when they are.
func (s *Store) EventCancelled(ctx context.Context, messageID uuid.UUID, cancelled events.EventCancelled) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, cancelled.Type()); err != nil || !first {
			return err
		}
		trace := telemetry.From(ctx)
		if _, err := tx.Exec(ctx, `
			INSERT INTO event_refunds (event_id, correlation_id, traceparent)
			VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			cancelled.EventID, trace.CorrelationID, trace.Parent); err != nil {
			return fmt.Errorf("cancel event %s: %w", cancelled.EventID, err)
		}
		return nil
	})
}

// RefundCancelled creates refunds for up to limit further orders of a cancelled event. Each refunds what is left of the
// order. It returns false if no cancelled event has orders left to process, or if other replicas are processing all of
// them.
func (s *Store) RefundCancelled(ctx context.Context, limit int) (bool, error) {
	var more bool
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		more = false
		var event, last uuid.UUID
		var trace telemetry.Trace
		err := tx.QueryRow(ctx, `
			SELECT event_id, last_order_id, correlation_id, traceparent FROM event_refunds
			WHERE NOT done ORDER BY heard_at LIMIT 1 FOR UPDATE SKIP LOCKED`).
			Scan(&event, &last, &trace.CorrelationID, &trace.Parent)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("next cancelled event: %w", err)
		}
		// The orders are locked whatever their step. A transaction that is fulfilling an order commits first, or it
		// gets the lock afterwards and finds that the event is cancelled.
		rows, err := tx.Query(ctx, `
			SELECT `+orderColumns+` FROM orders
			WHERE event_id = $1 AND id > $2 ORDER BY id LIMIT $3 FOR UPDATE`, event, last, limit)
		if err != nil {
			return fmt.Errorf("orders of event %s: %w", event, err)
		}
		orders, err := pgx.CollectRows(rows, scanOrder)
		if err != nil {
			return fmt.Errorf("orders of event %s: %w", event, err)
		}
		for _, o := range orders {
			if err := refundRestTx(ctx, tx, o, trace); err != nil {
				return err
			}
			last = o.ID
		}
		more = true
		if _, err := tx.Exec(ctx, `
			UPDATE event_refunds SET last_order_id = $2, done = $3 WHERE event_id = $1`,
			event, last, len(orders) < limit); err != nil {
			return fmt.Errorf("progress of event %s: %w", event, err)
		}
		return nil
	})
	return more, err
}

// refundIfCancelledTx refunds what is left of an order that tx has just completed, if its event was cancelled.
func refundIfCancelledTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	o, err := lockTx(ctx, tx, id)
	if err != nil {
		return err
	}
	var trace telemetry.Trace
	err = tx.QueryRow(ctx, `SELECT correlation_id, traceparent FROM event_refunds WHERE event_id = $1`, o.EventID).
		Scan(&trace.CorrelationID, &trace.Parent)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("is event %s cancelled: %w", o.EventID, err)
	}
	return refundRestTx(ctx, tx, o, trace)
}

// refundRestTx creates a refund of what is left of a locked order whose event was cancelled. It does nothing if the
// order cannot be refunded now or at all. A dispute that is won makes up for it.
func refundRestTx(ctx context.Context, tx pgx.Tx, o order.Order, trace telemetry.Trace) error {
	ledger, err := ledgerTx(ctx, tx, o)
	if err != nil {
		return err
	}
	r, err := ledger.Admit(refund.Refund{
		ID: uuid.New(), OrderID: o.ID, Whole: true, Reason: refund.ReasonCancelled, Trace: trace,
	})
	if errors.Is(err, refund.ErrNotRefundable) || errors.Is(err, refund.ErrDisputed) {
		return nil
	}
	if err != nil {
		return err
	}
	return insertRefundTx(ctx, tx, r)
}

// EventUpdated handles EVENT_UPDATED, once per message. A postponement opens the window in which holders may return
// their tickets: for refund.Window from now on, or until the new date of the event if that is earlier. An update that
// is older than the stored one changes nothing.
func (s *Store) EventUpdated(ctx context.Context, messageID uuid.UUID, updated events.EventUpdated) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		first, err := inbox.FirstTx(ctx, tx, messageID, updated.Type())
		if err != nil || !first || updated.PostponedFrom == nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO postponed_events AS p (event_id, updated_at, closes_at)
			VALUES ($1, $2, least(now() + $3::interval, $4))
			ON CONFLICT (event_id) DO UPDATE
			SET updated_at = excluded.updated_at, postponed_at = now(), closes_at = excluded.closes_at
			WHERE p.updated_at < excluded.updated_at`,
			updated.EventID, updated.UpdatedAt, refund.Window, updated.EventDate); err != nil {
			return fmt.Errorf("postpone event %s: %w", updated.EventID, err)
		}
		return nil
	})
}

// CreatePostponementRefund is CreateRefund for a holder of tickets whose event was postponed after they were bought. It
// also returns refund.ErrWindowClosed.
func (s *Store) CreatePostponementRefund(
	ctx context.Context, r refund.Refund, idempotencyKey string, requestHash []byte,
) (id uuid.UUID, created bool, err error) {
	return s.createRefund(ctx, r, idempotencyKey, requestHash, func(tx pgx.Tx, o order.Order) error {
		var open bool
		if err := tx.QueryRow(ctx, `
			SELECT EXISTS (
				SELECT FROM postponed_events WHERE event_id = $1 AND $2 < postponed_at AND now() < closes_at)`,
			o.EventID, o.CreatedAt).Scan(&open); err != nil {
			return fmt.Errorf("window of event %s: %w", o.EventID, err)
		}
		if !open {
			return refund.ErrWindowClosed
		}
		return nil
	})
}

package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// Fulfilled handles TICKETS_GENERATED, once per message: it moves FULFIL to DONE and stores the tickets. If the order's
// event was cancelled in the meantime, the order is refunded in the same transaction.
func (s *Store) Fulfilled(ctx context.Context, messageID uuid.UUID, generated events.TicketsGenerated) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, generated.Type()); err != nil || !first {
			return err
		}
		moved, err := moveTx(ctx, tx, generated.OrderID, order.Fulfil, order.Done, "")
		if err != nil || !moved {
			return err
		}
		var tickets, types []uuid.UUID
		for _, t := range generated.Tickets {
			tickets, types = append(tickets, t.TicketID), append(types, t.TicketTypeID)
		}
		// The contract's event has no ticket types; ours may lack them. A ticket without a type has no known price and
		// can only be refunded with the whole order.
		if _, err := tx.Exec(ctx, `
			INSERT INTO order_tickets (ticket_id, order_id, ticket_type_id)
			SELECT t.id, i.order_id, i.ticket_type_id FROM unnest($2::uuid[], $3::uuid[]) AS t (id, type)
			JOIN order_items i ON i.order_id = $1 AND i.ticket_type_id = t.type
			ON CONFLICT DO NOTHING`, generated.OrderID, tickets, types); err != nil {
			return fmt.Errorf("tickets of order %s: %w", generated.OrderID, err)
		}
		if err := recordTx(ctx, tx, generated.OrderID, generated.Type(), order.SagaCompleted,
			ticketsGenerated{Tickets: len(generated.Tickets)}); err != nil {
			return err
		}
		return refundIfCancelledTx(ctx, tx, generated.OrderID)
	})
}

// Unfulfillable handles TICKET_GENERATION_FAILED, once per message: it moves FULFIL to REFUND and creates a refund of
// the whole order, which the sweeper carries out.
func (s *Store) Unfulfillable(ctx context.Context, messageID uuid.UUID, failed events.TicketGenerationFailed) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, failed.Type()); err != nil || !first {
			return err
		}
		moved, err := moveTx(ctx, tx, failed.OrderID, order.Fulfil, order.Refund,
			`, failure_code = $5, failure_message = 'The tickets could not be issued'`, failed.Reason)
		if err != nil || !moved {
			return err
		}
		if err := recordTx(ctx, tx, failed.OrderID, failed.Type(), order.SagaFailed,
			failureReason{Reason: failed.Reason}); err != nil {
			return err
		}
		return refundAllTx(ctx, tx, failed.OrderID, failed.Reason, refund.ReturnMoney)
	})
}

// Overdue reports whether Reannounce would give the order up now.
func (s *Store) Overdue(ctx context.Context, id uuid.UUID) (bool, error) {
	var overdue bool
	err := s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM orders WHERE id = $1 AND step = $2 AND resume_at <= now()
		    AND tries >= $3 AND completed_at <= now() - $4::interval)`,
		id, order.Fulfil, order.Reannouncements, order.FulfilWindow).Scan(&overdue)
	if err != nil {
		return false, fmt.Errorf("order %s awaiting its tickets: %w", id, err)
	}
	return overdue, nil
}

// Reannounce publishes PAYMENT_COMPLETED again, as a new message, for an order at FULFIL that is due: 2, 8 and 20
// minutes after the payment. So an outage of ticket-service makes its backlog at most four times as long. Once
// order.Reannouncements and order.FulfilWindow are reached, Reannounce gives up instead and returns true: it moves
// FULFIL to REFUND, creates a refund of the whole order that also cancels any tickets, and publishes
// COMPENSATION_FAILED, so that a person looks for the cause. Reannounce changes nothing if the order is not due.
func (s *Store) Reannounce(ctx context.Context, o order.Order) (gaveUp bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		gaveUp = false
		var tries int
		var overdue bool
		err := tx.QueryRow(ctx, `
			SELECT tries, completed_at <= now() - $2::interval FROM orders
			WHERE id = $1 AND step = $3 AND resume_at <= now() FOR UPDATE`,
			o.ID, order.FulfilWindow, order.Fulfil).Scan(&tries, &overdue)
		switch {
		case errors.Is(err, pgx.ErrNoRows): // the outcome arrived, or another driver was first
			return nil
		case err != nil:
			return fmt.Errorf("order %s awaiting its tickets: %w", o.ID, err)
		case tries < order.Reannouncements:
			return reannounceTx(ctx, tx, o, tries+1)
		case !overdue: // the sweeps were early; nothing is announced again
			if _, err := tx.Exec(ctx, `
				UPDATE orders SET leased_until = '-infinity', resume_at = completed_at + $2::interval WHERE id = $1`,
				o.ID, order.FulfilWindow); err != nil {
				return fmt.Errorf("order %s awaiting its tickets: %w", o.ID, err)
			}
			return nil
		}
		gaveUp, err = moveTx(ctx, tx, o.ID, order.Fulfil, order.Refund,
			`, failure_code = $5, failure_message = 'The tickets were not issued in time'`, order.CodeNotGenerated)
		if err != nil {
			return err
		}
		if err := recordTx(ctx, tx, o.ID, order.CodeNotGenerated, order.SagaFailed,
			announced{Announcements: tries + 1}); err != nil {
			return err
		}
		if err := outbox.AddTx(ctx, tx, source, events.CompensationFailed{
			OrderID: o.ID, ReservationID: o.ReservationID,
			Reason: order.CodeNotGenerated, Step: string(order.Fulfil), Attempts: tries + 1,
		}); err != nil {
			return err
		}
		return refundAllTx(ctx, tx, o.ID, order.CodeNotGenerated, refund.CancelTickets)
	})
	return gaveUp, err
}

// afterReannouncement is the time after each announcement until the next one, or until the order is given up.
var afterReannouncement = [order.Reannouncements]time.Duration{6 * time.Minute, 12 * time.Minute, 10 * time.Minute}

func reannounceTx(ctx context.Context, tx pgx.Tx, o order.Order, tries int) error {
	if _, err := tx.Exec(ctx, `
		UPDATE orders SET tries = $2, leased_until = '-infinity', resume_at = now() + $3::interval
		WHERE id = $1`, o.ID, tries, afterReannouncement[tries-1]); err != nil {
		return fmt.Errorf("reannounce order %s: %w", o.ID, err)
	}
	if err := recordTx(ctx, tx, o.ID, "REANNOUNCED", order.SagaPending,
		announced{Announcements: tries + 1}); err != nil {
		return err
	}
	return outbox.AddTx(ctx, tx, source, paymentCompleted(o))
}

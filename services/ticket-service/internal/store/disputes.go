package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// reasonDisputeLost is the reason of a cancellation because of a dispute.
const reasonDisputeLost = "PAYMENT_DISPUTE_LOST"

// Disputed applies a PAYMENT_DISPUTED to the tickets of its order, once per message id, unless a newer one about the
// dispute was applied: an open dispute suspends them as the event's organizer wants, one that is won restores them, and
// one that is lost cancels those that were not used. It publishes TICKETS_DISPUTED for the organizer, and for each
// holder if the tickets changed. Tickets that are issued later are suspended too, because the order is.
func (s *Store) Disputed(ctx context.Context, messageID uuid.UUID, d events.PaymentDisputed) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, d.Type()); err != nil || !first {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO orders (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = excluded.id`,
			d.OrderID); err != nil {
			return fmt.Errorf("lock order %s: %w", d.OrderID, err)
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO disputes AS known (id, order_id, status, revision, void)
			VALUES ($1, $2, $3, $4, coalesce((SELECT disputed_tickets = 'VOID' FROM events WHERE id = $5), false))
			ON CONFLICT (id) DO UPDATE SET status = excluded.status, revision = excluded.revision
			WHERE known.revision < excluded.revision`,
			d.DisputeID, d.OrderID, d.Status, d.Revision, d.EventID)
		if err != nil {
			return fmt.Errorf("dispute %s: %w", d.DisputeID, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		before, after, err := suspendTx(ctx, tx, d.OrderID)
		if err != nil {
			return err
		}
		tickets, err := lockTicketsOfOrderTx(ctx, tx, d.OrderID)
		if err != nil {
			return err
		}
		active := slices.DeleteFunc(tickets, func(t ticket.Ticket) bool { return t.Status != ticket.Active })
		state := events.TicketsRestored
		switch {
		case d.Status == events.DisputeLost:
			state = events.TicketsCancelled
			if err := cancelTx(ctx, tx, active, cancellation{
				by: events.CancelledByDispute, reason: reasonDisputeLost,
			}); err != nil {
				return err
			}
		case after == ticket.Void:
			state = events.TicketsVoid
			if before == ticket.Void {
				break
			}
			if _, err := tx.Exec(ctx, `
				UPDATE tickets SET code_version = code_version + 1 WHERE order_id = $1 AND status = 'ACTIVE'`,
				d.OrderID); err != nil {
				return fmt.Errorf("void the codes of order %s: %w", d.OrderID, err)
			}
		case after == ticket.Suspended:
			state = events.TicketsSuspended
		}
		if before == after && d.Status != events.DisputeLost {
			return informTx(ctx, tx, d, state, active, false)
		}
		return informTx(ctx, tx, d, state, active, true)
	})
}

// suspendTx sets the suspension of a locked order to what its disputes require together, and returns the one before and
// after.
func suspendTx(ctx context.Context, tx pgx.Tx, orderID uuid.UUID) (before, after ticket.Suspension, err error) {
	if err := tx.QueryRow(ctx, `
		UPDATE orders o SET suspension = s.suspension
		FROM (SELECT CASE WHEN bool_or(status = 'LOST' OR status = 'OPEN' AND void) THEN 'VOID'
		                  WHEN bool_or(status = 'OPEN') THEN 'SUSPENDED' END AS suspension
		      FROM disputes WHERE order_id = $1) s,
		     (SELECT suspension FROM orders WHERE id = $1) previous
		WHERE o.id = $1 RETURNING coalesce(previous.suspension, ''), coalesce(o.suspension, '')`, orderID).
		Scan(&before, &after); err != nil {
		return before, after, fmt.Errorf("suspend order %s: %w", orderID, err)
	}
	return before, after, nil
}

// lockTicketsOfOrderTx returns the tickets of a locked order, and locks them and their types.
func lockTicketsOfOrderTx(ctx context.Context, tx pgx.Tx, orderID uuid.UUID) ([]ticket.Ticket, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM tickets WHERE order_id = $1`, orderID)
	if err != nil {
		return nil, fmt.Errorf("list tickets of order %s: %w", orderID, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("list tickets of order %s: %w", orderID, err)
	}
	if err := lockTypesOfTx(ctx, tx, ids); err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, selectTickets+`WHERE k.id = ANY($1) ORDER BY k.id FOR UPDATE OF k`, ids)
	return collectTickets(rows, err)
}

// informTx publishes what a dispute means for the tickets, which are those that are not used: for the organizer, and,
// if that is new for them, for each holder.
func informTx(
	ctx context.Context, tx pgx.Tx, d events.PaymentDisputed, state string, tickets []ticket.Ticket, holders bool,
) error {
	var published []messaging.Payload
	var organizer uuid.UUID
	err := tx.QueryRow(ctx, `SELECT organizer_id FROM events WHERE id = $1`, d.EventID).Scan(&organizer)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) { // an event without a row here has no tickets
		return fmt.Errorf("organizer of event %s: %w", d.EventID, err)
	}
	if err == nil {
		published = append(published, events.TicketsDisputed{
			DisputeID: d.DisputeID, OrderID: d.OrderID, EventID: d.EventID, UserID: organizer, Organizer: true,
			TicketCount: len(tickets), TicketState: state, DisputeStatus: d.Status,
			Amount: d.Amount, Currency: d.Currency, Reason: d.Reason,
		})
	}
	for i, t := range tickets {
		first := slices.IndexFunc(tickets, func(other ticket.Ticket) bool { return other.OwnerID == t.OwnerID })
		if !holders || first != i {
			continue
		}
		count := 0
		for _, other := range tickets {
			if other.OwnerID == t.OwnerID {
				count++
			}
		}
		published = append(published, events.TicketsDisputed{
			DisputeID: d.DisputeID, OrderID: d.OrderID, EventID: d.EventID, UserID: t.OwnerID,
			TicketCount: count, TicketState: state, DisputeStatus: d.Status,
		})
	}
	return outbox.AddTx(ctx, tx, source, published...)
}

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
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// CancelBatch is how many tickets or reservations of a cancelled event one transaction ends at most. It bounds the
// number of locks.
const CancelBatch = 200

// CancelEvent takes an event off sale, once per message id, and records that its tickets have to be cancelled, which
// CancelTickets does. From its commit on, no ticket of the event is issued.
func (s *Store) CancelEvent(ctx context.Context, messageID uuid.UUID, e events.EventCancelled) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, e.Type()); err != nil || !first {
			return err
		}
		// The event is stored even if it is still unknown here, so that later messages cannot put it on sale. The
		// cancellation takes effect even if a newer message was applied before. The statement waits for
		// transactions that are issuing tickets: they hold a lock on the event's row.
		_, err := tx.Exec(ctx, `
			INSERT INTO events AS known (id, organizer_id, name, event_date, venue_name, status, updated_at)
			VALUES ($1, $2, $3, $4, '', $5, $4)
			ON CONFLICT (id) DO UPDATE
			SET status = excluded.status, updated_at = greatest(known.updated_at, excluded.updated_at)`,
			e.EventID, e.OrganizerID, e.EventName, e.UpdatedAt, ticket.EventCancelled)
		if err != nil {
			return fmt.Errorf("cancel event %s: %w", e.EventID, err)
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO event_cancellations (event_id, reason, correlation_id) VALUES ($1, $2, $3)
			ON CONFLICT (event_id) DO NOTHING`,
			e.EventID, e.CancellationReason, telemetry.From(ctx).CorrelationID); err != nil {
			return fmt.Errorf("record cancellation of event %s: %w", e.EventID, err)
		}
		return nil
	})
}

// CancelTickets cancels up to limit tickets of a cancelled event, used ones included, publishes a TICKET_CANCELLED for
// each, and returns their number. If it finds fewer than limit, it marks the event's cancellation as finished. It does
// nothing for an event whose cancellation is finished or was never recorded, or is being processed by another replica.
func (s *Store) CancelTickets(ctx context.Context, eventID uuid.UUID, limit int) (int, error) {
	var tickets []ticket.Ticket
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		c := cancellation{by: events.CancelledByEvent}
		var correlationID string
		err := tx.QueryRow(ctx, `
			SELECT reason, correlation_id FROM event_cancellations WHERE event_id = $1 AND finished_at IS NULL
			FOR UPDATE SKIP LOCKED`, eventID).Scan(&c.reason, &correlationID)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cancellation of event %s: %w", eventID, err)
		}
		rows, err := tx.Query(ctx, `
			SELECT id FROM tickets WHERE event_id = $1 AND status <> 'CANCELLED' ORDER BY id LIMIT $2`, eventID, limit)
		if err != nil {
			return fmt.Errorf("tickets of event %s: %w", eventID, err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return fmt.Errorf("tickets of event %s: %w", eventID, err)
		}
		if err := lockTypesOfTx(ctx, tx, ids); err != nil {
			return err
		}
		// Owners and refunds may have cancelled some of them since.
		rows, err = tx.Query(ctx, selectTickets+`
			WHERE k.id = ANY($1) AND k.status <> 'CANCELLED' ORDER BY k.id FOR UPDATE OF k`, ids)
		if tickets, err = collectTickets(rows, err); err != nil {
			return err
		}
		if err := cancelTx(telemetry.Correlate(ctx, correlationID), tx, tickets, c); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			UPDATE event_cancellations
			SET tickets_cancelled = tickets_cancelled + $2, finished_at = CASE WHEN $3 THEN now() END
			WHERE event_id = $1`, eventID, len(tickets), len(ids) < limit); err != nil {
			return fmt.Errorf("update cancellation of event %s: %w", eventID, err)
		}
		return nil
	})
	return len(tickets), err
}

// ReleaseCancelled releases up to limit live reservations of cancelled events and returns their number. Concurrent
// calls of several replicas skip each other's rows.
func (s *Store) ReleaseCancelled(ctx context.Context, limit int) (int, error) {
	// Includes events whose cancellation is finished, since a concurrent reserve may have committed after it. One hour
	// is enough: the reservation itself expires before.
	return s.endReservations(ctx, `
		UPDATE reservations SET status = 'CANCELLED', reason = 'EVENT_CANCELLED', ended_at = now()
		WHERE id = ANY(ARRAY(
			SELECT r.id FROM reservations r JOIN event_cancellations c ON c.event_id = r.event_id
			WHERE r.status = 'ACTIVE' AND (c.finished_at IS NULL OR c.finished_at > now() - interval '1 hour')
			ORDER BY r.id LIMIT $1 FOR UPDATE OF r SKIP LOCKED))
		RETURNING id`, limit)
}

// CancelAll releases the remaining reservations and cancels the remaining tickets of all cancelled events, and returns
// the number of tickets cancelled. Each batch is one transaction. It continues cancellations that another process did
// not finish. An event that fails does not keep the others from being cancelled.
func (s *Store) CancelAll(ctx context.Context) (int, error) {
	for {
		n, err := s.ReleaseCancelled(ctx, CancelBatch)
		if err != nil {
			return 0, err
		}
		if n < CancelBatch {
			break
		}
	}
	rows, err := s.pool.Query(ctx, `
		SELECT event_id FROM event_cancellations WHERE finished_at IS NULL ORDER BY started_at`)
	if err != nil {
		return 0, fmt.Errorf("list unfinished cancellations: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return 0, fmt.Errorf("list unfinished cancellations: %w", err)
	}
	total := 0
	var failed error
	for _, id := range ids {
		// A batch is also short if owners or refunds cancelled some of its tickets: the next tick continues then.
		for n := CancelBatch; n == CancelBatch; {
			if n, err = s.CancelTickets(ctx, id, CancelBatch); err != nil {
				failed = errors.Join(failed, err)
				break
			}
			total += n
		}
	}
	return total, failed
}

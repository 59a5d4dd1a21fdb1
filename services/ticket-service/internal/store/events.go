package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// SaveFetchedEvent stores an event that was fetched from event-service. It only adds an event that no EVENT_* message
// has described yet, and updates a draft, whose EVENT_PUBLISHED may still be in transit. It never overrides other
// messages: a fetched event has no timestamp that orders it among them.
func (s *Store) SaveFetchedEvent(ctx context.Context, e ticket.Event) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO events AS known (id, organizer_id, name, event_date, end_date, venue_name, status)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE
		SET name = excluded.name, event_date = excluded.event_date, end_date = excluded.end_date,
		    venue_name = excluded.venue_name, status = excluded.status
		WHERE known.status = $8 OR known.updated_at = '-infinity'`,
		e.ID, e.OrganizerID, e.Name, e.Date, e.EndDate, e.VenueName, e.Status, ticket.EventDraft)
	if err != nil {
		return fmt.Errorf("save fetched event %s: %w", e.ID, err)
	}
	return nil
}

// ApplyEvent stores the event of an EVENT_* message, once per message id, unless a newer message was applied. The
// status never changes back to draft, and never from cancelled to another one: such a message is older than the event
// that SaveFetchedEvent stored.
func (s *Store) ApplyEvent(ctx context.Context, messageID uuid.UUID, messageType string, e ticket.Event) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, messageType); err != nil || !first {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO events AS known (id, organizer_id, name, event_date, end_date, venue_name, status, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (id) DO UPDATE
			SET name = excluded.name, event_date = excluded.event_date, end_date = excluded.end_date,
			    venue_name = excluded.venue_name,
			    status = CASE WHEN excluded.status = $9 OR known.status = $10 THEN known.status ELSE excluded.status END,
			    updated_at = excluded.updated_at
			WHERE known.updated_at < excluded.updated_at`,
			e.ID, e.OrganizerID, e.Name, e.Date, e.EndDate, e.VenueName, e.Status, e.UpdatedAt,
			ticket.EventDraft, ticket.EventCancelled)
		if err != nil {
			return fmt.Errorf("apply %s of event %s: %w", messageType, e.ID, err)
		}
		return nil
	})
}

// Event returns this service's copy of an event. It returns ticket.ErrEventNotFound.
func (s *Store) Event(ctx context.Context, id uuid.UUID) (ticket.Event, error) {
	e := ticket.Event{ID: id}
	err := s.pool.QueryRow(ctx, `
		SELECT organizer_id, name, event_date, end_date, venue_name, status, now() FROM events WHERE id = $1`, id).
		Scan(&e.OrganizerID, &e.Name, &e.Date, &e.EndDate, &e.VenueName, &e.Status, &e.ReadAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, ticket.ErrEventNotFound
	}
	if err != nil {
		return e, fmt.Errorf("event %s: %w", id, err)
	}
	return e, nil
}

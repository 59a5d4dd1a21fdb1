package store

import (
	"context"
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
		INSERT INTO events AS known
			(id, organizer_id, name, event_date, end_date, venue_name, venue_address, status, disputed_tickets)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce(nullif($10, ''), 'SUSPEND'))
		ON CONFLICT (id) DO UPDATE
		SET name = excluded.name, event_date = excluded.event_date, end_date = excluded.end_date,
		    venue_name = excluded.venue_name, venue_address = excluded.venue_address, status = excluded.status,
		    disputed_tickets = excluded.disputed_tickets
		WHERE known.status = $9 OR known.updated_at = '-infinity'`,
		e.ID, e.OrganizerID, e.Name, e.Date, e.EndDate, e.VenueName, e.VenueAddress, e.Status, ticket.EventDraft,
		e.DisputedTickets)
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
			INSERT INTO events AS known
				(id, organizer_id, name, event_date, end_date, venue_name, venue_address, status, updated_at,
				 disputed_tickets)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce(nullif($12, ''), 'SUSPEND'))
			ON CONFLICT (id) DO UPDATE
			SET name = excluded.name, event_date = excluded.event_date, end_date = excluded.end_date,
			    venue_name = excluded.venue_name,
			    venue_address = coalesce(nullif(excluded.venue_address, ''), known.venue_address),
			    status = CASE WHEN excluded.status = $10 OR known.status = $11 THEN known.status ELSE excluded.status END,
			    updated_at = excluded.updated_at, disputed_tickets = excluded.disputed_tickets
			WHERE known.updated_at < excluded.updated_at`,
			e.ID, e.OrganizerID, e.Name, e.Date, e.EndDate, e.VenueName, e.VenueAddress, e.Status, e.UpdatedAt,
			ticket.EventDraft, ticket.EventCancelled, e.DisputedTickets)
		if err != nil {
			return fmt.Errorf("apply %s of event %s: %w", messageType, e.ID, err)
		}
		return nil
	})
}

// Event returns this service's copy of an event. It returns ticket.ErrEventNotFound.
func (s *Store) Event(ctx context.Context, id uuid.UUID) (ticket.Event, error) {
	found, err := s.Events(ctx, id)
	if err != nil {
		return ticket.Event{ID: id}, err
	}
	e, known := found[id]
	if !known {
		return ticket.Event{ID: id}, ticket.ErrEventNotFound
	}
	return e, nil
}

// Events returns this service's copies of the events that are known, by id.
func (s *Store) Events(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]ticket.Event, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, organizer_id, name, event_date, end_date, venue_name, venue_address, status, now()
		FROM events WHERE id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("events %s: %w", ids, err)
	}
	found := map[uuid.UUID]ticket.Event{}
	var e ticket.Event
	_, err = pgx.ForEachRow(rows, []any{
		&e.ID, &e.OrganizerID, &e.Name, &e.Date, &e.EndDate, &e.VenueName, &e.VenueAddress, &e.Status, &e.ReadAt,
	}, func() error {
		found[e.ID] = e
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("events %s: %w", ids, err)
	}
	return found, nil
}

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

// FillEvent stores a copy of an event that was asked for. It fills in what no EVENT_* message has told
// yet, and moves a draft on, whose publication may still be under way to us. Else it never overrides a
// message, since an answer has no place in their order.
func (s Store) FillEvent(ctx context.Context, e ticket.Event) error {
	_, err := s.Pool.Exec(ctx, `
		INSERT INTO events AS known (id, organizer_id, name, event_date, venue_name, status)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE
		SET name = excluded.name, event_date = excluded.event_date, venue_name = excluded.venue_name,
		    status = excluded.status
		WHERE known.status = $7 OR known.updated_at = '-infinity'`,
		e.ID, e.OrganizerID, e.Name, e.Date, e.VenueName, e.Status, ticket.EventDraft)
	if err != nil {
		return fmt.Errorf("fill in event %s: %w", e.ID, err)
	}
	return nil
}

// ApplyEvent stores what an EVENT_* message says, once, and unless something newer is known. An event never
// goes back to being a draft, nor on from being cancelled: a message that says so was overtaken by an
// answer that FillEvent kept.
func (s Store) ApplyEvent(ctx context.Context, messageID uuid.UUID, messageType string, e ticket.Event) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, messageType); err != nil || !first {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO events AS known (id, organizer_id, name, event_date, venue_name, status, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE
			SET name = excluded.name, event_date = excluded.event_date, venue_name = excluded.venue_name,
			    status = CASE WHEN excluded.status = $8 OR known.status = $9 THEN known.status ELSE excluded.status END,
			    updated_at = excluded.updated_at
			WHERE known.updated_at < excluded.updated_at`,
			e.ID, e.OrganizerID, e.Name, e.Date, e.VenueName, e.Status, e.UpdatedAt,
			ticket.EventDraft, ticket.EventCancelled)
		if err != nil {
			return fmt.Errorf("apply %s of event %s: %w", messageType, e.ID, err)
		}
		return nil
	})
}

// Event gives our copy of an event. It returns ticket.ErrEventNotFound.
func (s Store) Event(ctx context.Context, id uuid.UUID) (ticket.Event, error) {
	e := ticket.Event{ID: id}
	err := s.Pool.QueryRow(ctx, `
		SELECT organizer_id, name, event_date, venue_name, status FROM events WHERE id = $1`, id).
		Scan(&e.OrganizerID, &e.Name, &e.Date, &e.VenueName, &e.Status)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, ticket.ErrEventNotFound
	}
	if err != nil {
		return e, fmt.Errorf("event %s: %w", id, err)
	}
	return e, nil
}

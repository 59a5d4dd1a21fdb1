// Package store keeps events in PostgreSQL. Each exported method is one transaction, and what other
// services should hear of a change commits with it.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// source names this service in the events it publishes.
const source = "event-service"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations creates event-service's tables.
func Migrations() postgres.Migrations {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return postgres.Migrations{VersionTable: "event_service_version", Files: files}
}

// Store is event-service's database.
type Store struct{ pool *pgxpool.Pool }

// New makes a Store on a pool whose database has Migrations and messaging's applied.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// columns are those that scan reads, in its order.
const columns = `id, organizer_id, status, updated_at,
	name, description, event_date, venue_name, venue_address, category, image_url`

func scan(row pgx.Row, more ...any) (event.Event, error) {
	var e event.Event
	err := row.Scan(append([]any{
		&e.ID, &e.OrganizerID, &e.Status, &e.UpdatedAt,
		&e.Name, &e.Description, &e.Date, &e.VenueName, &e.VenueAddress, &e.Category, &e.ImageURL,
	}, more...)...)
	e.UpdatedAt, e.Date = e.UpdatedAt.UTC(), e.Date.UTC()
	return e, err
}

// Create keeps a new draft and announces EVENT_CREATED with it. It returns event.ErrDateNotFuture.
func (s *Store) Create(ctx context.Context, organizer uuid.UUID, d event.Details) (event.Event, error) {
	var created event.Event
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		created, err = scan(tx.QueryRow(ctx, `
			INSERT INTO events (organizer_id, name, description, event_date, venue_name, venue_address, category, image_url)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8
			WHERE $4 > now()
			RETURNING `+columns,
			organizer, d.Name, d.Description, d.Date, d.VenueName, d.VenueAddress, d.Category, d.ImageURL))
		if errors.Is(err, pgx.ErrNoRows) {
			return event.ErrDateNotFuture
		}
		if err != nil {
			return fmt.Errorf("create an event: %w", err)
		}
		return messaging.AddTx(ctx, tx, source, events.EventCreated{EventDetails: announce(created)})
	})
	return created, err
}

// Publish puts the event on sale and announces EVENT_PUBLISHED with it. Of any number of callers one
// changes and announces it; the others get what that one did. It returns event.NotFound,
// identity.ErrForbidden, event.ErrNotDraft or event.ErrDatePassed.
func (s *Store) Publish(ctx context.Context, id uuid.UUID, by identity.User) (event.Event, error) {
	var published event.Event
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		var now time.Time
		// The lock makes callers take turns, so that the rule stays in one place: event.Publish.
		e, err := scan(tx.QueryRow(ctx, `SELECT `+columns+`, now() FROM events WHERE id = $1 FOR UPDATE`, id), &now)
		if errors.Is(err, pgx.ErrNoRows) {
			return event.NotFound(id)
		}
		if err != nil {
			return fmt.Errorf("publish event %s: %w", id, err)
		}
		if published, err = e.Publish(by, now); err != nil || published.Status == e.Status {
			return err
		}
		// Consumers order an event's changes by updated_at. now() would be when this transaction began,
		// which may be before the change that it waited for.
		published, err = scan(tx.QueryRow(ctx, `
			UPDATE events
			SET status = $2, updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
			WHERE id = $1 AND status = $3
			RETURNING `+columns, id, published.Status, e.Status))
		if err != nil { // no row included: the lock is ours
			return fmt.Errorf("publish event %s: %w", id, err)
		}
		return messaging.AddTx(ctx, tx, source, events.EventPublished{EventDetails: announce(published)})
	})
	return published, err
}

// announce gives what other services hear of an event.
func announce(e event.Event) events.EventDetails {
	return events.EventDetails{
		EventID: e.ID, OrganizerID: e.OrganizerID, EventName: e.Name, EventDate: e.Date, VenueName: e.VenueName,
		Category: string(e.Category), Status: string(e.Status), UpdatedAt: e.UpdatedAt,
	}
}

// Event gives one event. It returns event.NotFound.
func (s *Store) Event(ctx context.Context, id uuid.UUID) (event.Event, error) {
	e, err := scan(s.pool.QueryRow(ctx, `SELECT `+columns+` FROM events WHERE id = $1`, id))
	if errors.Is(err, pgx.ErrNoRows) {
		return event.Event{}, event.NotFound(id)
	}
	if err != nil {
		return event.Event{}, fmt.Errorf("event %s: %w", id, err)
	}
	return e, nil
}

// Events gives the events with these ids, in the order of ids. Ids that no event has are left out.
func (s *Store) Events(ctx context.Context, ids []uuid.UUID) ([]event.Event, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+columns+`
		FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (id, position) JOIN events USING (id)
		ORDER BY position`, ids)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (event.Event, error) { return scan(row) })
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return found, nil
}

// Package store keeps events in PostgreSQL. Each exported method is one transaction. A method that changes an event
// also adds the messages that announce the change to the outbox, in the same transaction.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// source is the CloudEvents source of the events that this service publishes.
const source = "event-service"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the migrations that create this service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "event_service_version")
}

// Store is the database of event-service. Its methods may be called concurrently.
type Store struct{ pool *pgxpool.Pool }

// New returns a Store on the pool's database, which must have the tables of Migrations and of package messaging.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// columns are the columns that scan reads, in its order.
const columns = `id, organizer_id, status, updated_at,
	name, description, event_date, end_date, time_zone, venue_name, venue_address, category, image_url,
	cancellation_reason, postponed_from, disputed_tickets`

func scan(row pgx.Row) (event.Event, error) {
	var e event.Event
	var end, postponedFrom *time.Time
	err := row.Scan(
		&e.ID, &e.OrganizerID, &e.Status, &e.UpdatedAt,
		&e.Name, &e.Description, &e.Date, &end, &e.TimeZone, &e.VenueName, &e.VenueAddress, &e.Category, &e.ImageURL,
		&e.CancellationReason, &postponedFrom, &e.DisputedTickets)
	e.UpdatedAt, e.Date = e.UpdatedAt.UTC(), e.Date.UTC()
	if end != nil {
		e.EndDate = end.UTC()
	}
	if postponedFrom != nil {
		e.PostponedFrom = postponedFrom.UTC()
	}
	return e, err
}

// Create stores a new draft and publishes EVENT_CREATED. It returns event.ErrDateNotFuture.
func (s *Store) Create(ctx context.Context, organizer uuid.UUID, d event.Details) (event.Event, error) {
	var created event.Event
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		created, err = scan(tx.QueryRow(ctx, `
			INSERT INTO events
				(organizer_id, name, description, event_date, venue_name, venue_address, category, image_url, end_date,
				time_zone, disputed_tickets)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
			WHERE $4 > now()
			RETURNING `+columns,
			organizer, d.Name, d.Description, d.Date, d.VenueName, d.VenueAddress, d.Category, d.ImageURL,
			orNull(d.EndDate), d.TimeZone, d.DisputedTickets))
		if errors.Is(err, pgx.ErrNoRows) {
			return event.ErrDateNotFuture
		}
		if err != nil {
			return fmt.Errorf("create an event: %w", err)
		}
		return outbox.AddTx(ctx, tx, source, events.EventCreated{EventDetails: payload(created)})
	})
	return created, err
}

// Publish puts the event on sale and publishes EVENT_PUBLISHED. Its errors are those of event.Event.Publish.
func (s *Store) Publish(ctx context.Context, id uuid.UUID, by identity.User) (event.Event, error) {
	return s.change(ctx, id,
		func(e event.Event, now time.Time) (event.Event, error) { return e.Publish(by, now) },
		func(_, after event.Event) messaging.Payload {
			return events.EventPublished{EventDetails: payload(after)}
		})
}

// Change changes the event's details and publishes EVENT_UPDATED with the previous ones. Its errors are those of
// event.Event.Change.
func (s *Store) Change(ctx context.Context, id uuid.UUID, by identity.User, c event.Change) (event.Event, error) {
	return s.change(ctx, id,
		func(e event.Event, now time.Time) (event.Event, error) { return e.Change(by, now, c) },
		func(before, after event.Event) messaging.Payload {
			details := payload(after)
			details.Previous = holderDetails(before)
			return events.EventUpdated{EventDetails: details}
		})
}

// Postpone moves the event to another date and publishes EVENT_UPDATED with both dates and the reason. Its errors are
// those of event.Event.Postpone.
func (s *Store) Postpone(
	ctx context.Context, id uuid.UUID, by identity.User, date time.Time, reason string,
) (event.Event, error) {
	return s.change(ctx, id,
		func(e event.Event, now time.Time) (event.Event, error) { return e.Postpone(by, now, date) },
		func(before, after event.Event) messaging.Payload {
			details := payload(after)
			details.Previous = holderDetails(before)
			details.PostponedFrom, details.Reason = &before.Date, reason
			return events.EventUpdated{EventDetails: details}
		})
}

// Cancel cancels the event and publishes EVENT_CANCELLED with the number of affected tickets, which the caller counted
// while the event had the status counted. Its errors are those of event.Event.Cancel, and event.ErrConcurrentChange if
// the event has another status by now, so that the number may be wrong.
func (s *Store) Cancel(
	ctx context.Context, id uuid.UUID, by identity.User, reason string, counted event.Status, tickets int,
) (event.Event, error) {
	return s.change(ctx, id,
		func(e event.Event, _ time.Time) (event.Event, error) {
			after, err := e.Cancel(by, reason)
			if err == nil && after != e && e.Status != counted {
				return event.Event{}, event.ErrConcurrentChange
			}
			return after, err
		},
		func(_, after event.Event) messaging.Payload {
			return events.EventCancelled{
				EventID: after.ID, EventName: after.Name, OrganizerID: after.OrganizerID,
				CancellationReason: after.CancellationReason, AffectedTicketCount: tickets, UpdatedAt: after.UpdatedAt,
			}
		})
}

// change locks the event, writes the result of decide, and adds the result of announce to the outbox. If the result of
// decide equals the event, it writes nothing. So of several concurrent calls for the same change, one writes and
// announces it, and the others return its result. It returns event.NotFound and the errors of decide.
func (s *Store) change(
	ctx context.Context, id uuid.UUID,
	decide func(e event.Event, now time.Time) (event.Event, error),
	announce func(before, after event.Event) messaging.Payload,
) (event.Event, error) {
	var after event.Event
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// The lock serializes the changes of an event, so that the rules can be Go code in package event.
		before, err := scan(tx.QueryRow(ctx, `SELECT `+columns+` FROM events WHERE id = $1 FOR UPDATE`, id))
		if errors.Is(err, pgx.ErrNoRows) {
			return event.NotFound(id)
		}
		if err != nil {
			return fmt.Errorf("lock event %s: %w", id, err)
		}
		// now() is the start of the transaction, which may have waited for the lock since then.
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
			return fmt.Errorf("change event %s: %w", id, err)
		}
		if after, err = decide(before, now); err != nil || after == before {
			return err
		}
		// updated_at increases with every change, because consumers order an event's changes by it.
		err = tx.QueryRow(ctx, `
			UPDATE events
			SET status = $2, name = $3, description = $4, event_date = $5, venue_name = $6, venue_address = $7,
			    category = $8, image_url = $9, cancellation_reason = $10, postponed_from = $11, end_date = $12,
			    disputed_tickets = $13, time_zone = $14,
			    updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
			WHERE id = $1
			RETURNING updated_at`,
			id, after.Status, after.Name, after.Description, after.Date, after.VenueName, after.VenueAddress,
			after.Category, after.ImageURL, after.CancellationReason, orNull(after.PostponedFrom), orNull(after.EndDate),
			after.DisputedTickets, after.TimeZone).
			Scan(&after.UpdatedAt)
		if err != nil { // including pgx.ErrNoRows, which cannot happen while the row is locked
			return fmt.Errorf("change event %s: %w", id, err)
		}
		after.UpdatedAt = after.UpdatedAt.UTC()
		announcement := announce(before, after)
		if err := outbox.AddTx(ctx, tx, source, announcement); err != nil {
			return err
		}
		// The lock on the event keeps the messages of an event in the order of its changes.
		return outbox.AddToTx(ctx, tx, source, events.TopicEventUpdates, announcement)
	})
	return after, err
}

// orNull returns nil, SQL's NULL, for the zero time.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// payload returns the details of an event as messages carry them.
func payload(e event.Event) events.EventDetails {
	return events.EventDetails{
		EventID: e.ID, OrganizerID: e.OrganizerID, EventName: e.Name, EventDate: e.Date, EndDate: orNull(e.EndDate),
		TimeZone: e.TimeZone, VenueName: e.VenueName, VenueAddress: e.VenueAddress,
		Category: string(e.Category), Status: string(e.Status), UpdatedAt: e.UpdatedAt,
		DisputedTickets: string(e.DisputedTickets.Shown()),
	}
}

// holderDetails returns the details of an event that holders of its tickets have to know.
func holderDetails(e event.Event) *events.HolderDetails {
	return &events.HolderDetails{
		EventName: e.Name, EventDate: e.Date, EndDate: orNull(e.EndDate),
		VenueName: e.VenueName, VenueAddress: e.VenueAddress,
	}
}

// Event returns an event. It returns event.NotFound.
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

// Events returns the events with these ids, in the order of ids. It leaves out unknown ids.
func (s *Store) Events(ctx context.Context, ids []uuid.UUID) ([]event.Event, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+columns+`
		FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (id, position) JOIN events USING (id)
		ORDER BY position`, ids)
	return collect(rows, err)
}

// Published returns a page of the published events that match the search, by date. A search without From leaves out
// events that are over. If there is another page, it returns one event more than the page's limit, for paging.Cut.
func (s *Store) Published(ctx context.Context, search event.Search, page paging.Page) ([]event.Event, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+columns+` FROM events
		WHERE status = 'PUBLISHED'
			AND ($1 = '' OR category = $1)
			AND ($2 = '' OR search @@ event_query($2))
			AND event_date >= coalesce($3::timestamptz, now() - $8::interval) -- bounds the part of the index that is read
			AND ($3 IS NOT NULL OR coalesce(end_date, event_date) > now())
			AND ($4::timestamptz IS NULL OR event_date < $4)
			AND ($5::timestamptz IS NULL OR (event_date, id) > ($5, $6))
		ORDER BY event_date, id LIMIT $7`,
		search.Category, search.Words, orNull(search.From), orNull(search.To), page.After, page.AfterID, page.Limit+1,
		event.MaxDuration)
	return collect(rows, err)
}

// OrganizedBy returns a page of the user's own events, by date. Like Published, it returns one event more than the
// page's limit if there is another page.
func (s *Store) OrganizedBy(ctx context.Context, organizer uuid.UUID, page paging.Page) ([]event.Event, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+columns+` FROM events
		WHERE organizer_id = $1 AND ($2::timestamptz IS NULL OR (event_date, id) > ($2, $3))
		ORDER BY event_date, id LIMIT $4`, organizer, page.After, page.AfterID, page.Limit+1)
	return collect(rows, err)
}

func collect(rows pgx.Rows, err error) ([]event.Event, error) {
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (event.Event, error) { return scan(row) })
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return found, nil
}

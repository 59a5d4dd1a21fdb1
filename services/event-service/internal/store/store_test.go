package store_test

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

type bundle struct {
	store     *store.Store
	pool      *pgxpool.Pool
	organizer identity.User
}

func setup(t *testing.T) *bundle {
	t.Helper()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	return &bundle{
		store: store.New(pool), pool: pool,
		organizer: identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleUser, identity.RoleOrganizer}},
	}
}

func details(date time.Time) event.Details {
	return event.Details{
		Name: "Summer Music Festival", Description: "Annual outdoor festival", Date: date,
		VenueName: "Central Park Amphitheater", VenueAddress: "123 Park Ave, New York, NY 10001",
		Category: event.Music, ImageURL: "https://cdn.example.com/events/770e8400.jpg",
	}
}

// create makes a draft of the bundle's organizer, an hour from now.
func (b *bundle) create(t *testing.T) event.Event {
	t.Helper()
	e, err := b.store.Create(t.Context(), b.organizer.ID, details(time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)))
	require.NoError(t, err)
	return e
}

type announcement struct {
	Type, Subject, OrganizerID string
	Data                       messaging.Envelope[events.EventDetails]
}

// announced gives what the outbox holds, in order.
func (b *bundle) announced(t *testing.T) []announcement {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT cloud_event FROM outbox WHERE topic = 'event-events' ORDER BY position`)
	require.NoError(t, err)
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
	require.NoError(t, err)
	all := make([]announcement, len(bodies))
	for i, body := range bodies {
		require.NoError(t, json.Unmarshal(body, &all[i]))
	}
	return all
}

func requireAnnounces(t *testing.T, eventType string, e event.Event, a announcement) {
	t.Helper()
	require.Equal(t, eventType, a.Type)
	require.Equal(t, eventType, a.Data.EventType)
	require.Equal(t, e.ID.String(), a.Subject)
	require.Equal(t, e.OrganizerID.String(), a.OrganizerID)
	require.Equal(t, events.EventDetails{
		EventID: e.ID, OrganizerID: e.OrganizerID, EventName: e.Name, EventDate: e.Date, VenueName: e.VenueName,
		Category: string(e.Category), Status: string(e.Status), UpdatedAt: e.UpdatedAt,
	}, a.Data.Payload)
}

func TestCreate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	date := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	created, err := b.store.Create(t.Context(), b.organizer.ID, details(date))
	require.NoError(t, err)
	require.NotEqual(t, uuid.Nil, created.ID)
	require.Equal(t, event.Event{
		ID: created.ID, OrganizerID: b.organizer.ID, Status: event.Draft, UpdatedAt: created.UpdatedAt, Details: details(date),
	}, created)

	found, err := b.store.Event(t.Context(), created.ID)
	require.NoError(t, err)
	require.Equal(t, created, found)

	announced := b.announced(t)
	require.Len(t, announced, 1)
	requireAnnounces(t, "EVENT_CREATED", created, announced[0])
}

func TestCreateDateNotFuture(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, date := range []time.Time{time.Now().Add(-time.Second), {}, time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)} {
		_, err := b.store.Create(t.Context(), b.organizer.ID, details(date))
		p, ok := errors.AsType[*problem.Error](err)
		require.True(t, ok, "%v is no problem", err)
		require.Equal(t, "eventDate", p.Field)
	}
	require.Empty(t, b.announced(t))
	var stored int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM events`).Scan(&stored))
	require.Zero(t, stored)
}

func TestPublish(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.create(t)
	published, err := b.store.Publish(t.Context(), created.ID, b.organizer)
	require.NoError(t, err)
	require.True(t, published.UpdatedAt.After(created.UpdatedAt))
	want := created
	want.Status, want.UpdatedAt = event.Published, published.UpdatedAt
	require.Equal(t, want, published)

	again, err := b.store.Publish(t.Context(), created.ID, b.organizer)
	require.NoError(t, err)
	require.Equal(t, published, again)

	announced := b.announced(t)
	require.Len(t, announced, 2)
	requireAnnounces(t, "EVENT_PUBLISHED", published, announced[1])
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		name   string
		change string // SQL
		by     identity.User
		err    error
	}{
		{"AnothersDraft", ``, identity.User{ID: uuid.New()}, event.NotFound(uuid.Nil)},
		{"DatePassed", `UPDATE events SET event_date = now() WHERE id = $1`, b.organizer, event.ErrDatePassed},
		{"Cancelled", `UPDATE events SET status = 'CANCELLED' WHERE id = $1`, b.organizer, event.ErrNotDraft},
		{"Unknown", `DELETE FROM events WHERE id = $1`, b.organizer, event.NotFound(uuid.Nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			created := b.create(t)
			if tt.change != "" {
				_, err := b.pool.Exec(t.Context(), tt.change, created.ID)
				require.NoError(t, err)
			}
			before := len(b.announced(t))
			_, err := b.store.Publish(t.Context(), created.ID, tt.by)
			require.ErrorIs(t, err, tt.err)
			require.Len(t, b.announced(t), before)
		})
	}
}

// Whoever publishes at once, the event changes once and is announced once, and all get the same.
func TestPublishRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.create(t)
	const workers = 8
	published, errs := make([]event.Event, workers), make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { published[i], errs[i] = b.store.Publish(t.Context(), created.ID, b.organizer) })
	}
	wg.Wait()
	for i := range workers {
		require.NoError(t, errs[i])
		require.Equal(t, published[0], published[i])
	}
	announced := b.announced(t)
	require.Len(t, announced, 2)
	requireAnnounces(t, "EVENT_CREATED", created, announced[0])
	requireAnnounces(t, "EVENT_PUBLISHED", published[0], announced[1])
}

func TestEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.create(t), b.create(t)
	for _, tt := range []struct {
		name   string
		ids    []uuid.UUID
		events []event.Event
	}{
		{"InTheOrderAskedFor", []uuid.UUID{second.ID, first.ID}, []event.Event{second, first}},
		{"UnknownLeftOut", []uuid.UUID{uuid.New(), first.ID, uuid.New()}, []event.Event{first}},
		{"SameTwice", []uuid.UUID{first.ID, first.ID}, []event.Event{first, first}},
		{"None", nil, []event.Event{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := b.store.Events(t.Context(), tt.ids)
			require.NoError(t, err)
			require.Equal(t, tt.events, found)
		})
	}
	t.Run("NotFound", func(t *testing.T) {
		_, err := b.store.Event(t.Context(), uuid.New())
		require.ErrorIs(t, err, event.NotFound(uuid.Nil))
	})
}

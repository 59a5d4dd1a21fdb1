package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/eventbooking/eventbooking/services/internal/paging"
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
		TimeZone:  "America/New_York",
		VenueName: "Central Park Amphitheater", VenueAddress: "123 Park Ave, New York, NY 10001",
		Category: event.Music, DisputedTickets: event.SuspendDisputed,
		ImageURL: "https://cdn.example.com/events/770e8400.jpg",
	}
}

// create creates a draft as the bundle's organizer. Its date is in an hour.
func (b *bundle) create(t *testing.T) event.Event {
	t.Helper()
	date := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	e, err := b.store.Create(t.Context(), b.organizer.ID, details(date))
	require.NoError(t, err)
	return e
}

// message is a CloudEvent about an event, other than EVENT_CANCELLED.
type message struct {
	Type, Subject, OrganizerID string
	Data                       messaging.Envelope[events.EventDetails]
}

// outbox returns the CloudEvents in the outbox for event-events, the oldest first.
func (b *bundle) outbox(t *testing.T) []json.RawMessage {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT cloud_event FROM outbox WHERE topic = 'event-events' ORDER BY position`)
	require.NoError(t, err)
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
	require.NoError(t, err)
	return bodies
}

// messages returns the decoded outbox.
func (b *bundle) messages(t *testing.T) []message {
	t.Helper()
	bodies := b.outbox(t)
	all := make([]message, len(bodies))
	for i, body := range bodies {
		require.NoError(t, json.Unmarshal(body, &all[i]))
	}
	return all
}

func (b *bundle) publish(t *testing.T) event.Event {
	t.Helper()
	e, err := b.store.Publish(t.Context(), b.create(t).ID, b.organizer)
	require.NoError(t, err)
	return e
}

// requireMessage asserts that m is of the type and has the details of e.
func requireMessage(t *testing.T, eventType string, e event.Event, m message) {
	t.Helper()
	require.Equal(t, eventType, m.Type)
	require.Equal(t, eventType, m.Data.EventType)
	require.Equal(t, e.ID.String(), m.Subject)
	require.Equal(t, e.OrganizerID.String(), m.OrganizerID)
	require.Equal(t, eventType == "EVENT_UPDATED", m.Data.Payload.Previous != nil)
	m.Data.Payload.Previous = nil
	require.Equal(t, events.EventDetails{
		EventID: e.ID, OrganizerID: e.OrganizerID, EventName: e.Name, EventDate: e.Date, TimeZone: e.TimeZone,
		VenueName: e.VenueName, VenueAddress: e.VenueAddress,
		Category: string(e.Category), Status: string(e.Status), UpdatedAt: e.UpdatedAt,
	}, m.Data.Payload)
}

// The end of an event is stored and published, moves with the start, and can be removed.
func TestEndOfEventIsStoredAndPublished(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := details(time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond))
	d.EndDate = d.Date.Add(3 * time.Hour)
	created, err := b.store.Create(t.Context(), b.organizer.ID, d)
	require.NoError(t, err)
	require.Equal(t, d, created.Details)
	_, err = b.store.Publish(t.Context(), created.ID, b.organizer)
	require.NoError(t, err)
	_, err = b.store.Postpone(t.Context(), created.ID, b.organizer, d.Date.Add(time.Hour), "Storm")
	require.NoError(t, err)
	later := d.EndDate.Add(2 * time.Hour)
	_, err = b.store.Change(t.Context(), created.ID, b.organizer, event.Change{EndDate: &later})
	require.NoError(t, err)
	removed, err := b.store.Change(t.Context(), created.ID, b.organizer,
		event.Change{EndDate: &time.Time{}, TimeZone: new("Europe/Zurich")})
	require.NoError(t, err)
	require.Zero(t, removed.EndDate)
	stored, err := b.store.Event(t.Context(), created.ID)
	require.NoError(t, err)
	require.Equal(t, removed, stored)
	var published []*time.Time
	for _, m := range b.messages(t) {
		published = append(published, m.Data.Payload.EndDate)
	}
	require.Equal(t, []*time.Time{&d.EndDate, &d.EndDate, new(d.EndDate.Add(time.Hour)), &later, nil}, published)
}

// Consumers learn what changed from the message alone, in whatever order messages arrive.
func TestUpdateIsPublishedWithThePreviousDetails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := b.publish(t)
	name, venue, address := "Winter Festival", "Town Hall", "1 Market Square"
	end := before.Date.Add(time.Hour)
	after, err := b.store.Change(t.Context(), before.ID, b.organizer, event.Change{
		Name: &name, VenueName: &venue, VenueAddress: &address, EndDate: &end,
	})
	require.NoError(t, err)
	_, err = b.store.Postpone(t.Context(), before.ID, b.organizer, before.Date.Add(time.Hour), "Storm")
	require.NoError(t, err)
	sent := b.messages(t)
	changed, postponed := sent[len(sent)-2].Data.Payload, sent[len(sent)-1].Data.Payload
	require.Equal(t, &events.HolderDetails{
		EventName: before.Name, EventDate: before.Date, VenueName: before.VenueName, VenueAddress: before.VenueAddress,
	}, changed.Previous)
	require.Equal(t, address, changed.VenueAddress)
	require.Equal(t, &events.HolderDetails{
		EventName: name, EventDate: after.Date, EndDate: &end, VenueName: venue, VenueAddress: address,
	}, postponed.Previous)
	require.Equal(t, end.Add(time.Hour), *postponed.EndDate)
}

// Each message has another id on the ordered topic. EVENT_CREATED is not published there, because nothing precedes it.
func TestChangesArePublishedToTheOrderedTopicToo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.publish(t)
	_, err := b.store.Cancel(t.Context(), e.ID, b.organizer, "Storm", e.Status, 0)
	require.NoError(t, err)
	rows, err := b.pool.Query(t.Context(), `
		SELECT DISTINCT ON (ordered.position) ordered.cloud_event->>'type' FROM outbox ordered JOIN outbox other
		ON other.topic = 'event-events' AND other.id <> ordered.id
			AND other.cloud_event->'data'->>'payload' = ordered.cloud_event->'data'->>'payload'
		WHERE ordered.topic = 'event-updates.fifo' ORDER BY ordered.position`)
	require.NoError(t, err)
	types, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"EVENT_PUBLISHED", "EVENT_CANCELLED"}, types)
}

func TestCreateStoresADraft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	date := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	created, err := b.store.Create(t.Context(), b.organizer.ID, details(date))
	require.NoError(t, err)
	require.NotEqual(t, uuid.Nil, created.ID)
	require.Equal(t, event.Event{
		ID: created.ID, OrganizerID: b.organizer.ID, Status: event.Draft, UpdatedAt: created.UpdatedAt,
		Details: details(date),
	}, created)

	found, err := b.store.Event(t.Context(), created.ID)
	require.NoError(t, err)
	require.Equal(t, created, found)

	sent := b.messages(t)
	require.Len(t, sent, 1)
	requireMessage(t, "EVENT_CREATED", created, sent[0])
}

func TestCreateRejectsADateThatIsNotInTheFuture(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, date := range []time.Time{time.Now().Add(-time.Second), {}, time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)} {
		_, err := b.store.Create(t.Context(), b.organizer.ID, details(date))
		p, ok := errors.AsType[*problem.Error](err)
		require.True(t, ok, "%v is not a *problem.Error", err)
		require.Equal(t, "eventDate", p.Field)
	}
	require.Empty(t, b.messages(t))
	var stored int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM events`).Scan(&stored))
	require.Zero(t, stored)
}

func TestPublishIsIdempotent(t *testing.T) {
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

	sent := b.messages(t)
	require.Len(t, sent, 2)
	requireMessage(t, "EVENT_PUBLISHED", published, sent[1])
}

func TestPublishRejectsAndPublishesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		name   string
		change string // SQL
		by     identity.User
		err    error
	}{
		{"OthersDraft", ``, identity.User{ID: uuid.New()}, event.NotFound(uuid.Nil)},
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
			before := len(b.messages(t))
			_, err := b.store.Publish(t.Context(), created.ID, tt.by)
			require.ErrorIs(t, err, tt.err)
			require.Len(t, b.messages(t), before)
		})
	}
}

// One of the concurrent calls changes the event and publishes the message. All return the same event.
func TestConcurrentPublishChangesTheEventOnce(t *testing.T) {
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
	sent := b.messages(t)
	require.Len(t, sent, 2)
	requireMessage(t, "EVENT_CREATED", created, sent[0])
	requireMessage(t, "EVENT_PUBLISHED", published[0], sent[1])
}

func TestEventsReturnsTheKnownEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.create(t), b.create(t)
	for _, tt := range []struct {
		name   string
		ids    []uuid.UUID
		events []event.Event
	}{
		{"InTheOrderOfTheIDs", []uuid.UUID{second.ID, first.ID}, []event.Event{second, first}},
		{"UnknownLeftOut", []uuid.UUID{uuid.New(), first.ID, uuid.New()}, []event.Event{first}},
		{"SameIDTwice", []uuid.UUID{first.ID, first.ID}, []event.Event{first, first}},
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

func TestChangePublishesOnlyRealChanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	published := b.publish(t)
	before := len(b.messages(t))

	same, err := b.store.Change(t.Context(), published.ID, b.organizer, event.Change{Name: &published.Name})
	require.NoError(t, err)
	require.Equal(t, published, same)
	require.Len(t, b.messages(t), before)

	changed, err := b.store.Change(t.Context(), published.ID, b.organizer, event.Change{Name: new("Winter Festival")})
	require.NoError(t, err)
	require.True(t, changed.UpdatedAt.After(published.UpdatedAt))
	want := published
	want.Name, want.UpdatedAt = "Winter Festival", changed.UpdatedAt
	require.Equal(t, want, changed)
	found, err := b.store.Event(t.Context(), published.ID)
	require.NoError(t, err)
	require.Equal(t, changed, found)
	sent := b.messages(t)
	require.Len(t, sent, before+1)
	requireMessage(t, "EVENT_UPDATED", changed, sent[before])

	_, err = b.store.Change(t.Context(), uuid.New(), b.organizer, event.Change{})
	require.ErrorIs(t, err, event.NotFound(uuid.Nil))
	_, err = b.store.Change(t.Context(), published.ID, b.organizer, event.Change{Name: new("")})
	require.Error(t, err)
	require.Len(t, b.messages(t), before+1)
}

func TestChangeRejectsADateThatIsNotInTheFuture(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.create(t)
	_, err := b.store.Change(t.Context(), created.ID, b.organizer, event.Change{Date: new(time.Now().Add(-time.Second))})
	require.ErrorIs(t, err, event.ErrDateNotFuture)
	date := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Microsecond)
	changed, err := b.store.Change(t.Context(), created.ID, b.organizer, event.Change{Date: &date})
	require.NoError(t, err)
	require.Equal(t, date, changed.Date)
}

func TestPostponeIsIdempotentAndPublishesBothDates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	published := b.publish(t)
	before := len(b.messages(t))
	date := published.Date.Add(24 * time.Hour)

	for range 2 {
		postponed, err := b.store.Postpone(t.Context(), published.ID, b.organizer, date, "Storm")
		require.NoError(t, err)
		require.Equal(t, date, postponed.Date)
		require.Equal(t, published.Date, postponed.PostponedFrom)
		found, err := b.store.Event(t.Context(), published.ID)
		require.NoError(t, err)
		require.Equal(t, postponed, found)
	}
	sent := b.messages(t)
	require.Len(t, sent, before+1)
	require.Equal(t, "EVENT_UPDATED", sent[before].Type)
	payload := sent[before].Data.Payload
	require.Equal(t, date, payload.EventDate)
	require.Equal(t, &published.Date, payload.PostponedFrom)
	require.Equal(t, "Storm", payload.Reason)

	_, err := b.store.Postpone(t.Context(), published.ID, b.organizer, time.Now(), "Storm")
	require.ErrorIs(t, err, event.ErrDateNotFuture)
}

// One of the concurrent calls cancels the event, with its reason, and publishes the message.
func TestConcurrentCancelChangesTheEventOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	published := b.publish(t)
	before := len(b.messages(t))
	const workers = 8
	cancelled, errs := make([]event.Event, workers), make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			reason := fmt.Sprint("Reason ", i)
			cancelled[i], errs[i] = b.store.Cancel(t.Context(), published.ID, b.organizer, reason, event.Published, 150)
		})
	}
	wg.Wait()
	for i := range workers {
		require.NoError(t, errs[i])
		require.Equal(t, cancelled[0], cancelled[i])
	}
	require.Equal(t, event.Cancelled, cancelled[0].Status)

	bodies := b.outbox(t)[before:]
	require.Len(t, bodies, 1)
	var cancellation struct {
		Data messaging.Envelope[events.EventCancelled]
	}
	require.NoError(t, json.Unmarshal(bodies[0], &cancellation))
	require.Equal(t, "EVENT_CANCELLED", cancellation.Data.EventType)
	require.Equal(t, events.EventCancelled{
		EventID: published.ID, EventName: published.Name, OrganizerID: b.organizer.ID,
		CancellationReason: cancelled[0].CancellationReason, AffectedTicketCount: 150, UpdatedAt: cancelled[0].UpdatedAt,
	}, cancellation.Data.Payload)
}

// A draft that is published while its organizer cancels it may have sold tickets that were not counted.
func TestCancelRejectsACountOfAnotherStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	published := b.publish(t)
	_, err := b.store.Cancel(t.Context(), published.ID, b.organizer, "Storm", event.Draft, 0)
	require.ErrorIs(t, err, event.ErrConcurrentChange)
	found, err := b.store.Event(t.Context(), published.ID)
	require.NoError(t, err)
	require.Equal(t, published, found)
}

func TestPublishedMatchesTheSearch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	day := time.Date(2099, 7, 15, 18, 0, 0, 0, time.UTC)
	publish := func(name, description, venue string, category event.Category, date time.Time) uuid.UUID {
		d := details(date)
		d.Name, d.Description, d.VenueName, d.Category = name, description, venue, category
		e, err := b.store.Create(t.Context(), b.organizer.ID, d)
		require.NoError(t, err)
		_, err = b.store.Publish(t.Context(), e.ID, b.organizer)
		require.NoError(t, err)
		return e.ID
	}
	jazz := publish("Jazz Night", "Trumpets", "Blue Note", event.Music, day.AddDate(0, 0, 2))
	opera := publish("Opera Night", "Sopranos", "Scala", event.Theater, day)
	rock := publish("Rock am Ring", "Loud. Trumpets too!", "Nürburgring", event.Music, day.AddDate(0, 0, 1))
	lodz := publish("Festiwal w ŁODZI", "O'Connor's Zürcher Straße; ПРАЗДНИК", "Hall \\1",
		event.Festival, day.AddDate(0, 0, 3))
	gone := publish("Gone Night", "Trumpets", "Nowhere", event.Music, day)
	_, err := b.store.Cancel(t.Context(), gone, b.organizer, "Storm", event.Published, 0)
	require.NoError(t, err)
	b.create(t) // a draft

	for _, tt := range []struct {
		name   string
		search event.Search
		found  []uuid.UUID
	}{
		{"AllByDate", event.Search{}, []uuid.UUID{opera, rock, jazz, lodz}},
		{"Category", event.Search{Category: event.Music}, []uuid.UUID{rock, jazz}},
		{"WordOfTheName", event.Search{Words: "NIGHT"}, []uuid.UUID{opera, jazz}},
		{"WordOfTheDescription", event.Search{Words: "trumpets"}, []uuid.UUID{rock, jazz}},
		{"WordOfTheVenue", event.Search{Words: "Nürburgring"}, []uuid.UUID{rock}},
		{"WordOfTheAddress", event.Search{Words: "York"}, []uuid.UUID{opera, rock, jazz, lodz}},
		{"BeginningOfAWord", event.Search{Words: "nürb"}, []uuid.UUID{rock}},
		{"BeginningsOfWords", event.Search{Words: "tru jaz"}, []uuid.UUID{jazz}},
		{"EndOfAWord", event.Search{Words: "ring umpets"}, nil},
		{"WithoutAccents", event.Search{Words: "nurburgring"}, []uuid.UUID{rock}},
		{"WithAccents", event.Search{Words: "jázz"}, []uuid.UUID{jazz}},
		{"Decomposed", event.Search{Words: "Nu\u0308rburgring"}, []uuid.UUID{rock}},
		{"StrokeInLowerCase", event.Search{Words: "łodzi"}, []uuid.UUID{lodz}},
		{"WithoutStroke", event.Search{Words: "lodzi"}, []uuid.UUID{lodz}},
		{"Umlaut", event.Search{Words: "zurcher"}, []uuid.UUID{lodz}},
		{"SharpS", event.Search{Words: "STRASSE"}, []uuid.UUID{lodz}},
		{"Cyrillic", event.Search{Words: "праздник"}, []uuid.UUID{lodz}},
		{"Apostrophe", event.Search{Words: "o'conn"}, []uuid.UUID{lodz}},
		{"Backslash", event.Search{Words: `hall \1`}, []uuid.UUID{lodz}},
		{"AllWords", event.Search{Words: "night trumpets"}, []uuid.UUID{jazz}},
		{"NoSuchWord", event.Search{Words: "ballet"}, nil},
		{"OperatorsAreIgnored", event.Search{Words: "night & !trumpets | :* <-> ' \\"}, []uuid.UUID{jazz}},
		{"NoWords", event.Search{Words: "!!!"}, nil},
		{"From", event.Search{From: day.AddDate(0, 0, 1)}, []uuid.UUID{rock, jazz, lodz}},
		{"BeforeTo", event.Search{To: day.AddDate(0, 0, 1)}, []uuid.UUID{opera}},
		{"Everything", event.Search{
			Category: event.Music, Words: "loud", From: day, To: day.AddDate(0, 0, 9),
		}, []uuid.UUID{rock}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := b.store.Published(t.Context(), tt.search, paging.Page{Limit: 10})
			require.NoError(t, err)
			require.Equal(t, tt.found, ids(found))
		})
	}

	t.Run("OneMoreThanThePage", func(t *testing.T) {
		found, err := b.store.Published(t.Context(), event.Search{}, paging.Page{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, []uuid.UUID{opera, rock}, ids(found))
		next := paging.Page{Limit: 1, After: &found[0].Date, AfterID: opera}
		found, err = b.store.Published(t.Context(), event.Search{}, next)
		require.NoError(t, err)
		require.Equal(t, []uuid.UUID{rock, jazz}, ids(found))
	})
}

func TestPublishedLeavesOutEventsThatAreOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var published []uuid.UUID
	for range 4 {
		published = append(published, b.publish(t).ID)
	}
	for i, times := range []string{
		"event_date = now() - interval '1 hour'",
		"event_date = now() - interval '3 days', end_date = now() - interval '1 hour'",
		"event_date = now() - interval '365 days', end_date = now() + interval '1 hour'",
		"event_date = now() + interval '1 hour'",
	} {
		_, err := b.pool.Exec(t.Context(), "UPDATE events SET "+times+" WHERE id = $1", published[i])
		require.NoError(t, err)
	}
	found, err := b.store.Published(t.Context(), event.Search{}, paging.Page{Limit: 10})
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{published[2], published[3]}, ids(found))
	found, err = b.store.Published(t.Context(), event.Search{From: time.Now().AddDate(-2, 0, 0)}, paging.Page{Limit: 10})
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{published[2], published[1], published[0], published[3]}, ids(found))
}

// Events with the same date are ordered by id, so that none is skipped or repeated.
func TestOrganizedByPagesEventsWithTheSameDate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	date := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	want := map[uuid.UUID]bool{}
	for range 5 {
		e, err := b.store.Create(t.Context(), b.organizer.ID, details(date))
		require.NoError(t, err)
		want[e.ID] = true
	}
	_, err := b.store.Create(t.Context(), uuid.New(), details(date))
	require.NoError(t, err)

	page := paging.Page{Limit: 2}
	for range 3 {
		found, err := b.store.OrganizedBy(t.Context(), b.organizer.ID, page)
		require.NoError(t, err)
		for _, e := range found[:min(page.Limit, len(found))] {
			require.True(t, want[e.ID], "%s belongs to another organizer or is repeated", e.ID)
			delete(want, e.ID)
			page.After, page.AfterID = &e.Date, e.ID
		}
	}
	require.Empty(t, want)
}

func ids(found []event.Event) []uuid.UUID {
	var all []uuid.UUID
	for _, e := range found {
		all = append(all, e.ID)
	}
	return all
}

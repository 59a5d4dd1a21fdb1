package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/analytics-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

type bundle struct {
	store *store.Store
	pool  *pgxpool.Pool
	event sales.Event
	types [2]uuid.UUID // ordered by id
}

func setup(t *testing.T) bundle {
	t.Helper()
	t.Parallel()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	return bundle{
		store: store.New(pool), pool: pool,
		event: sales.Event{
			ID: uuid.New(), OrganizerID: uuid.New(), Name: "Festival", Status: "DRAFT",
			UpdatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		},
		types: [2]uuid.UUID{
			uuid.MustParse("10000000-0000-4000-8000-000000000000"),
			uuid.MustParse("20000000-0000-4000-8000-000000000000"),
		},
	}
}

func message() store.Message { return store.Message{ID: uuid.New(), Type: "TEST"} }

var noon = time.Date(2026, 1, 3, 12, 0, 0, 0, time.UTC)

// order returns a paid order of one ticket of each type, for 1.00 and 2.00, in the hour of noon.
func (b bundle) order() sales.Change {
	return sales.Change{
		EventID: b.event.ID, Currency: "USD", OrdersCompleted: 1, At: noon.Add(time.Minute),
		ByTicketType: []sales.TypeSales{
			{TicketTypeID: b.types[0], Tickets: 1, Revenue: 100}, {TicketTypeID: b.types[1], Tickets: 1, Revenue: 200},
		},
	}
}

// report returns the report of the bundle's event with times in UTC.
func (b bundle) report(t *testing.T) sales.Report {
	t.Helper()
	r, err := b.store.Report(t.Context(), b.event.ID)
	require.NoError(t, err)
	r.Event.UpdatedAt = r.Event.UpdatedAt.UTC()
	for i := range r.ByHour {
		r.ByHour[i].Hour = r.ByHour[i].Hour.UTC()
	}
	return r
}

func TestReportSumsAllChanges(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Put(t.Context(), message(), b.event))
	none := sales.Report{Event: b.event, ByTicketType: []sales.TypeSales{}, ByHour: []sales.HourSales{}}
	require.Equal(t, none, b.report(t), "before the first sale")

	later := b.order()
	later.At = noon.Add(2 * time.Hour)
	for _, c := range []sales.Change{
		later,
		b.order(),
		{EventID: b.event.ID, OrdersFailed: 1},
		{EventID: b.event.ID, TicketsGenerated: 2},
		{EventID: b.event.ID, Currency: "USD", Refunds: 1, Refunded: 300},
		sales.Cancellation(b.event.ID, b.types[0], true),
		sales.Cancellation(b.event.ID, b.types[1], false),
		sales.CheckIn(b.event.ID, b.types[0], later.At.Add(time.Hour)),
		sales.CheckIn(b.event.ID, b.types[1], later.At.Add(59*time.Minute)),
	} {
		require.NoError(t, b.store.Add(t.Context(), message(), c))
	}
	r := b.report(t)
	require.Equal(t, sales.Report{
		Event: b.event, Currency: "USD", OrdersCompleted: 2, OrdersFailed: 1, TicketsGenerated: 2, TicketsCancelled: 2,
		Refunds: 1, Refunded: 300,
		ByTicketType: []sales.TypeSales{
			{TicketTypeID: b.types[0], Tickets: 2, Revenue: 200, CheckedIn: 1, Refunded: 1},
			{TicketTypeID: b.types[1], Tickets: 2, Revenue: 400, CheckedIn: 1},
		},
		ByHour: []sales.HourSales{
			{Hour: noon, Tickets: 2, Revenue: 300},
			{Hour: noon.Add(2 * time.Hour), Tickets: 2, Revenue: 300, CheckedIn: 1},
			{Hour: noon.Add(3 * time.Hour), CheckedIn: 1},
		},
	}, r)
	require.EqualValues(t, 4, r.Tickets())
	require.EqualValues(t, 600, r.Revenue())
	require.EqualValues(t, 2, r.CheckedIn())
}

// payment-service announces a paid order again, with another event id, if no tickets were generated for it.
func TestFactReportedTwiceCountsOnce(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Put(t.Context(), message(), b.event))
	order := uuid.New()
	for range 2 {
		m := message()
		m.Fact = order
		require.NoError(t, b.store.Add(t.Context(), m, b.order()))
	}
	other := message()
	other.Fact, other.Type = order, "TICKETS_GENERATED"
	require.NoError(t, b.store.Add(t.Context(), other, sales.Change{EventID: b.event.ID, TicketsGenerated: 2}))

	r := b.report(t)
	require.EqualValues(t, 1, r.OrdersCompleted)
	require.EqualValues(t, 2, r.Tickets())
	require.EqualValues(t, 2, r.TicketsGenerated, "another event type reports another fact of the same order")
}

func TestReportOfUnknownEventIsNotFound(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Put(t.Context(), message(), b.event))
	_, err := b.store.Report(t.Context(), uuid.New())
	require.ErrorIs(t, err, sales.ErrNotFound)
}

// Order is kept in a topic, not between topics: a refund may arrive before its sale, and both before their event.
func TestChangesMayArriveBeforeTheirEvent(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Add(t.Context(), message(), sales.Change{EventID: b.event.ID, OrdersFailed: 1}))
	refund := sales.Change{EventID: b.event.ID, Currency: "USD", Refunded: 300}
	require.NoError(t, b.store.Add(t.Context(), message(), refund))
	require.NoError(t, b.store.Add(t.Context(), message(), sales.CheckIn(b.event.ID, b.types[0], noon)))
	require.NoError(t, b.store.Add(t.Context(), message(), b.order()))
	_, err := b.store.Report(t.Context(), b.event.ID)
	require.ErrorIs(t, err, sales.ErrNotFound, "the organizer is not known yet")

	require.NoError(t, b.store.Put(t.Context(), message(), b.event))
	r := b.report(t)
	require.EqualValues(t, 1, r.OrdersCompleted)
	require.EqualValues(t, 1, r.OrdersFailed)
	require.EqualValues(t, 300, r.Refunded)
	require.EqualValues(t, 300, r.Revenue())
	require.EqualValues(t, 1, r.CheckedIn())
	require.Equal(t, []sales.HourSales{{Hour: noon, Tickets: 2, Revenue: 300, CheckedIn: 1}}, r.ByHour)
}

func TestDuplicateMessageCountsOnce(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Put(t.Context(), message(), b.event))
	m := message()
	for range 3 {
		require.NoError(t, b.store.Add(t.Context(), m, b.order()))
	}
	require.EqualValues(t, 2, b.report(t).Tickets())
}

func TestConcurrentDuplicatesCountOnce(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Put(t.Context(), message(), b.event))
	m := message()
	var g errgroup.Group
	for range 12 {
		g.Go(func() error { return b.store.Add(t.Context(), m, b.order()) })
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, 2, b.report(t).Tickets())
}

func TestConcurrentOrdersAllCount(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Put(t.Context(), message(), b.event))
	var g errgroup.Group
	const orders = 25
	for range orders {
		g.Go(func() error { return b.store.Add(t.Context(), message(), b.order()) })
	}
	require.NoError(t, g.Wait())
	r := b.report(t)
	require.EqualValues(t, orders, r.OrdersCompleted)
	require.EqualValues(t, 300*orders, r.Revenue())
	require.Equal(t, []sales.HourSales{{Hour: noon, Tickets: 2 * orders, Revenue: 300 * orders}}, r.ByHour)
}

func TestAddRejectsAnotherCurrency(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Put(t.Context(), message(), b.event))
	require.NoError(t, b.store.Add(t.Context(), message(), b.order()))
	before := b.report(t)

	m, euros := message(), b.order()
	euros.Currency = "EUR"
	for range 2 { // the rejected message is not recorded as processed
		require.ErrorIs(t, b.store.Add(t.Context(), m, euros), sales.ErrCurrency)
	}
	require.Equal(t, before, b.report(t))
}

func TestPutKeepsTheLatestVersion(t *testing.T) {
	for _, tt := range []struct {
		name   string
		later  time.Duration
		stored bool
	}{
		{"Newer", time.Microsecond, true},
		{"Stale", -time.Microsecond, false},
		{"OfTheSameTime", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			require.NoError(t, b.store.Put(t.Context(), message(), b.event))
			other := b.event
			other.Name, other.Status, other.UpdatedAt = "Renamed", "PUBLISHED", other.UpdatedAt.Add(tt.later)
			require.NoError(t, b.store.Put(t.Context(), message(), other))
			want := b.event
			if tt.stored {
				want = other
			}
			require.Equal(t, want, b.report(t).Event)
		})
	}
}

func TestTotalsListsOwnEventsByPage(t *testing.T) {
	b := setup(t)
	var created []uuid.UUID // the last one first
	for range 5 {
		e := b.event
		e.ID = uuid.New()
		require.NoError(t, b.store.Put(t.Context(), message(), e))
		created = slices.Insert(created, 0, e.ID)
	}
	other := b.event
	other.OrganizerID = uuid.New()
	require.NoError(t, b.store.Put(t.Context(), message(), other))
	b.event.ID = created[1]
	require.NoError(t, b.store.Add(t.Context(), message(), b.order()))
	require.NoError(t, b.store.Add(t.Context(), message(), sales.Change{
		EventID: b.event.ID, Currency: "USD", Refunds: 1, Refunded: 100,
	}))
	require.NoError(t, b.store.Add(t.Context(), message(), sales.CheckIn(b.event.ID, b.types[0], noon)))

	var listed []uuid.UUID
	page := paging.Page{Limit: 2}
	for range 3 {
		found, err := b.store.Totals(t.Context(), b.event.OrganizerID, page)
		require.NoError(t, err)
		require.LessOrEqual(t, len(found), 3)
		for _, totals := range found[:min(2, len(found))] {
			listed = append(listed, totals.EventID)
			page.After, page.AfterID = new(totals.KnownSince), totals.EventID
			if totals.EventID == b.event.ID {
				totals.KnownSince = time.Time{}
				require.Equal(t, sales.Totals{
					EventID: b.event.ID, Name: "Festival", Status: "DRAFT", Currency: "USD",
					Tickets: 2, Revenue: 300, Refunded: 100, CheckedIn: 1,
				}, totals)
			}
		}
	}
	require.Equal(t, created, listed)
}

func TestReportHasTheLastHours(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Put(t.Context(), message(), b.event))
	require.NoError(t, b.store.Add(t.Context(), message(), b.order()))
	_, err := b.pool.Exec(t.Context(), `
		INSERT INTO hourly_sales (event_id, hour, tickets, revenue_minor, checked_in)
		SELECT $1, $2::timestamptz - n * interval '1 hour', 1, 100, 0 FROM generate_series(1, $3) n`,
		b.event.ID, noon, sales.MaxHours)
	require.NoError(t, err)
	r := b.report(t)
	require.Len(t, r.ByHour, sales.MaxHours)
	require.Equal(t, noon, r.ByHour[sales.MaxHours-1].Hour)
	require.Equal(t, noon.Add(-(sales.MaxHours-1)*time.Hour), r.ByHour[0].Hour)
}

package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/analytics-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

type bundle struct {
	store.Store
	event sales.Event
	types [2]uuid.UUID
}

func setup(t *testing.T) bundle {
	t.Helper()
	t.Parallel()
	return bundle{
		Store: store.Store{Pool: postgrestest.New(t, messaging.Migrations(), store.Migrations())},
		event: sales.Event{
			ID: uuid.New(), OrganizerID: uuid.New(), Name: "Festival", Status: "DRAFT",
			UpdatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		},
		// In the order of their ids.
		types: [2]uuid.UUID{uuid.MustParse("10000000-0000-4000-8000-000000000000"), uuid.MustParse("20000000-0000-4000-8000-000000000000")},
	}
}

func message() store.Message { return store.Message{ID: uuid.New(), Type: "TEST"} }

// order is a paid order of one ticket of each type, for 1.00 and 2.00.
func (b bundle) order() sales.Change {
	return sales.Change{EventID: b.event.ID, Currency: "USD", OrdersCompleted: 1, Sold: []sales.TypeSales{
		{TicketTypeID: b.types[0], Tickets: 1, Revenue: 100}, {TicketTypeID: b.types[1], Tickets: 1, Revenue: 200},
	}}
}

func (b bundle) report(t *testing.T) sales.Report {
	t.Helper()
	r, err := b.Report(t.Context(), b.event.ID)
	require.NoError(t, err)
	r.Event.UpdatedAt = r.Event.UpdatedAt.UTC()
	return r
}

func TestReport(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.Put(t.Context(), message(), b.event))
	require.Equal(t, sales.Report{Event: b.event, ByTicketType: []sales.TypeSales{}}, b.report(t), "nothing sold yet")

	for _, c := range []sales.Change{
		b.order(),
		b.order(),
		{EventID: b.event.ID, OrdersFailed: 1},
		{EventID: b.event.ID, TicketsGenerated: 2},
		{EventID: b.event.ID, Currency: "USD", Refunded: 300},
	} {
		require.NoError(t, b.Add(t.Context(), message(), c))
	}
	r := b.report(t)
	require.Equal(t, sales.Report{
		Event: b.event, Currency: "USD", OrdersCompleted: 2, OrdersFailed: 1, TicketsGenerated: 2, Refunded: 300,
		ByTicketType: []sales.TypeSales{
			{TicketTypeID: b.types[0], Tickets: 2, Revenue: 200}, {TicketTypeID: b.types[1], Tickets: 2, Revenue: 400},
		},
	}, r)
	require.EqualValues(t, 4, r.Tickets())
	require.EqualValues(t, 600, r.Revenue())
}

func TestReportOfAnotherEvent(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.Put(t.Context(), message(), b.event))
	_, err := b.Report(t.Context(), uuid.New())
	require.ErrorIs(t, err, sales.ErrNotFound)
}

// Each topic comes by its own way: a refund may be here before its sale, and both before their event.
func TestAnyOrder(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.Add(t.Context(), message(), sales.Change{EventID: b.event.ID, OrdersFailed: 1}))
	require.NoError(t, b.Add(t.Context(), message(), sales.Change{EventID: b.event.ID, Currency: "USD", Refunded: 300}))
	require.NoError(t, b.Add(t.Context(), message(), b.order()))
	_, err := b.Report(t.Context(), b.event.ID)
	require.ErrorIs(t, err, sales.ErrNotFound, "whose it is, is not known yet")

	require.NoError(t, b.Put(t.Context(), message(), b.event))
	r := b.report(t)
	require.EqualValues(t, 1, r.OrdersCompleted)
	require.EqualValues(t, 1, r.OrdersFailed)
	require.EqualValues(t, 300, r.Refunded)
	require.EqualValues(t, 300, r.Revenue())
}

func TestDuplicate(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.Put(t.Context(), message(), b.event))
	m := message()
	for range 3 {
		require.NoError(t, b.Add(t.Context(), m, b.order()))
	}
	require.EqualValues(t, 2, b.report(t).Tickets())
}

func TestDuplicatesAtOnce(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.Put(t.Context(), message(), b.event))
	m := message()
	var g errgroup.Group
	for range 12 {
		g.Go(func() error { return b.Add(t.Context(), m, b.order()) })
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, 2, b.report(t).Tickets())
}

func TestOrdersAtOnce(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.Put(t.Context(), message(), b.event))
	var g errgroup.Group
	const orders = 25
	for range orders {
		g.Go(func() error { return b.Add(t.Context(), message(), b.order()) })
	}
	require.NoError(t, g.Wait())
	r := b.report(t)
	require.EqualValues(t, orders, r.OrdersCompleted)
	require.EqualValues(t, 300*orders, r.Revenue())
}

func TestAnotherCurrency(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.Put(t.Context(), message(), b.event))
	require.NoError(t, b.Add(t.Context(), message(), b.order()))
	before := b.report(t)

	m, euros := message(), b.order()
	euros.Currency = "EUR"
	for range 2 { // the refused message is not taken for processed
		require.ErrorIs(t, b.Add(t.Context(), m, euros), sales.ErrCurrency)
	}
	require.Equal(t, before, b.report(t))
}

func TestPut(t *testing.T) {
	for _, tt := range []struct {
		name  string
		later time.Duration
		taken bool
	}{
		{"Newer", time.Microsecond, true},
		{"Stale", -time.Microsecond, false},
		{"OfTheSameTime", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			require.NoError(t, b.Put(t.Context(), message(), b.event))
			other := b.event
			other.Name, other.Status, other.UpdatedAt = "Renamed", "PUBLISHED", other.UpdatedAt.Add(tt.later)
			require.NoError(t, b.Put(t.Context(), message(), other))
			want := b.event
			if tt.taken {
				want = other
			}
			require.Equal(t, want, b.report(t).Event)
		})
	}
}

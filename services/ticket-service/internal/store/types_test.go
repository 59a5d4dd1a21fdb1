package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func TestCreateTypeRefusesDuplicatesAndMixedCurrencies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	newType := func(name string, c money.Currency) ticket.Type {
		return ticket.Type{
			ID: uuid.New(), EventID: b.event, Name: name, Price: money.Of(50_00, c), Capacity: 10,
		}
	}
	create := func(y ticket.Type) error {
		_, err := b.store.CreateType(t.Context(), y)
		return err
	}
	vip, seat := newType("VIP", "USD"), newType("Seat", "USD")
	for _, y := range []ticket.Type{vip, seat} {
		created, err := b.store.CreateType(t.Context(), y)
		require.NoError(t, err)
		require.Equal(t, y, created)
	}
	types, err := b.store.Types(t.Context(), b.event)
	require.NoError(t, err)
	require.Equal(t, []ticket.Type{vip, seat}, types)

	require.ErrorIs(t, create(newType("VIP", "USD")), ticket.ErrTypeExists)
	require.ErrorIs(t, create(newType("Balcony", "EUR")), ticket.ErrCurrencyMixed)
	elsewhere := newType("VIP", "USD")
	elsewhere.EventID = uuid.New()
	require.ErrorIs(t, create(elsewhere), ticket.ErrEventNotFound)

	types, err = b.store.Types(t.Context(), elsewhere.EventID)
	require.NoError(t, err)
	require.Empty(t, types)
}

func TestConcurrentTypesHaveOneCurrency(t *testing.T) {
	t.Parallel()
	b := setup(t)
	currencies := []money.Currency{"USD", "EUR"}
	errs := race(connections, func(i int) error {
		_, err := b.store.CreateType(t.Context(), ticket.Type{
			ID: uuid.New(), EventID: b.event, Name: uuid.NewString(), Price: money.Of(1_00, currencies[i%2]), Capacity: 1,
		})
		return err
	})
	refused := 0
	for _, err := range errs {
		if errors.Is(err, ticket.ErrCurrencyMixed) {
			refused++
			continue
		}
		require.NoError(t, err)
	}
	require.Equal(t, connections/2, refused)
	types, err := b.store.Types(t.Context(), b.event)
	require.NoError(t, err)
	require.Len(t, types, connections/2)
	for _, y := range types {
		require.Equal(t, types[0].Price.Currency, y.Price.Currency)
	}
}

// onSale reports whether a type of the bundle's event is on sale now.
func (b *bundle) onSale(t *testing.T, y ticket.Type) bool {
	t.Helper()
	e, err := b.store.Event(t.Context(), b.event)
	require.NoError(t, err)
	return y.CheckSale(e, e.ReadAt) == nil
}

func TestCreateTypeStoresTermsOfSale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	create := func(start, end *time.Time) (ticket.Type, error) {
		return b.store.CreateType(t.Context(), ticket.Type{
			ID: uuid.New(), EventID: b.event, Name: uuid.NewString(), Price: money.Of(50_00, "USD"), Capacity: 10,
			SalesStart: start, SalesEnd: end, MaxPerOrder: new(4), MaxPerPerson: new(6),
		})
	}
	for _, tt := range []struct {
		name       string
		start, end *time.Time
		onSale     bool
	}{
		{"Started", new(now.Add(-time.Hour)), new(now.Add(time.Hour)), true},
		{"NotStarted", new(now.Add(time.Hour)), new(now.Add(2 * time.Hour)), false},
		{"NoEnd", new(now.Add(-time.Hour)), nil, true},
		{"NoStart", nil, new(now.Add(time.Hour)), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			created, err := create(tt.start, tt.end)
			require.NoError(t, err)
			require.Equal(t, tt.onSale, b.onSale(t, created))
			require.Equal(t, new(4), created.MaxPerOrder)
			require.Equal(t, new(6), created.MaxPerPerson)
			stored, err := b.store.Type(t.Context(), created.ID)
			require.NoError(t, err)
			require.Equal(t, created, stored)
			require.Equal(t, tt.start == nil, stored.SalesStart == nil)
			require.Equal(t, tt.end == nil, stored.SalesEnd == nil)
			if tt.start != nil {
				require.True(t, tt.start.Equal(*stored.SalesStart))
			}
		})
	}
	t.Run("EndInThePast", func(t *testing.T) {
		_, err := create(nil, new(now.Add(-time.Second)))
		require.ErrorIs(t, err, ticket.ErrSalesEndPast)
	})
	t.Run("CancelledEvent", func(t *testing.T) {
		require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
		_, err := create(nil, nil)
		require.ErrorIs(t, err, ticket.ErrEventCancelled)
	})
}

func TestChangeTypeKeepsCapacityAboveSales(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, other := b.newType(t, 10), b.newType(t, 10)
	b.bought(t, kind, 2)
	b.reserved(t, item(kind, 3))
	now := time.Now().UTC().Truncate(time.Microsecond)
	changeTo := func(change func(y *ticket.Type)) (ticket.Type, error) {
		return b.store.ChangeType(t.Context(), kind, func(y ticket.Type) (ticket.Type, error) {
			change(&y)
			return y, nil
		})
	}

	changed, err := changeTo(func(y *ticket.Type) {
		y.Name, y.Price, y.Capacity = "VIP", money.Of(70_00, "USD"), 20
		y.SalesStart, y.SalesEnd, y.MaxPerOrder = new(now.Add(-2*time.Hour)), new(now.Add(-time.Hour)), new(4)
	})
	require.NoError(t, err)
	require.Equal(t, "VIP", changed.Name)
	require.Equal(t, money.Of(70_00, "USD"), changed.Price)
	require.Equal(t, 15, changed.Available())
	require.False(t, b.onSale(t, changed))
	stored, err := b.store.Type(t.Context(), kind)
	require.NoError(t, err)
	require.Equal(t, changed, stored)

	t.Run("TermsRemoved", func(t *testing.T) {
		changed, err := changeTo(func(y *ticket.Type) { y.SalesStart, y.SalesEnd, y.MaxPerOrder = nil, nil, nil })
		require.NoError(t, err)
		require.Nil(t, changed.SalesStart)
		require.Nil(t, changed.SalesEnd)
		require.Nil(t, changed.MaxPerOrder)
		require.True(t, b.onSale(t, changed))
	})
	t.Run("CapacityEqual", func(t *testing.T) {
		changed, err := changeTo(func(y *ticket.Type) { y.Capacity = 5 })
		require.NoError(t, err)
		require.Zero(t, changed.Available())
	})
	t.Run("CapacityBelow", func(t *testing.T) {
		_, err := changeTo(func(y *ticket.Type) { y.Name, y.Capacity = "Cheaper", 4 })
		require.ErrorIs(t, err, ticket.ErrCapacityBelowSold)
		stored, err := b.store.Type(t.Context(), kind)
		require.NoError(t, err)
		require.Equal(t, "VIP", stored.Name) // nothing was changed
	})
	t.Run("DuplicateName", func(t *testing.T) {
		_, err := changeTo(func(y *ticket.Type) { y.Name = other.String() })
		require.ErrorIs(t, err, ticket.ErrTypeExists)
	})
	t.Run("RefusedByTheChange", func(t *testing.T) {
		_, err := b.store.ChangeType(t.Context(), kind, func(y ticket.Type) (ticket.Type, error) {
			return y, ticket.ErrNotOrganizer
		})
		require.ErrorIs(t, err, ticket.ErrNotOrganizer)
	})
	t.Run("Unknown", func(t *testing.T) {
		_, err := b.store.ChangeType(t.Context(), uuid.New(), func(y ticket.Type) (ticket.Type, error) { return y, nil })
		require.ErrorIs(t, err, ticket.ErrTypeNotFound)
		_, err = b.store.Type(t.Context(), uuid.New())
		require.ErrorIs(t, err, ticket.ErrTypeNotFound)
	})
}

// After the start of the event only a type with a later end of sale is sold. Existing reservations and paid orders get
// their tickets.
func TestSalesEndAtTheStartOfTheEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	floor, late := b.newType(t, 10), b.newType(t, 10)
	_, err := b.store.ChangeType(t.Context(), late, func(y ticket.Type) (ticket.Type, error) {
		y.SalesEnd = new(time.Now().Add(time.Hour))
		return y, nil
	})
	require.NoError(t, err)
	before, paid := b.reserved(t, item(floor, 1)), b.reserved(t, item(floor, 2))
	_, err = b.pool.Exec(t.Context(), `UPDATE events SET event_date = now() - interval '1 second'`)
	require.NoError(t, err)

	_, err = b.reserve(t.Context(), uuid.New(), item(floor, 1))
	require.ErrorIs(t, err, ticket.ErrSalesEnded)
	_, err = b.reserve(t.Context(), uuid.New(), item(late, 1), item(floor, 1))
	require.ErrorIs(t, err, ticket.ErrSalesEnded)
	_, err = b.reserve(t.Context(), uuid.New(), item(late, 1))
	require.NoError(t, err)
	_, err = b.reserve(t.Context(), before, item(floor, 1))
	require.NoError(t, err)
	_, err = b.store.Confirm(t.Context(), b.purchase(before))
	require.NoError(t, err)
	require.NoError(t, b.fulfil(t.Context(), uuid.New(), b.purchase(paid)))
	b.requireInventory(t, floor, 3, 0)
	b.requireInventory(t, late, 0, 1)

	// The postponed event is on sale again.
	require.NoError(t, b.publish(t.Context()))
	b.reserved(t, item(floor, 1))
}

// The terms of sale apply to new reservations, and not to existing ones and paid orders.
func TestTermsOfSaleApplyToNewReservations(t *testing.T) {
	t.Parallel()
	past, future := new(time.Now().Add(-time.Hour)), new(time.Now().Add(time.Hour))
	for _, tt := range []struct {
		name       string
		start, end *time.Time
		limit      *int
		quantity   int
		err        error
	}{
		{"NoTerms", nil, nil, nil, 3, nil},
		{"WithinAll", past, future, new(3), 3, nil},
		{"NotStarted", future, nil, nil, 1, ticket.ErrSalesNotStarted},
		{"NotStartedAndTooMany", future, nil, nil, 21, ticket.ErrSalesNotStarted},
		{"Ended", nil, past, nil, 1, ticket.ErrSalesEnded},
		{"OverTheLimit", nil, nil, new(3), 4, ticket.ErrOrderLimit},
		{"TooMany", past, future, new(100), 21, ticket.ErrInsufficientInventory},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			kind, other := b.newType(t, 10), b.newType(t, 10)
			before, late := b.reserved(t, item(kind, 5)), b.reserved(t, item(kind, 5))
			b.expire(t, late)
			paid := b.purchase(before)
			_, err := b.store.ChangeType(t.Context(), kind, func(y ticket.Type) (ticket.Type, error) {
				y.Capacity, y.SalesStart, y.SalesEnd, y.MaxPerOrder = 25, tt.start, tt.end, tt.limit
				return y, nil
			})
			require.NoError(t, err)
			_, err = b.reserve(t.Context(), uuid.New(), item(other, 1), item(kind, tt.quantity))
			if tt.err == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tt.err)
			b.requireInventory(t, other, 0, 0)

			// A repeated reserve, a confirm and a late payment are not affected.
			r, err := b.reserve(t.Context(), before, item(kind, 5))
			require.NoError(t, err)
			require.Equal(t, ticket.ReservationActive, r.Status)
			_, err = b.store.Confirm(t.Context(), paid)
			require.NoError(t, err)
			require.NoError(t, b.fulfil(t.Context(), uuid.New(), b.purchase(late)))
			b.requireInventory(t, kind, 10, 0)
		})
	}
}

// In whatever order reservations and changes of the capacity run, the tickets held never exceed the capacity.
func TestConcurrentCapacityChangesNeverOversell(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 40)
	shrunk := 0
	errs := race(60, func(i int) error {
		if i%3 == 0 {
			_, err := b.store.ChangeType(t.Context(), kind, func(y ticket.Type) (ticket.Type, error) {
				y.Capacity = 40 - i/3
				return y, nil
			})
			return err
		}
		_, err := b.reserve(t.Context(), uuid.New(), item(kind, 1))
		return err
	})
	held := 0
	for i, err := range errs {
		switch {
		case i%3 == 0 && !errors.Is(err, ticket.ErrCapacityBelowSold):
			require.NoError(t, err)
			shrunk++
		case i%3 != 0 && !errors.Is(err, ticket.ErrInsufficientInventory):
			require.NoError(t, err)
			held++
		}
	}
	y, err := b.store.Type(t.Context(), kind)
	require.NoError(t, err)
	require.Equal(t, held, y.Held)
	require.GreaterOrEqual(t, y.Available(), 0)
	require.Positive(t, shrunk)
	b.requireInventory(t, kind, 0, held)
}

func TestTicketCountExcludesHeldAndCancelledTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, 10), b.newType(t, 10)
	b.reserved(t, item(vip, 1))
	b.bought(t, seat, 2)
	mine := b.bought(t, vip, 3)
	_, err := b.store.Cancel(t.Context(), mine[0].ID, b.user, "")
	require.NoError(t, err)
	_, err = b.store.CheckIn(t.Context(), mine[1].ID, 1, "")
	require.NoError(t, err)
	n, err := b.store.TicketCount(t.Context(), b.event)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	n, err = b.store.TicketCount(t.Context(), uuid.New())
	require.NoError(t, err)
	require.Zero(t, n)
}

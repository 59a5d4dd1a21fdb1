package ticket_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

var (
	noon = time.Date(2030, 7, 15, 12, 0, 0, 0, time.UTC)

	fifty = money.Of(50_00, "USD")
)

// stock is an inventory with three events, which start in an hour. The types vip, seat and box belong to event; of
// each, three of ten tickets are left.
type stock struct {
	*ticket.Inventory
	event, draft, other       uuid.UUID
	vip, seat, box, elsewhere uuid.UUID
	user                      uuid.UUID
	// Reservations of user: two VIP tickets each.
	active, completed, released, expired, tombstone uuid.UUID
}

func newStock() *stock {
	s := &stock{
		event: uuid.New(), draft: uuid.New(), other: uuid.New(),
		vip: uuid.New(), seat: uuid.New(), box: uuid.New(), elsewhere: uuid.New(),
		user:   uuid.New(),
		active: uuid.New(), completed: uuid.New(), released: uuid.New(), expired: uuid.New(), tombstone: uuid.New(),
	}
	s.Inventory = &ticket.Inventory{
		Now: noon,
		Events: map[uuid.UUID]ticket.Event{
			s.event: {Status: ticket.EventPublished, Date: noon.Add(time.Hour)},
			s.other: {Status: ticket.EventPublished, Date: noon.Add(time.Hour)},
			s.draft: {Status: ticket.EventDraft, Date: noon.Add(time.Hour)},
		},
		Types:        map[uuid.UUID]*ticket.Type{},
		Taken:        map[ticket.Buyer]int{},
		Reservations: map[uuid.UUID]ticket.Reservation{s.tombstone: {ID: s.tombstone, Status: ticket.ReservationCancelled}},
	}
	for id, status := range map[uuid.UUID]ticket.ReservationStatus{
		s.active: ticket.ReservationActive, s.completed: ticket.ReservationCompleted,
		s.released: ticket.ReservationCancelled, s.expired: ticket.ReservationExpired,
	} {
		s.Reservations[id] = ticket.Reservation{
			ID: id, UserID: s.user, EventID: s.event, Status: status,
			Items: []ticket.LineItem{{TypeID: s.vip, Quantity: 2, UnitPrice: fifty}},
		}
	}
	for _, id := range []uuid.UUID{s.vip, s.seat, s.box} {
		s.Types[id] = &ticket.Type{ID: id, EventID: s.event, Price: fifty, Capacity: 10, Sold: 5, Held: 2}
	}
	s.Types[s.elsewhere] = &ticket.Type{ID: s.elsewhere, EventID: s.other, Price: fifty, Capacity: 10}
	return s
}

// request is a new request of the user for tickets of the event.
func (s *stock) request(items ...ticket.LineItem) ticket.Request {
	return ticket.Request{
		ReservationID: uuid.New(), UserID: s.user, EventID: s.event, Hold: ticket.HoldTime, Items: items,
	}
}

// repeat is a request under the id of an existing reservation.
func (s *stock) repeat(id uuid.UUID, items ...ticket.LineItem) ticket.Request {
	q := s.request(items...)
	q.ReservationID = id
	return q
}

// expecting is a request for two VIP tickets and a seat, which cost 150.00 USD, with an expected total.
func (s *stock) expecting(total money.Decimal) ticket.Request {
	q := s.request(item(s.vip, 2), item(s.seat, 1))
	q.ExpectedTotal = total
	return q
}

// limited is a request after a limit per person for VIP tickets, of which the user has taken some.
func (s *stock) limited(limit, taken int, items ...ticket.LineItem) ticket.Request {
	s.Types[s.vip].MaxPerPerson = &limit
	s.Taken[ticket.Buyer{UserID: s.user, TypeID: s.vip}] = taken
	return s.request(items...)
}

func item(typeID uuid.UUID, quantity int) ticket.LineItem {
	return ticket.LineItem{TypeID: typeID, Quantity: quantity}
}

func TestReserveTakesTicketsOrRefuses(t *testing.T) {
	t.Parallel()
	// one requests a VIP ticket after a change of the VIP type.
	one := func(change func(vip *ticket.Type)) func(*stock) ticket.Request {
		return func(s *stock) ticket.Request {
			change(s.Types[s.vip])
			return s.request(item(s.vip, 1))
		}
	}
	// startsIn requests a VIP ticket of an event that starts after d, or has started, after a change of the VIP type.
	startsIn := func(d time.Duration, change func(vip *ticket.Type)) func(*stock) ticket.Request {
		return func(s *stock) ticket.Request {
			s.Events[s.event] = ticket.Event{Status: ticket.EventPublished, Date: noon.Add(d)}
			change(s.Types[s.vip])
			return s.request(item(s.vip, 1))
		}
	}
	at := func(event func(*stock) uuid.UUID) func(*stock) ticket.Request {
		return func(s *stock) ticket.Request {
			q := s.request(item(s.vip, 1))
			q.EventID = event(s)
			return q
		}
	}
	for _, tt := range []struct {
		name    string
		request func(s *stock) ticket.Request
		err     error
	}{
		{"One", func(s *stock) ticket.Request { return s.request(item(s.vip, 1)) }, nil},
		{"AllThatAreLeft", func(s *stock) ticket.Request { return s.request(item(s.vip, 3), item(s.seat, 3)) }, nil},
		{
			"MoreThanAreLeft", func(s *stock) ticket.Request { return s.request(item(s.vip, 4)) },
			ticket.ErrInsufficientInventory,
		},
		{
			"MoreThanAreLeftOfOneType", func(s *stock) ticket.Request { return s.request(item(s.vip, 1), item(s.seat, 4)) },
			ticket.ErrInsufficientInventory,
		},
		{
			"UnknownType", func(s *stock) ticket.Request { return s.request(item(s.vip, 1), item(uuid.New(), 1)) },
			ticket.ErrTypeNotFound,
		},
		{
			"TypeOfAnotherEvent", func(s *stock) ticket.Request { return s.request(item(s.elsewhere, 1)) },
			ticket.ErrTypeNotFound,
		},
		{"DraftEvent", at(func(s *stock) uuid.UUID { return s.draft }), ticket.ErrEventNotOnSale},
		{"UnknownEvent", at(func(*stock) uuid.UUID { return uuid.New() }), ticket.ErrEventNotOnSale},
		{"CancelledEvent", at(func(s *stock) uuid.UUID {
			s.Events[s.event] = ticket.Event{Status: ticket.EventCancelled}
			return s.event
		}), ticket.ErrEventNotOnSale},
		{"SalesStartNow", one(func(vip *ticket.Type) { vip.SalesStart = &noon }), nil},
		{
			"SalesStartSoon", one(func(vip *ticket.Type) { vip.SalesStart = new(noon.Add(time.Microsecond)) }),
			ticket.ErrSalesNotStarted,
		},
		{"SalesEndSoon", one(func(vip *ticket.Type) { vip.SalesEnd = new(noon.Add(time.Microsecond)) }), nil},
		{"SalesEndNow", one(func(vip *ticket.Type) { vip.SalesEnd = &noon }), ticket.ErrSalesEnded},
		{"EventStartsSoon", startsIn(time.Microsecond, func(*ticket.Type) {}), nil},
		{"EventStartsNow", startsIn(0, func(*ticket.Type) {}), ticket.ErrSalesEnded},
		{"EventStarted", startsIn(-time.Hour, func(*ticket.Type) {}), ticket.ErrSalesEnded},
		{"EventStartedAndSalesEndLater", startsIn(-time.Hour, func(vip *ticket.Type) {
			vip.SalesEnd = new(noon.Add(time.Hour))
		}), nil},
		{"EventStartedAndSalesEnded", startsIn(-time.Hour, func(vip *ticket.Type) {
			vip.SalesEnd = new(noon.Add(-time.Minute))
		}), ticket.ErrSalesEnded},
		{"SalesEndBeforeTheEvent", startsIn(time.Hour, func(vip *ticket.Type) {
			vip.SalesEnd = new(noon.Add(-time.Minute))
		}), ticket.ErrSalesEnded},
		{"EventEndedBeforeTheSalesEnd", func(s *stock) ticket.Request {
			s.Events[s.event] = ticket.Event{
				Status: ticket.EventPublished, Date: noon.Add(-time.Hour), EndDate: &noon,
			}
			s.Types[s.vip].SalesEnd = new(noon.Add(time.Hour))
			return s.request(item(s.vip, 1))
		}, ticket.ErrSalesEnded},
		{"AtLimitPerOrder", one(func(vip *ticket.Type) { vip.MaxPerOrder = new(1) }), nil},
		{"BeyondLimitPerOrder", func(s *stock) ticket.Request {
			s.Types[s.vip].MaxPerOrder = new(2)
			return s.request(item(s.vip, 3))
		}, ticket.ErrOrderLimit},
		{"AtLimitPerPerson", func(s *stock) ticket.Request { return s.limited(3, 1, item(s.vip, 2)) }, nil},
		{"BeyondLimitPerPerson", func(s *stock) ticket.Request {
			return s.limited(3, 2, item(s.vip, 2))
		}, ticket.ErrPersonLimit},
		{"MoreThanLimitPerPersonBefore", func(s *stock) ticket.Request {
			return s.limited(3, 5, item(s.vip, 1))
		}, ticket.ErrPersonLimit},
		{"OtherTypeWithoutLimitPerPerson", func(s *stock) ticket.Request { return s.limited(3, 3, item(s.seat, 2)) }, nil},
		{"OneTypeBeyondLimitPerPerson", func(s *stock) ticket.Request {
			return s.limited(3, 3, item(s.seat, 2), item(s.vip, 1))
		}, ticket.ErrPersonLimit},
		{"OtherPerson", func(s *stock) ticket.Request {
			q := s.limited(3, 3, item(s.vip, 3))
			q.UserID = uuid.New()
			return q
		}, nil},
		{"TotalAboveTheLargestCharge", func(s *stock) ticket.Request {
			s.Types[s.vip].Price = money.Of(600_000_00, "USD")
			return s.request(item(s.vip, 2))
		}, ticket.ErrTotalTooLarge},
		{"TotalOfTwoTypesAboveTheLargestCharge", func(s *stock) ticket.Request {
			s.Types[s.vip].Price, s.Types[s.seat].Price = money.Of(600_000_00, "USD"), money.Of(400_000_00, "USD")
			return s.request(item(s.vip, 1), item(s.seat, 1))
		}, ticket.ErrTotalTooLarge},
		{"FreeTickets", func(s *stock) ticket.Request {
			s.Types[s.seat].Price = money.Of(0, "USD")
			return s.request(item(s.seat, 3))
		}, nil},
		{"ExpectedTotal", func(s *stock) ticket.Request { return s.expecting("150.00") }, nil},
		{"ExpectedTotalWithFewerDigits", func(s *stock) ticket.Request { return s.expecting("150") }, nil},
		{"ExpectedTotalIsLower", func(s *stock) ticket.Request { return s.expecting("149.99") }, ticket.ErrPriceChanged},
		{"ExpectedTotalIsHigher", func(s *stock) ticket.Request { return s.expecting("150.01") }, ticket.ErrPriceChanged},
		{
			"ExpectedTotalHasMoreDigitsThanTheCurrency", func(s *stock) ticket.Request { return s.expecting("150.001") },
			ticket.ErrPriceChanged,
		},
		{"ExpectedTotalIsZero", func(s *stock) ticket.Request { return s.expecting("0") }, ticket.ErrPriceChanged},
		{"FreeTicketsExpected", func(s *stock) ticket.Request {
			s.Types[s.vip].Price, s.Types[s.seat].Price = money.Of(0, "USD"), money.Of(0, "USD")
			return s.expecting("0.00")
		}, nil},
		// Tickets that are sold out, or that no card can be charged for, have no price to agree to.
		{"ExpectedTotalOfTooManyTickets", func(s *stock) ticket.Request {
			s.Types[s.vip].Sold = 8
			return s.expecting("1")
		}, ticket.ErrInsufficientInventory},
		// The terms of sale are checked before the inventory, so that tickets not yet on sale never seem sold out.
		{"SalesNotStartedAndSoldOut", one(func(vip *ticket.Type) {
			vip.SalesStart, vip.Sold = new(noon.Add(time.Hour)), 8
		}), ticket.ErrSalesNotStarted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStock()
			q := tt.request(s)
			before := *s.Types[s.vip]
			r, err := s.Reserve(q)
			require.ErrorIs(t, err, tt.err)
			if err != nil {
				require.Empty(t, s.Created)
				require.Equal(t, before, *s.Types[s.vip])
				return
			}
			require.Equal(t, []ticket.Reservation{r}, s.Created)
			require.Equal(t, q.ReservationID, r.ID)
			require.Equal(t, q.UserID, r.UserID)
			require.Equal(t, q.EventID, r.EventID)
			require.Equal(t, ticket.ReservationActive, r.Status)
			require.Equal(t, noon.Add(ticket.HoldTime), r.ExpiresAt)
			require.Equal(t, ticket.Quantity(q.Items), ticket.Quantity(r.Items))
			for _, held := range r.Items {
				require.Equal(t, s.Types[held.TypeID].Price, held.UnitPrice)
				require.Equal(t, 2+held.Quantity, s.Types[held.TypeID].Held)
			}
		})
	}
}

func TestReserveIsIdempotent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		request func(s *stock) ticket.Request
		err     error
	}{
		{"Active", func(s *stock) ticket.Request { return s.repeat(s.active, item(s.vip, 2)) }, nil},
		{"SoldOutSince", func(s *stock) ticket.Request {
			s.Types[s.vip].Capacity = 7
			return s.repeat(s.active, item(s.vip, 2))
		}, nil},
		{"CancelledSince", func(s *stock) ticket.Request {
			s.Events[s.event] = ticket.Event{Status: ticket.EventCancelled}
			return s.repeat(s.active, item(s.vip, 2))
		}, nil},
		{"AtLimitPerPersonSince", func(s *stock) ticket.Request {
			s.limited(2, 2)
			return s.repeat(s.active, item(s.vip, 2))
		}, nil},
		{"Completed", func(s *stock) ticket.Request { return s.repeat(s.completed, item(s.vip, 2)) }, nil},
		{
			"OtherQuantity", func(s *stock) ticket.Request { return s.repeat(s.active, item(s.vip, 1)) },
			ticket.ErrReservationReused,
		},
		{
			"OtherType", func(s *stock) ticket.Request { return s.repeat(s.active, item(s.seat, 2)) },
			ticket.ErrReservationReused,
		},
		{
			"AdditionalType", func(s *stock) ticket.Request { return s.repeat(s.active, item(s.vip, 2), item(s.seat, 1)) },
			ticket.ErrReservationReused,
		},
		{"OtherEvent", func(s *stock) ticket.Request {
			q := s.repeat(s.active, item(s.vip, 2))
			q.EventID = s.other
			return q
		}, ticket.ErrReservationReused},
		{"OtherUser", func(s *stock) ticket.Request {
			q := s.repeat(s.active, item(s.vip, 2))
			q.UserID = uuid.New()
			return q
		}, ticket.ErrReservationReused},
		{
			"Released", func(s *stock) ticket.Request { return s.repeat(s.released, item(s.vip, 2)) },
			ticket.ErrReservationEnded,
		},
		{
			"Expired", func(s *stock) ticket.Request { return s.repeat(s.expired, item(s.vip, 2)) },
			ticket.ErrReservationEnded,
		},
		{
			"ExpiredWithOtherQuantity", func(s *stock) ticket.Request { return s.repeat(s.expired, item(s.vip, 1)) },
			ticket.ErrReservationReused,
		},
		{
			"ReleasedBeforeReserve", func(s *stock) ticket.Request { return s.repeat(s.tombstone, item(s.vip, 2)) },
			ticket.ErrReservationEnded,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStock()
			q := tt.request(s)
			before, known := *s.Types[s.vip], s.Reservations[q.ReservationID]
			r, err := s.Reserve(q)
			require.ErrorIs(t, err, tt.err)
			require.Empty(t, s.Created)
			require.Equal(t, before, *s.Types[s.vip])
			if err == nil {
				require.Equal(t, known, r)
			}
		})
	}
}

// A refusal because of the price has the current prices. A price that changes later does not affect a reservation.
func TestReserveRefusesOtherTotalThanExpected(t *testing.T) {
	t.Parallel()
	s := newStock()
	q := s.expecting("150.00")
	s.Types[s.vip].Price = money.Of(60_00, "USD")
	r, err := s.Reserve(q)
	require.ErrorIs(t, err, ticket.ErrPriceChanged)
	require.ErrorContains(t, err, "170.00 USD")
	require.Equal(t, money.Of(170_00, "USD"), r.Total())
	require.Empty(t, s.Created)

	q.ExpectedTotal = "170.00"
	r, err = s.Reserve(q)
	require.NoError(t, err)
	require.Equal(t, money.Of(170_00, "USD"), r.Total())

	s.Types[s.vip].Price = fifty
	again, err := s.Reserve(q)
	require.NoError(t, err)
	require.Equal(t, r, again)
	require.Len(t, s.Created, 1)
}

// A request that is refused for its quantity does not block the smaller requests after it.
func TestReserveChecksRequestsInOrder(t *testing.T) {
	t.Parallel()
	s, repeated := newStock(), uuid.New()
	for _, step := range []struct {
		request ticket.Request
		err     error
	}{
		{s.request(item(s.vip, 4)), ticket.ErrInsufficientInventory},
		{s.repeat(repeated, item(s.vip, 2)), nil},
		{s.request(item(s.seat, 1), item(s.vip, 2)), ticket.ErrInsufficientInventory},
		{s.repeat(repeated, item(s.vip, 2)), nil},
		{s.repeat(repeated, item(s.vip, 1)), ticket.ErrReservationReused},
		{s.request(item(s.seat, 3)), nil},
		{s.request(item(s.vip, 1)), nil},
		{s.request(item(s.vip, 1)), ticket.ErrInsufficientInventory},
	} {
		_, err := s.Reserve(step.request)
		require.ErrorIs(t, err, step.err)
	}
	require.Len(t, s.Created, 3)
	require.Zero(t, s.Types[s.vip].Available())
	require.Zero(t, s.Types[s.seat].Available())
	require.Equal(t, 3, s.Types[s.box].Available())
}

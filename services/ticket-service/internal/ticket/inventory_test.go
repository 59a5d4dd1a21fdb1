package ticket_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func TestInventory(t *testing.T) {
	t.Parallel()
	var (
		noon                      = time.Date(2030, 7, 15, 12, 0, 0, 0, time.UTC)
		event, draft, other       = uuid.New(), uuid.New(), uuid.New()
		vip, seat, far, elsewhere = uuid.New(), uuid.New(), uuid.New(), uuid.New()
		user, taken, tombstone    = uuid.New(), uuid.New(), uuid.New()
		bought, released, expired = uuid.New(), uuid.New(), uuid.New()
		price                     = money.Of(50_00, "USD")
	)
	line := func(typeID uuid.UUID, quantity int) ticket.Line {
		return ticket.Line{TypeID: typeID, Quantity: quantity}
	}
	known := func(id uuid.UUID, status ticket.ReservationStatus) ticket.Reservation {
		return ticket.Reservation{ID: id, UserID: user, EventID: event, Status: status, Lines: []ticket.Line{
			{TypeID: vip, Quantity: 2, UnitPrice: price},
		}}
	}
	// stock has ten of each type, of which three are left.
	stock := func() *ticket.Inventory {
		i := &ticket.Inventory{
			Now:    noon,
			Events: map[uuid.UUID]ticket.EventStatus{event: ticket.EventPublished, other: ticket.EventPublished, draft: ticket.EventDraft},
			Types:  map[uuid.UUID]*ticket.Type{},
			Reservations: map[uuid.UUID]ticket.Reservation{
				taken: known(taken, ticket.Active), bought: known(bought, ticket.Completed), released: known(released, ticket.Cancelled),
				expired: known(expired, ticket.Expired), tombstone: {ID: tombstone, Status: ticket.Cancelled},
			},
		}
		for _, id := range []uuid.UUID{vip, seat, far} {
			i.Types[id] = &ticket.Type{ID: id, EventID: event, Price: price, Capacity: 10, Sold: 5, Held: 2}
		}
		i.Types[elsewhere] = &ticket.Type{ID: elsewhere, EventID: other, Price: price, Capacity: 10}
		return i
	}
	for _, tt := range []struct {
		name   string
		change func(*ticket.Inventory)
		id     uuid.UUID
		event  uuid.UUID
		lines  []ticket.Line
		err    error
	}{
		{"One", nil, uuid.New(), event, []ticket.Line{line(vip, 1)}, nil},
		{"AllThatAreLeft", nil, uuid.New(), event, []ticket.Line{line(vip, 3), line(seat, 3)}, nil},
		{"OneMore", nil, uuid.New(), event, []ticket.Line{line(vip, 4)}, ticket.ErrInsufficientInventory},
		{"OneMoreOfOne", nil, uuid.New(), event, []ticket.Line{line(vip, 1), line(seat, 4)}, ticket.ErrInsufficientInventory},
		{"UnknownType", nil, uuid.New(), event, []ticket.Line{line(vip, 1), line(uuid.New(), 1)}, ticket.ErrTypeNotFound},
		{"TypeOfAnotherEvent", nil, uuid.New(), event, []ticket.Line{line(elsewhere, 1)}, ticket.ErrTypeNotFound},
		{"Draft", nil, uuid.New(), draft, []ticket.Line{line(vip, 1)}, ticket.ErrEventNotOnSale},
		{"UnknownEvent", nil, uuid.New(), uuid.New(), []ticket.Line{line(vip, 1)}, ticket.ErrEventNotOnSale},
		{"Cancelled", func(i *ticket.Inventory) { i.Events[event] = ticket.EventCancelled }, uuid.New(), event, []ticket.Line{line(vip, 1)}, ticket.ErrEventNotOnSale},
		{"SalesStartNow", func(i *ticket.Inventory) { i.Types[vip].SalesStart = &noon }, uuid.New(), event, []ticket.Line{line(vip, 1)}, nil},
		{"BeforeSales", func(i *ticket.Inventory) { i.Types[vip].SalesStart = new(noon.Add(time.Microsecond)) }, uuid.New(), event, []ticket.Line{line(vip, 1)}, ticket.ErrSalesNotStarted},
		{"SalesEndSoon", func(i *ticket.Inventory) { i.Types[vip].SalesEnd = new(noon.Add(time.Microsecond)) }, uuid.New(), event, []ticket.Line{line(vip, 1)}, nil},
		{"SalesEndNow", func(i *ticket.Inventory) { i.Types[vip].SalesEnd = &noon }, uuid.New(), event, []ticket.Line{line(vip, 1)}, ticket.ErrSalesEnded},
		{"AsManyAsAnOrderMayHave", func(i *ticket.Inventory) { i.Types[vip].MaxPerOrder = new(2) }, uuid.New(), event, []ticket.Line{line(vip, 2)}, nil},
		{"MoreThanAnOrderMayHave", func(i *ticket.Inventory) { i.Types[vip].MaxPerOrder = new(2) }, uuid.New(), event, []ticket.Line{line(vip, 3)}, ticket.ErrOrderLimit},
		// What the organizer says comes before what is left: nobody hears "sold out" of what was not for sale.
		{"BeforeSalesOfWhatIsGone", func(i *ticket.Inventory) { i.Types[vip].SalesStart = new(noon.Add(time.Hour)) }, uuid.New(), event, []ticket.Line{line(vip, 4)}, ticket.ErrSalesNotStarted},
		{"SameAgain", nil, taken, event, []ticket.Line{line(vip, 2)}, nil},
		{"SameAgainWhenNothingIsLeft", func(i *ticket.Inventory) { i.Types[vip].Capacity = 7 }, taken, event, []ticket.Line{line(vip, 2)}, nil},
		{"SameAgainWhenItIsOver", func(i *ticket.Inventory) { i.Events[event] = ticket.EventCancelled }, taken, event, []ticket.Line{line(vip, 2)}, nil},
		{"SameAgainWhenBought", nil, bought, event, []ticket.Line{line(vip, 2)}, nil},
		{"OtherQuantityUnderTheID", nil, taken, event, []ticket.Line{line(vip, 1)}, ticket.ErrReservationReused},
		{"OtherTypeUnderTheID", nil, taken, event, []ticket.Line{line(seat, 2)}, ticket.ErrReservationReused},
		{"OneTypeMoreUnderTheID", nil, taken, event, []ticket.Line{line(vip, 2), line(seat, 1)}, ticket.ErrReservationReused},
		{"OtherEventUnderTheID", nil, taken, other, []ticket.Line{line(vip, 2)}, ticket.ErrReservationReused},
		{"Released", nil, released, event, []ticket.Line{line(vip, 2)}, ticket.ErrReservationEnded},
		{"Expired", nil, expired, event, []ticket.Line{line(vip, 2)}, ticket.ErrReservationEnded},
		{"OtherThanWhatExpired", nil, expired, event, []ticket.Line{line(vip, 1)}, ticket.ErrReservationReused},
		{"ReleasedBefore", nil, tombstone, event, []ticket.Line{line(vip, 2)}, ticket.ErrReservationEnded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i := stock()
			if tt.change != nil {
				tt.change(i)
			}
			before, repeated := *i.Types[vip], i.Reservations[tt.id]
			r, err := i.Reserve(ticket.Request{
				ReservationID: tt.id, UserID: user, EventID: tt.event, Hold: ticket.HoldTime, Lines: tt.lines,
			})
			require.ErrorIs(t, err, tt.err)
			switch {
			case err != nil:
				require.Empty(t, i.Made)
				require.Equal(t, before, *i.Types[vip])
			case len(repeated.Lines) > 0:
				require.Empty(t, i.Made)
				require.Equal(t, repeated, r)
			default:
				require.Equal(t, []ticket.Reservation{r}, i.Made)
				require.Equal(t, tt.id, r.ID)
				require.Equal(t, user, r.UserID)
				require.Equal(t, tt.event, r.EventID)
				require.Equal(t, ticket.Active, r.Status)
				require.Equal(t, noon.Add(ticket.HoldTime), r.ExpiresAt)
				require.Equal(t, ticket.Quantity(tt.lines), ticket.Quantity(r.Lines))
				for _, l := range r.Lines {
					require.Equal(t, price, l.UnitPrice)
					require.Equal(t, 2+l.Quantity, i.Types[l.TypeID].Held)
				}
			}
		})
	}

	t.Run("SomebodyElsesID", func(t *testing.T) {
		t.Parallel()
		_, err := stock().Reserve(ticket.Request{ReservationID: taken, UserID: uuid.New(), EventID: event, Lines: []ticket.Line{line(vip, 2)}})
		require.ErrorIs(t, err, ticket.ErrReservationReused)
	})
	// Each is judged against what those before it left, and whoever asks for too many stands in nobody's way.
	t.Run("InTurn", func(t *testing.T) {
		t.Parallel()
		i, twice := stock(), uuid.New()
		for _, turn := range []struct {
			id    uuid.UUID
			lines []ticket.Line
			err   error
		}{
			{uuid.New(), []ticket.Line{line(vip, 4)}, ticket.ErrInsufficientInventory},
			{twice, []ticket.Line{line(vip, 2)}, nil},
			{uuid.New(), []ticket.Line{line(seat, 1), line(vip, 2)}, ticket.ErrInsufficientInventory},
			{twice, []ticket.Line{line(vip, 2)}, nil},
			{twice, []ticket.Line{line(vip, 1)}, ticket.ErrReservationReused},
			{uuid.New(), []ticket.Line{line(seat, 3)}, nil},
			{uuid.New(), []ticket.Line{line(vip, 1)}, nil},
			{uuid.New(), []ticket.Line{line(vip, 1)}, ticket.ErrInsufficientInventory},
		} {
			_, err := i.Reserve(ticket.Request{ReservationID: turn.id, UserID: user, EventID: event, Lines: turn.lines})
			require.ErrorIs(t, err, turn.err)
		}
		require.Len(t, i.Made, 3)
		require.Zero(t, i.Types[vip].Available())
		require.Zero(t, i.Types[seat].Available())
		require.Equal(t, 3, i.Types[far].Available())
	})
}

package sales_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

var (
	eventID  = uuid.MustParse("770e8400-e29b-41d4-a716-446655440000")
	standing = uuid.MustParse("990e8400-e29b-41d4-a716-446655440000")
	seated   = uuid.MustParse("aa0e8400-e29b-41d4-a716-446655440001")
	at       = time.Date(2024, 1, 15, 10, 31, 7, 0, time.UTC)
)

func TestOrderSumsItemsByTicketType(t *testing.T) {
	t.Parallel()
	c, err := sales.Order(eventID, "USD", []sales.Item{
		{TicketTypeID: seated, Quantity: 1, UnitPrice: "50.00"},
		{TicketTypeID: standing, Quantity: 2, UnitPrice: "20.50"},
		{TicketTypeID: seated, Quantity: 3, UnitPrice: "50.00"},
	}, at)
	require.NoError(t, err)
	require.Equal(t, sales.Change{
		EventID: eventID, Currency: "USD", OrdersCompleted: 1, At: at,
		ByTicketType: []sales.TypeSales{
			{TicketTypeID: standing, Tickets: 2, Revenue: 4100}, {TicketTypeID: seated, Tickets: 4, Revenue: 20000},
		},
	}, c)
	require.Equal(t, sales.HourSales{Hour: at.Truncate(time.Hour), Tickets: 6, Revenue: 24100}, c.Hour())
}

func TestOrderRejectsInvalidItems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		currency money.Currency
		item     sales.Item
		err      error
	}{
		{"NoQuantity", "USD", sales.Item{Quantity: 0, UnitPrice: "1.00"}, sales.ErrQuantity},
		{"NegativeQuantity", "USD", sales.Item{Quantity: -2, UnitPrice: "1.00"}, sales.ErrQuantity},
		{"NegativePrice", "USD", sales.Item{Quantity: 1, UnitPrice: "-1.00"}, money.ErrRange},
		{"TooPrecise", "JPY", sales.Item{Quantity: 1, UnitPrice: "1.50"}, money.ErrPrecision},
		{"NoPrice", "USD", sales.Item{Quantity: 1}, money.ErrNotDecimal},
		{"NoCurrency", "", sales.Item{Quantity: 1, UnitPrice: "1.00"}, money.ErrCurrency},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := sales.Order(eventID, tt.currency, []sales.Item{tt.item}, at)
			require.ErrorIs(t, err, tt.err)
		})
	}
}

func TestRefundAddsOnlyValidAmounts(t *testing.T) {
	t.Parallel()
	c, err := sales.Refund(eventID, "USD", "100.00")
	require.NoError(t, err)
	require.Equal(t, sales.Change{EventID: eventID, Currency: "USD", Refunds: 1, Refunded: 10000}, c)

	_, err = sales.Refund(eventID, "USD", "-100.00")
	require.ErrorIs(t, err, money.ErrRange)
	_, err = sales.Refund(eventID, "usd", "100.00")
	require.ErrorIs(t, err, money.ErrCurrency)
}

func TestHourBeginsAtAFullUTCHour(t *testing.T) {
	t.Parallel()
	c := sales.CheckIn(eventID, seated, time.Date(2024, 7, 16, 0, 15, 0, 0, time.FixedZone("Kathmandu", 5*3600+45*60)))
	require.Equal(t, sales.HourSales{Hour: time.Date(2024, 7, 15, 18, 0, 0, 0, time.UTC), CheckedIn: 1}, c.Hour())
}

func TestChangeCheckRejectsIncompleteChanges(t *testing.T) {
	t.Parallel()
	order := func(typeID uuid.UUID, at time.Time) sales.Change {
		c, err := sales.Order(eventID, "USD", []sales.Item{{TicketTypeID: typeID, Quantity: 1, UnitPrice: "0"}}, at)
		require.NoError(t, err)
		return c
	}
	for _, tt := range []struct {
		name   string
		change sales.Change
		err    error
	}{
		{"WithEvent", sales.Change{EventID: eventID}, nil},
		{"WithoutEvent", sales.Change{}, sales.ErrIncomplete},
		{"Order", order(seated, at), nil},
		{"OrderWithoutTime", order(seated, time.Time{}), sales.ErrIncomplete},
		{"OrderWithoutTicketType", order(uuid.Nil, at), sales.ErrIncomplete},
		{"CheckIn", sales.CheckIn(eventID, seated, at), nil},
		{"CheckInWithoutTime", sales.CheckIn(eventID, seated, time.Time{}), sales.ErrIncomplete},
		{"CheckInWithoutTicketType", sales.CheckIn(eventID, uuid.Nil, at), sales.ErrIncomplete},
		{"UndoneCheckIn", sales.UndoneCheckIn(eventID, seated, at), nil},
		{"UndoneCheckInWithoutTime", sales.UndoneCheckIn(eventID, seated, time.Time{}), sales.ErrIncomplete},
		{"Cancellation", sales.Cancellation(eventID, seated, true), nil},
		{"RefundWithoutTicketType", sales.Cancellation(eventID, uuid.Nil, true), sales.ErrIncomplete},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.ErrorIs(t, tt.change.Check(), tt.err)
		})
	}
}

func TestEventCheckRejectsIncompleteEvents(t *testing.T) {
	t.Parallel()
	require.NoError(t, sales.Event{ID: eventID, UpdatedAt: at}.Check())
	require.ErrorIs(t, sales.Event{ID: eventID}.Check(), sales.ErrIncomplete)
	require.ErrorIs(t, sales.Event{UpdatedAt: at}.Check(), sales.ErrIncomplete)
}

func TestReportIsVisibleToOrganizerAndAdmin(t *testing.T) {
	t.Parallel()
	organizer := uuid.New()
	r := sales.Report{Event: sales.Event{ID: eventID, OrganizerID: organizer}}
	for _, tt := range []struct {
		name    string
		user    identity.User
		visible bool
	}{
		{"Organizer", identity.User{ID: organizer, Roles: []identity.Role{identity.RoleUser, identity.RoleOrganizer}}, true},
		{"Admin", identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleAdmin}}, true},
		{"AnotherOrganizer", identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleOrganizer}}, false},
		{"Buyer", identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleUser}}, false},
		{"NoUser", identity.User{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.visible, r.VisibleTo(tt.user))
		})
	}
}

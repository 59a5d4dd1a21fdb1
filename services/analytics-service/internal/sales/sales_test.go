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
)

func TestOrder(t *testing.T) {
	t.Parallel()
	c, err := sales.Order(eventID, "USD", []sales.Line{
		{TicketTypeID: seated, Quantity: 1, UnitPrice: "50.00"},
		{TicketTypeID: standing, Quantity: 2, UnitPrice: "20.50"},
		{TicketTypeID: seated, Quantity: 3, UnitPrice: "50.00"},
	})
	require.NoError(t, err)
	require.Equal(t, sales.Change{
		EventID: eventID, Currency: "USD", OrdersCompleted: 1,
		Sold: []sales.TypeSales{
			{TicketTypeID: standing, Tickets: 2, Revenue: 4100}, {TicketTypeID: seated, Tickets: 4, Revenue: 20000},
		},
	}, c)
}

func TestOrderThatCannotBeCounted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		currency money.Currency
		line     sales.Line
		err      error
	}{
		{"NoQuantity", "USD", sales.Line{Quantity: 0, UnitPrice: "1.00"}, sales.ErrQuantity},
		{"NegativeQuantity", "USD", sales.Line{Quantity: -2, UnitPrice: "1.00"}, sales.ErrQuantity},
		{"NegativePrice", "USD", sales.Line{Quantity: 1, UnitPrice: "-1.00"}, money.ErrRange},
		{"TooPrecise", "JPY", sales.Line{Quantity: 1, UnitPrice: "1.50"}, money.ErrPrecision},
		{"NoPrice", "USD", sales.Line{Quantity: 1}, money.ErrNotDecimal},
		{"NoCurrency", "", sales.Line{Quantity: 1, UnitPrice: "1.00"}, money.ErrCurrency},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := sales.Order(eventID, tt.currency, []sales.Line{tt.line})
			require.ErrorIs(t, err, tt.err)
		})
	}
}

func TestRefund(t *testing.T) {
	t.Parallel()
	c, err := sales.Refund(eventID, "USD", "100.00")
	require.NoError(t, err)
	require.Equal(t, sales.Change{EventID: eventID, Currency: "USD", Refunded: 10000}, c)

	_, err = sales.Refund(eventID, "USD", "-100.00")
	require.ErrorIs(t, err, money.ErrRange)
	_, err = sales.Refund(eventID, "usd", "100.00")
	require.ErrorIs(t, err, money.ErrCurrency)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	require.NoError(t, sales.Change{EventID: eventID}.Check())
	require.ErrorIs(t, sales.Change{}.Check(), sales.ErrIncomplete)
	require.NoError(t, sales.Event{ID: eventID, UpdatedAt: time.Now()}.Check())
	require.ErrorIs(t, sales.Event{ID: eventID}.Check(), sales.ErrIncomplete)
	require.ErrorIs(t, sales.Event{UpdatedAt: time.Now()}.Check(), sales.ErrIncomplete)
}

func TestVisibleTo(t *testing.T) {
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
		{"Nobody", identity.User{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.visible, r.VisibleTo(tt.user))
		})
	}
}

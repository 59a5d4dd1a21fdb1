package ticket_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// requireField asserts that err names the field, or that there is no error if field is empty.
func requireField(t *testing.T, err error, field string) {
	t.Helper()
	if field == "" {
		require.NoError(t, err)
		return
	}
	p, ok := errors.AsType[*problem.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, problem.Invalid, p.Kind)
	require.Equal(t, field, p.Field)
}

func TestTypeValidateNamesInvalidField(t *testing.T) {
	t.Parallel()
	noon := time.Date(2030, 7, 15, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		change func(*ticket.Type)
		field  string
	}{
		{"Good", func(*ticket.Type) {}, ""},
		{"Free", func(y *ticket.Type) { y.Price = money.Of(0, "USD") }, ""},
		{"SmallestCharge", func(y *ticket.Type) { y.Price = money.Of(50, "USD") }, ""},
		{"BelowTheSmallestCharge", func(y *ticket.Type) { y.Price = money.Of(10, "USD") }, "price"},
		{"AboveTheLargestCharge", func(y *ticket.Type) { y.Price = money.Of(100_000_000, "USD") }, "price"},
		{"MillionsOfRupiah", func(y *ticket.Type) { y.Price = money.Of(150_000_000, "IDR") }, ""},
		{"LastDecimalOfDinarNotZero", func(y *ticket.Type) { y.Price = money.Of(1235, "KWD") }, "price"},
		{"CurrencyWithoutCards", func(y *ticket.Type) { y.Price = money.Of(50_00, "CUP") }, "price"},
		{"OneCharacter", func(y *ticket.Type) { y.Name = "A" }, ""},
		{"LongestName", func(y *ticket.Type) { y.Name = strings.Repeat("ä", ticket.MaxNameLen) }, ""},
		{"OneTicket", func(y *ticket.Type) { y.Capacity = 1 }, ""},
		{"LargestCapacity", func(y *ticket.Type) { y.Capacity = ticket.MaxCapacity }, ""},
		{"NoName", func(y *ticket.Type) { y.Name = "" }, "name"},
		{"NameTooLong", func(y *ticket.Type) { y.Name = strings.Repeat("a", ticket.MaxNameLen+1) }, "name"},
		{"NULInName", func(y *ticket.Type) { y.Name = "VIP\x00" }, "name"},
		{"LineBreakInName", func(y *ticket.Type) { y.Name = "VIP\nfree" }, "name"},
		{"NoCapacity", func(y *ticket.Type) { y.Capacity = 0 }, "capacity"},
		{"NegativeCapacity", func(y *ticket.Type) { y.Capacity = -1 }, "capacity"},
		{"CapacityTooLarge", func(y *ticket.Type) { y.Capacity = ticket.MaxCapacity + 1 }, "capacity"},
		{"OnePerOrder", func(y *ticket.Type) { y.MaxPerOrder = new(1) }, ""},
		{"OnePerPerson", func(y *ticket.Type) { y.MaxPerPerson = new(1) }, ""},
		{"NonePerPerson", func(y *ticket.Type) { y.MaxPerPerson = new(0) }, "maxPerPerson"},
		{"TooManyPerPerson", func(y *ticket.Type) { y.MaxPerPerson = new(ticket.MaxQuantity + 1) }, "maxPerPerson"},
		{"NonePerOrder", func(y *ticket.Type) { y.MaxPerOrder = new(0) }, "maxPerOrder"},
		{"TooManyPerOrder", func(y *ticket.Type) { y.MaxPerOrder = new(ticket.MaxQuantity + 1) }, "maxPerOrder"},
		{"SalesForAnHour", func(y *ticket.Type) { y.SalesStart, y.SalesEnd = &noon, new(noon.Add(time.Hour)) }, ""},
		{"SalesWithoutEnd", func(y *ticket.Type) { y.SalesStart = &noon }, ""},
		{"SalesWithoutStart", func(y *ticket.Type) { y.SalesEnd = &noon }, ""},
		{"SalesEndAtStart", func(y *ticket.Type) { y.SalesStart, y.SalesEnd = &noon, &noon }, "salesEnd"},
		{"SalesEndBeforeStart", func(y *ticket.Type) {
			y.SalesStart, y.SalesEnd = &noon, new(noon.Add(-time.Hour))
		}, "salesEnd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kind := ticket.Type{Name: "Early bird", Price: money.Of(50_00, "USD"), Capacity: 100}
			tt.change(&kind)
			requireField(t, kind.Validate(), tt.field)
		})
	}
}

func TestAvailableIsNeitherSoldNorHeld(t *testing.T) {
	t.Parallel()
	require.Equal(t, 3, ticket.Type{Capacity: 10, Sold: 5, Held: 2}.Available())
}

func TestValidateItemsNamesInvalidField(t *testing.T) {
	t.Parallel()
	vip, seat := uuid.New(), uuid.New()
	items := func(n int) []ticket.LineItem {
		many := make([]ticket.LineItem, n)
		for i := range many {
			many[i] = ticket.LineItem{TypeID: uuid.New(), Quantity: 1}
		}
		return many
	}
	full := func(n int) []ticket.LineItem {
		many := items(n)
		for i := range many {
			many[i].Quantity = ticket.MaxQuantity
		}
		return many
	}
	const quantity = "ticketRequests.quantity"
	for _, tt := range []struct {
		name  string
		items []ticket.LineItem
		field string
	}{
		{"One", []ticket.LineItem{{TypeID: vip, Quantity: 1}}, ""},
		{"TwoTypes", []ticket.LineItem{{TypeID: vip, Quantity: 1}, {TypeID: seat, Quantity: 2}}, ""},
		{"MostOfOneType", []ticket.LineItem{{TypeID: vip, Quantity: ticket.MaxQuantity}}, ""},
		{"MostTypes", items(ticket.MaxItems), ""},
		{"MostTickets", full(ticket.MaxTickets / ticket.MaxQuantity), ""},
		{
			"TooManyTicketsTogether",
			append(full(ticket.MaxTickets/ticket.MaxQuantity), ticket.LineItem{TypeID: vip, Quantity: 1}), "ticketRequests",
		},
		{"Missing", nil, "ticketRequests"},
		{"Empty", []ticket.LineItem{}, "ticketRequests"},
		{"TooManyTypes", items(ticket.MaxItems + 1), "ticketRequests"},
		{"NoTicket", []ticket.LineItem{{TypeID: vip, Quantity: 0}}, quantity},
		{"NegativeQuantity", []ticket.LineItem{{TypeID: vip, Quantity: 2}, {TypeID: seat, Quantity: -1}}, quantity},
		{"TooManyTickets", []ticket.LineItem{{TypeID: vip, Quantity: ticket.MaxQuantity + 1}}, quantity},
		{"HugeQuantity", []ticket.LineItem{{TypeID: vip, Quantity: math.MaxInt}}, quantity},
		{
			"SameTypeTwice",
			[]ticket.LineItem{{TypeID: vip, Quantity: 1}, {TypeID: vip, Quantity: 1}},
			"ticketRequests.ticketTypeId",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			requireField(t, ticket.ValidateItems(tt.items), tt.field)
		})
	}
}

func TestQuantityIsTheSum(t *testing.T) {
	t.Parallel()
	require.Equal(t, 0, ticket.Quantity(nil))
	require.Equal(t, 5, ticket.Quantity([]ticket.LineItem{{Quantity: 2}, {Quantity: 3}}))
}

func TestHoldForIsLimited(t *testing.T) {
	t.Parallel()
	minutes := func(n int) *int { return &n }
	for _, tt := range []struct {
		name    string
		minutes *int
		hold    time.Duration
		field   string
	}{
		{"Default", nil, ticket.HoldTime, ""},
		{"AsRequested", minutes(5), 5 * time.Minute, ""},
		{"Shortest", minutes(1), time.Minute, ""},
		{"Longest", minutes(15), 15 * time.Minute, ""},
		{"LongerThanTheLimit", minutes(16), 15 * time.Minute, ""},
		{"BeyondAnyDuration", minutes(math.MaxInt), 15 * time.Minute, ""},
		{"Zero", minutes(0), 0, "reservationDurationMinutes"},
		{"Negative", minutes(-5), 0, "reservationDurationMinutes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hold, err := ticket.HoldFor(tt.minutes)
			requireField(t, err, tt.field)
			require.Equal(t, tt.hold, hold)
		})
	}
}

func TestExtendForIsLimited(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		minutes int
		hold    time.Duration
		field   string
	}{
		{"AsRequested", 5, 5 * time.Minute, ""},
		{"Longest", 30, ticket.MaxHoldTime, ""},
		{"LongerThanTheLimit", 31, ticket.MaxHoldTime, ""},
		{"BeyondAnyDuration", math.MaxInt, ticket.MaxHoldTime, ""},
		{"Zero", 0, 0, "minutes"},
		{"Negative", -5, 0, "minutes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hold, err := ticket.ExtendFor(tt.minutes)
			requireField(t, err, tt.field)
			require.Equal(t, tt.hold, hold)
		})
	}
}

func TestValidateHolderChecksLengthAndCharacters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, holder, field string }{
		{"Good", "Ann O'Hara", ""},
		{"AnyScript", "Žofie Łęcka 王小明 😀", ""},
		{"Longest", strings.Repeat("ä", ticket.MaxHolderName), ""},
		{"Empty", "", "holderName"},
		{"TooLong", strings.Repeat("a", ticket.MaxHolderName+1), "holderName"},
		{"NUL", "Ann\x00", "holderName"},
		{"LineBreak", "Ann\r\nBob", "holderName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			requireField(t, ticket.ValidateHolder(tt.holder), tt.field)
		})
	}
}

package order_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

func valid() order.Order {
	return order.Order{
		EventID: uuid.New(), HolderName: "Ann O'Hara", Method: order.CreditCard, PaymentToken: "pm_card_visa",
		Items: []order.Item{
			{TicketTypeID: uuid.New(), Quantity: 1}, {TicketTypeID: uuid.New(), Quantity: order.MaxQuantity},
		},
	}
}

func TestValidateNamesTheInvalidField(t *testing.T) {
	t.Parallel()
	items := func(n int) []order.Item {
		items := make([]order.Item, n)
		for i := range items {
			items[i] = order.Item{TicketTypeID: uuid.New(), Quantity: 1}
		}
		return items
	}
	full := func(n int) []order.Item {
		items := items(n)
		for i := range items {
			items[i].Quantity = order.MaxQuantity
		}
		return items
	}
	for _, tt := range []struct {
		name   string
		change func(o *order.Order)
		field  string // the invalid one; empty if the order is valid
	}{
		{"Valid", func(*order.Order) {}, ""},
		{"MostTickets", func(o *order.Order) { o.Items = full(order.MaxTickets / order.MaxQuantity) }, ""},
		{
			"TooManyTicketsTogether", func(o *order.Order) {
				o.Items = append(o.Items, full(order.MaxTickets/order.MaxQuantity-1)...)
			}, "ticketRequests",
		},
		{"MostItems", func(o *order.Order) { o.Items = items(order.MaxItems) }, ""},
		{"LongestName", func(o *order.Order) { o.HolderName = strings.Repeat("å", order.MaxHolderName) }, ""},
		{"NameOfAnyScript", func(o *order.Order) { o.HolderName = "山田 太郎 👩‍🎤" }, ""},
		{"LongestToken", func(o *order.Order) { o.PaymentToken = strings.Repeat("a", order.MaxToken) }, ""},

		{"ExpectedTotal", func(o *order.Order) { o.ExpectedTotal = "150.00" }, ""},
		{"NegativeTotal", func(o *order.Order) { o.ExpectedTotal = "-150.00" }, "expectedTotal"},
		{"LongTotal", func(o *order.Order) { o.ExpectedTotal = "1500000000000000000.0" }, "expectedTotal"},

		{"NoEvent", func(o *order.Order) { o.EventID = uuid.Nil }, "eventId"},
		{"NoItems", func(o *order.Order) { o.Items = nil }, "ticketRequests"},
		{"TooManyItems", func(o *order.Order) { o.Items = items(order.MaxItems + 1) }, "ticketRequests"},
		{"NoType", func(o *order.Order) { o.Items[1].TicketTypeID = uuid.Nil }, "ticketRequests.ticketTypeId"},
		{
			"TypeTwice", func(o *order.Order) { o.Items[1].TicketTypeID = o.Items[0].TicketTypeID },
			"ticketRequests.ticketTypeId",
		},
		{"NoQuantity", func(o *order.Order) { o.Items[0].Quantity = 0 }, "ticketRequests.quantity"},
		{"NegativeQuantity", func(o *order.Order) { o.Items[1].Quantity = -1 }, "ticketRequests.quantity"},
		{
			"TooManyTickets", func(o *order.Order) { o.Items[0].Quantity = order.MaxQuantity + 1 },
			"ticketRequests.quantity",
		},
		{"NoMethod", func(o *order.Order) { o.Method = "" }, "paymentMethod"},
		{"OtherMethod", func(o *order.Order) { o.Method = "CASH" }, "paymentMethod"},
		{"LowerCaseMethod", func(o *order.Order) { o.Method = "credit_card" }, "paymentMethod"},
		{"NoToken", func(o *order.Order) { o.PaymentToken = "" }, "paymentToken"},
		{"LongToken", func(o *order.Order) { o.PaymentToken = strings.Repeat("a", order.MaxToken+1) }, "paymentToken"},
		{"NULInToken", func(o *order.Order) { o.PaymentToken = "pm_\x00" }, "paymentToken"},
		{"NoName", func(o *order.Order) { o.HolderName = "" }, "holderName"},
		{"LongName", func(o *order.Order) { o.HolderName = strings.Repeat("å", order.MaxHolderName+1) }, "holderName"},
		{"NULInName", func(o *order.Order) { o.HolderName = "Ann\x00" }, "holderName"},
		{"LineBreakInName", func(o *order.Order) { o.HolderName = "Ann\nBcc: all" }, "holderName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := valid()
			tt.change(&o)
			err := o.Validate()
			if tt.field == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, problem.Field("", ""))
			var p *problem.Error
			require.ErrorAs(t, err, &p)
			require.Equal(t, problem.Invalid, p.Kind)
			require.Equal(t, tt.field, p.Field)
		})
	}
}

func TestIsTokenAcceptsPrintableASCII(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"8e03978e-40d5-43e8-bc93-6894a57f9324": true,
		" ~":                                   true,
		strings.Repeat("k", order.MaxToken):    true,
		strings.Repeat("k", order.MaxToken+1):  false,
		"":                                     false,
		"a\nb":                                 false,
		"a\x00":                                false,
		"a\x7f":                                false,
		"ключ":                                 false,
		"\xff":                                 false,
	} {
		require.Equal(t, want, order.IsToken(text), "%q", text)
	}
}

// A card number in place of a token is rejected with a code of its own, on which clients branch.
func TestCardNumberIsRejected(t *testing.T) {
	t.Parallel()
	for token, rejected := range map[string]bool{
		"4242424242424242":     true,
		"4242 4242 4242 4242":  true,
		"4242-4242-4242-4242":  true,
		" 42":                  true,
		"0":                    true,
		"-":                    true,
		"pm_card_visa":         false,
		"pm_4242424242424242":  false,
		"4242424242424242x":    false, // may be another card processor's token
		"tok_1-2 3":            false,
		"deadbeef-0000-0000-1": false,
	} {
		o := valid()
		o.PaymentToken = token
		err := o.Validate()
		require.Equal(t, rejected, errors.Is(err, order.ErrUnknownMethod), "%q: %v", token, err)
		require.Equal(t, !rejected, err == nil)
	}
	require.Equal(t, "paymentToken", order.ErrUnknownMethod.Field)
}

func TestAttemptKeyIsDerivedFromTheID(t *testing.T) {
	t.Parallel()
	o := order.Order{ID: uuid.MustParse("cc0e8400-e29b-41d4-a716-446655440000")}
	require.Equal(t, "charge-cc0e8400-e29b-41d4-a716-446655440000", o.AttemptKey())
}

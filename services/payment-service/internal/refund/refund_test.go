package refund_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

func usd(cents int64) money.Amount { return money.Of(cents, "USD") }

var expensive, cheap, refunded = uuid.New(), uuid.New(), uuid.New()

// ledger returns a paid order with three tickets, one of them refunded.
func ledger(change func(l *refund.Ledger)) refund.Ledger {
	l := refund.Ledger{
		Order:     order.Order{Status: order.Completed, Step: order.Done, Total: usd(10000)},
		Refunding: usd(2500), HasRefund: true,
		Tickets: []refund.Ticket{
			{ID: expensive, Price: usd(5000)},
			{ID: cheap, Price: usd(2500)},
			{ID: refunded, Price: usd(2500), Refunded: true},
		},
	}
	if change != nil {
		change(&l)
	}
	return l
}

func TestAdmitReturnsAmountTicketsAndStep(t *testing.T) {
	t.Parallel()
	whole := refund.Refund{Whole: true}
	some := func(ids ...uuid.UUID) refund.Refund { return refund.Refund{TicketIDs: ids} }
	amount := func(cents int64) refund.Refund { return refund.Refund{Amount: usd(cents)} }
	at := func(status order.Status, step order.Step) func(l *refund.Ledger) {
		return func(l *refund.Ledger) { l.Order.Status, l.Order.Step = status, step }
	}
	refunding := func(cents int64) func(l *refund.Ledger) { return func(l *refund.Ledger) { l.Refunding = usd(cents) } }
	free := func(hasRefund bool) func(l *refund.Ledger) {
		return func(l *refund.Ledger) {
			l.Order.Total, l.Refunding, l.HasRefund = usd(0), usd(0), hasRefund
			for i := range l.Tickets {
				l.Tickets[i].Price = usd(0)
			}
		}
	}
	unfulfilled := func(l *refund.Ledger) { // paid, no tickets were generated, and the first refund failed
		*l = refund.Ledger{Order: l.Order, Refunding: usd(0)}
		l.Order.Failure.Code = "INSUFFICIENT_INVENTORY"
	}

	both := []uuid.UUID{expensive, cheap}
	for _, tt := range []struct {
		name    string
		ledger  func(l *refund.Ledger)
		request refund.Refund
		want    error
		cents   int64
		step    refund.Step
		tickets []uuid.UUID
	}{
		{"Whole", nil, whole, nil, 7500, refund.CancelTickets, both},
		{"WholeWithoutEarlierRefunds", refunding(0), whole, nil, 10000, refund.CancelTickets, both},
		{"WholeWithNothingLeft", refunding(10000), whole, refund.ErrNotRefundable, 0, "", nil},
		{"WholeWithoutTickets", unfulfilled, whole, nil, 10000, refund.ReturnMoney, nil},
		{"WholeOfAFreeOrder", free(false), whole, nil, 0, refund.CancelTickets, both},
		{"WholeOfAFreeOrderAgain", free(true), whole, refund.ErrNotRefundable, 0, "", nil},

		{"Ticket", nil, some(expensive), nil, 5000, refund.CancelTickets, []uuid.UUID{expensive}},
		{"Tickets", nil, some(cheap, expensive), nil, 7500, refund.CancelTickets, []uuid.UUID{cheap, expensive}},
		{
			"TicketAboveTheRest", refunding(5001), some(expensive), nil, 4999, refund.CancelTickets,
			[]uuid.UUID{expensive},
		},
		{
			"TicketOfExactlyTheRest", refunding(5000), some(expensive), nil, 5000,
			refund.CancelTickets,
			[]uuid.UUID{expensive},
		},
		{"TicketAgain", nil, some(expensive, refunded), refund.ErrNotRefundable, 0, "", nil},
		{"TicketOfAnotherOrder", nil, some(expensive, uuid.New()), refund.ErrTicketNotFound, 0, "", nil},
		{"FreeTicket", free(false), some(cheap), nil, 0, refund.CancelTickets, []uuid.UUID{cheap}},

		{"Amount", nil, amount(1), nil, 1, refund.ReturnMoney, nil},
		{"AmountBelowTheRest", nil, amount(7499), nil, 7499, refund.ReturnMoney, nil},
		{"AmountOfTheRest", nil, amount(7500), nil, 7500, refund.CancelTickets, both},
		{"AmountOfTheRestWithoutTickets", unfulfilled, amount(10000), nil, 10000, refund.ReturnMoney, nil},
		{"AmountAboveTheRest", nil, amount(7501), refund.ErrExceedsPayment, 0, "", nil},
		{"AmountOfAFreeOrder", free(false), amount(1), refund.ErrExceedsPayment, 0, "", nil},

		{"Reserving", at(order.Pending, order.Reserve), whole, refund.ErrNotRefundable, 0, "", nil},
		{"Charging", at(order.Pending, order.Charge), amount(1), refund.ErrNotRefundable, 0, "", nil},
		{"Declined", at(order.Failed, order.Release), whole, refund.ErrNotRefundable, 0, "", nil},
		{"Failed", at(order.Failed, order.Done), amount(1), refund.ErrNotRefundable, 0, "", nil},
		{"WithoutTicketsYet", at(order.Completed, order.Fulfil), amount(1), refund.ErrNotRefundable, 0, "", nil},
		{"BeingRefunded", at(order.Completed, order.Refund), whole, refund.ErrNotRefundable, 0, "", nil},
		{"Refunded", at(order.Refunded, order.Done), amount(1), refund.ErrNotRefundable, 0, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ledger(tt.ledger).Admit(tt.request)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, usd(tt.cents), got.Amount)
			require.Equal(t, tt.step, got.Step)
			require.Equal(t, refund.Pending, got.Status)
			require.Equal(t, tt.tickets, got.TicketIDs)
		})
	}
}

func TestValidateNamesTheInvalidField(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refund refund.Refund
		field  string
	}{
		"Valid":             {refund.Refund{Reason: "Cannot come 😢", TicketIDs: []uuid.UUID{expensive, cheap}}, ""},
		"LongestReason":     {refund.Refund{Reason: strings.Repeat("å", refund.MaxReason)}, ""},
		"NoReason":          {refund.Refund{}, "reason"},
		"LongReason":        {refund.Refund{Reason: strings.Repeat("å", refund.MaxReason+1)}, "reason"},
		"LineBreakInReason": {refund.Refund{Reason: "a\nBcc: all"}, "reason"},
		"ReasonCancelled":   {refund.Refund{Reason: refund.ReasonCancelled}, "reason"},
		"ReasonPostponed":   {refund.Refund{Reason: refund.ReasonPostponed}, "reason"},
		"TicketTwice":       {refund.Refund{Reason: "x", TicketIDs: []uuid.UUID{cheap, cheap}}, "ticketIds"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.refund.Validate()
			if tt.field == "" {
				require.NoError(t, err)
				return
			}
			var p *problem.Error
			require.ErrorAs(t, err, &p)
			require.Equal(t, "VALIDATION_ERROR", p.Code)
			require.Equal(t, tt.field, p.Field)
		})
	}
}

func TestKeyIsDerivedFromTheID(t *testing.T) {
	t.Parallel()
	r := refund.Refund{ID: uuid.MustParse("cc0e8400-e29b-41d4-a716-446655440000")}
	require.Equal(t, "refund-cc0e8400-e29b-41d4-a716-446655440000", r.Key())
}

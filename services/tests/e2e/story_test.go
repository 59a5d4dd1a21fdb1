package e2e_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/contracts/money"
)

func TestDemoSucceeds(t *testing.T) {
	t.Parallel()
	c := client(t)
	s, err := demo.Run(t.Context(), demo.Config{Sidecar: c.Sidecar, HTTP: c.HTTP, Mail: sink(), Out: t.Output()})
	require.NoError(t, err)

	require.Equal(t, []string{"USER", "ORGANIZER"}, s.Organizer.Roles)
	require.Equal(t, []string{"USER"}, s.Buyer.Roles)
	require.Equal(t, "PUBLISHED", s.Event.Status)

	require.Equal(t, "COMPLETED", s.Paid.PaymentStatus)
	require.Regexp(t, `^ORD-\d{4}-\d{6}$`, s.Paid.OrderNumber)
	require.Equal(t, money.Decimal("150.00"), s.Paid.TotalAmount)
	paid := charges(t, s.Paid.OrderID)
	require.Len(t, paid, 1)
	require.Equal(t, charge{"succeeded", 15000, 0, paid[0].Metadata}, paid[0])

	require.Len(t, s.Tickets, 2)
	numbers := map[string]bool{}
	for _, ticket := range s.Tickets {
		require.Regexp(t, `^TKT-\d{4}-\d{6}$`, ticket.TicketNumber)
		require.Equal(t, s.Paid.OrderID, ticket.OrderID)
		require.Equal(t, s.Terrace.TicketTypeID, ticket.TicketTypeID)
		require.Equal(t, "Ben Ito", ticket.HolderName)
		require.Equal(t, "ACTIVE", ticket.Status)
		numbers[ticket.TicketNumber+".pdf"] = true
	}

	require.Contains(t, s.Confirmation.Subject, s.Event.Name)
	require.Contains(t, s.Confirmation.Text, s.Paid.OrderNumber)
	require.Contains(t, s.Confirmation.HTML, s.Paid.OrderNumber)
	for _, a := range s.Confirmation.Attachments {
		require.True(t, numbers[a.Filename], "%s is not a ticket, or is attached twice", a.Filename)
		delete(numbers, a.Filename)
		require.Equal(t, "application/pdf", a.ContentType)
		content, err := sink().Open(t.Context(), s.Confirmation, a)
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(content, []byte("%PDF-")))
	}
	require.Empty(t, numbers)

	require.Equal(t, http.StatusPaymentRequired, s.Declined.Status)
	require.Equal(t, "PAYMENT_DECLINED", s.Declined.Code)
	require.Equal(t, "GENERIC_DECLINE", s.Declined.DeclineReason)
	require.Equal(t, "FAILED", s.Failed.PaymentStatus)
	require.Empty(t, charges(t, s.Failed.OrderID))
	require.Equal(t, 2, s.Before.Of(s.Terrace.TicketTypeID))
	require.Equal(t, s.Before, s.After)

	require.Equal(t, http.StatusConflict, s.SoldOut.Status)
	require.Equal(t, "INSUFFICIENT_INVENTORY", s.SoldOut.Code)
	require.Equal(t, demo.Sales{
		OrdersCompleted: 1, OrdersFailed: s.Sales.OrdersFailed, TicketsSold: 2, TicketsGenerated: 2,
		Revenue: "150.00", Refunded: "0.00", Currency: "USD",
	}, s.Sales)

	// The buyer has two mails: the confirmation of one order and the failure of the other.
	inbox, err := demo.Await(t.Context(),
		func() ([]demo.Mail, error) { return sink().Inbox(t.Context(), s.Buyer.Email, s.Event.Name) },
		func(m []demo.Mail) bool { return len(m) >= 2 })
	require.NoError(t, err)
	require.Len(t, inbox, 2)
	require.Empty(t, inbox[1].Attachments)
	require.Contains(t, inbox[1].Text, s.Failed.OrderNumber)

	requirePublished(t, s.Event.EventID,
		"EVENT_CREATED", "EVENT_PUBLISHED", "PAYMENT_COMPLETED", "TICKETS_GENERATED", "PAYMENT_FAILED")
	requirePublished(t, s.Buyer.UserID, "EMAIL_VERIFICATION_REQUESTED")
}

func TestTicketsAndOrdersArePrivate(t *testing.T) {
	t.Parallel()
	s := newSale(t, 5)
	order, err := s.Buy(t.Context(), s.buyer, s.purchase(1, demo.GoodCard))
	require.NoError(t, err)
	s.fulfilled(t.Context(), t, order.OrderID, 1)
	tickets, err := s.Tickets(t.Context(), s.buyer)
	require.NoError(t, err)
	for _, file := range []string{"qr.png", "ticket.pdf"} {
		path := "/api/tickets/" + tickets[0].TicketID.String() + "/" + file
		require.NoError(t, s.Do(t.Context(), get("ticket-service", path, s.buyer.Token), nil))
		require.Equal(t, http.StatusNotFound, refusal(t, s.Client, get("ticket-service", path, s.organizer.Token)).Status)
		require.Equal(t, http.StatusUnauthorized, refusal(t, s.Client, get("ticket-service", path, "")).Status)
	}

	orderPath := "/api/payments/orders/" + order.OrderID.String()
	for _, path := range []string{orderPath, orderPath + "/history"} {
		require.NoError(t, s.Do(t.Context(), get("payment-service", path, s.buyer.Token), nil))
		require.Equal(t, "ORDER_NOT_FOUND", refusal(t, s.Client, get("payment-service", path, s.organizer.Token)).Code)
	}
	salesPath := "/api/analytics/events/" + s.event.EventID.String() + "/sales"
	require.Equal(t, "EVENT_NOT_FOUND", refusal(t, s.Client, get("analytics-service", salesPath, s.buyer.Token)).Code)
}

package courier_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// refundedTicket returns the TICKET_CANCELLED of a ticket that a refund cancelled.
func refundedTicket(owner, number, refundKey, reason string) string {
	return strings.NewReplacer(
		`"OWNER"`, `"REFUND", "refundKey": "`+refundKey+`"`, `"userId": "`+couriertest.UserID, `"userId": "`+owner,
		"TKT-2024-001234", number, "Ill", reason,
	).Replace(couriertest.TicketCancelled)
}

// owns makes ticket-service answer with the cancelled tickets of an owner, by number and refund key.
func (b bundle) owns(owner string, tickets ...[2]string) {
	list := make([]string, len(tickets))
	for i, k := range tickets {
		list[i] = `{"ticketId": "` + uuid.NewString() + `", "ticketNumber": "` + k[0] + `", "status": "CANCELLED",
			"refundKey": "` + k[1] + `"}`
	}
	b.Services.Answer("/api/tickets/internal/orders/"+couriertest.OrderID+"/tickets?ownerId="+owner,
		`{"tickets": [`+strings.Join(list, ",")+`]}`)
}

func TestTicketCancelledByItsOwnerSendsOneMail(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	for range 2 {
		b.Deliver(t, id, "TICKET_CANCELLED", couriertest.TicketCancelled)
	}
	m := b.onlyMail(t)
	require.Contains(t, m.Text, "ticket TKT-2024-001234 is cancelled, as you asked")
	require.False(t, m.Bulk)
	require.Equal(t, row{"TICKET_CANCELLED", "SENT", "", 1}, b.row(t, id))
}

// A refund cancels two tickets of the buyer and one of a friend. Each of them gets one mail with their own tickets, for
// any order and number of deliveries.
func TestTicketsCancelledByARefundSendOneMailToEachOwner(t *testing.T) {
	b := setup(t)
	b.owns(couriertest.UserID, [2]string{"TKT-1", "refund-1"}, [2]string{"TKT-2", "refund-1"},
		[2]string{"TKT-4", "refund-0"})
	b.owns(couriertest.OtherUserID, [2]string{"TKT-3", "refund-1"})
	var g errgroup.Group
	for number, owner := range map[string]string{
		"TKT-1": couriertest.UserID, "TKT-2": couriertest.UserID, "TKT-3": couriertest.OtherUserID,
	} {
		id, payload := uuid.New(), refundedTicket(owner, number, "refund-1", "Seats double-booked.")
		for range 2 {
			g.Go(func() error { return b.Process(t.Context(), id, "TICKET_CANCELLED", payload) })
		}
	}
	require.NoError(t, g.Wait())
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
	mails := b.byAddress(t)
	require.Len(t, mails, 2)
	m := mails[userAddress]
	require.Equal(t, "Your tickets for Summer Music Festival 2024 are cancelled", m.Subject)
	requireBoth(t, m, "2 of your tickets are cancelled", "TKT-1", "TKT-2", "The reason given: Seats double-booked.",
		"payment method of the order")
	require.NotContains(t, m.Text+m.HTML, "TKT-3")
	require.NotContains(t, m.Text+m.HTML, "TKT-4", "another refund cancelled it")
	require.False(t, m.Bulk)
	m = mails[otherUserAddress]
	require.Equal(t, "Your ticket for Summer Music Festival 2024 is cancelled", m.Subject)
	requireBoth(t, m, "ticket TKT-3 is cancelled")

	another := refundedTicket(couriertest.UserID, "TKT-4", "refund-2", "")
	b.Deliver(t, uuid.New(), "TICKET_CANCELLED", another)
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 3, "another refund has a mail of its own")
	require.Equal(t, notification.TicketCancelled, b.list(t)[0].Kind)
}

// The buyer returns a ticket after a postponement. The mails about the ticket and about the money are two mails, also
// if they go to the same person.
func TestReturnSendsMailsToOwnerAndBuyer(t *testing.T) {
	b := setup(t)
	b.owns(couriertest.OtherUserID, [2]string{"TKT-3", "refund-1"})
	b.Deliver(t, uuid.New(), "TICKET_CANCELLED",
		refundedTicket(couriertest.OtherUserID, "TKT-3", "refund-1", "EVENT_POSTPONED"))
	b.Deliver(t, uuid.New(), "REFUND_PROCESSED",
		strings.Replace(couriertest.RefundProcessed, "One act less", "EVENT_POSTPONED", 1))
	mails := b.byAddress(t)
	require.Len(t, mails, 2)
	requireBoth(t, mails[otherUserAddress], "because the event was postponed and the ticket was returned")
	requireBoth(t, mails[userAddress], "the event was postponed, and tickets were returned by their owner")
}

// ticket-service does not answer at first. The mail is sent later, once.
func TestCancellationMailWaitsForTheListOfTickets(t *testing.T) {
	b := setup(t)
	b.Deliver(t, uuid.New(), "TICKET_CANCELLED", refundedTicket(couriertest.UserID, "TKT-1", "refund-1", ""))
	require.Empty(t, b.Services.Sent())
	b.owns(couriertest.UserID, [2]string{"TKT-1", "refund-1"})
	b.Retry(t)
	b.Retry(t)
	require.Contains(t, b.onlyMail(t).Text, "ticket TKT-1 is cancelled")
}

package courier_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// generated returns a TICKETS_GENERATED with this many tickets.
func generated(tickets int) string {
	more := strings.Repeat(couriertest.GeneratedTicket+",", tickets-1)
	return strings.Replace(couriertest.TicketsGenerated, `"tickets": [`, `"tickets": [`+more, 1)
}

// orderPDF returns an answer of ticket-service with a PDF of an order's tickets.
func orderPDF(t *testing.T, tickets int, content []byte) string {
	t.Helper()
	answer, err := json.Marshal(calls.OrderPDFAnswer{
		OrderID: uuid.MustParse(couriertest.OrderID), TicketCount: tickets, Content: content,
	})
	require.NoError(t, err)
	return string(answer)
}

func TestTicketsGeneratedSendsConfirmationWithTickets(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
	m := b.onlyMail(t)
	require.Equal(t, id.String(), m.MessageID)
	require.Equal(t, "John Doe", m.To.Name)
	require.Equal(t, userAddress, m.To.Address)
	require.Equal(t, "Your tickets for Summer Music Festival 2024", m.Subject)
	require.Contains(t, m.Text, "100.00 USD")
	require.Contains(t, m.HTML, "ORD-2024-001234")
	require.Len(t, m.Attachments, 1)
	require.Equal(t, "TKT-2024-001234.pdf", m.Attachments[0].Filename)
	require.Equal(t, "application/pdf", m.Attachments[0].ContentType)
	require.Equal(t, "%PDF-1.7", m.Content(t, 0))
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, id))
}

func TestConfirmationOfFewTicketsHasAFileForEach(t *testing.T) {
	b := setup(t)
	b.Deliver(t, uuid.New(), "TICKETS_GENERATED", generated(notification.MaxFiles))
	require.Len(t, b.onlyMail(t).Attachments, notification.MaxFiles)
}

func TestConfirmationOfManyTicketsHasOneFile(t *testing.T) {
	b := setup(t)
	b.Services.Answer(couriertest.OrderPDFPath, orderPDF(t, notification.MaxFiles, []byte("%PDF-many")))
	b.Deliver(t, uuid.New(), "TICKETS_GENERATED", generated(notification.MaxFiles+1))
	m := b.onlyMail(t)
	require.Len(t, m.Attachments, 1)
	require.Equal(t, "ORD-2024-001234.pdf", m.Attachments[0].Filename)
	require.Equal(t, "%PDF-many", m.Content(t, 0))
	require.Contains(t, m.Text, "your 10 tickets are attached, in one PDF file with a page for each")
	require.Contains(t, m.Text, "One ticket was transferred, cancelled or used in the meantime")
}

// All tickets of an order were transferred before the mail was composed.
func TestConfirmationWithoutTicketsHasNoFile(t *testing.T) {
	b := setup(t)
	b.Services.Answer(couriertest.OrderPDFPath, orderPDF(t, 0, nil))
	b.Deliver(t, uuid.New(), "TICKETS_GENERATED", generated(20))
	m := b.onlyMail(t)
	require.Empty(t, m.Attachments)
	require.Contains(t, m.Text, "20 tickets were transferred, cancelled or used in the meantime")
}

// The largest mail is accepted by the sidecar. See TestPDFOfTheLargestOrderFitsIntoAMail in ticket-service.
func TestConfirmationOfTheLargestOrderIsSent(t *testing.T) {
	b := setup(t)
	b.Services.Answer(couriertest.OrderPDFPath,
		orderPDF(t, events.MaxOrderTickets, make([]byte, calls.MaxMailAttachments)))
	id := uuid.New()
	b.Deliver(t, id, "TICKETS_GENERATED", generated(events.MaxOrderTickets))
	require.Len(t, b.onlyMail(t).Attachments, 1)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, id))
}

// A mail that would be too large is sent without its attachments, and is not refused again and again.
func TestConfirmationWithoutRoomForTicketsSaysWhereTheyAre(t *testing.T) {
	b := setup(t)
	b.Services.Answer(couriertest.OrderPDFPath, orderPDF(t, 20, make([]byte, calls.MaxMailAttachments+1)))
	id := uuid.New()
	b.Deliver(t, id, "TICKETS_GENERATED", generated(20))
	m := b.onlyMail(t)
	require.Empty(t, m.Attachments)
	require.Contains(t, m.Text, `Your 20 tickets are too large for a mail. They are in your account, under "My tickets"`)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, id))
}

// The previous owner of a transferred ticket must not see the code of the new one.
func TestConfirmationOmitsUnavailableTickets(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"Transferred", problem.New(problem.NotFound, "TICKET_NOT_FOUND", "No such ticket")},
		{"Cancelled", problem.New(problem.Conflict, "TICKET_NOT_ACTIVE", "Cancelled")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			b.Services.Fail(couriertest.PDFPath, tt.err)
			b.Deliver(t, uuid.New(), "TICKETS_GENERATED", couriertest.TicketsGenerated)
			m := b.onlyMail(t)
			require.Empty(t, m.Attachments)
			require.Contains(t, m.Text, "One ticket was transferred, cancelled or used in the meantime")
		})
	}
}

// The confirmation is sent when there are tickets to attach.
func TestPaymentCompletedSendsNothing(t *testing.T) {
	b := setup(t)
	b.Deliver(t, uuid.New(), "PAYMENT_COMPLETED", couriertest.PaymentCompleted)
	require.Empty(t, b.Services.Sent())
}

func TestPaymentFailedSendsTheReason(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.Deliver(t, id, "PAYMENT_FAILED", couriertest.PaymentFailed)
	m := b.onlyMail(t)
	require.Equal(t, id.String(), m.MessageID)
	require.Equal(t, "Your payment for Summer Music Festival 2024 did not go through", m.Subject)
	require.Contains(t, m.Text, "Payment declined by issuing bank")
	require.Empty(t, m.Attachments)
	require.Equal(t, row{"PAYMENT_FAILED", "SENT", "", 1}, b.row(t, id))
}

func TestRefundProcessedSendsTheAmount(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.Deliver(t, id, "REFUND_PROCESSED", couriertest.RefundProcessed)
	m := b.onlyMail(t)
	require.Equal(t, userAddress, m.To.Address)
	require.Contains(t, m.Text, "50.00 USD of order ORD-2024-001234, which was 100.00 USD in all")
	require.Contains(t, m.Text, "One act less")
	require.Contains(t, m.Text, "The rest of the order does not change")
	require.Equal(t, row{"REFUND_PROCESSED", "SENT", "", 1}, b.row(t, id))

	whole := strings.ReplaceAll(couriertest.RefundProcessed, "50.00", "100.00")
	b.Deliver(t, uuid.New(), "REFUND_PROCESSED", whole)
	require.Contains(t, b.Services.Sent()[1].Text, "With this refund, the whole order is refunded")
}

func TestRefundFailedTellsTheBuyer(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.Deliver(t, id, "REFUND_FAILED", couriertest.RefundFailed)
	m := b.onlyMail(t)
	require.Equal(t, userAddress, m.To.Address)
	require.Equal(t, "Your refund for Summer Music Festival 2024 did not arrive", m.Subject)
	require.Contains(t, m.Text, "the refund of 50.00 USD for order ORD-2024-001234")
	require.Equal(t, row{"REFUND_FAILED", "SENT", "", 1}, b.row(t, id))
}

// Operations, the organizer and the holder of the tickets, who may not be the buyer, are informed about a dispute.
func TestDisputeIsToldToEverybodyConcerned(t *testing.T) {
	b := setup(t)
	b.Deliver(t, uuid.New(), "PAYMENT_DISPUTED", couriertest.PaymentDisputed)
	operations := b.onlyMail(t)
	require.Contains(t, operations.Subject, "A payment is disputed: "+couriertest.OrderID)
	require.Contains(t, operations.Text, "dp_1, 100.00 USD, FRAUDULENT")
	require.Contains(t, operations.Text, "Answer it at the card processor")
	require.NotContains(t, operations.Text, "John")

	b.Deliver(t, uuid.New(), "TICKETS_DISPUTED", couriertest.OrderDisputed)
	organizer := b.Services.Sent()[1]
	require.Equal(t, userAddress, organizer.To.Address)
	require.Equal(t, "A payment is disputed: Summer Music Festival 2024", organizer.Subject)
	require.Contains(t, organizer.Text, "the buyer of order ORD-2024-001234 disputes the payment")

	b.Deliver(t, uuid.New(), "TICKETS_DISPUTED", couriertest.TicketsSuspended)
	holder := b.Services.Sent()[2]
	require.Equal(t, otherUserAddress, holder.To.Address)
	require.Equal(t, "Your tickets are suspended: Summer Music Festival 2024", holder.Subject)
	require.NotContains(t, holder.Text, "ORD-2024-001234", "the order is another user's")

	for tickets, text := range map[string]string{
		"RESTORED": "They admit you again", "CANCELLED": "They are no longer valid", "VOID": "never be valid again",
	} {
		b.Deliver(t, uuid.New(), "TICKETS_DISPUTED", strings.Replace(couriertest.TicketsSuspended, "SUSPENDED", tickets, 1))
		sent := b.Services.Sent()
		require.Contains(t, sent[len(sent)-1].Text, text)
	}
	for status, text := range map[string]string{"WON": "is won", "LOST": "is lost"} {
		b.Deliver(t, uuid.New(), "TICKETS_DISPUTED", strings.Replace(couriertest.OrderDisputed, "OPEN", status, 1))
		sent := b.Services.Sent()
		require.Contains(t, sent[len(sent)-1].Text, text)
	}
}

func TestTicketTransferredSendsMailToBothOwners(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	for range 2 { // the second delivery changes nothing
		b.Deliver(t, id, "TICKET_TRANSFERRED", couriertest.TicketTransferred)
	}
	sent := b.Services.Sent()
	require.Len(t, sent, 2)
	require.NotEqual(t, sent[0].MessageID, sent[1].MessageID)
	texts := map[string]string{}
	for address, m := range b.byAddress(t) {
		require.Empty(t, m.Attachments)
		texts[address] = strings.Join(strings.Fields(m.Text), " ")
	}
	require.Contains(t, texts[userAddress], "ticket TKT-2024-001234 now belongs to Jane Smith")
	require.Contains(t, texts[otherUserAddress], "John Doe transferred ticket TKT-2024-001234 to you")

	kinds := map[string]string{}
	rows, err := b.Pool.Query(t.Context(), `SELECT user_id::text, kind FROM notifications WHERE event_id = $1`, id)
	require.NoError(t, err)
	var user, kind string
	_, err = pgx.ForEachRow(rows, []any{&user, &kind}, func() error {
		kinds[user] = kind
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		couriertest.UserID: "TICKET_TRANSFERRED", couriertest.OtherUserID: "TICKET_RECEIVED",
	}, kinds)
}

func TestTransferMailsAreRetriedSeparately(t *testing.T) {
	b := setup(t)
	var sends atomic.Int32
	b.Services.OnSend(func(context.Context) error {
		if sends.Add(1) == 1 {
			return sidecar.ErrUnavailable
		}
		return nil
	})
	b.Deliver(t, uuid.New(), "TICKET_TRANSFERRED", couriertest.TicketTransferred)
	require.Len(t, b.Services.Sent(), 1)
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 2)
	require.Len(t, b.byAddress(t), 2)
}

func TestAlertIsSentToOperationsOnceWithoutPersonalData(t *testing.T) {
	for _, tt := range []struct {
		eventType, payload, subject string
		says                        []string
	}{
		{
			"COMPENSATION_FAILED", couriertest.CompensationFailed,
			"An order could not be undone: " + couriertest.OrderID,
			[]string{couriertest.OrderID, "the step REFUND", "after 7 attempts", "SERVICE_UNAVAILABLE"},
		},
		{
			"DEAD_LETTER_ARCHIVED", couriertest.DeadLetterArchived, "An event needs a decision at ticket-service",
			[]string{"ticket-processing-queue", "PAYMENT_COMPLETED", "m-1", "Monday, 15 January 2024, 10:31 UTC"},
		},
	} {
		t.Run(tt.eventType, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			for range 2 { // the second delivery changes nothing
				b.Deliver(t, id, tt.eventType, tt.payload)
			}
			m := b.onlyMail(t)
			require.Equal(t, "operations@example.com", m.To.Address)
			require.Equal(t, tt.subject, m.Subject)
			requireBoth(t, m, tt.says...)
			require.NotContains(t, m.Text+m.HTML, "john@example.com", "personal data")
			require.Empty(t, b.list(t))
		})
	}
}

func TestAccountMailIsSentToTheAddressWithItsLink(t *testing.T) {
	for _, tt := range []struct{ eventType, kind, subject, link string }{
		{
			"EMAIL_VERIFICATION_REQUESTED", "EMAIL_VERIFICATION", "Confirm your e-mail address",
			"https://tickets.example.com/verify-email?token=a%2Bb%2Fc",
		},
		{
			"PASSWORD_RESET_REQUESTED", "PASSWORD_RESET", "Set a new password",
			"https://tickets.example.com/reset-password?token=a%2Bb%2Fc",
		},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			b.Deliver(t, id, tt.eventType, couriertest.AccountMailRequested)
			m := b.onlyMail(t)
			require.Equal(t, id.String(), m.MessageID)
			require.Equal(t, userAddress, m.To.Address)
			require.Equal(t, tt.subject, m.Subject)
			require.Contains(t, m.Text, tt.link+"\n")
			require.Contains(t, m.HTML, `href="`+tt.link+`"`)
			stored := b.list(t)
			require.Len(t, stored, 1)
			require.Equal(t, notification.Kind(tt.kind), stored[0].Kind)
			require.Nil(t, stored[0].OrderID)

			var columns string
			require.NoError(t, b.Pool.QueryRow(t.Context(), `SELECT n::text FROM notifications n`).Scan(&columns))
			require.NotContains(t, columns, "a+b/c", "the token is not stored")
			require.NotContains(t, columns, userAddress, "the address is not stored")
		})
	}
}

// The link of another mail was used before this mail was sent.
func TestAccountMailWithUsedTokenIsNotSent(t *testing.T) {
	b := setup(t)
	b.Services.Fail(couriertest.RequestPath,
		problem.New(problem.NotFound, "ACCOUNT_MAIL_NOT_FOUND", "Used or expired"))
	b.Deliver(t, uuid.New(), "PASSWORD_RESET_REQUESTED", couriertest.AccountMailRequested)
	require.Empty(t, b.Services.Sent())
	require.Equal(t, notification.Failed, b.list(t)[0].Status)
}

package notification_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

var (
	buyer = notification.Recipient{Name: "John Doe", Address: "john@example.com"}
	order = notification.Order{
		Number: "ORD-2024-001234",
		Items: []notification.LineItem{
			{Quantity: 2, UnitPrice: money.Of(5000, "USD"), Total: money.Of(10000, "USD")},
		},
		Total: money.Of(10000, "USD"),
	}
	festival = notification.Occasion{
		Name: "Summer Music Festival 2024", Date: time.Date(2024, 7, 15, 18, 0, 0, 0, time.UTC),
		VenueName: "Central Park Amphitheater", VenueAddress: "123 Park Ave, New York",
	}
)

// requireBoth asserts that the HTML and the text of the mail contain the facts, wherever their lines break.
func requireBoth(t *testing.T, m notification.Mail, facts ...string) {
	t.Helper()
	for _, body := range []string{m.HTML, m.Text} {
		for _, fact := range facts {
			require.Contains(t, oneLine(body), fact)
		}
	}
}

// requireNeither asserts that neither the HTML nor the text of the mail contains any of the texts.
func requireNeither(t *testing.T, m notification.Mail, texts ...string) {
	t.Helper()
	for _, body := range []string{m.HTML, m.Text} {
		for _, text := range texts {
			require.NotContains(t, oneLine(body), text)
		}
	}
}

// oneLine returns a body with single spaces in place of line breaks and of ends of paragraphs.
func oneLine(body string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(body, "</p>", " ")), " ")
}

func TestConfirmationDescribesOrderAndAttachesTickets(t *testing.T) {
	t.Parallel()
	m, err := notification.Confirmation{
		To: buyer, Order: order, Occasion: festival,
		Tickets: []notification.Ticket{
			{Number: "TKT-2024-001234", PDF: []byte("%PDF-1")}, {Number: "TKT-2024-001235", PDF: []byte("%PDF-2")},
		},
	}.Mail()
	require.NoError(t, err)
	require.Equal(t, buyer, m.To)
	require.Equal(t, "Your tickets for Summer Music Festival 2024", m.Subject)
	requireBoth(t, m,
		"John Doe", "ORD-2024-001234", "your 2 tickets are attached", "50.00 USD", "100.00 USD",
		"Summer Music Festival 2024", "Monday, 15 July 2024, 18:00 UTC", "Central Park Amphitheater",
		"123 Park Ave, New York", "TKT-2024-001234", "TKT-2024-001235")
	require.Equal(t, []notification.Attachment{
		{Filename: "TKT-2024-001234.pdf", ContentType: "application/pdf", Content: []byte("%PDF-1")},
		{Filename: "TKT-2024-001235.pdf", ContentType: "application/pdf", Content: []byte("%PDF-2")},
	}, m.Attachments)
}

func TestConfirmationCountsTickets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		tickets, others int
		says            string
	}{
		{"One", 1, 0, "your ticket is attached"},
		{"Several", 3, 0, "your 3 tickets are attached"},
		{"MoreThanAttached", 100, 20, "the first 100 of your tickets are attached, each as a PDF file. " +
			"The other 20 are in your account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := notification.Confirmation{
				To: buyer, Order: order, Occasion: festival,
				Tickets: make([]notification.Ticket, tt.tickets), Others: tt.others,
			}.Mail()
			require.NoError(t, err)
			requireBoth(t, m, tt.says)
		})
	}
}

func TestConfirmationCountsOmittedTickets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		tickets, omitted int
		says             string
	}{
		{"One", 1, 1, "your ticket is attached as a PDF file. " +
			"One ticket was transferred, cancelled or used in the meantime and is not attached."},
		{"All", 0, 2, "It is paid. 2 tickets were transferred, cancelled or used in the meantime and are not attached."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := notification.Confirmation{
				To: buyer, Order: order, Occasion: festival,
				Tickets: make([]notification.Ticket, tt.tickets), Omitted: tt.omitted,
			}.Mail()
			require.NoError(t, err)
			requireBoth(t, m, tt.says)
			if tt.tickets > 0 {
				requireBoth(t, m, "Show the code", "Attached")
			} else {
				requireNeither(t, m, "Show the code", "Attached")
			}
		})
	}
}

func TestConfirmationDescribesItsDocument(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		tickets, others int
		size            int // of the PDF in bytes
		says            string
		attached        int
	}{
		{"One", 1, 0, 100, "your ticket is attached as a PDF file.", 1},
		{
			"Many", 500, 0, calls.MaxMailAttachments,
			"your 500 tickets are attached, in one PDF file with a page for each.", 1,
		},
		{"MoreThanAllowed", 500, 20, 100, "the first 500 of your tickets are attached, in one PDF file with a page " +
			"for each. The other 20 are in your account", 1},
		{
			"TooLarge", 500, 0, calls.MaxMailAttachments + 1,
			"It is paid. Your 500 tickets are too large for a mail. They are in your account", 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := notification.Confirmation{
				To: buyer, Order: order, Occasion: festival, Others: tt.others,
				Document: notification.Document{Tickets: tt.tickets, PDF: make([]byte, tt.size)},
			}.Mail()
			require.NoError(t, err)
			require.Len(t, m.Attachments, tt.attached)
			requireBoth(t, m, tt.says, "Show the code")
			require.True(t, strings.HasPrefix(m.Text, "Hello"))
			if tt.attached > 0 {
				require.Equal(t, "ORD-2024-001234.pdf", m.Attachments[0].Filename)
				requireBoth(t, m, "ORD-2024-001234.pdf")
			} else {
				requireNeither(t, m, "ORD-2024-001234.pdf", "attached", "Attached")
			}
		})
	}
}

func TestRefundNamesAmountAndReason(t *testing.T) {
	t.Parallel()
	const whole = "With this refund, the whole order is refunded."
	for _, tt := range []struct {
		name, reason string
		whole        bool
		says, not    string
	}{
		{"InPart", "The second act is left out.", false, "The reason given: The second act is left out. ", "whole order"},
		{"Whole", "Venue closed", true, whole, "does not change"},
		{"NoReason", "", true, "refunded", "reason"},
		{"SoldOut", "INSUFFICIENT_INVENTORY", true, "there were not enough tickets left", "INSUFFICIENT"},
		{"Cancelled", "EVENT_CANCELLED", true, "the event does not take place", "EVENT_CANCELLED"},
		{"Returned", "EVENT_POSTPONED", false, "the event was postponed, and tickets were returned", "could not be issued"},
		{"OtherCode", "RESERVATION_NOT_FOUND", true, "the tickets could not be issued", "RESERVATION"},
		{"OrganizersTextInCapitals", "STORM", true, "The reason given: STORM.", "issued"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := notification.Refund{
				To: buyer, Order: order, Occasion: festival,
				Amount: money.Of(5000, "USD"), Whole: tt.whole, Reason: tt.reason,
			}.Mail()
			require.NoError(t, err)
			require.Equal(t, "Your refund for Summer Music Festival 2024", m.Subject)
			requireBoth(t, m, "John Doe", "50.00 USD of order ORD-2024-001234, which was 100.00 USD in all",
				festival.Name, tt.says)
			requireNeither(t, m, tt.not)
		})
	}
}

func TestTransferNamesTheOtherOwner(t *testing.T) {
	t.Parallel()
	jane := notification.Recipient{Name: "Jane Smith", Address: "jane@example.com"}
	for _, tt := range []struct {
		kind    notification.Kind
		to      notification.Recipient
		subject string
		says    string
	}{
		{
			notification.TicketTransferred, buyer, "Your ticket for Summer Music Festival 2024 has a new owner",
			"Hello John Doe, ticket TKT-2024-001234 now belongs to Jane Smith.",
		},
		{
			notification.TicketReceived, jane, "You have a ticket for Summer Music Festival 2024",
			"Hello Jane Smith, John Doe transferred ticket TKT-2024-001234 to you.",
		},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			m, err := notification.Transfer{
				Kind: tt.kind, From: buyer, To: jane, Occasion: festival, TicketNumber: "TKT-2024-001234",
			}.Mail()
			require.NoError(t, err)
			require.Equal(t, tt.to, m.To)
			require.Equal(t, tt.subject, m.Subject)
			require.Empty(t, m.Attachments)
			requireBoth(t, m, tt.says, festival.Name)
			requireNeither(t, m, "@example.com") // neither user sees the other's address
		})
	}
}

func TestCancellationNamesTicketsAndCause(t *testing.T) {
	t.Parallel()
	const one, refunded = "TKT-2024-001234", "is refunded to the payment method of the order"
	two := []string{one, "TKT-2024-001235"}
	many := make([]string, 102)
	for _, tt := range []struct {
		name      string
		c         notification.Cancellation
		says, not string
	}{
		{
			"AsAsked",
			notification.Cancellation{Tickets: two[:1], AsAsked: true, Reason: "Ill"},
			"ticket TKT-2024-001234 is cancelled, as you asked. Its code", "reason",
		},
		{
			"Refunded",
			notification.Cancellation{Tickets: two[:1], Reason: "Seats double-booked."},
			"ticket TKT-2024-001234 is cancelled. Its code is no longer valid. " +
				"The reason given: Seats double-booked.", "asked",
		},
		{"RefundedByCode", notification.Cancellation{Tickets: two[:1], Reason: "NOT_GENERATED"}, refunded, "reason"},
		{
			"Several",
			notification.Cancellation{Tickets: two, Reason: "EVENT_POSTPONED", Returned: true},
			"2 of your tickets are cancelled, because the event was postponed and the tickets were returned. Their codes",
			"reason",
		},
		{"AllListed", notification.Cancellation{Tickets: two}, "TKT-2024-001235", "more"},
		{"Many", notification.Cancellation{Tickets: many}, "and 2 more", "asked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.c.To, tt.c.Occasion = buyer, festival
			m, err := tt.c.Mail()
			require.NoError(t, err)
			subject := "Your ticket for Summer Music Festival 2024 is cancelled"
			if len(tt.c.Tickets) > 1 {
				subject = "Your tickets for Summer Music Festival 2024 are cancelled"
			}
			require.Equal(t, subject, m.Subject)
			requireBoth(t, m, tt.says, festival.Name)
			requireNeither(t, m, tt.not)
			if tt.c.AsAsked {
				requireNeither(t, m, refunded)
			} else {
				requireBoth(t, m, refunded)
			}
		})
	}
}

func TestEventCancellationOmitsReasonCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, reason, says string }{
		{"Text", "Storm warning.", "The reason given: Storm warning."},
		{"Code", "EVENT_CANCELLED", ""},
		{"None", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := notification.EventCancellation{To: buyer, Occasion: festival, Reason: tt.reason}.Mail()
			require.NoError(t, err)
			require.Equal(t, buyer, m.To)
			require.Equal(t, "Summer Music Festival 2024 is cancelled", m.Subject)
			requireBoth(t, m, "will not take place", "are no longer valid",
				"The price is refunded to the payment method of the order", "Monday, 15 July 2024, 18:00 UTC", tt.says)
			if tt.says == "" {
				requireNeither(t, m, "The reason given")
			}
			requireNeither(t, m, "..")
		})
	}
}

// A reason that is not an error code may contain personal data.
func TestStuckOrderOmitsReasonInWords(t *testing.T) {
	t.Parallel()
	m, err := notification.StuckOrder{Step: "REFUND", Attempts: 3, Reason: "card of John Doe"}.Mail()
	require.NoError(t, err)
	requireNeither(t, m, "John Doe")
}

func TestDeadLetterSaysThatItsTypeCannotBeRead(t *testing.T) {
	t.Parallel()
	m, err := notification.DeadLetter{
		ID: "m-1", Service: "ticket-service", Queue: "ticket-processing-queue", FirstSeen: festival.Date,
	}.Mail()
	require.NoError(t, err)
	requireBoth(t, m, "its type cannot be read")
	requireNeither(t, m, ",.")
}

func TestAccountMailHasTheLinkAndItsExpiry(t *testing.T) {
	t.Parallel()
	const link = "https://tickets.example.com/verify-email?token=a-b_c"
	for _, tt := range []struct {
		kind          notification.Kind
		subject, says string
	}{
		{notification.EmailVerification, "Confirm your e-mail address", "confirm that this address is yours"},
		{notification.PasswordReset, "Set a new password", "you can set a new password"},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			m, err := notification.AccountMail{Kind: tt.kind, To: buyer, Link: link, Expires: festival.Date}.Mail()
			require.NoError(t, err)
			require.Equal(t, buyer, m.To)
			require.Equal(t, tt.subject, m.Subject)
			require.Contains(t, m.HTML, `<a href="`+link+`"`)
			requireBoth(t, m, tt.says, link, "Monday, 15 July 2024, 18:00 UTC", "ignore this message")
			requireNeither(t, m, "an order")
		})
	}
}

func TestDeclineSaysThatNothingWasCharged(t *testing.T) {
	t.Parallel()
	m, err := notification.Decline{
		To: buyer, Order: order, Occasion: festival, Reason: "Payment declined by issuing bank.",
	}.Mail()
	require.NoError(t, err)
	require.Equal(t, "Your payment for Summer Music Festival 2024 did not go through", m.Subject)
	require.Empty(t, m.Attachments)
	requireBoth(t, m, "John Doe", "ORD-2024-001234", "100.00 USD", "Nothing was charged", "released",
		"Summer Music Festival 2024", "Payment declined by issuing bank.")
	requireNeither(t, m, "bank..")
}

func TestNamesAreEscaped(t *testing.T) {
	t.Parallel()
	hostile := festival
	hostile.Name = "<script>alert(1)</script>\r\nBcc: all@example.com"
	hostile.VenueName = `"><img src="https://example.com/spy.png">`
	m, err := notification.Decline{
		To: notification.Recipient{Name: `</title><b>J`}, Order: order, Occasion: hostile, Reason: "{{.}} <i>",
	}.Mail()
	require.NoError(t, err)
	require.Equal(t, "Your payment for <script>alert(1)</script> Bcc: all@example.com did not go through", m.Subject)
	require.NotRegexp(t, `<(script|img|b|i)\b`, m.HTML)
	require.Contains(t, m.Text, "<script>alert(1)</script>", "plain text needs no escaping")
}

// External content would report to its server when a mail is read, and most mail programs block it.
func TestMailLoadsNoExternalContent(t *testing.T) {
	t.Parallel()
	m, err := notification.Confirmation{To: buyer, Order: order, Occasion: festival}.Mail()
	require.NoError(t, err)
	require.NotRegexp(t, `(?i)<(img|link|script|iframe)\b|url\(|@import|https?:`, m.HTML)
}

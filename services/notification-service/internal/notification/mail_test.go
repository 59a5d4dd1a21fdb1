package notification_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

var (
	buyer = notification.Recipient{Name: "John Doe", Address: "john@example.com"}
	order = notification.Order{
		Number: "ORD-2024-001234",
		Lines:  []notification.Line{{Quantity: 2, UnitPrice: money.Of(5000, "USD"), Total: money.Of(10000, "USD")}},
		Total:  money.Of(10000, "USD"),
	}
	festival = notification.Occasion{
		Name: "Summer Music Festival 2024", Date: time.Date(2024, 7, 15, 18, 0, 0, 0, time.UTC),
		VenueName: "Central Park Amphitheater", VenueAddress: "123 Park Ave, New York",
	}
)

func TestConfirmation(t *testing.T) {
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
	for _, body := range []string{m.HTML, m.Text} {
		for _, fact := range []string{
			"John Doe", "ORD-2024-001234", "your 2 tickets are attached", "50.00 USD", "100.00 USD", "Summer Music Festival 2024",
			"Monday, 15 July 2024, 18:00 UTC", "Central Park Amphitheater", "123 Park Ave, New York", "TKT-2024-001234", "TKT-2024-001235",
		} {
			require.Contains(t, body, fact)
		}
	}
	require.Equal(t, []notification.Attachment{
		{Filename: "TKT-2024-001234.pdf", ContentType: "application/pdf", Content: []byte("%PDF-1")},
		{Filename: "TKT-2024-001235.pdf", ContentType: "application/pdf", Content: []byte("%PDF-2")},
	}, m.Attachments)
}

func TestConfirmationInNumbers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		tickets, others int
		says            string
	}{
		{"One", 1, 0, "your ticket is attached"},
		{"Several", 3, 0, "your 3 tickets are attached"},
		{"MoreThanFit", 100, 20, "the first 100 of your tickets are attached, each as a PDF file. The other 20 are in your account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := notification.Confirmation{
				To: buyer, Order: order, Occasion: festival, Tickets: make([]notification.Ticket, tt.tickets), Others: tt.others,
			}.Mail()
			require.NoError(t, err)
			require.Contains(t, m.HTML, tt.says)
			require.Contains(t, m.Text, tt.says)
		})
	}
}

func TestConfirmationOfWhatIsGone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		tickets, gone int
		says          string
	}{
		{"One", 1, 1, "your ticket is attached as a PDF file. One ticket was given away, cancelled or used since, and is not attached."},
		{"All", 0, 2, "It is paid. 2 tickets were given away, cancelled or used since, and are not attached."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := notification.Confirmation{
				To: buyer, Order: order, Occasion: festival, Tickets: make([]notification.Ticket, tt.tickets), Gone: tt.gone,
			}.Mail()
			require.NoError(t, err)
			for _, body := range []string{m.HTML, m.Text} {
				require.Contains(t, body, tt.says)
				require.Equal(t, tt.tickets > 0, strings.Contains(body, "Show the code"))
				require.Equal(t, tt.tickets > 0, strings.Contains(body, "Attached"))
			}
		})
	}
}

func TestRefund(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, reason string
		whole        bool
		says, not    string
	}{
		{"InPart", "The second act is left out.", false, "The reason given: The second act is left out. ", "the whole order"},
		{"Whole", "Venue closed", true, "With that, the whole order is refunded.", "stays as it is"},
		{"NoReason", "", true, "refunded", "reason"},
		{"SoldOut", "INSUFFICIENT_INVENTORY", true, "there were not enough tickets left", "INSUFFICIENT"},
		{"AnotherCode", "RESERVATION_NOT_FOUND", true, "the tickets could not be issued", "RESERVATION"},
		{"OrganizerInCapitals", "STORM", true, "The reason given: STORM.", "issued"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := notification.Refund{
				To: buyer, Order: order, Occasion: festival, Amount: money.Of(5000, "USD"), Whole: tt.whole, Reason: tt.reason,
			}.Mail()
			require.NoError(t, err)
			require.Equal(t, "Your refund for Summer Music Festival 2024", m.Subject)
			for _, body := range []string{m.HTML, m.Text} {
				oneLine := strings.Join(strings.Fields(body), " ")
				for _, fact := range []string{"John Doe", "50.00 USD of order ORD-2024-001234, which was 100.00 USD in all", festival.Name} {
					require.Contains(t, oneLine, fact)
				}
				require.Contains(t, strings.ReplaceAll(oneLine, "</p>", " "), tt.says)
				require.NotContains(t, oneLine, tt.not)
			}
		})
	}
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	jane := notification.Recipient{Name: "Jane Smith", Address: "jane@example.com"}
	transfer := notification.Transfer{From: buyer, To: jane, Occasion: festival, TicketNumber: "TKT-2024-001234"}
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
			"Hello Jane Smith, John Doe gave you ticket TKT-2024-001234.",
		},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			transfer := transfer
			transfer.Kind = tt.kind
			m, err := transfer.Mail()
			require.NoError(t, err)
			require.Equal(t, tt.to, m.To)
			require.Equal(t, tt.subject, m.Subject)
			require.Empty(t, m.Attachments)
			for _, body := range []string{m.HTML, m.Text} {
				oneLine := strings.Join(strings.Fields(body), " ")
				require.Contains(t, oneLine, tt.says)
				require.Contains(t, oneLine, festival.Name)
				require.NotContains(t, body, "@example.com", "nobody learns an address")
			}
		})
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	m, err := notification.Cancellation{To: buyer, Occasion: festival, TicketNumber: "TKT-2024-001234"}.Mail()
	require.NoError(t, err)
	require.Equal(t, "Your ticket for Summer Music Festival 2024 is cancelled", m.Subject)
	for _, body := range []string{m.HTML, m.Text} {
		require.Contains(t, body, "ticket TKT-2024-001234 is cancelled, as you asked")
		require.Contains(t, body, festival.Name)
	}
}

func TestCalledOff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, reason, says string }{
		{"InWords", "Storm warning.", "The reason given: Storm warning."},
		{"Code", "EVENT_CANCELLED", ""},
		{"None", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := notification.CalledOff{To: buyer, Occasion: festival, Reason: tt.reason}.Mail()
			require.NoError(t, err)
			require.Equal(t, buyer, m.To)
			require.Equal(t, "Summer Music Festival 2024 is cancelled", m.Subject)
			for _, body := range []string{m.HTML, m.Text} {
				require.Contains(t, body, "will not take place")
				require.Contains(t, body, "let nobody in any more")
				require.Contains(t, body, "goes back to where it was paid from")
				require.Contains(t, body, "Monday, 15 July 2024, 18:00 UTC")
				if tt.says == "" {
					require.NotContains(t, body, "The reason given")
				} else {
					require.Contains(t, body, tt.says)
				}
				require.NotContains(t, body, "..")
			}
		})
	}
}

// A reason that is not one of our codes may name somebody.
func TestStuckOrderNamesNobody(t *testing.T) {
	t.Parallel()
	m, err := notification.StuckOrder{Step: "REFUND", Attempts: 3, Reason: "card of John Doe"}.Mail()
	require.NoError(t, err)
	require.NotContains(t, m.Text+m.HTML, "John Doe")
}

// Of an event that cannot be read, no more is said than that.
func TestDeadLetterThatCannotBeRead(t *testing.T) {
	t.Parallel()
	m, err := notification.DeadLetter{ID: "m-1", Service: "ticket-service", Queue: "ticket-processing-queue", FirstSeen: festival.Date}.Mail()
	require.NoError(t, err)
	for _, body := range []string{m.HTML, m.Text} {
		require.Contains(t, body, "of a type that cannot be read")
		require.NotContains(t, body, ",.")
	}
}

func TestAccountMail(t *testing.T) {
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
			for _, body := range []string{m.HTML, m.Text} {
				require.Contains(t, body, tt.says)
				require.Contains(t, body, link)
				require.Contains(t, body, "Monday, 15 July 2024, 18:00 UTC")
				require.Contains(t, body, "ignore it")
				require.NotContains(t, body, "an order")
			}
		})
	}
}

func TestDecline(t *testing.T) {
	t.Parallel()
	m, err := notification.Decline{To: buyer, Order: order, Occasion: festival, Reason: "Payment declined by issuing bank."}.Mail()
	require.NoError(t, err)
	require.Equal(t, "Your payment for Summer Music Festival 2024 did not go through", m.Subject)
	require.Empty(t, m.Attachments)
	for _, body := range []string{m.HTML, m.Text} {
		for _, fact := range []string{
			"John Doe", "ORD-2024-001234", "100.00 USD", "Nothing was charged", "released", "Summer Music Festival 2024",
			"Payment declined by issuing bank.",
		} {
			require.Contains(t, body, fact)
		}
		require.NotContains(t, body, "bank..")
	}
}

// What people typed stays text, whatever it looks like.
func TestHostileNames(t *testing.T) {
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
	require.Contains(t, m.Text, "<script>alert(1)</script>", "plain text shows it as it is")
}

// A mail that loads anything tells its sender when it was read, and most programs block that.
func TestNothingIsLoadedFromElsewhere(t *testing.T) {
	t.Parallel()
	m, err := notification.Confirmation{To: buyer, Order: order, Occasion: festival}.Mail()
	require.NoError(t, err)
	require.NotRegexp(t, `(?i)<(img|link|script|iframe)\b|url\(|@import|https?:`, m.HTML)
}

package notification

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// Mail is a complete e-mail.
type Mail struct {
	To          Recipient
	Subject     string
	Text        string
	HTML        string
	Attachments []Attachment
}

// Recipient is the addressee of a mail.
type Recipient struct{ Name, Address string }

// Attachment is a file in a mail.
type Attachment struct {
	Filename    string
	ContentType string
	Content     []byte
}

// Order is the part of an order that mails show.
type Order struct {
	Number string
	Items  []LineItem
	Total  money.Amount
}

// LineItem is the tickets of one type in an order.
type LineItem struct {
	Quantity         int
	UnitPrice, Total money.Amount
}

// Occasion is the part of a booked event that mails show.
type Occasion struct {
	Name         string
	Date         time.Time
	EndDate      time.Time // zero if it has none
	VenueName    string
	VenueAddress string
}

// When returns the date as text. It is in UTC, because the time zone of the venue is not known, and names UTC.
func (o Occasion) When() string { return when(o.Date) }

func when(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006, 15:04 UTC") }

// Ticket is a ticket with its PDF.
type Ticket struct {
	Number string
	PDF    []byte
}

// MaxFiles is the maximum number of tickets that have a PDF file each in a mail. Those of a larger order are in one
// file.
const MaxFiles = 10

// Document is several tickets in one PDF, with a page for each.
type Document struct {
	Tickets int
	PDF     []byte
}

// Confirmation informs a buyer that an order is paid. Its tickets are attached: as Tickets or, of a larger order, as
// Document.
type Confirmation struct {
	To       Recipient
	Order    Order
	Occasion Occasion
	Tickets  []Ticket // at most MaxFiles
	Document Document
	Others   int // how many tickets the order has beyond events.MaxOrderTickets, if it was placed before that limit
	Omitted  int // how many of the other tickets were transferred, cancelled or used in the meantime

	// TooLarge is set by Mail if the tickets exceed calls.MaxMailAttachments. Then none is attached.
	TooLarge bool
}

// Count returns how many tickets the mail has.
func (c Confirmation) Count() int { return len(c.Tickets) + c.Document.Tickets }

// Mail returns the mail with the tickets as PDF files, unless they are too large for a mail. Then it says where they
// are.
func (c Confirmation) Mail() (Mail, error) {
	m := Mail{To: c.To, Subject: subject("Your tickets for %s", c.Occasion.Name)}
	size := 0
	attach := func(name string, pdf []byte) {
		m.Attachments = append(m.Attachments, Attachment{
			Filename: name + ".pdf", ContentType: "application/pdf", Content: pdf,
		})
		size += len(pdf)
	}
	for _, t := range c.Tickets {
		attach(t.Number, t.PDF)
	}
	if c.Document.Tickets > 0 {
		attach(c.Order.Number, c.Document.PDF)
	}
	if c.TooLarge = size > calls.MaxMailAttachments; c.TooLarge {
		m.Attachments = nil
	}
	return confirmation.render(m, c)
}

// Decline informs a buyer that the payment of an order failed and that nothing was charged. It does not mention a card,
// because the payment may also have been too late.
type Decline struct {
	To       Recipient
	Order    Order
	Occasion Occasion
	Reason   string // text, may be empty
}

// Mail returns the mail.
func (d Decline) Mail() (Mail, error) {
	d.Reason = withoutFullStop(d.Reason)
	m := Mail{To: d.To, Subject: subject("Your payment for %s did not go through", d.Occasion.Name)}
	return decline.render(m, d)
}

// Refund informs a buyer about a refund.
type Refund struct {
	To       Recipient
	Order    Order
	Occasion Occasion
	Amount   money.Amount
	Whole    bool   // with this refund, the whole order is refunded
	Reason   string // text of an organizer, or an error code
}

// reasonCode matches an error code, which is the reason of a refund that no person decided.
var reasonCode = regexp.MustCompile(`^[A-Z]+(_[A-Z]+)+$`)

// Mail returns the mail. It replaces an error code by a text.
func (r Refund) Mail() (Mail, error) {
	switch {
	case r.Reason == "INSUFFICIENT_INVENTORY":
		r.Reason = "there were not enough tickets left"
	case r.Reason == calls.ReasonEventCancelled:
		r.Reason = "the event does not take place"
	case r.Reason == calls.ReasonEventPostponed:
		r.Reason = "the event was postponed, and tickets were returned by their owner"
	case reasonCode.MatchString(r.Reason):
		r.Reason = "the tickets could not be issued"
	}
	r.Reason = withoutFullStop(r.Reason)
	return refund.render(Mail{To: r.To, Subject: subject("Your refund for %s", r.Occasion.Name)}, r)
}

// RefundFailure informs a buyer that the money of a refund did not arrive.
type RefundFailure struct {
	To       Recipient
	Order    Order
	Occasion Occasion
	Amount   money.Amount
}

// Mail returns the mail.
func (r RefundFailure) Mail() (Mail, error) {
	return refundFailure.render(Mail{To: r.To, Subject: subject("Your refund for %s did not arrive", r.Occasion.Name)}, r)
}

// Transfer informs one of two users that a ticket was transferred. Its kind decides which one.
type Transfer struct {
	Kind         Kind // TicketTransferred or TicketReceived
	From, To     Recipient
	Occasion     Occasion
	TicketNumber string
}

// Mail returns the mail. The ticket is not attached, because it may have been transferred again in the meantime.
func (t Transfer) Mail() (Mail, error) {
	if t.Kind == TicketReceived {
		return received.render(Mail{To: t.To, Subject: subject("You have a ticket for %s", t.Occasion.Name)}, t)
	}
	m := Mail{To: t.From, Subject: subject("Your ticket for %s has a new owner", t.Occasion.Name)}
	return transferred.render(m, t)
}

// EventCancellation informs a holder of tickets that the event will not take place. It does not mention the order,
// which may be another user's.
type EventCancellation struct {
	To       Recipient
	Occasion Occasion
	Reason   string // text of the organizer, or an error code; may be empty
}

// Mail returns the mail. It leaves an error code out.
func (c EventCancellation) Mail() (Mail, error) {
	if reasonCode.MatchString(c.Reason) {
		c.Reason = ""
	}
	c.Reason = withoutFullStop(c.Reason)
	return eventCancellation.render(Mail{To: c.To, Subject: subject("%s is cancelled", c.Occasion.Name)}, c)
}

// Postponement informs a holder of tickets about the new date of the event.
type Postponement struct {
	To       Recipient
	Occasion Occasion // with the new date
	Before   time.Time
	Reason   string
}

// Was returns the previous date as text.
func (p Postponement) Was() string { return when(p.Before) }

// Mail returns the mail. The 14 days in its text are payment-service's refund.Window.
func (p Postponement) Mail() (Mail, error) {
	p.Reason = withoutFullStop(p.Reason)
	return postponement.render(Mail{To: p.To, Subject: subject("%s has a new date", p.Occasion.Name)}, p)
}

// StuckOrder informs operations about an order whose effects could not be undone. Mails to operations contain no
// personal data. They say where it is found by those who may see it.
type StuckOrder struct {
	To       Recipient
	OrderID  uuid.UUID
	Step     string
	Attempts int
	Reason   string // an error code; other reasons are left out of the mail
}

// Mail returns the mail.
func (s StuckOrder) Mail() (Mail, error) {
	if !reasonCode.MatchString(s.Reason) {
		s.Reason = ""
	}
	return stuckOrder.render(Mail{To: s.To, Subject: "An order could not be undone: " + s.OrderID.String()}, s)
}

// DeadLetter informs operations about an event that could not be processed. Its content and the reason are left out,
// because both may contain personal data.
type DeadLetter struct {
	To                 Recipient
	ID, Service, Queue string
	EventID, EventType string // empty if they cannot be read
	FirstSeen          time.Time
}

// Since returns the time at which the event was first received as text.
func (d DeadLetter) Since() string { return when(d.FirstSeen) }

// Mail returns the mail.
func (d DeadLetter) Mail() (Mail, error) {
	return deadLetter.render(Mail{To: d.To, Subject: subject("An event needs a decision at %s", d.Service)}, d)
}

// AccountMail contains a link that proves that the user reads the mails to an address.
type AccountMail struct {
	Kind    Kind // EmailVerification or PasswordReset
	To      Recipient
	Link    string
	Expires time.Time
}

// Until returns the time at which the link expires as text.
func (a AccountMail) Until() string { return when(a.Expires) }

// Mail returns the mail.
func (a AccountMail) Mail() (Mail, error) {
	if a.Kind == PasswordReset {
		return reset.render(Mail{To: a.To, Subject: "Set a new password"}, a)
	}
	return verification.render(Mail{To: a.To, Subject: "Confirm your e-mail address"}, a)
}

// subject returns a subject with the name. It replaces line breaks in the name, because a header with line breaks would
// be refused.
func subject(format, name string) string {
	return fmt.Sprintf(format, strings.Join(strings.Fields(name), " "))
}

// withoutFullStop returns the text without its last full stops. The templates add one.
func withoutFullStop(text string) string { return strings.TrimRight(text, ". ") }

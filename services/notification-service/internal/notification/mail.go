package notification

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// Mail is an e-mail, ready to be handed over.
type Mail struct {
	To          Recipient
	Subject     string
	Text        string
	HTML        string
	Attachments []Attachment
}

// Recipient is who a mail goes to.
type Recipient struct{ Name, Address string }

// Attachment is a file in a mail.
type Attachment struct {
	Filename    string
	ContentType string
	Content     []byte
}

// Order is what a mail says of an order.
type Order struct {
	Number string
	Lines  []Line
	Total  money.Amount
}

// Line is one line of an order.
type Line struct {
	Quantity         int
	UnitPrice, Total money.Amount
}

// Occasion is what a mail says of the event that an order is for.
type Occasion struct {
	Name         string
	Date         time.Time
	VenueName    string
	VenueAddress string
}

// When gives the date for people. In UTC, and it says so: where the event takes place is not known as
// a time zone.
func (o Occasion) When() string { return when(o.Date) }

func when(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006, 15:04 UTC") }

// Ticket is a ticket with its printable form.
type Ticket struct {
	Number string
	PDF    []byte
}

// MaxAttached is how many tickets come with a mail. A larger order is confirmed with its first ones
// and says where the others are: with all of them the mail would be too large to be delivered (a
// ticket takes about 33 kB in base64, and a sidecar 4 MiB in all), and too slow to be put together.
const MaxAttached = 100

// Confirmation tells a buyer that an order is paid, and brings its tickets.
type Confirmation struct {
	To       Recipient
	Order    Order
	Occasion Occasion
	Tickets  []Ticket // the first MaxAttached of them
	Others   int      // how many more there are
	Gone     int      // how many of the first ones were given away, cancelled or used by now
}

// Mail puts the confirmation into words, with one PDF for each of its Tickets.
func (c Confirmation) Mail() (Mail, error) {
	m := Mail{To: c.To, Subject: subject("Your tickets for %s", c.Occasion.Name)}
	for _, t := range c.Tickets {
		m.Attachments = append(m.Attachments, Attachment{
			Filename: t.Number + ".pdf", ContentType: "application/pdf", Content: t.PDF,
		})
	}
	return confirmationWords.fill(m, c)
}

// Decline tells a buyer that an order was not paid, and that it cost nothing. It speaks of no card: the
// payment may also just not have come in time.
type Decline struct {
	To       Recipient
	Order    Order
	Occasion Occasion
	Reason   string // in words; may be empty
}

// Mail puts the decline into words.
func (d Decline) Mail() (Mail, error) {
	d.Reason = strings.TrimRight(d.Reason, ". ") // our sentence goes on and has a full stop of its own
	m := Mail{To: d.To, Subject: subject("Your payment for %s did not go through", d.Occasion.Name)}
	return declineWords.fill(m, d)
}

// Refund tells a buyer that money is on its way back.
type Refund struct {
	To       Recipient
	Order    Order
	Occasion Occasion
	Amount   money.Amount
	Whole    bool   // nothing of the order is left
	Reason   string // an organizer's words, or a code of ours
}

// A reason in this form is a code of ours, for a refund that no person decided.
var reasonCode = regexp.MustCompile(`^[A-Z]+(_[A-Z]+)+$`)

// Mail puts the refund into words.
func (r Refund) Mail() (Mail, error) {
	if r.Reason == "INSUFFICIENT_INVENTORY" {
		r.Reason = "there were not enough tickets left"
	} else if reasonCode.MatchString(r.Reason) {
		r.Reason = "the tickets could not be issued"
	}
	r.Reason = strings.TrimRight(r.Reason, ". ")
	return refundWords.fill(Mail{To: r.To, Subject: subject("Your refund for %s", r.Occasion.Name)}, r)
}

// Transfer tells that a ticket has changed hands: whom, is its kind's matter.
type Transfer struct {
	Kind         Kind // TicketTransferred or TicketReceived
	From, To     Recipient
	Occasion     Occasion
	TicketNumber string
}

// Mail puts the transfer into words. The ticket does not come with it: by the time that the mail is made
// it may belong to a third person.
func (t Transfer) Mail() (Mail, error) {
	if t.Kind == TicketReceived {
		return receivedWords.fill(Mail{To: t.To, Subject: subject("You have a ticket for %s", t.Occasion.Name)}, t)
	}
	return transferredWords.fill(Mail{To: t.From, Subject: subject("Your ticket for %s has a new owner", t.Occasion.Name)}, t)
}

// Cancellation tells an owner that a ticket is void as they wished.
type Cancellation struct {
	To           Recipient
	Occasion     Occasion
	TicketNumber string
}

// Mail puts the cancellation into words.
func (c Cancellation) Mail() (Mail, error) {
	return cancellationWords.fill(Mail{To: c.To, Subject: subject("Your ticket for %s is cancelled", c.Occasion.Name)}, c)
}

// CalledOff tells a holder of tickets that their event will not take place. It does not speak of the
// order, which may be another person's.
type CalledOff struct {
	To       Recipient
	Occasion Occasion
	Reason   string // the organizer's words, or a code of ours; may be empty
}

// Mail puts it into words.
func (c CalledOff) Mail() (Mail, error) {
	if reasonCode.MatchString(c.Reason) {
		c.Reason = ""
	}
	c.Reason = strings.TrimRight(c.Reason, ". ")
	return calledOffWords.fill(Mail{To: c.To, Subject: subject("%s is cancelled", c.Occasion.Name)}, c)
}

// Postponement tells a holder of tickets of another date.
type Postponement struct {
	To       Recipient
	Occasion Occasion // on its new date
	Before   time.Time
	Reason   string
}

// Was gives the date until then for people.
func (p Postponement) Was() string { return when(p.Before) }

// Mail puts it into words. The days that it names are payment-service's refund.Window.
func (p Postponement) Mail() (Mail, error) {
	p.Reason = strings.TrimRight(p.Reason, ". ")
	return postponementWords.fill(Mail{To: p.To, Subject: subject("%s has a new date", p.Occasion.Name)}, p)
}

// StuckOrder tells operations of an order whose effects could not be undone. Mails to operations name
// nobody: who may know more finds it where they point.
type StuckOrder struct {
	To       Recipient
	OrderID  uuid.UUID
	Step     string
	Attempts int
	Reason   string // a code; anything else is not told
}

// Mail puts it into words.
func (s StuckOrder) Mail() (Mail, error) {
	if !reasonCode.MatchString(s.Reason) {
		s.Reason = ""
	}
	return stuckOrderWords.fill(Mail{To: s.To, Subject: "An order could not be undone: " + s.OrderID.String()}, s)
}

// DeadLetter tells operations of an event that could not be processed. What is in it, and why, is not told:
// both may name people.
type DeadLetter struct {
	To                 Recipient
	ID, Service, Queue string
	EventID, EventType string // as far as they can be read
	FirstSeen          time.Time
}

// Since gives the first time that the event was found for people.
func (d DeadLetter) Since() string { return when(d.FirstSeen) }

// Mail puts it into words.
func (d DeadLetter) Mail() (Mail, error) {
	return deadLetterWords.fill(Mail{To: d.To, Subject: subject("An event waits for a decision at %s", d.Service)}, d)
}

// AccountMail brings a link that only the owner of an address should have.
type AccountMail struct {
	Kind    Kind // EmailVerification or PasswordReset
	To      Recipient
	Link    string
	Expires time.Time
}

// Until gives the link's end for people.
func (a AccountMail) Until() string { return when(a.Expires) }

// Mail puts the account mail into words.
func (a AccountMail) Mail() (Mail, error) {
	if a.Kind == PasswordReset {
		return resetWords.fill(Mail{To: a.To, Subject: "Set a new password"}, a)
	}
	return verificationWords.fill(Mail{To: a.To, Subject: "Confirm your e-mail address"}, a)
}

// subject keeps a name with line breaks in it from being refused as a header.
func subject(format, name string) string {
	return fmt.Sprintf(format, strings.Join(strings.Fields(name), " "))
}

//go:embed templates
var templates embed.FS

// words are one mail's two forms, which say the same.
type words struct {
	html *htmltemplate.Template
	text *texttemplate.Template
}

var (
	confirmationWords = parse("confirmation")
	declineWords      = parse("decline")
	refundWords       = parse("refund")
	transferredWords  = parse("transferred")
	receivedWords     = parse("received")
	cancellationWords = parse("cancellation")
	calledOffWords    = parse("called-off")
	postponementWords = parse("postponement")
	stuckOrderWords   = parse("stuck-order")
	deadLetterWords   = parse("dead-letter")
	verificationWords = parse("verification")
	resetWords        = parse("reset")
)

func parse(name string) words {
	return words{
		html: htmltemplate.Must(htmltemplate.ParseFS(templates, "templates/frame.html", "templates/"+name+".html")),
		text: texttemplate.Must(texttemplate.ParseFS(templates, "templates/"+name+".txt")),
	}
}

func (w words) fill(m Mail, data any) (Mail, error) {
	var html, text strings.Builder
	if err := w.html.Execute(&html, data); err != nil {
		return Mail{}, fmt.Errorf("render: %w", err)
	}
	if err := w.text.Execute(&text, data); err != nil {
		return Mail{}, fmt.Errorf("render: %w", err)
	}
	m.HTML, m.Text = html.String(), text.String()
	return m, nil
}

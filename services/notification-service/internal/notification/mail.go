package notification

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"time"

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
func (o Occasion) When() string { return o.Date.UTC().Format("Monday, 2 January 2006, 15:04 UTC") }

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

package notification

import "fmt"

// Cancellation informs the owner of tickets that they were cancelled: as the owner asked, or by a refund. It does not
// mention the order, which may be another user's.
type Cancellation struct {
	To       Recipient
	Occasion Occasion
	Tickets  []string // their numbers; at least one
	AsAsked  bool     // the owner cancelled the ticket, without a refund
	Returned bool     // the tickets were returned after the event was postponed
	Reason   string   // text of an organizer, or an error code; may be empty
}

// maxListed is the maximum number of tickets that a mail lists.
const maxListed = 100

// One reports whether one ticket was cancelled.
func (c Cancellation) One() bool { return len(c.Tickets) == 1 }

// What returns the subject of the sentence about the cancellation, with its verb.
func (c Cancellation) What() string {
	if c.One() {
		return "ticket " + c.Tickets[0] + " is"
	}
	return fmt.Sprintf("%d of your tickets are", len(c.Tickets))
}

// Title returns the subject of the mail.
func (c Cancellation) Title() string {
	if c.One() {
		return subject("Your ticket for %s is cancelled", c.Occasion.Name)
	}
	return subject("Your tickets for %s are cancelled", c.Occasion.Name)
}

// Why returns the reason that an organizer gave for a refund. An owner knows the reason of an own cancellation, and an
// error code is not meant for people.
func (c Cancellation) Why() string {
	if c.AsAsked || c.Returned || reasonCode.MatchString(c.Reason) {
		return ""
	}
	return withoutFullStop(c.Reason)
}

// Listed returns the tickets that the mail lists.
func (c Cancellation) Listed() []string { return c.Tickets[:min(len(c.Tickets), maxListed)] }

// Unlisted returns the number of tickets beyond those that the mail lists.
func (c Cancellation) Unlisted() int { return len(c.Tickets) - len(c.Listed()) }

// Mail returns the mail.
func (c Cancellation) Mail() (Mail, error) {
	return cancellation.render(Mail{To: c.To, Subject: c.Title()}, c)
}

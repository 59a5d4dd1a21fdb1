package notification

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// TicketsDispute informs a holder of tickets what a dispute of their payment means for them. It mentions neither the
// order nor an amount: the order may be another user's.
type TicketsDispute struct {
	To       Recipient
	Occasion Occasion
	Count    int
	Tickets  string // one of events.Tickets...
}

// Title returns the heading.
func (d TicketsDispute) Title() string {
	switch d.Tickets {
	case events.TicketsRestored:
		return "Your tickets are valid again"
	case events.TicketsCancelled:
		return "Your tickets are cancelled"
	case events.TicketsVoid:
		return "Your tickets are void"
	default:
		return "Your tickets are suspended"
	}
}

// What returns what happened.
func (d TicketsDispute) What() string {
	switch d.Tickets {
	case events.TicketsRestored:
		return "the bank has decided the dispute of the payment for " + d.tickets() + " for the organizer."
	case events.TicketsCancelled:
		return "the bank has returned the payment for " + d.tickets() + " to the buyer."
	default:
		return "the buyer of " + d.tickets() + " disputes the payment at the bank."
	}
}

// Consequence returns what that means.
func (d TicketsDispute) Consequence() string {
	switch d.Tickets {
	case events.TicketsRestored:
		return "They admit you again. Please download them again, because they may have new codes."
	case events.TicketsCancelled:
		return "They are no longer valid, and their places are on sale again. " +
			"If you did not buy them yourself, ask who gave them to you."
	case events.TicketsVoid:
		return "They do not admit anybody, and their codes will never be valid again. If the bank decides for the " +
			"organizer, you get new ones."
	default:
		return "Until the bank decides, they do not admit anybody and cannot be transferred. If you did not buy them " +
			"yourself, ask who gave them to you."
	}
}

func (d TicketsDispute) tickets() string { return ticketsFor(d.Count, d.Occasion) }

func ticketsFor(count int, o Occasion) string {
	if count == 1 {
		return "1 ticket for " + o.Name
	}
	return fmt.Sprintf("%d tickets for %s", count, o.Name)
}

// Mail returns the mail.
func (d TicketsDispute) Mail() (Mail, error) {
	return ticketsDisputed.render(Mail{To: d.To, Subject: subject(d.Title()+": %s", d.Occasion.Name)}, d)
}

// OrderDispute informs an organizer about a dispute of the payment of an order.
type OrderDispute struct {
	To       Recipient
	Order    Order
	Occasion Occasion
	Amount   money.Amount
	Status   string // one of events.Dispute...
	Tickets  string // one of events.Tickets...
	Count    int    // of the tickets that are not used
}

// Title returns the heading.
func (d OrderDispute) Title() string {
	switch d.Status {
	case events.DisputeWon:
		return "A dispute was won"
	case events.DisputeLost:
		return "A dispute was lost"
	default:
		return "A payment is disputed"
	}
}

// What returns what happened.
func (d OrderDispute) What() string {
	switch d.Status {
	case events.DisputeWon:
		return fmt.Sprintf("the dispute of %s of order %s is won: the bank has returned the money.", d.Amount, d.Order.Number)
	case events.DisputeLost:
		return fmt.Sprintf("the dispute of %s of order %s is lost: the buyer has the money.", d.Amount, d.Order.Number)
	default:
		return fmt.Sprintf("the buyer of order %s disputes the payment at the bank, which has taken %s until it decides.",
			d.Order.Number, d.Amount)
	}
}

// Consequence returns what that means for the tickets.
func (d OrderDispute) Consequence() string {
	tickets := ticketsFor(d.Count, d.Occasion)
	switch {
	case d.Count == 0:
		return "No unused ticket of the order is valid."
	case d.Tickets == events.TicketsRestored:
		return "The order has " + tickets + ". They admit."
	case d.Tickets == events.TicketsCancelled:
		return tickets + " were cancelled, and their places are on sale again."
	case d.Tickets == events.TicketsVoid:
		return "As you set it for this event, the codes of " + tickets +
			" are void. If the dispute is won, the holders get new ones."
	default:
		return "Until the bank decides, " + tickets +
			" do not admit. Their places stay taken. If the dispute is won, they admit again; if it is lost, they are cancelled."
	}
}

// Mail returns the mail.
func (d OrderDispute) Mail() (Mail, error) {
	return orderDisputed.render(Mail{To: d.To, Subject: subject(d.Title()+": %s", d.Occasion.Name)}, d)
}

// PaymentDispute informs operations about a dispute, which has to be answered at the card processor.
type PaymentDispute struct {
	To                Recipient
	OrderID           uuid.UUID
	DisputeID, Status string
	Amount            money.Amount
	Reason            string // a code such as FRAUDULENT
}

// Open reports whether the dispute can still be answered.
func (d PaymentDispute) Open() bool { return d.Status == events.DisputeOpen }

// Mail returns the mail.
func (d PaymentDispute) Mail() (Mail, error) {
	return paymentDisputed.render(Mail{To: d.To, Subject: "A payment is disputed: " + d.OrderID.String()}, d)
}

// Package demo shows the system from outside: an organizer puts an event on sale, a buyer pays for tickets and gets
// them by e-mail, a declined card releases the reserved tickets, and an order for more tickets than are left is
// refused. Every step is a REST call through a sidecar or an ingress. `make demo` prints the calls, and the end-to-end
// tests check them.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// Config is how the demo reaches the system, and where it prints.
type Config struct {
	Sidecar string       // see Client
	Ingress string       // see Client
	HTTP    *http.Client // see Client
	Mail    Sink         // empty with the user's own mail server, whose mail the demo cannot read
	Out     io.Writer
	Color   bool
}

// Result is what the demo created and observed.
type Result struct {
	Organizer, Buyer Person
	Event            Event
	Floor, Terrace   TicketType
	Paid             Order
	Tickets          []Ticket
	Confirmation     Mail
	// Before and After are the availability before and after the order with the declined card.
	Before, After Availability
	Declined      *Refusal
	Failed        Order
	SoldOut       *Refusal
	Sales         Sales
}

// Run runs the demo and prints it. It returns an error when the outcome of a step is not the expected one.
func Run(ctx context.Context, cfg Config) (Result, error) {
	p := &printer{out: cfg.Out, color: cfg.Color}
	// Poller waits for the outcome of events and prints nothing. Client prints every call.
	poller := Client{Sidecar: cfg.Sidecar, Ingress: cfg.Ingress, HTTP: cfg.HTTP}
	client := poller
	client.Observe = p.exchange
	var s Result
	var err error

	if cfg.Ingress == "" {
		p.say("Every request below goes to a Dapr sidecar, which forwards it to the service that the URL names.")
	}
	p.heading("Olivia, an organizer, and Ben, a buyer, register and log in")
	if s.Organizer, err = client.Join(ctx, "Olivia", "Stone", true); err != nil {
		return s, err
	}
	if s.Buyer, err = client.Join(ctx, "Ben", "Ito", false); err != nil {
		return s, err
	}

	p.heading("Olivia creates an event with two ticket types and puts it on sale")
	if s.Event, err = client.Draft(ctx, s.Organizer, "Lakeside Festival"); err != nil {
		return s, err
	}
	if s.Floor, err = client.AddTicketType(ctx, s.Organizer, s.Event.EventID, "Floor", "49.50", 100); err != nil {
		return s, err
	}
	if s.Terrace, err = client.AddTicketType(ctx, s.Organizer, s.Event.EventID, "Terrace", "75.00", 4); err != nil {
		return s, err
	}
	if s.Event, err = client.Publish(ctx, s.Organizer, s.Event.EventID); err != nil {
		return s, err
	}

	p.heading("Ben orders two terrace tickets and pays with a valid card")
	purchase := Purchase{
		Event: s.Event.EventID, TicketType: s.Terrace.TicketTypeID, Quantity: 2, Card: GoodCard, Key: uuid.NewString(),
	}
	if s.Paid, err = client.Buy(ctx, s.Buyer, purchase); err != nil {
		return s, err
	}
	if _, err = Await(ctx, func() (Order, error) { return poller.Order(ctx, s.Buyer, s.Paid.OrderID) },
		func(o Order) bool { return o.PaymentStatus == "COMPLETED" }); err != nil {
		return s, fmt.Errorf("wait for the order to be COMPLETED: %w", err)
	}
	if s.Paid, err = client.Order(ctx, s.Buyer, s.Paid.OrderID); err != nil {
		return s, err
	}

	p.heading("ticket-service receives the payment event and issues two tickets")
	if _, err = Await(ctx, func() ([]Ticket, error) { return poller.Tickets(ctx, s.Buyer) },
		func(t []Ticket) bool { return len(t) == 2 }); err != nil {
		return s, fmt.Errorf("wait for two tickets: %w", err)
	}
	if s.Tickets, err = client.Tickets(ctx, s.Buyer); err != nil {
		return s, err
	}

	p.heading("notification-service e-mails both tickets to Ben")
	if cfg.Mail == "" {
		p.say("The e-mail went to " + s.Buyer.Email + " through your own mail server, where the demo cannot read it.")
	} else {
		inbox, err := Await(ctx, func() ([]Mail, error) { return cfg.Mail.Inbox(ctx, s.Buyer.Email, s.Event.Name) },
			func(m []Mail) bool { return len(m) > 0 && len(m[0].Attachments) == 2 })
		if err != nil {
			return s, fmt.Errorf("wait for an e-mail with two tickets: %w", err)
		}
		s.Confirmation = inbox[0]
		p.mail(cfg.Mail, s.Confirmation)
	}

	p.heading("Ben orders two more tickets, and his card is declined")
	if s.Before, err = client.Availability(ctx, s.Event.EventID); err != nil {
		return s, err
	}
	purchase.Card, purchase.Key = DeclinedCard, uuid.NewString()
	if s.Declined, err = refused(client.Buy(ctx, s.Buyer, purchase)); err != nil {
		return s, err
	}
	if s.Declined.Status != http.StatusPaymentRequired || s.Declined.Order == nil {
		return s, fmt.Errorf("the answer to a declined card is not a 402 with the order: %w", s.Declined)
	}
	p.say("The order is FAILED, and its two reserved tickets are available again:")
	if s.Failed, err = client.Order(ctx, s.Buyer, s.Declined.Order.OrderID); err != nil {
		return s, err
	}
	if s.Failed.PaymentStatus != "FAILED" {
		return s, fmt.Errorf("the order is %s instead of FAILED", s.Failed.PaymentStatus)
	}
	released := func(a Availability) bool { return a.Of(s.Terrace.TicketTypeID) == s.Before.Of(s.Terrace.TicketTypeID) }
	if _, err = Await(ctx, func() (Availability, error) { return poller.Availability(ctx, s.Event.EventID) },
		released); err != nil {
		return s, fmt.Errorf("wait for the reserved tickets to be released: %w", err)
	}
	if s.After, err = client.Availability(ctx, s.Event.EventID); err != nil {
		return s, err
	}

	p.heading("Ben orders more tickets than are left")
	purchase.Card, purchase.Key, purchase.Quantity = GoodCard, uuid.NewString(), s.After.Of(s.Terrace.TicketTypeID)+1
	if s.SoldOut, err = refused(client.Buy(ctx, s.Buyer, purchase)); err != nil {
		return s, err
	}
	if s.SoldOut.Code != "INSUFFICIENT_INVENTORY" {
		return s, fmt.Errorf("an order for too many tickets is not refused with INSUFFICIENT_INVENTORY: %w", s.SoldOut)
	}

	p.heading("Olivia reads the sales figures, which analytics-service counts from events")
	if _, err = Await(ctx, func() (Sales, error) { return poller.Sales(ctx, s.Organizer, s.Event.EventID) },
		func(x Sales) bool { return x.OrdersCompleted == 1 && x.OrdersFailed > 0 && x.TicketsGenerated == 2 }); err != nil {
		return s, fmt.Errorf("wait for the sales figures: %w", err)
	}
	if s.Sales, err = client.Sales(ctx, s.Organizer, s.Event.EventID); err != nil {
		return s, err
	}
	p.end()
	return s, nil
}

// refused returns the refusal of an order, and an error when the order was not refused.
func refused(o Order, err error) (*Refusal, error) {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("order %s was not refused and is %s", o.OrderNumber, o.PaymentStatus)
}

// firstLines returns the first n lines of a text that are not blank.
func firstLines(text string, n int) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && len(lines) < n {
			lines = append(lines, line)
		}
	}
	return lines
}

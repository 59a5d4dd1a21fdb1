// Package demo tells the system's story from outside: an organizer puts an event on sale, a buyer gets tickets by
// e-mail, a declined card gives the tickets back, and nobody gets more than is left. Every step is a REST call through
// a sidecar or an ingress. `make demo` prints it, the end-to-end test asserts it.
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

// Config says where the system is.
type Config struct {
	Sidecar string       // of any app
	Ingress string       // of Client
	HTTP    *http.Client // of Client
	Mail    Sink         // empty with a person's own mail server, whose mail nobody here can read
	Out     io.Writer
	Color   bool
}

// Story is what happened.
type Story struct {
	Organizer, Buyer Person
	Event            Event
	Floor, Terrace   TicketType
	Paid             Order
	Tickets          []Ticket
	Confirmation     Mail
	// Before and After are what was left before and after the declined card.
	Before, After Availability
	Declined      *Refusal
	Failed        Order
	SoldOut       *Refusal
	Sales         Sales
}

// Tell makes the story happen while printing it. It fails when anything goes otherwise than the story says.
func Tell(ctx context.Context, cfg Config) (Story, error) {
	n := &narrator{out: cfg.Out, color: cfg.Color}
	// What the system does by itself is asked for quietly until it is done, and then once more for the reader.
	quiet := Client{Sidecar: cfg.Sidecar, Ingress: cfg.Ingress, HTTP: cfg.HTTP}
	loud := quiet
	loud.Observe = n.exchange
	var s Story
	var err error

	n.heading("An organizer and a buyer register and log in")
	if s.Organizer, err = loud.Join(ctx, "Olivia", "Stone", true); err != nil {
		return s, err
	}
	if s.Buyer, err = loud.Join(ctx, "Ben", "Ito", false); err != nil {
		return s, err
	}

	n.heading("Olivia drafts an event with two ticket types and puts it on sale")
	if s.Event, err = loud.Draft(ctx, s.Organizer, "Lakeside Festival"); err != nil {
		return s, err
	}
	if s.Floor, err = loud.AddTicketType(ctx, s.Organizer, s.Event.EventID, "Floor", "49.50", 100); err != nil {
		return s, err
	}
	if s.Terrace, err = loud.AddTicketType(ctx, s.Organizer, s.Event.EventID, "Terrace", "75.00", 4); err != nil {
		return s, err
	}
	if s.Event, err = loud.Publish(ctx, s.Organizer, s.Event.EventID); err != nil {
		return s, err
	}

	n.heading("Ben buys two terrace tickets with a good card")
	purchase := Purchase{s.Event.EventID, s.Terrace.TicketTypeID, 2, GoodCard, uuid.NewString()}
	if s.Paid, err = loud.Buy(ctx, s.Buyer, purchase); err != nil {
		return s, err
	}
	if _, err = Await(ctx, func() (Order, error) { return quiet.Order(ctx, s.Buyer, s.Paid.OrderID) },
		func(o Order) bool { return o.PaymentStatus == "COMPLETED" }); err != nil {
		return s, fmt.Errorf("the order is not COMPLETED: %w", err)
	}
	if s.Paid, err = loud.Order(ctx, s.Buyer, s.Paid.OrderID); err != nil {
		return s, err
	}

	n.heading("His two tickets, made when ticket-service heard of the payment")
	if _, err = Await(ctx, func() ([]Ticket, error) { return quiet.Tickets(ctx, s.Buyer) },
		func(t []Ticket) bool { return len(t) == 2 }); err != nil {
		return s, fmt.Errorf("no two tickets: %w", err)
	}
	if s.Tickets, err = loud.Tickets(ctx, s.Buyer); err != nil {
		return s, err
	}

	n.heading("The confirmation e-mail with both tickets")
	if cfg.Mail == "" {
		n.say("It went to your own mail server, to " + s.Buyer.Email + ".")
	} else {
		inbox, err := Await(ctx, func() ([]Mail, error) { return cfg.Mail.Inbox(ctx, s.Buyer.Email, s.Event.Name) },
			func(m []Mail) bool { return len(m) > 0 && len(m[0].Attachments) == 2 })
		if err != nil {
			return s, fmt.Errorf("no e-mail with two tickets: %w", err)
		}
		s.Confirmation = inbox[0]
		n.mail(cfg.Mail, s.Confirmation)
	}

	n.heading("Ben tries for another two with a card that is declined")
	if s.Before, err = loud.Availability(ctx, s.Event.EventID); err != nil {
		return s, err
	}
	purchase.Card, purchase.Key = DeclinedCard, uuid.NewString()
	if s.Declined, err = refused(loud.Buy(ctx, s.Buyer, purchase)); err != nil {
		return s, err
	}
	if s.Declined.Status != http.StatusPaymentRequired || s.Declined.Order == nil {
		return s, fmt.Errorf("a declined card is no 402 with its order: %w", s.Declined)
	}
	n.say("The order has FAILED, and what it held is for sale again:")
	if s.Failed, err = loud.Order(ctx, s.Buyer, s.Declined.Order.OrderID); err != nil {
		return s, err
	}
	if s.Failed.PaymentStatus != "FAILED" {
		return s, fmt.Errorf("the order is %s and not FAILED", s.Failed.PaymentStatus)
	}
	if _, err = Await(ctx, func() (Availability, error) { return quiet.Availability(ctx, s.Event.EventID) },
		func(a Availability) bool { return a.Of(s.Terrace.TicketTypeID) == s.Before.Of(s.Terrace.TicketTypeID) }); err != nil {
		return s, fmt.Errorf("the inventory was not given back: %w", err)
	}
	if s.After, err = loud.Availability(ctx, s.Event.EventID); err != nil {
		return s, err
	}

	n.heading("Then he asks for more than is left")
	purchase.Card, purchase.Key, purchase.Quantity = GoodCard, uuid.NewString(), s.After.Of(s.Terrace.TicketTypeID)+1
	if s.SoldOut, err = refused(loud.Buy(ctx, s.Buyer, purchase)); err != nil {
		return s, err
	}
	if s.SoldOut.Code != "INSUFFICIENT_INVENTORY" {
		return s, fmt.Errorf("asking for too many is no INSUFFICIENT_INVENTORY: %w", s.SoldOut)
	}

	n.heading("What Olivia sees of it: sales, counted from the events on the queues")
	if _, err = Await(ctx, func() (Sales, error) { return quiet.Sales(ctx, s.Organizer, s.Event.EventID) },
		func(x Sales) bool { return x.OrdersCompleted == 1 && x.OrdersFailed > 0 && x.TicketsGenerated == 2 }); err != nil {
		return s, fmt.Errorf("the sales are not counted: %w", err)
	}
	if s.Sales, err = loud.Sales(ctx, s.Organizer, s.Event.EventID); err != nil {
		return s, err
	}
	n.end()
	return s, nil
}

// refused turns an order that should be refused, and was, into its refusal.
func refused(o Order, err error) (*Refusal, error) {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("order %s should have been refused and is %s", o.OrderNumber, o.PaymentStatus)
}

// firstLines gives the beginning of a text, without blank lines.
func firstLines(text string, n int) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && len(lines) < n {
			lines = append(lines, line)
		}
	}
	return lines
}

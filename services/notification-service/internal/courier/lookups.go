package courier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// The refusals of ticket-service for a ticket that the user no longer owns or can no longer use.
var (
	errTicketNotFound  = problem.New(problem.NotFound, "TICKET_NOT_FOUND", "No such ticket of the user")
	errTicketNotActive = problem.New(problem.Conflict, "TICKET_NOT_ACTIVE", "Cancelled or used")
	errTicketSuspended = problem.New(problem.Conflict, "TICKET_SUSPENDED", "Disputed")
	errTicketVoid      = problem.New(problem.Conflict, "TICKET_VOID", "Disputed")
)

// lookups runs the lookups of one mail at the other services, up to 4 at a time. After a failure it starts no further
// lookup, but does not cancel running ones: to a sidecar, a cancelled call is a failure of the callee. If one circuit
// breaker is open, cancelling would fail the trial calls of the other breakers and keep them open too.
type lookups struct {
	errgroup.Group
	failed atomic.Bool
}

func newLookups() *lookups {
	var l lookups
	l.SetLimit(4)
	return &l
}

// Go runs a lookup, unless one has failed.
func (l *lookups) Go(lookup func() error) {
	l.Group.Go(func() error {
		if l.failed.Load() {
			return nil
		}
		err := lookup()
		if err != nil {
			l.failed.Store(true)
		}
		return err
	})
}

// into runs lookup in l and stores its result in to, which must not be read before l.Wait returns.
func into[T any](
	ctx context.Context, l *lookups, to *T, lookup func(context.Context, uuid.UUID) (T, error), id uuid.UUID,
) {
	l.Go(func() error {
		found, err := lookup(ctx, id)
		*to = found
		return err
	})
}

// accountMailInfo returns what an account mail contains. It returns notification.ErrAccountMailGone if its token was
// used or has expired.
func (c *Courier) accountMailInfo(ctx context.Context, requestID uuid.UUID) (calls.AccountMailAnswer, error) {
	return sidecar.Call(ctx, c.services, calls.AccountMail, calls.None{}, requestID)
}

func (c *Courier) recipient(ctx context.Context, userID uuid.UUID) (notification.Recipient, error) {
	u, err := sidecar.Call(ctx, c.services, calls.User, calls.None{}, userID)
	return notification.Recipient{Name: u.FirstName + " " + u.LastName, Address: u.Email}, err
}

func (c *Courier) occasion(ctx context.Context, eventID uuid.UUID) (notification.Occasion, error) {
	e, err := sidecar.Call(ctx, c.services, calls.EventInfo, calls.None{}, eventID)
	return occasionOf(e), err
}

// upcoming is occasion for an event that takes place. It returns notification.ErrSuperseded if it was cancelled.
func (c *Courier) upcoming(ctx context.Context, eventID uuid.UUID) (notification.Occasion, error) {
	e, err := sidecar.Call(ctx, c.services, calls.EventInfo, calls.None{}, eventID)
	if err == nil && e.Status == calls.EventCancelled {
		err = notification.ErrSuperseded
	}
	return occasionOf(e), err
}

func occasionOf(e calls.EventInfoAnswer) notification.Occasion {
	return notification.Occasion{
		Name: e.Name, Date: e.EventDate, EndDate: e.EndDate, VenueName: e.VenueName, VenueAddress: e.VenueAddress,
	}
}

func (c *Courier) ticketNumber(ctx context.Context, ticketID uuid.UUID) (string, error) {
	t, err := sidecar.Call(ctx, c.services, calls.TicketInfo, calls.None{}, ticketID)
	return t.TicketNumber, err
}

// cancelledTickets returns the numbers of the tickets of p.UserID that the same refund cancelled. They include that of
// p.
func (c *Courier) cancelledTickets(ctx context.Context, p events.TicketCancelled) ([]string, error) {
	query := calls.OrderTicketsQuery{OwnerID: p.UserID.String()}
	owned, err := sidecar.Call(ctx, c.services, calls.OrderTickets, query, p.OrderID)
	if err != nil {
		return nil, err
	}
	numbers := []string{p.TicketNumber}
	for _, t := range owned.Tickets {
		if t.RefundKey == p.RefundKey && t.TicketNumber != p.TicketNumber {
			numbers = append(numbers, t.TicketNumber)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (c *Courier) order(ctx context.Context, orderID uuid.UUID) (notification.Order, error) {
	o, err := sidecar.Call(ctx, c.services, calls.OrderInfo, calls.None{}, orderID)
	if err != nil {
		return notification.Order{}, err
	}
	order := notification.Order{Number: o.OrderNumber, Items: make([]notification.LineItem, len(o.Items))}
	amount := func(to *money.Amount, d money.Decimal) error {
		a, err := d.In(o.Currency)
		if err != nil {
			return fmt.Errorf("amount %q of order %s: %w", d, o.OrderNumber, err)
		}
		*to = a
		return nil
	}
	for i, item := range o.Items {
		order.Items[i].Quantity = item.Quantity
		if err := amount(&order.Items[i].UnitPrice, item.UnitPrice); err != nil {
			return notification.Order{}, err
		}
		if err := amount(&order.Items[i].Total, item.TotalPrice); err != nil {
			return notification.Order{}, err
		}
	}
	return order, amount(&order.Total, o.TotalAmount)
}

// ticketFile returns a ticket with its PDF, or without one if the user cannot use it any more. The query names the
// user, so that the ticket is not found if it was transferred in the meantime.
func (c *Courier) ticketFile(ctx context.Context, t events.Ticket, userID uuid.UUID) (notification.Ticket, error) {
	query := calls.TicketPDFQuery{UserID: userID.String()}
	pdf, err := sidecar.Call(ctx, c.services, calls.TicketPDF, query, t.TicketID)
	for _, gone := range []error{errTicketNotFound, errTicketNotActive, errTicketSuspended, errTicketVoid} {
		if errors.Is(err, gone) {
			return notification.Ticket{Number: t.TicketNumber}, nil
		}
	}
	return notification.Ticket{Number: t.TicketNumber, PDF: pdf}, err
}

// document returns the tickets of an order that the user can still use.
func (c *Courier) document(ctx context.Context, orderID, userID uuid.UUID) (notification.Document, error) {
	answer, err := sidecar.Call(ctx, c.services, calls.OrderPDF, calls.OrderPDFQuery{UserID: userID.String()}, orderID)
	return notification.Document{Tickets: answer.TicketCount, PDF: answer.Content}, err
}

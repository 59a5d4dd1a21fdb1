package courier

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// lookups bounds how many calls one mail makes at a time.
const lookups = 4

// TicketsGenerated sends the order confirmation with the tickets. Its errors are deliver's.
func (c Courier) TicketsGenerated(ctx context.Context, event messaging.Event[events.TicketsGenerated]) error {
	p := event.Payload
	n := notification.Notification{
		MessageID: event.ID, UserID: p.UserID, OrderID: p.OrderID, Kind: notification.OrderConfirmation,
	}
	return c.deliver(ctx, n, func(ctx context.Context) (notification.Mail, error) {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(lookups)
		attached := p.Tickets[:min(len(p.Tickets), notification.MaxAttached)]
		m := notification.Confirmation{
			Tickets: make([]notification.Ticket, len(attached)), Others: len(p.Tickets) - len(attached),
		}
		c.lookUp(gctx, g, p.UserID, p.OrderID, p.EventID, &m.To, &m.Order, &m.Occasion)
		for i, t := range attached {
			g.Go(func() error {
				pdf, err := c.Services.Fetch(gctx, ticketService, "/api/tickets/internal/"+t.TicketID.String()+"/ticket.pdf")
				m.Tickets[i] = notification.Ticket{Number: t.TicketNumber, PDF: pdf}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return notification.Mail{}, err
		}
		return m.Mail()
	})
}

// PaymentCompleted acknowledges the event and does nothing. The contract sends the confirmation with
// the tickets attached (its saga's steps 11 and 12), and there are none yet: TICKETS_GENERATED brings
// both, and a buyer gets one mail and not two.
func (c Courier) PaymentCompleted(context.Context, messaging.Event[events.PaymentCompleted]) error {
	return nil
}

// PaymentFailed tells the buyer that nothing was charged. Its errors are deliver's.
func (c Courier) PaymentFailed(ctx context.Context, event messaging.Event[events.PaymentFailed]) error {
	p := event.Payload
	n := notification.Notification{
		MessageID: event.ID, UserID: p.UserID, OrderID: p.OrderID, Kind: notification.PaymentFailed,
	}
	return c.deliver(ctx, n, func(ctx context.Context) (notification.Mail, error) {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(lookups)
		m := notification.Decline{Reason: p.ErrorMessage}
		c.lookUp(gctx, g, p.UserID, p.OrderID, p.EventID, &m.To, &m.Order, &m.Occasion)
		if err := g.Wait(); err != nil {
			return notification.Mail{}, err
		}
		return m.Mail()
	})
}

// lookUp asks for what every mail about an order says, in g.
func (c Courier) lookUp(ctx context.Context, g *errgroup.Group, userID, orderID, eventID uuid.UUID,
	to *notification.Recipient, order *notification.Order, occasion *notification.Occasion,
) {
	g.Go(func() error {
		var u userInfo
		err := c.Services.Call(ctx, authService, http.MethodGet, "/api/auth/internal/users/"+userID.String(), nil, &u)
		*to = notification.Recipient{Name: u.FirstName + " " + u.LastName, Address: u.Email}
		return err
	})
	g.Go(func() error {
		var e eventInfo
		err := c.Services.Call(ctx, eventService, http.MethodGet, "/api/events/internal/"+eventID.String(), nil, &e)
		*occasion = notification.Occasion{
			Name: e.Name, Date: e.EventDate, VenueName: e.VenueName, VenueAddress: e.VenueAddress,
		}
		return err
	})
	g.Go(func() error {
		var o orderInfo
		if err := c.Services.Call(ctx, paymentService, http.MethodGet,
			"/api/payments/internal/orders/"+orderID.String(), nil, &o); err != nil {
			return err
		}
		var err error
		*order, err = o.order()
		return err
	})
}

// order reads the amounts.
func (o orderInfo) order() (notification.Order, error) {
	order := notification.Order{Number: o.OrderNumber, Lines: make([]notification.Line, len(o.Items))}
	amount := func(to *money.Amount, d money.Decimal) error {
		a, err := d.In(o.Currency)
		if err != nil {
			return fmt.Errorf("amount %q of order %s: %w", d, o.OrderNumber, err)
		}
		*to = a
		return nil
	}
	for i, item := range o.Items {
		order.Lines[i].Quantity = item.Quantity
		if err := amount(&order.Lines[i].UnitPrice, item.UnitPrice); err != nil {
			return notification.Order{}, err
		}
		if err := amount(&order.Lines[i].Total, item.TotalPrice); err != nil {
			return notification.Order{}, err
		}
	}
	return order, amount(&order.Total, o.TotalAmount)
}

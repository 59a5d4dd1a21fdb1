package httpapi

import (
	"context"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/analytics-service/internal/store"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
)

// Handlers returns the handlers of the events that the service consumes.
func (a API) Handlers() []inbox.Handler {
	return []inbox.Handler{
		inbox.On(a.eventCreated), inbox.On(a.eventUpdated), inbox.On(a.eventPublished), inbox.On(a.eventCancelled),
		inbox.On(a.paymentCompleted), inbox.On(a.paymentFailed), inbox.On(a.refundProcessed),
		inbox.On(a.ticketsGenerated), inbox.On(a.ticketCancelled), inbox.On(a.ticketCheckedIn),
	}
}

func message[P any](event inbox.Event[P]) store.Message {
	return store.Message{ID: event.ID, Type: event.EventType}
}

// report is the message of a fact that its publisher may announce again under another id.
func report[P any](event inbox.Event[P], fact uuid.UUID) store.Message {
	return store.Message{ID: event.ID, Type: event.EventType, Fact: fact}
}

func (a API) eventCreated(ctx context.Context, e inbox.Event[events.EventCreated]) error {
	return a.put(ctx, message(e), e.Payload.EventDetails)
}

func (a API) eventUpdated(ctx context.Context, e inbox.Event[events.EventUpdated]) error {
	return a.put(ctx, message(e), e.Payload.EventDetails)
}

func (a API) eventPublished(ctx context.Context, e inbox.Event[events.EventPublished]) error {
	return a.put(ctx, message(e), e.Payload.EventDetails)
}

func (a API) put(ctx context.Context, m store.Message, d events.EventDetails) error {
	e := sales.Event{
		ID: d.EventID, OrganizerID: d.OrganizerID, Name: d.EventName, Status: d.Status, UpdatedAt: d.UpdatedAt,
	}
	if err := e.Check(); err != nil {
		return err
	}
	return a.Store.Put(ctx, m, e)
}

func (a API) eventCancelled(ctx context.Context, e inbox.Event[events.EventCancelled]) error {
	p := e.Payload
	return a.put(ctx, message(e), events.EventDetails{
		EventID: p.EventID, OrganizerID: p.OrganizerID, EventName: p.EventName,
		Status: sales.StatusCancelled, UpdatedAt: p.UpdatedAt,
	})
}

func (a API) paymentCompleted(ctx context.Context, e inbox.Event[events.PaymentCompleted]) error {
	lines := make([]sales.Line, len(e.Payload.Items))
	for i, item := range e.Payload.Items {
		lines[i] = sales.Line(item)
	}
	change, err := sales.Order(e.Payload.EventID, e.Payload.Currency, lines, e.Timestamp)
	if err != nil {
		return err
	}
	return a.add(ctx, report(e, e.Payload.OrderID), change)
}

func (a API) paymentFailed(ctx context.Context, e inbox.Event[events.PaymentFailed]) error {
	return a.add(ctx, report(e, e.Payload.OrderID), sales.Change{EventID: e.Payload.EventID, OrdersFailed: 1})
}

func (a API) refundProcessed(ctx context.Context, e inbox.Event[events.RefundProcessed]) error {
	change, err := sales.Refund(e.Payload.EventID, e.Payload.Currency, e.Payload.Amount)
	if err != nil {
		return err
	}
	return a.add(ctx, message(e), change)
}

func (a API) ticketsGenerated(ctx context.Context, e inbox.Event[events.TicketsGenerated]) error {
	return a.add(ctx, report(e, e.Payload.OrderID), sales.Change{
		EventID: e.Payload.EventID, TicketsGenerated: len(e.Payload.Tickets),
	})
}

func (a API) ticketCancelled(ctx context.Context, e inbox.Event[events.TicketCancelled]) error {
	p := e.Payload
	return a.add(ctx, report(e, p.TicketID), sales.Cancellation(p.EventID, p.TicketTypeID, p.CancelledBy == events.CancelledByRefund))
}

func (a API) ticketCheckedIn(ctx context.Context, e inbox.Event[events.TicketCheckedIn]) error {
	p := e.Payload
	return a.add(ctx, report(e, p.TicketID), sales.CheckIn(p.EventID, p.TicketTypeID, p.CheckedInAt))
}

func (a API) add(ctx context.Context, m store.Message, c sales.Change) error {
	if err := c.Check(); err != nil {
		return err
	}
	return a.Store.Add(ctx, m, c)
}

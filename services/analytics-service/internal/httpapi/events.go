package httpapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/analytics-service/internal/store"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
)

// Handlers returns the handlers of the events that the service consumes. They store in s what the events change. They
// reject an event that is incomplete or that cannot be counted, so that it reaches the dead-letter queue.
func Handlers(s *store.Store) []inbox.Handler {
	c := consumer{s}
	return []inbox.Handler{
		inbox.On(c.eventCreated), inbox.On(c.eventUpdated), inbox.On(c.eventPublished), inbox.On(c.eventCancelled),
		inbox.On(c.paymentCompleted), inbox.On(c.paymentFailed), inbox.On(c.refundProcessed), inbox.On(c.refundFailed),
		inbox.On(c.paymentDisputed),
		inbox.On(c.ticketsGenerated), inbox.On(c.ticketCancelled), inbox.On(c.ticketCheckedIn),
		inbox.On(c.ticketCheckInUndone),
	}
}

type consumer struct{ store *store.Store }

// message returns the message of an event that its publisher announces once.
func message[P any](event inbox.Event[P]) store.Message {
	return store.Message{ID: event.ID, Type: event.EventType}
}

// report returns the message of a fact that its publisher may announce again with another event id.
func report[P any](event inbox.Event[P], fact uuid.UUID) store.Message {
	return store.Message{ID: event.ID, Type: event.EventType, Fact: fact}
}

func (c consumer) eventCreated(ctx context.Context, e inbox.Event[events.EventCreated]) error {
	return c.put(ctx, message(e), e.Payload.EventDetails)
}

func (c consumer) eventUpdated(ctx context.Context, e inbox.Event[events.EventUpdated]) error {
	return c.put(ctx, message(e), e.Payload.EventDetails)
}

func (c consumer) eventPublished(ctx context.Context, e inbox.Event[events.EventPublished]) error {
	return c.put(ctx, message(e), e.Payload.EventDetails)
}

func (c consumer) eventCancelled(ctx context.Context, e inbox.Event[events.EventCancelled]) error {
	p := e.Payload
	return c.put(ctx, message(e), events.EventDetails{
		EventID: p.EventID, OrganizerID: p.OrganizerID, EventName: p.EventName,
		Status: string(sales.EventCancelled), UpdatedAt: p.UpdatedAt,
	})
}

// put stores the details of an event. It returns sales.ErrIncomplete if they have no id or no time.
func (c consumer) put(ctx context.Context, m store.Message, d events.EventDetails) error {
	e := sales.Event{
		ID: d.EventID, OrganizerID: d.OrganizerID, Name: d.EventName,
		Status: sales.EventStatus(d.Status), UpdatedAt: d.UpdatedAt,
	}
	if err := e.Check(); err != nil {
		return err
	}
	return c.store.Put(ctx, m, e)
}

func (c consumer) paymentCompleted(ctx context.Context, e inbox.Event[events.PaymentCompleted]) error {
	items := make([]sales.Item, len(e.Payload.Items))
	for i, item := range e.Payload.Items {
		items[i] = sales.Item(item)
	}
	change, err := sales.Order(e.Payload.EventID, e.Payload.Currency, items, e.Timestamp)
	if err != nil {
		return err
	}
	return c.add(ctx, report(e, e.Payload.OrderID), change)
}

func (c consumer) paymentFailed(ctx context.Context, e inbox.Event[events.PaymentFailed]) error {
	return c.add(ctx, report(e, e.Payload.OrderID), sales.Change{EventID: e.Payload.EventID, OrdersFailed: 1})
}

func (c consumer) refundProcessed(ctx context.Context, e inbox.Event[events.RefundProcessed]) error {
	change, err := sales.Refund(e.Payload.EventID, e.Payload.Currency, e.Payload.Amount)
	if err != nil {
		return err
	}
	return c.add(ctx, message(e), change)
}

// refundFailed takes a refund back that was counted. A refund that failed at once was not.
func (c consumer) refundFailed(ctx context.Context, e inbox.Event[events.RefundFailed]) error {
	change, err := sales.Refund(e.Payload.EventID, e.Payload.Currency, e.Payload.Amount)
	if err != nil {
		return err
	}
	change.Refunds, change.Refunded = -change.Refunds, -change.Refunded
	if !e.Payload.Reversed {
		change.Refunds, change.Refunded = 0, 0
	}
	return c.add(ctx, message(e), change)
}

// paymentDisputed counts what the bank takes, and gives back when a dispute is won.
func (c consumer) paymentDisputed(ctx context.Context, e inbox.Event[events.PaymentDisputed]) error {
	p := e.Payload
	change, err := sales.Dispute(p.EventID, p.Currency, p.Amount, p.PreviousStatus, p.Status)
	if err != nil {
		return err
	}
	return c.add(ctx, message(e), change)
}

func (c consumer) ticketsGenerated(ctx context.Context, e inbox.Event[events.TicketsGenerated]) error {
	return c.add(ctx, report(e, e.Payload.OrderID), sales.Change{
		EventID: e.Payload.EventID, TicketsGenerated: len(e.Payload.Tickets),
	})
}

func (c consumer) ticketCancelled(ctx context.Context, e inbox.Event[events.TicketCancelled]) error {
	p := e.Payload
	forRefund := p.CancelledBy == events.CancelledByRefund
	return c.add(ctx, report(e, p.TicketID), sales.Cancellation(p.EventID, p.TicketTypeID, forRefund))
}

func (c consumer) ticketCheckedIn(ctx context.Context, e inbox.Event[events.TicketCheckedIn]) error {
	p := e.Payload
	return c.add(ctx, report(e, checkIn(p.TicketID, p.CheckedInAt)),
		sales.CheckIn(p.EventID, p.TicketTypeID, p.CheckedInAt))
}

func (c consumer) ticketCheckInUndone(ctx context.Context, e inbox.Event[events.TicketCheckInUndone]) error {
	p := e.Payload
	return c.add(ctx, report(e, checkIn(p.TicketID, p.CheckedInAt)),
		sales.UndoneCheckIn(p.EventID, p.TicketTypeID, p.CheckedInAt))
}

// checkIn returns the id of a check-in. A ticket has another one after its check-in was undone.
func checkIn(ticketID uuid.UUID, at time.Time) uuid.UUID {
	return uuid.NewSHA1(ticketID, []byte(at.UTC().Format(time.RFC3339Nano)))
}

// add adds a change to the figures of its event. It returns sales.ErrIncomplete if a part of the change belongs to no
// event, ticket type or hour.
func (c consumer) add(ctx context.Context, m store.Message, change sales.Change) error {
	if err := change.Check(); err != nil {
		return err
	}
	return c.store.Add(ctx, m, change)
}

package sales

import (
	"context"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Handlers returns the handlers of the events that ticket-service consumes.
func (s *Sales) Handlers() []inbox.Handler {
	return []inbox.Handler{
		inbox.On(s.paymentCompleted), inbox.On(s.paymentFailed), inbox.On(s.paymentDisputed),
		inbox.On(s.eventCreated), inbox.On(s.eventUpdated), inbox.On(s.eventPublished), inbox.On(s.eventCancelled),
	}
}

func (s *Sales) paymentCompleted(ctx context.Context, e inbox.Event[events.PaymentCompleted]) error {
	return s.batcher.Issue(ctx, func(ctx context.Context) error { return s.store.Fulfil(ctx, e.ID, e.Payload) })
}

func (s *Sales) paymentFailed(ctx context.Context, e inbox.Event[events.PaymentFailed]) error {
	return s.store.ReleaseUnpaid(ctx, e.ID, e.Payload)
}

func (s *Sales) paymentDisputed(ctx context.Context, e inbox.Event[events.PaymentDisputed]) error {
	return s.store.Disputed(ctx, e.ID, e.Payload)
}

func (s *Sales) eventCreated(ctx context.Context, e inbox.Event[events.EventCreated]) error {
	return s.store.ApplyEvent(ctx, e.ID, e.EventType, eventOf(e.Payload.EventDetails))
}

func (s *Sales) eventUpdated(ctx context.Context, e inbox.Event[events.EventUpdated]) error {
	return s.store.ApplyEvent(ctx, e.ID, e.EventType, eventOf(e.Payload.EventDetails))
}

func (s *Sales) eventPublished(ctx context.Context, e inbox.Event[events.EventPublished]) error {
	return s.store.ApplyEvent(ctx, e.ID, e.EventType, eventOf(e.Payload.EventDetails))
}

// eventCancelled takes the event off sale and runs the first batch of its cancellation, which is enough for most
// events. Sweep runs the others. If a batch fails, the queue delivers the event again.
func (s *Sales) eventCancelled(ctx context.Context, e inbox.Event[events.EventCancelled]) error {
	if err := s.store.CancelEvent(ctx, e.ID, e.Payload); err != nil {
		return err
	}
	if _, err := s.store.ReleaseCancelled(ctx, store.CancelBatch); err != nil {
		return err
	}
	_, err := s.store.CancelTickets(ctx, e.Payload.EventID, store.CancelBatch)
	return err
}

func eventOf(d events.EventDetails) ticket.Event {
	return ticket.Event{
		ID: d.EventID, OrganizerID: d.OrganizerID, Name: d.EventName, Date: d.EventDate, EndDate: d.EndDate,
		VenueName: d.VenueName, VenueAddress: d.VenueAddress, Status: ticket.EventStatus(d.Status), UpdatedAt: d.UpdatedAt,
		DisputedTickets: policyOf(d.DisputedTickets),
	}
}

// policyOf returns the policy of an event. It suspends the tickets of an event without one, and of one that is not
// known.
func policyOf(disputedTickets string) ticket.DisputePolicy {
	if p := ticket.DisputePolicy(disputedTickets); p == ticket.VoidDisputed {
		return p
	}
	return ticket.SuspendDisputed
}

package saga

import (
	"context"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
)

// Handlers returns the handlers of the events that the service consumes. Each stores what the event means for its
// orders; sweeps then drive the orders on.
func (s Saga) Handlers() []inbox.Handler {
	return []inbox.Handler{
		inbox.On(func(ctx context.Context, e inbox.Event[events.TicketsGenerated]) error {
			return s.Store.Fulfilled(ctx, e.ID, e.Payload)
		}),
		inbox.On(func(ctx context.Context, e inbox.Event[events.TicketGenerationFailed]) error {
			return s.Store.Unfulfillable(ctx, e.ID, e.Payload)
		}),
		inbox.On(func(ctx context.Context, e inbox.Event[events.EventCancelled]) error {
			return s.Store.EventCancelled(ctx, e.ID, e.Payload)
		}),
		inbox.On(func(ctx context.Context, e inbox.Event[events.EventUpdated]) error {
			return s.Store.EventUpdated(ctx, e.ID, e.Payload)
		}),
	}
}

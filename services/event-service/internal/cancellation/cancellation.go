// Package cancellation cancels events. The EVENT_CANCELLED of a published event says how many tickets are affected,
// which only ticket-service knows, so a cancellation takes a call and a transaction.
package cancellation

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

// Canceller cancels events. Its methods may be called concurrently.
type Canceller struct {
	store    *store.Store
	services sidecar.Sender
}

// New returns a Canceller that calls ticket-service through services.
func New(s *store.Store, services sidecar.Sender) *Canceller {
	return &Canceller{store: s, services: services}
}

// Cancel cancels an event on behalf of user and returns it. It is idempotent: the reason of the first cancellation
// stays. If another request publishes or cancels the event during the call, the transaction decides. Its errors are
// those of store.Store.Cancel, and sidecar.ErrUnavailable if the tickets could not be counted.
func (c *Canceller) Cancel(
	ctx context.Context, id uuid.UUID, user identity.User, reason string,
) (event.Event, error) {
	e, err := c.store.Event(ctx, id)
	if err != nil {
		return event.Event{}, err
	}
	// Checked before the call, so that ticket-service gets no call for a user who may not cancel, or for an event that is
	// cancelled already.
	cancelled, err := e.Cancel(user, reason)
	if err != nil || cancelled == e {
		return cancelled, err
	}
	tickets := 0 // a draft has sold none
	if e.Status == event.Published {
		if tickets, err = c.countTickets(ctx, id); err != nil {
			return event.Event{}, err
		}
	}
	return c.store.Cancel(ctx, id, user, reason, e.Status, tickets)
}

// countTickets returns the number of the event's tickets. It returns sidecar.ErrUnavailable if ticket-service does not
// answer with it.
func (c *Canceller) countTickets(ctx context.Context, id uuid.UUID) (int, error) {
	answer, err := sidecar.Call(ctx, c.services, calls.TicketCount, calls.None{}, id)
	switch {
	case errors.Is(err, event.NotFound(id)):
		return 0, nil // ticket-service sells tickets only for events that it knows
	case err != nil:
		// The user can do nothing about any other refusal.
		return 0, sidecar.ErrUnavailable.Because(err)
	case answer.TicketCount == nil:
		return 0, sidecar.ErrUnavailable.Because(errors.New("ticket-service answered without ticketCount"))
	}
	return *answer.TicketCount, nil
}

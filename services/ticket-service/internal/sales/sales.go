// Package sales drives the operations of ticket-service that take more than one transaction of package store.
//
// It reserves through the batcher, looks up events at event-service that are not stored here yet, asks auth-service for
// the names of people, checks who may act on an event or a ticket, and handles the events that other services publish.
// An operation that is a single transaction, such as a release, is called on package store directly.
package sales

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/batching"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Sales sells and admits. Its methods may be called concurrently.
type Sales struct {
	store    *store.Store
	batcher  *batching.Batcher
	signer   *ticket.Signer
	services sidecar.Sender
	fetches  singleflight.Group // of events, by id
}

// New returns a Sales that calls event-service and auth-service through services.
func New(s *store.Store, batcher *batching.Batcher, signer *ticket.Signer, services sidecar.Sender) *Sales {
	return &Sales{store: s, batcher: batcher, signer: signer, services: services}
}

// Availability is how many tickets of an item's type are left. Err is nil if they are enough for the item; otherwise it
// is ticket.ErrTypeNotFound or ErrInsufficientInventory, or the error of ticket.Type.CheckSale.
type Availability struct {
	Item ticket.LineItem
	Left int
	Err  *problem.Error
}

// CheckAvailability returns the availability of each item. It holds no tickets. Like Reserve, it fetches an event that
// is a draft according to this service's copy. It returns sidecar.ErrUnavailable.
func (s *Sales) CheckAvailability(
	ctx context.Context, eventID uuid.UUID, items []ticket.LineItem,
) ([]Availability, error) {
	types, err := s.store.Types(ctx, eventID)
	if err != nil {
		return nil, err
	}
	e, err := s.store.Event(ctx, eventID)
	if err == nil && e.Status == ticket.EventDraft {
		e, err = s.fetchEvent(ctx, eventID)
	}
	if err != nil && !errors.Is(err, ticket.ErrEventNotFound) { // an unknown event has no types
		return nil, err
	}
	known := map[uuid.UUID]ticket.Type{}
	for _, t := range types {
		known[t.ID] = t
	}
	checked := make([]Availability, len(items))
	for i, item := range items {
		checked[i] = Availability{Item: item}
		t, ok := known[item.TypeID]
		if !ok {
			checked[i].Err = ticket.ErrTypeNotFound
			continue
		}
		checked[i].Left = t.Available()
		if refused, ok := errors.AsType[*problem.Error](t.CheckSale(e, e.ReadAt)); ok {
			checked[i].Err = refused
		} else if t.Available() < item.Quantity {
			checked[i].Err = ticket.ErrInsufficientInventory
		}
	}
	return checked, nil
}

// Reserve holds tickets, in a batch with other requests. Before it refuses a request because its event is not on sale,
// it fetches the event: EVENT_PUBLISHED may still be in transit. Its errors are those of batching.Batcher.Reserve,
// ticket.ErrEventNotFound and sidecar.ErrUnavailable.
func (s *Sales) Reserve(ctx context.Context, q ticket.Request) (ticket.Reservation, error) {
	r, err := s.batcher.Reserve(ctx, q)
	if !errors.Is(err, ticket.ErrEventNotOnSale) {
		return r, err
	}
	if _, err := s.fetchEvent(ctx, q.EventID); err != nil {
		return ticket.Reservation{}, err
	}
	return s.batcher.Reserve(ctx, q)
}

// Confirm issues the tickets of a reservation once the batcher admits it. Its errors are those of store.Store.Confirm.
func (s *Sales) Confirm(ctx context.Context, p ticket.Purchase) ([]ticket.Ticket, error) {
	var tickets []ticket.Ticket
	err := s.batcher.Issue(ctx, func(ctx context.Context) (err error) {
		tickets, err = s.store.Confirm(ctx, p)
		return err
	})
	return tickets, err
}

// Sweep ends due reservations and continues the cancellations of events. It returns how many reservations expired and
// how many tickets were cancelled. It does both even if one of them fails.
func (s *Sales) Sweep(ctx context.Context) (expired, cancelled int, err error) {
	expired, expireErr := s.store.ExpireAllDue(ctx)
	cancelled, cancelErr := s.store.CancelAll(ctx)
	if err := errors.Join(expireErr, cancelErr); err != nil {
		return expired, cancelled, fmt.Errorf("sweep: %w", err)
	}
	return expired, cancelled, nil
}

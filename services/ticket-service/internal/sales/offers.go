package sales

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Offer returns an event that is not a draft, with its ticket types. It fetches an event that is unknown or a draft:
// an EVENT_* message may still be in transit. It returns ticket.ErrEventNotFound and sidecar.ErrUnavailable.
func (s *Sales) Offer(ctx context.Context, eventID uuid.UUID) (ticket.Event, []ticket.Type, error) {
	e, err := s.store.Event(ctx, eventID)
	if errors.Is(err, ticket.ErrEventNotFound) || err == nil && e.Status == ticket.EventDraft {
		e, err = s.fetchEvent(ctx, eventID)
	}
	if err != nil {
		return e, nil, err
	}
	if e.Status == ticket.EventDraft {
		return e, nil, ticket.ErrEventNotFound
	}
	types, err := s.store.Types(ctx, eventID)
	return e, types, err
}

// CreateType adds a ticket type on behalf of the organizer of its event. It returns the type as stored and the event.
// Its errors are those of OrganizedEvent and of store.Store.CreateType.
func (s *Sales) CreateType(
	ctx context.Context, user identity.User, t ticket.Type,
) (ticket.Type, ticket.Event, error) {
	e, err := s.OrganizedEvent(ctx, user, t.EventID)
	if err != nil {
		return ticket.Type{}, e, err
	}
	t, err = s.store.CreateType(ctx, t)
	return t, e, err
}

// ChangeType changes a ticket type on behalf of the organizer of its event. It returns the type as stored and the
// event. Its errors are those of OrganizedEvent and of store.Store.ChangeType, which documents change.
func (s *Sales) ChangeType(
	ctx context.Context, user identity.User, typeID uuid.UUID, change func(ticket.Type) (ticket.Type, error),
) (ticket.Type, ticket.Event, error) {
	t, err := s.store.Type(ctx, typeID)
	if err != nil {
		return t, ticket.Event{}, err
	}
	e, err := s.OrganizedEvent(ctx, user, t.EventID)
	if err != nil {
		return t, e, err
	}
	t, err = s.store.ChangeType(ctx, typeID, change)
	return t, e, err
}

// OrganizedEvent returns an event if the user is its organizer or an admin. The stored copy is sufficient, since the
// organizer of an event never changes; an unknown event is fetched. It returns ticket.ErrEventNotFound, ErrNotOrganizer
// and sidecar.ErrUnavailable.
func (s *Sales) OrganizedEvent(ctx context.Context, user identity.User, eventID uuid.UUID) (ticket.Event, error) {
	e, err := s.store.Event(ctx, eventID)
	if errors.Is(err, ticket.ErrEventNotFound) {
		e, err = s.fetchEvent(ctx, eventID)
	}
	if err != nil {
		return e, err
	}
	if e.OrganizerID != user.ID && !user.Has(identity.RoleAdmin) {
		return e, ticket.ErrNotOrganizer
	}
	return e, nil
}

// fetchTimeout is longer than the sidecar's retries take.
const fetchTimeout = 10 * time.Second

// fetchEvent returns an event from event-service and stores it. Concurrent calls for one event share a request, so that
// buyers who arrive before EVENT_PUBLISHED do not multiply into as many calls. It returns ticket.ErrEventNotFound or
// sidecar.ErrUnavailable.
func (s *Sales) fetchEvent(ctx context.Context, id uuid.UUID) (ticket.Event, error) {
	fetched, err, _ := s.fetches.Do(id.String(), func() (any, error) {
		// The request continues if the first caller's context ends, since others may be waiting for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return s.requestEvent(ctx, id)
	})
	return fetched.(ticket.Event), err
}

func (s *Sales) requestEvent(ctx context.Context, id uuid.UUID) (ticket.Event, error) {
	answer, err := sidecar.Call(ctx, s.services, calls.EventInfo, calls.None{}, id)
	if errors.Is(err, ticket.ErrEventNotFound) {
		return ticket.Event{}, ticket.ErrEventNotFound
	}
	if err != nil { // our caller cannot correct any other refusal
		return ticket.Event{}, unavailable(err)
	}
	e := ticket.Event{
		ID: id, OrganizerID: answer.OrganizerID, Name: answer.Name, Date: answer.EventDate,
		VenueName: answer.VenueName, VenueAddress: answer.VenueAddress, Status: ticket.EventStatus(answer.Status),
		DisputedTickets: policyOf(answer.DisputedTickets),
	}
	if !answer.EndDate.IsZero() {
		e.EndDate = &answer.EndDate
	}
	if err := s.store.SaveFetchedEvent(ctx, e); err != nil {
		return e, err
	}
	return s.store.Event(ctx, id) // which a message may have described meanwhile
}

// unavailable returns err if it is sidecar.ErrUnavailable already, with its Retry-After, and wraps it otherwise.
func unavailable(err error) error {
	if errors.Is(err, sidecar.ErrUnavailable) {
		return err
	}
	return sidecar.ErrUnavailable.Because(err)
}

// Package sagatest has stand-ins for the services that the sagas call: ticket-service, payment-gateway and
// event-service. They run in the process of the test, which can inject faults into their calls.
//
// The stand-ins keep the promises that the sagas rely on. A call takes effect once per reservation id, attempt key or
// refund key, and a repeated call returns the answer of the first. Like the real services, they reject requests that
// they cannot decode.
package sagatest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

// Services are the stand-ins. It implements sidecar.Sender. Its methods may be called concurrently.
type Services struct {
	endpoints map[string]endpoint // by method and path

	mu           sync.Mutex // guards what follows
	faults       map[Call][]Fault
	types        map[uuid.UUID]*ticketType
	reservations map[uuid.UUID]*reservation
	tickets      map[uuid.UUID]*ticket
	cancelled    map[string]calls.CancelTicketsAnswer // by refund key
	unfulfilled  map[uuid.UUID]bool                   // orders that get no tickets any more
	delivered    map[uuid.UUID]*Delivery              // by message id
	charges      map[string]*charge                   // by attempt key
	refunds      map[string]*refund                   // by refund key
	disputes     []calls.Dispute                      // the newest first
	organizers   map[uuid.UUID]uuid.UUID              // by event
}

// New returns Services without tickets.
func New() *Services {
	s := &Services{
		endpoints:    map[string]endpoint{},
		faults:       map[Call][]Fault{},
		types:        map[uuid.UUID]*ticketType{},
		reservations: map[uuid.UUID]*reservation{},
		tickets:      map[uuid.UUID]*ticket{},
		cancelled:    map[string]calls.CancelTicketsAnswer{},
		unfulfilled:  map[uuid.UUID]bool{},
		delivered:    map[uuid.UUID]*Delivery{},
		charges:      map[string]*charge{},
		refunds:      map[string]*refund{},
		organizers:   map[uuid.UUID]uuid.UUID{},
	}
	handle(s, Reserve, calls.Reserve, body(calls.Reserve), s.reserve)
	handle(s, Extend, calls.ExtendReservation, body(calls.ExtendReservation), s.extend)
	handle(s, Release, calls.ReleaseReservation, body(calls.ReleaseReservation), s.release)
	handle(s, Confirm, calls.ConfirmPurchase, body(calls.ConfirmPurchase), s.confirm)
	handle(s, Cancel, calls.CancelTickets, body(calls.CancelTickets), s.cancel)
	handle(s, Owned, calls.OrderTickets, request, s.orderTickets)
	handle(s, Charge, calls.Charge, body(calls.Charge), s.charge)
	handle(s, Settle, calls.SettleCharge, body(calls.SettleCharge), s.settle)
	handle(s, Refund, calls.Refund, body(calls.Refund), s.refund)
	handle(s, Disputes, calls.ListDisputes, queryOf, s.listDisputes)
	handle(s, Verify, calls.VerifyWebhook, body(calls.VerifyWebhook), verify)
	handle(s, Organizer, calls.ValidateOrganizer, idsOf, s.validateOrganizer)
	return s
}

// endpoint is an endpoint of a stand-in.
type endpoint struct {
	call Call
	// decode returns what the callee does for a request, or an error if it cannot decode the request.
	decode func(calls.Request) (func() (any, error), error)
}

// handle registers the function that answers the requests of an endpoint.
func handle[Req, Res, In any](
	s *Services, call Call, e calls.Endpoint[Req, Res],
	decode func(calls.Request) (In, error), answer func(In) (Res, error),
) {
	s.endpoints[e.Method+" "+e.Path] = endpoint{call, func(r calls.Request) (func() (any, error), error) {
		in, err := decode(r)
		return func() (any, error) { return answer(in) }, err
	}}
}

// body returns a function that decodes the body of a request. It is as strict as web.Decode.
func body[Req, Res any](calls.Endpoint[Req, Res]) func(calls.Request) (Req, error) {
	return func(r calls.Request) (in Req, err error) {
		d := json.NewDecoder(bytes.NewReader(r.Body))
		d.DisallowUnknownFields()
		err = d.Decode(&in)
		return in, err
	}
}

func request(r calls.Request) (calls.Request, error) { return r, nil }
func queryOf(r calls.Request) (url.Values, error)    { return r.Query, nil }

func idsOf(r calls.Request) ([]uuid.UUID, error) { return r.IDs, nil }

// Send makes a call, with the next fault that was injected for it. A call under a context that has ended, as that of a
// dead process, has no effect.
func (s *Services) Send(ctx context.Context, r calls.Request) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, sidecar.ErrUnavailable.Because(ctx.Err())
	}
	e, known := s.endpoints[r.Route.Method+" "+r.Route.Path]
	if !known {
		return nil, fmt.Errorf("no stand-in serves %s %s", r.Route.Method, r.Route.Path)
	}
	act, err := e.decode(r)
	if err != nil {
		return nil, problem.New(problem.Invalid, "VALIDATION_ERROR", "The request cannot be decoded").Because(err)
	}
	answer, err := s.nextFault(e.call)(ctx, func() (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return act()
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// SetOrganizer makes the user the organizer of the event.
func (s *Services) SetOrganizer(event, user uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.organizers[event] = user
}

func (s *Services) validateOrganizer(ids []uuid.UUID) (calls.ValidateOrganizerAnswer, error) {
	event, user := ids[0], ids[1]
	return calls.ValidateOrganizerAnswer{
		IsOrganizer: s.organizers[event] == user, EventID: event, UserID: user,
	}, nil
}

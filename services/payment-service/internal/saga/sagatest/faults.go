package sagatest

import (
	"context"
	"errors"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

// Call is a kind of call that the sagas make.
type Call string

// The calls.
const (
	Reserve   Call = "Reserve"
	Extend    Call = "Extend"
	Release   Call = "Release"
	Confirm   Call = "Confirm" // of a purchase
	Cancel    Call = "Cancel"
	Owned     Call = "Owned" // the tickets of an order that a user owns
	Charge    Call = "Charge"
	Settle    Call = "Settle" // of a charge
	Refund    Call = "Refund"
	Verify    Call = "Verify"    // of a webhook's signature
	Disputes  Call = "Disputes"  // the list of disputes
	Organizer Call = "Organizer" // whether a user is the organizer of an event
)

// Fault replaces one call. It may call act, with which the callee acts and returns its answer. The answer of the call
// is what the Fault returns.
type Fault func(ctx context.Context, act func() (any, error)) (any, error)

var errLost = sidecar.ErrUnavailable.Because(errors.New("lost by the test"))

// CallLost is a Fault: the call does not reach the callee.
func CallLost(context.Context, func() (any, error)) (any, error) { return nil, errLost }

// ResponseLost is a Fault: the callee acts, and its answer does not reach the caller.
func ResponseLost(_ context.Context, act func() (any, error)) (any, error) {
	_, _ = act()
	return nil, errLost
}

// Refused returns a Fault: the callee does not act, and the error of the call is p.
func Refused(p *problem.Error) Fault {
	return func(context.Context, func() (any, error)) (any, error) { return nil, p }
}

// Answered returns a Fault: the callee does not act, and its answer is the given one.
func Answered(answer any) Fault {
	return func(context.Context, func() (any, error)) (any, error) { return answer, nil }
}

// Next injects faults into the next calls of a kind, one into each.
func (s *Services) Next(call Call, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[call] = append(s.faults[call], faults...)
}

// UnusedFaults returns the number of injected faults that no call has met yet, and removes them.
func (s *Services) UnusedFaults() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, faults := range s.faults {
		n += len(faults)
	}
	clear(s.faults)
	return n
}

// nextFault removes and returns the next fault of a call. Without one, the callee acts and its answer arrives.
func (s *Services) nextFault(call Call) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults := s.faults[call]
	if len(faults) == 0 {
		return func(_ context.Context, act func() (any, error)) (any, error) { return act() }
	}
	s.faults[call] = faults[1:]
	return faults[0]
}

package saga

import (
	"context"
	"errors"
	"log/slog"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// Saga drives orders and refunds. Its methods may be called concurrently.
type Saga struct {
	Store    *store.Store
	Services sidecar.Sender // sends the calls to other services
	// Charges keeps charges below the number per second that payment-gateway accepts from one caller.
	Charges *admission.Pacer
}

// ErrUnsettled reports that a step has no outcome yet: a call failed, an answer violates the contract, or the card
// processor has not decided. The step is repeated later. The cause, which is for logs, is sidecar.ErrUnavailable if a
// service is unavailable; ErrUnsettled then has the Retry-After of that.
var ErrUnsettled = problem.New(problem.Unavailable, "OUTCOME_UNKNOWN", "The outcome is not known yet")

// unsettled returns ErrUnsettled with the cause err if err is sidecar.ErrUnavailable, and err itself otherwise.
func unsettled(err error) error {
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || !p.Is(sidecar.ErrUnavailable) {
		return err
	}
	u := ErrUnsettled.Because(err)
	u.RetryAfter = p.RetryAfter
	return u
}

// refusedError is the cause of an ErrUnsettled step whose call was refused for good, without an outcome of the step.
type refusedError struct{ refusal *problem.Error }

// Error returns the refusal, for logs.
func (e refusedError) Error() string { return "refused: " + e.refusal.Error() }

// refusedStep returns ErrUnsettled with the refusal of a call that would be refused again.
func refusedStep(refusal *problem.Error) error { return ErrUnsettled.Because(refusedError{refusal}) }

// backOff schedules the next attempt at the step of an order that failed with err. Once a step was refused repeatedly,
// there is none.
func (s Saga) backOff(ctx context.Context, o order.Order, err error) (alerted bool, failed error) {
	if refused, ok := errors.AsType[refusedError](err); ok {
		return s.Store.BackOffRefused(ctx, o, refused.refusal.Code)
	}
	return s.Store.BackOff(ctx, o)
}

// startSpan starts a span with the trace of the request that caused the work. That request itself keeps its own trace,
// which may have more in it than the stored one.
func startSpan(ctx context.Context, t telemetry.Trace, name string) (context.Context, trace.Span) {
	if t.CorrelationID == "" || t.CorrelationID == telemetry.From(ctx).CorrelationID {
		return telemetry.Start(ctx, name)
	}
	return telemetry.Resume(ctx, t, name)
}

// Drive drives an order whose lease the caller holds until it is done, until it is at FULFIL, where ticket-service
// continues, or at REFUND, where the refund saga continues, or until a step is unsettled. In the last case Drive backs
// off and returns ErrUnsettled; a sweep continues later, unless the step was refused repeatedly. The returned order is
// the one that Drive last read.
func (s Saga) Drive(ctx context.Context, id uuid.UUID) (order.Order, error) {
	o, err := s.Store.Order(ctx, id)
	if err != nil {
		return o, err
	}
	ctx, span := startSpan(ctx, o.Trace, "drive order")
	defer span.End()
	for {
		switch o.Step {
		case order.Reserve:
			err = s.reserve(ctx, o)
		case order.Charge:
			err = s.charge(ctx, o)
		case order.Release:
			err = s.release(ctx, o)
		case order.Fulfil, order.Refund, order.Done:
			return o, nil
		}
		if err = unsettled(err); err != nil {
			if errors.Is(err, errAwaitingBuyer) {
				slog.InfoContext(ctx, "buyer has to authenticate", "orderId", id)
				if read, err := s.Store.Order(ctx, id); err == nil {
					o = read // with the action, which the buyer needs at once
				}
			} else {
				slog.WarnContext(ctx, "saga step failed", "orderId", id, "step", o.Step, "error", err.Error())
			}
			alerted, backedOff := s.backOff(ctx, o, err)
			if alerted {
				slog.ErrorContext(ctx, "saga step failed repeatedly", "orderId", id, "step", o.Step)
			}
			return o, errors.Join(err, backedOff)
		}
		slog.InfoContext(ctx, "saga step done", "orderId", id, "step", o.Step)
		if o, err = s.Store.Order(ctx, id); err != nil {
			return o, err
		}
	}
}

package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Event is an event as a consumer gets it.
type Event[P any] struct {
	ID uuid.UUID // the message id, the same at every delivery
	Envelope[P]
}

// Handler processes one event as it came, for a Consumer. Handle makes one.
type Handler func(ctx context.Context, event cloudEvent) error

type cloudEvent struct {
	ID            string          `json:"id"`
	Type          string          `json:"type"`
	CorrelationID string          `json:"correlationid"`
	TraceParent   string          `json:"traceparent"`
	TraceState    string          `json:"tracestate"`
	Data          json.RawMessage `json:"data"`
}

func (e cloudEvent) trace() telemetry.Trace {
	return telemetry.Trace{CorrelationID: e.CorrelationID, Parent: e.TraceParent, State: e.TraceState}
}

var (
	errMalformed = problem.New(problem.Unprocessable, "MALFORMED_EVENT", "The event cannot be read")
	errUnknown   = errors.New("no handler for an event of this type and version")
)

// Handle makes the handler of one event type.
func Handle[P any](handle func(ctx context.Context, event Event[P]) error) Handler {
	return func(ctx context.Context, ce cloudEvent) error {
		event := Event[P]{}
		var err error
		if event.ID, err = uuid.Parse(ce.ID); err != nil {
			return errMalformed.Because(err)
		}
		var version struct{ Version, EventType string }
		if err := json.Unmarshal(ce.Data, &version); err != nil {
			return errMalformed.Because(err)
		}
		if version.EventType != ce.Type {
			return errMalformed.Because(errors.New("the envelope is of type " + version.EventType + ", the CloudEvent is not"))
		}
		if version.Version != Version {
			return errUnknown
		}
		if err := json.Unmarshal(ce.Data, &event.Envelope); err != nil {
			return errMalformed.Because(err)
		}
		ctx = telemetry.Correlate(ctx, event.CorrelationID) // the trace is the event's already
		if err := handle(ctx, event); err != nil {
			slog.ErrorContext(ctx, "event not processed", "type", ce.Type, "eventId", ce.ID, "error", err.Error())
			return err
		}
		slog.InfoContext(ctx, "event processed", "type", ce.Type, "eventId", ce.ID)
		return nil
	}
}

func parseCloudEvent(body []byte) (cloudEvent, error) {
	var ce cloudEvent
	if err := json.Unmarshal(body, &ce); err != nil {
		return ce, errMalformed.Because(err)
	}
	if ce.ID == "" {
		return ce, errMalformed.Because(errors.New("no id"))
	}
	return ce, nil
}

package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Event is an event as its handler receives it.
type Event[P any] struct {
	ID uuid.UUID // the message id, the same for every delivery of the event
	messaging.Envelope[P]
}

// Handler processes the events of one type. On returns one.
type Handler struct {
	eventType string
	process   func(ctx context.Context, event messaging.CloudEvent) error
}

// Type returns the event type that the handler processes.
func (h Handler) Type() string { return h.eventType }

// errUnknown is the error of an event whose type or version has no handler.
var errUnknown = errors.New("no handler for events of this type and version")

// On returns the handler of the event type P, which passes events to handle. P's zero value names the type.
func On[P messaging.Payload](handle func(ctx context.Context, event Event[P]) error) Handler {
	var zero P
	return Handler{eventType: zero.Type(), process: func(ctx context.Context, ce messaging.CloudEvent) error {
		event, err := decode[P](ce)
		if err != nil {
			return err
		}
		ctx = telemetry.Correlate(ctx, event.CorrelationID) // ctx carries the event's trace already
		if err := handle(ctx, event); err != nil {
			slog.ErrorContext(ctx, "process event failed", "type", ce.Type, "eventId", ce.ID, "error", err.Error())
			return err
		}
		slog.InfoContext(ctx, "event processed", "type", ce.Type, "eventId", ce.ID)
		return nil
	}}
}

// decode reads the envelope of an event. It returns messaging.ErrMalformed if it cannot be read, and errUnknown
// if it has another version.
func decode[P any](ce messaging.CloudEvent) (event Event[P], err error) {
	if event.ID, err = uuid.Parse(ce.ID); err != nil {
		return event, messaging.ErrMalformed.Because(err)
	}
	var head struct{ Version, EventType string }
	if err := json.Unmarshal(ce.Data, &head); err != nil {
		return event, messaging.ErrMalformed.Because(err)
	}
	if head.EventType != ce.Type {
		return event, messaging.ErrMalformed.Because(
			fmt.Errorf("the envelope has type %q, the CloudEvent has type %q", head.EventType, ce.Type))
	}
	if head.Version != messaging.Version {
		return event, errUnknown
	}
	if err := json.Unmarshal(ce.Data, &event.Envelope); err != nil {
		return event, messaging.ErrMalformed.Because(err)
	}
	return event, nil
}

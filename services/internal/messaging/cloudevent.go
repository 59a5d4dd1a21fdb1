package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// ErrMalformed is the error of an event that cannot be read.
var ErrMalformed = problem.New(problem.Unprocessable, "MALFORMED_EVENT", "The event cannot be read")

// MaxEvent is the maximum size of an event in bytes, as a CloudEvent in JSON. SNS accepts 256 KiB. The rest is for the
// trace that the relay adds, and for the frame in which SNS passes an event to SQS, which escapes each quote.
const MaxEvent = 192 << 10

// ErrTooLarge reports an event of more than MaxEvent bytes. No attempt could publish it, so the transaction that adds
// it has to fail. Requests that would lead to such an event are refused before.
var ErrTooLarge = errors.New("the event is too large")

// CloudEvent holds the parts of a CloudEvent that services read. Data is an Envelope.
type CloudEvent struct {
	ID            string          `json:"id"`
	Type          string          `json:"type"`
	CorrelationID string          `json:"correlationid"`
	TraceParent   string          `json:"traceparent"`
	TraceState    string          `json:"tracestate"`
	Data          json.RawMessage `json:"data"`
}

// Trace returns the trace of the request that caused the event.
func (e CloudEvent) Trace() telemetry.Trace {
	return telemetry.Trace{CorrelationID: e.CorrelationID, Parent: e.TraceParent, State: e.TraceState}
}

// ParseCloudEvent reads a CloudEvent. It returns ErrMalformed, with the parts that it could read, if body is
// not JSON of the right types or has no id.
func ParseCloudEvent(body []byte) (CloudEvent, error) {
	var event CloudEvent
	if err := json.Unmarshal(body, &event); err != nil {
		return event, ErrMalformed.Because(err)
	}
	if event.ID == "" {
		return event, ErrMalformed.Because(errors.New("no id"))
	}
	return event, nil
}

// NewCloudEvent returns a new CloudEvent as JSON, and its id. It carries the payload, the service that
// publishes it as source, and the correlation id and trace of ctx. It returns ErrTooLarge.
func NewCloudEvent(ctx context.Context, source string, payload Payload) (uuid.UUID, []byte, error) {
	trace := telemetry.From(ctx)
	now := time.Now().UTC().Truncate(time.Millisecond)
	id, err := uuid.NewV7() // ordered by time, so that new rows are neighbours in the index
	if err != nil {
		return id, nil, err
	}
	event := map[string]any{
		"specversion":     "1.0",
		"id":              id,
		"source":          source,
		"type":            payload.Type(),
		"subject":         payload.Subject(),
		"time":            now,
		"datacontenttype": "application/json",
		"correlationid":   trace.CorrelationID,
		"data": Envelope[Payload]{
			EventType: payload.Type(), Version: Version, Timestamp: now,
			CorrelationID: trace.CorrelationID, Payload: payload,
		},
	}
	for name, value := range payload.Attributes() {
		event[name] = value
	}
	// Both are strings always: a subscriber's sidecar crashes on a number (daprd 1.18.2).
	if trace.Parent != "" {
		event["traceparent"], event["tracestate"] = trace.Parent, trace.State
	}
	body, err := json.Marshal(event)
	if err == nil && len(body) > MaxEvent {
		err = fmt.Errorf("%w: %d bytes", ErrTooLarge, len(body))
	}
	return id, body, err
}

// Package messaging moves events between a service's database and its sidecar, each exactly once in
// effect.
//
// Out: AddTx writes an event into the outbox in the transaction of the change that it reports. A Relay
// publishes what is there and then marks it; when it dies in between, the event is published again
// under the same id. In: a Consumer hands deliveries to its handlers, and FirstTx, in the transaction of
// the event's effect, tells whether the event was here before. So an event is published at least once and
// takes effect once, whatever crashes where. What no handler can process ends in dead_letters, where an
// admin has it processed again.
package messaging

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations creates the outbox and the inbox in a service's database.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "messaging_version")
}

// Payload is an event of the contract's, as its publisher makes it.
type Payload interface {
	Type() string                  // PAYMENT_COMPLETED
	Topic() string                 // payment-events
	Subject() string               // the id of the entity that it is about
	Attributes() map[string]string // the contract's message attributes, in CloudEvents' lower case
}

// Version is the envelope version that this code writes and reads.
const Version = "1.0"

// Envelope is the contract's frame around each event, and the data of its CloudEvent.
type Envelope[P any] struct {
	EventType     string    `json:"eventType"`
	Version       string    `json:"version"`
	Timestamp     time.Time `json:"timestamp"`
	CorrelationID string    `json:"correlationId"`
	Payload       P         `json:"payload"`
}

// AddTx writes events of the service source into the outbox, in their order. They are published after tx
// commits, at once if tx is of postgres.InTx, and never if it does not. They carry the correlation id and the trace of ctx.
func AddTx(ctx context.Context, tx pgx.Tx, source string, payloads ...Payload) error {
	topics := make([]string, len(payloads))
	for i, p := range payloads {
		topics[i] = p.Topic()
	}
	return addTx(ctx, tx, source, topics, payloads)
}

// AddToTx is AddTx for another topic than the event's own. There it is an event with an id of its own. For
// an ordered topic, the events that tx and others add about one thing are in the order of their commits
// only if each adds under a lock on that thing.
func AddToTx(ctx context.Context, tx pgx.Tx, source, topic string, payload Payload) error {
	return addTx(ctx, tx, source, []string{topic}, []Payload{payload})
}

func addTx(ctx context.Context, tx pgx.Tx, source string, topics []string, payloads []Payload) error {
	ids, bodies := make([]uuid.UUID, len(payloads)), make([]string, len(payloads))
	for i, p := range payloads {
		var err error
		if ids[i], bodies[i], err = encode(ctx, source, p); err != nil {
			return fmt.Errorf("event %s: %w", p.Type(), err)
		}
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO outbox (id, topic, cloud_event)
		SELECT id, topic, event::json FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS e (id, topic, event, n) ORDER BY n`,
		ids, topics, bodies); err != nil {
		return fmt.Errorf("add to the outbox: %w", err)
	}
	postgres.AfterCommit(tx, wakeRelays)
	return nil
}

// encode makes a new event of a payload, and gives its id too.
func encode(ctx context.Context, source string, payload Payload) (uuid.UUID, string, error) {
	trace := telemetry.From(ctx)
	now := time.Now().UTC().Truncate(time.Millisecond)
	id, err := uuid.NewV7() // ordered by time, kind to the index
	if err != nil {
		return id, "", err
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
	// Always strings: a subscriber's sidecar crashes on a numeric one (daprd 1.18.2).
	if trace.Parent != "" {
		event["traceparent"], event["tracestate"] = trace.Parent, trace.State
	}
	body, err := json.Marshal(event)
	return id, string(body), err
}

// FirstTx reports whether this is the first time that the event takes effect here, and records that
// it did. A concurrent delivery of the same event waits for this transaction's end.
func FirstTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, eventType string) (bool, error) {
	tag, err := tx.Exec(ctx,
		`INSERT INTO inbox (event_id, type) VALUES ($1, $2) ON CONFLICT DO NOTHING`, id, eventType)
	if err != nil {
		return false, fmt.Errorf("record event %s: %w", id, err)
	}
	first := tag.RowsAffected() == 1
	if !first {
		repeated.WithLabelValues(eventType).Inc()
	}
	return first, nil
}

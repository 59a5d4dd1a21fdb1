// Package outbox publishes events that a service stores in its database, in the transaction of the change that they
// report. An event is stored if and only if its change is.
//
// AddTx stores an event. Each replica runs a Relay, which publishes stored events through the sidecar and then marks
// them as published. If the process dies before publishing, the relay of another replica, or of this one after its
// restart, publishes the event. If it dies after publishing and before marking, the event is published again under the
// same id. So every committed event is published at least once, and consumers drop duplicates by the id; see package
// inbox. An event that the sidecar or the broker refuses stays stored and is retried.
package outbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// AddTx stores events of the service source in the outbox, in their order. They are published after tx
// commits, at once if tx comes from postgres.InTx, and never if tx is rolled back. They carry the
// correlation id and the trace of ctx. AddTx returns messaging.ErrTooLarge, and tx must then be rolled back.
func AddTx(ctx context.Context, tx pgx.Tx, source string, payloads ...messaging.Payload) error {
	topics := make([]string, len(payloads))
	for i, p := range payloads {
		topics[i] = p.Topic()
	}
	return addTx(ctx, tx, source, topics, payloads)
}

// AddToTx stores an event for another topic than its own, under an id of its own. On an ordered topic the
// events about one subject are published in the order of their commits only if every transaction adds them
// while it holds a lock on that subject.
func AddToTx(ctx context.Context, tx pgx.Tx, source, topic string, payload messaging.Payload) error {
	return addTx(ctx, tx, source, []string{topic}, []messaging.Payload{payload})
}

func addTx(ctx context.Context, tx pgx.Tx, source string, topics []string, payloads []messaging.Payload) error {
	ids, bodies := make([]uuid.UUID, len(payloads)), make([]string, len(payloads))
	for i, p := range payloads {
		id, body, err := messaging.NewCloudEvent(ctx, source, p)
		if err != nil {
			return fmt.Errorf("event %s: %w", p.Type(), err)
		}
		ids[i], bodies[i] = id, string(body)
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO outbox (id, topic, cloud_event)
		SELECT id, topic, event::json
		FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS e (id, topic, event, n) ORDER BY n`,
		ids, topics, bodies); err != nil {
		return fmt.Errorf("add to the outbox: %w", err)
	}
	postgres.AfterCommit(tx, wakeRelays)
	return nil
}

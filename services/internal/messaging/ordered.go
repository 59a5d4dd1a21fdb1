package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// publishOrdered publishes what waits for the ordered topics: of each subject one event after the other, in the order
// in which they were added, and none after one that failed. What is about something else neither waits for that nor has
// an order with it. Of all replicas one publishes, by a lease on the topic. Should it lose the lease in the middle, its
// successor begins with the same events, and consumers see the repetition by the events' ids.
func (r Relay) publishOrdered(ctx context.Context) error {
	for _, topic := range slices.Sorted(maps.Keys(r.Ordered)) {
		if err := r.publishTopic(ctx, topic); err != nil {
			return fmt.Errorf("publish in order to %s: %w", topic, err)
		}
	}
	return nil
}

func (r Relay) publishTopic(ctx context.Context, topic string) error {
	holder, asked := uuid.New(), false
	defer func() {
		if !asked {
			return
		}
		// The next one need not wait for the lease's end, even if this relay is being stopped.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if _, err := r.Pool.Exec(ctx, `
			UPDATE ordered_topics SET leased_until = '-infinity' WHERE topic = $1 AND holder = $2`, topic, holder); err != nil {
			slog.WarnContext(ctx, "ordered topic not given back, others wait for its lease to end", "topic", topic, "error", err.Error())
		}
	}()
	for held := []string{}; ; { // subjects of which an event is refused
		waiting, err := r.waiting(ctx, topic, held)
		if err != nil || len(waiting) == 0 {
			return err
		}
		first := map[string]orderedRow{} // by subject
		for _, row := range slices.Backward(waiting) {
			first[row.Subject] = row
		}
		next := map[uuid.UUID]string{}
		for subject, row := range first {
			if row.Refused {
				held = append(held, subject)
			} else {
				next[row.ID] = subject
			}
		}
		if len(next) == 0 {
			continue
		}
		asked = true
		rows, err := r.take(ctx, topic, holder, slices.Collect(maps.Keys(next)))
		if err != nil || len(rows) == 0 { // another relay is at it, or was
			return err
		}
		refused, err := r.publishLeased(ctx, r.Ordered[topic], rows)
		if err != nil {
			return err
		}
		for _, id := range refused {
			held = append(held, next[id])
		}
	}
}

// orderedRow is an event that waits for its turn.
type orderedRow struct {
	ID      uuid.UUID
	Subject string
	Refused bool // a moment ago
}

// waiting gives the events that wait longest, without those of some subjects.
func (r Relay) waiting(ctx context.Context, topic string, without []string) ([]orderedRow, error) {
	rows, err := r.Pool.Query(ctx, `
		SELECT id, cloud_event ->> 'subject', leased_until > now() FROM outbox
		WHERE published_at IS NULL AND topic = $1 AND cloud_event ->> 'subject' <> ALL ($2)
		ORDER BY position LIMIT $3`, topic, without, r.Batch)
	if err != nil {
		return nil, fmt.Errorf("find what waits: %w", err)
	}
	waiting, err := pgx.CollectRows(rows, pgx.RowToStructByPos[orderedRow])
	if err != nil {
		return nil, fmt.Errorf("find what waits: %w", err)
	}
	return waiting, nil
}

// take keeps the topic for its holder, or takes it, and with it the events that nobody has published meanwhile.
func (r Relay) take(ctx context.Context, topic string, holder uuid.UUID, ids []uuid.UUID) ([]outboxRow, error) {
	taken, err := r.update(ctx, `
		WITH lease AS (
			INSERT INTO ordered_topics AS o (topic, holder, leased_until) VALUES ($1, $2, now() + $3::interval)
			ON CONFLICT (topic) DO UPDATE SET holder = excluded.holder, leased_until = excluded.leased_until
			WHERE o.leased_until < now() OR o.holder = excluded.holder
			RETURNING topic),
		taken AS (
			UPDATE outbox SET attempts = attempts + 1 FROM lease WHERE id = ANY ($4)
			RETURNING id, outbox.topic, cloud_event, attempts, published_at)
		SELECT id, topic, cloud_event, attempts FROM taken WHERE published_at IS NULL`, topic, holder, r.Lease, ids)
	if err != nil {
		return nil, fmt.Errorf("take what is next: %w", err)
	}
	return taken, nil
}

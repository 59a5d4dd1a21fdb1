package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// publishOrdered publishes what waits for the ordered topics: one event after the other, in the order
// in which they were added, and none after one that failed. Of all replicas one does, by a lease on the
// topic. Should it lose the lease in the middle, its successor begins with the same event, and consumers
// see the repetition by the event's id.
func (r Relay) publishOrdered(ctx context.Context) error {
	for _, topic := range slices.Sorted(maps.Keys(r.Ordered)) {
		for more := true; more; {
			var err error
			if more, err = r.publishTopic(ctx, topic); err != nil {
				return fmt.Errorf("publish in order to %s: %w", topic, err)
			}
		}
	}
	return nil
}

// publishTopic publishes up to a batch, and reports whether it was a whole one, which others may follow.
func (r Relay) publishTopic(ctx context.Context, topic string) (bool, error) {
	rows, err := r.Pool.Query(ctx, `
		SELECT id, topic, cloud_event FROM outbox
		WHERE published_at IS NULL AND topic = $1 ORDER BY position LIMIT $2`, topic, r.Batch)
	if err != nil {
		return false, err
	}
	waiting, err := pgx.CollectRows(rows, pgx.RowToStructByPos[outboxRow])
	if err != nil || len(waiting) == 0 {
		return false, err
	}
	holder := uuid.New()
	more := len(waiting) == r.Batch
	for _, row := range waiting {
		published, err := r.publishNext(ctx, topic, holder, row)
		if err != nil {
			return false, err
		}
		if !published { // the others wait for it, until the next poll
			more = false
			break
		}
	}
	// The next one need not wait for the lease's end, even if this relay is being stopped.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	_, err = r.Pool.Exec(ctx, `UPDATE ordered_topics SET leased_until = '-infinity' WHERE topic = $1 AND holder = $2`, topic, holder)
	return more, err
}

// leaseTopic takes the topic for a holder, or keeps it for them.
func (r Relay) leaseTopic(ctx context.Context, topic string, holder uuid.UUID) (bool, error) {
	tag, err := r.Pool.Exec(ctx, `
		INSERT INTO ordered_topics AS o (topic, holder, leased_until) VALUES ($1, $2, now() + $3::interval)
		ON CONFLICT (topic) DO UPDATE SET holder = excluded.holder, leased_until = excluded.leased_until
		WHERE o.leased_until < now() OR o.holder = excluded.holder`, topic, holder, r.Lease)
	return err == nil && tag.RowsAffected() == 1, err
}

// publishNext publishes one event, if the topic is the holder's and nobody published the event
// meanwhile, and reports whether the next one may follow.
func (r Relay) publishNext(ctx context.Context, topic string, holder uuid.UUID, row outboxRow) (bool, error) {
	if leased, err := r.leaseTopic(ctx, topic, holder); err != nil || !leased {
		return false, err
	}
	var id uuid.UUID
	err := r.Pool.QueryRow(ctx, `
		UPDATE outbox SET attempts = attempts + 1 WHERE id = $1 AND published_at IS NULL RETURNING id`, row.ID).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	event, span, err := row.begin(ctx)
	if err != nil {
		return false, err
	}
	publishing, cancel := context.WithTimeout(trace.ContextWithSpan(ctx, span), r.Lease)
	defer cancel()
	res := r.Publisher.PublishEvents(publishing, r.Ordered[topic], topic, []any{event})
	telemetry.End(span, res.Error)
	if res.Error != nil {
		slog.WarnContext(ctx, "event not published, it and those after it will be retried",
			"topic", topic, "eventId", row.ID, "error", res.Error.Error())
		return false, nil
	}
	countPublished(row)
	_, err = r.Pool.Exec(ctx, `UPDATE outbox SET published_at = now() WHERE id = $1`, row.ID)
	return err == nil, err
}

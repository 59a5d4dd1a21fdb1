package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// publishOrdered publishes the events of the ordered topics. The events of one subject are published one by one,
// in the order in which they were added. While an event is refused, later events of its subject wait; other
// subjects do not. A lease on the topic lets only one replica publish. If it loses the lease while it publishes,
// the next holder publishes the same events again, and consumers recognize them by their ids.
func (r Relay) publishOrdered(ctx context.Context) error {
	for _, topic := range slices.Sorted(maps.Keys(r.Ordered)) {
		if err := r.publishTopic(ctx, topic); err != nil {
			return fmt.Errorf("publish in order to %s: %w", topic, err)
		}
	}
	return nil
}

func (r Relay) publishTopic(ctx context.Context, topic string) error {
	holder, leased := uuid.New(), false
	defer func() {
		if !leased {
			return
		}
		// Releases the lease even if ctx is done, so that the next holder does not wait for its end.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if _, err := r.Pool.Exec(ctx, `
			UPDATE ordered_topics SET leased_until = '-infinity' WHERE topic = $1 AND holder = $2`, topic, holder); err != nil {
			slog.WarnContext(ctx, "release lease on ordered topic failed", "topic", topic, "error", err.Error())
		}
	}()
	for held := []string{}; ; { // subjects with a refused event
		queued, err := r.queued(ctx, topic, held)
		if err != nil || len(queued) == 0 {
			return err
		}
		first := map[string]orderedRow{} // by subject
		for _, row := range slices.Backward(queued) {
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
		leased = true
		rows, err := r.acquire(ctx, topic, holder, slices.Collect(maps.Keys(next)))
		if err != nil || len(rows) == 0 { // another relay holds the topic, or has published these events
			return err
		}
		refused, err := r.publishLeased(ctx, r.Ordered[topic], rows)
		if err != nil {
			return err
		}
		for _, row := range refused {
			held = append(held, next[row.ID])
		}
	}
}

// orderedRow is an unpublished event of an ordered topic.
type orderedRow struct {
	ID      uuid.UUID
	Subject string
	Refused bool // and not due yet
}

// queued returns a batch of a topic's unpublished events, the oldest first, except those of some subjects.
func (r Relay) queued(ctx context.Context, topic string, except []string) ([]orderedRow, error) {
	rows, err := r.Pool.Query(ctx, `
		SELECT id, cloud_event ->> 'subject', leased_until > now() FROM outbox
		WHERE published_at IS NULL AND topic = $1 AND cloud_event ->> 'subject' <> ALL ($2)
		ORDER BY position LIMIT $3`, topic, except, r.Batch)
	if err != nil {
		return nil, fmt.Errorf("find queued events: %w", err)
	}
	queued, err := pgx.CollectRows(rows, pgx.RowToStructByPos[orderedRow])
	if err != nil {
		return nil, fmt.Errorf("find queued events: %w", err)
	}
	return queued, nil
}

// acquire acquires or renews the lease on a topic, and returns those of the events that are still unpublished. It
// returns none if another holder has the lease.
func (r Relay) acquire(ctx context.Context, topic string, holder uuid.UUID, ids []uuid.UUID) ([]outboxRow, error) {
	acquired, err := r.update(ctx, `
		WITH lease AS (
			INSERT INTO ordered_topics AS o (topic, holder, leased_until) VALUES ($1, $2, now() + $3::interval)
			ON CONFLICT (topic) DO UPDATE SET holder = excluded.holder, leased_until = excluded.leased_until
			WHERE o.leased_until < now() OR o.holder = excluded.holder
			RETURNING topic),
		acquired AS (
			UPDATE outbox SET attempts = attempts + 1 FROM lease WHERE id = ANY ($4)
			RETURNING id, outbox.topic, cloud_event, attempts, published_at)
		SELECT id, topic, cloud_event, attempts FROM acquired WHERE published_at IS NULL`, topic, holder, r.Lease, ids)
	if err != nil {
		return nil, fmt.Errorf("lease ordered events: %w", err)
	}
	return acquired, nil
}

package outbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// acceptedFor is how long a topic counts as available after it accepted an event.
	acceptedFor = 30 * time.Second
	// maxDelay is the longest time between two attempts at an event that is refused for its own sake.
	maxDelay = 10 * time.Minute
)

// acceptances record when each topic last accepted an event of this process.
type acceptances struct {
	mu sync.Mutex
	at map[string]time.Time // by topic
}

func (a *acceptances) note(topic string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at[topic] = time.Now()
}

// available reports whether the topic has accepted an event recently.
func (a *acceptances) available(topic string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.at[topic]) < acceptedFor
}

// postpone sets when refused events are due again.
//
// While their topic accepts other events, they are refused for their own sake: too large, for example. Then the delay
// doubles from 1 s to 10 min, so that any number of them costs little. Otherwise the broker may be down. Then it is a
// second for each attempt, at most the length of a lease, so that they are published soon after it is back.
func (r Relay) postpone(ctx context.Context, refused []outboxRow) error {
	all, own := []uuid.UUID{}, []uuid.UUID{}
	for _, row := range refused {
		all = append(all, row.ID)
		if r.accepted.available(row.Topic) {
			own = append(own, row.ID)
		}
	}
	if _, err := r.update(ctx, `
		UPDATE outbox
		SET refusals = refusals + own, leased_until = now() + delay, retry_at = now() + delay
		FROM (
			SELECT id AS refused, (id = ANY ($2))::integer AS own,
			       CASE WHEN id = ANY ($2) THEN least(interval '1 second' * power(2, least(refusals, 20)), $4::interval)
			            ELSE least(interval '1 second' * attempts, $3::interval) END AS delay
			FROM outbox WHERE id = ANY ($1)) postponed
		WHERE id = refused`, all, own, r.Lease, maxDelay); err != nil {
		return fmt.Errorf("postpone refused events: %w", err)
	}
	return nil
}

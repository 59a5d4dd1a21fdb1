package outbox_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// large is a payload with a text.
type large struct {
	messagingtest.Sold
	Text string `json:"text"`
}

func TestTooLargeEventRollsBackItsChange(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	added := func(payload messaging.Payload) error {
		return postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			return outbox.AddTx(t.Context(), tx, "seat-service", messagingtest.Sold{Seat: 1}, payload)
		})
	}
	require.ErrorIs(t, added(large{Text: strings.Repeat("x", messaging.MaxEvent)}), messaging.ErrTooLarge)
	require.Zero(t, unpublished(t, pool))
	require.NoError(t, added(large{Text: strings.Repeat("x", messaging.MaxEvent-2<<10)}))
	require.Equal(t, 2, unpublished(t, pool))
}

// narrow is a broker that refuses calls of more than 4 MiB, as a sidecar does.
type narrow struct {
	broker
	mu    sync.Mutex
	sizes []int // of the calls
}

func (n *narrow) PublishEvents(
	ctx context.Context, pubsub, topic string, events []any, options ...dapr.PublishEventsOption,
) dapr.PublishEventsResponse {
	size := 0
	for _, e := range events {
		size += len(e.(dapr.PublishEventsEvent).Data)
	}
	n.mu.Lock()
	n.sizes = append(n.sizes, size)
	n.mu.Unlock()
	if size > 4<<20 {
		return dapr.PublishEventsResponse{Error: context.DeadlineExceeded, FailedEvents: events}
	}
	return n.broker.PublishEvents(ctx, pubsub, topic, events, options...)
}

// Events that are published together do not make each other too large.
func TestCallsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &narrow{}
	payloads := make([]messaging.Payload, 60)
	for i := range payloads {
		payloads[i] = large{Sold: messagingtest.Sold{Seat: i}, Text: strings.Repeat("x", 150<<10)}
	}
	require.NoError(t, postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		return outbox.AddTx(t.Context(), tx, "seat-service", payloads...)
	}))
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick})
	waitPublished(t, pool)
	require.Len(t, b.events(), len(payloads))
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Len(t, b.sizes, 10, "six events in each call")
	for _, size := range b.sizes {
		require.LessOrEqual(t, size, 1<<20)
	}
}

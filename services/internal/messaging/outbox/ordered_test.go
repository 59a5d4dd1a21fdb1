package outbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// ordered declares seat-events an ordered topic.
var ordered = map[string]string{"seat-events": "pubsub"}

func TestOrderedTopicKeepsItsOrder(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	b := &broker{fail: func(attempt int) bool { return attempt%12 == 0 }} // no event overtakes a failed one
	const n = 36
	var want []int
	for range 3 { // replicas
		relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick, Batch: 7, Ordered: ordered})
	}
	for seat := range n {
		add(t.Context(), t, pool, seat)
		want = append(want, seat)
	}
	waitPublished(t, pool)
	require.Equal(t, want, b.seats())
}

func TestBacklogOfOrderedTopicIsPublishedWithoutPolling(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	add(t.Context(), t, pool, want...)
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: never, Batch: 3, Ordered: ordered})
	waitPublished(t, pool)
	require.Equal(t, want, b.seats())
}

// inHall is a sale in a hall, which is its subject.
type inHall struct {
	messagingtest.Sold
	hall string
}

func (s inHall) Subject() string { return s.hall }

func TestRefusedEventOfOrderedTopicHoldsUpOnlyItsSubject(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &picky{}
	b.refused.Store(&[]int{2})
	const more = 20 // events of the hall that waits; more than a batch
	halls := append([]string{"north", "north"}, slices.Repeat([]string{"north"}, more)...)
	halls = append(halls, "south", "south")
	payloads := make([]messaging.Payload, len(halls))
	for i, hall := range halls {
		payloads[i] = inHall{messagingtest.Sold{Seat: i + 1}, hall}
	}
	require.NoError(t, postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		return outbox.AddTx(t.Context(), tx, "seat-service", payloads...)
	}))
	relay(t, outbox.Relay{
		Pool: pool, Publisher: b, Poll: tick, Batch: 7, Lease: 5 * time.Second, Ordered: ordered,
	})
	of := func(hall string) (seats []int) {
		for _, e := range b.events() {
			if e.Subject == hall {
				seats = append(seats, e.Data.Payload.Seat)
			}
		}
		return seats
	}
	require.Eventually(t, func() bool { return len(of("south")) == 2 }, deadline, tick)
	require.Equal(t, []int{more + 3, more + 4}, of("south"))
	require.Equal(t, []int{1}, of("north"), "later seats wait for the second")
	b.refused.Store(&[]int{})
	waitPublished(t, pool)
	want := make([]int, more+2)
	for i := range want {
		want[i] = i + 1
	}
	require.Equal(t, want, of("north"))
}

func TestNextRelayTakesOverOrderedTopicOfHungRelay(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	hung, next := &broker{hold: make(chan struct{})}, &broker{}
	add(t.Context(), t, pool, 1, 2, 3)
	const lease = 200 * time.Millisecond
	stop := relay(t, outbox.Relay{Pool: pool, Publisher: hung, Poll: tick, Lease: lease, Ordered: ordered})
	require.Eventually(t, func() bool { return len(hung.events()) > 0 }, deadline, tick)
	relay(t, outbox.Relay{Pool: pool, Publisher: next, Poll: tick, Lease: lease, Ordered: ordered})
	waitPublished(t, pool)
	require.Equal(t, []int{1, 2, 3}, next.seats())
	for _, seat := range hung.seats() {
		require.Equal(t, 1, seat, "the hung relay publishes nothing else")
	}
	stop()
	require.Zero(t, unpublished(t, pool), "the hung relay does not undo the marks of its successor")
}

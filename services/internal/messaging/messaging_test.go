package messaging_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

const (
	// deadline bounds whatever a test waits for, tick is how often it looks.
	deadline = 15 * time.Second
	tick     = 5 * time.Millisecond
	// never is longer than any test runs.
	never = time.Hour
)

// sold is an event.
type sold struct {
	Seat int `json:"seat"`
}

func (sold) Type() string                  { return "SEAT_SOLD" }
func (sold) Topic() string                 { return "seat-events" }
func (sold) Subject() string               { return "seat" }
func (sold) Attributes() map[string]string { return map[string]string{"seatid": "x"} }

// broker is a Publisher that remembers what it took. Fail, if set, decides what it refuses.
type broker struct {
	fail func(attempt int) bool
	hold chan struct{} // if set, what was taken is answered only once it is closed

	mu       sync.Mutex
	attempts int
	taken    []cloudEvent
}

type cloudEvent struct {
	ID, Source, Type, Subject, SpecVersion, DataContentType string
	SeatID, CorrelationID, TraceParent, TraceState, TraceID string
	Data                                                    messaging.Envelope[sold]
}

func (b *broker) PublishEvents(ctx context.Context, pubsub, topic string, events []any, _ ...dapr.PublishEventsOption) dapr.PublishEventsResponse {
	b.mu.Lock()
	b.attempts++
	if pubsub != "pubsub" || topic != "seat-events" || b.fail != nil && b.fail(b.attempts) {
		b.mu.Unlock()
		return dapr.PublishEventsResponse{Error: errors.New("broker down"), FailedEvents: events}
	}
	for _, e := range events {
		event := e.(dapr.PublishEventsEvent)
		var ce cloudEvent
		if err := json.Unmarshal(event.Data, &ce); err != nil || event.ContentType != "application/cloudevents+json" || ce.ID != event.EntryID {
			panic("not a cloud event")
		}
		b.taken = append(b.taken, ce)
	}
	b.mu.Unlock()
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return dapr.PublishEventsResponse{Error: ctx.Err(), FailedEvents: events}
		}
	}
	return dapr.PublishEventsResponse{}
}

func (b *broker) events() []cloudEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]cloudEvent(nil), b.taken...)
}

func setup(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return postgrestest.New(t, messaging.Migrations())
}

// relay runs a Relay until the test, or whoever calls what it returns, ends it.
func relay(t *testing.T, r messaging.Relay) (stop func()) {
	t.Helper()
	r.PubSub = "pubsub"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Run(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func add(ctx context.Context, t *testing.T, pool *pgxpool.Pool, seats ...int) {
	t.Helper()
	payloads := make([]messaging.Payload, len(seats))
	for i, seat := range seats {
		payloads[i] = sold{seat}
	}
	require.NoError(t, postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		return messaging.AddTx(ctx, tx, "seat-service", payloads...)
	}))
}

// published waits until no event waits to be published.
func published(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	require.Eventually(t, func() bool {
		var left int
		return pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE published_at IS NULL`).Scan(&left) == nil && left == 0
	}, deadline, tick)
}

func TestPublishesWhatWasCommitted(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := telemetry.With(t.Context(), telemetry.Trace{CorrelationID: "corr-1", Parent: parent, State: "a=b"})
	add(ctx, t, pool, 7)
	errChangedMind := errors.New("changed mind")
	require.ErrorIs(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := messaging.AddTx(ctx, tx, "seat-service", sold{13}); err != nil {
			return err
		}
		return errChangedMind
	}), errChangedMind)

	relay(t, messaging.Relay{Pool: pool, Publisher: b})
	published(t, pool)
	require.Len(t, b.events(), 1, "nothing of the transaction that was rolled back")
	got := b.events()[0]
	require.NoError(t, uuid.Validate(got.ID))
	require.WithinDuration(t, time.Now(), got.Data.Timestamp, time.Minute)
	got.ID, got.Data.Timestamp = "", time.Time{}
	require.Equal(t, cloudEvent{
		Source: "seat-service", Type: "SEAT_SOLD", Subject: "seat", SpecVersion: "1.0", DataContentType: "application/json",
		SeatID: "x", CorrelationID: "corr-1", TraceParent: parent, TraceState: "a=b", TraceID: parent,
		Data: messaging.Envelope[sold]{EventType: "SEAT_SOLD", Version: "1.0", CorrelationID: "corr-1", Payload: sold{7}},
	}, got)
}

// Not parallel to others, which would wake the relay as well.
func TestCommitWakesTheRelay(t *testing.T) {
	pool, b := setup(t), &broker{}
	relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: never})
	add(t.Context(), t, pool, 1)
	published(t, pool)
	add(t.Context(), t, pool, 2)
	published(t, pool)
	require.Len(t, b.events(), 2)
}

func TestARelayOutlivesItsConnections(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	config := pool.Config()
	config.ConnConfig.RuntimeParams["application_name"] = "relay-" + uuid.NewString() // the relay's connections and nobody else's
	relayPool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(relayPool.Close)
	relay(t, messaging.Relay{Pool: relayPool, Publisher: b, Poll: tick})
	for seat := range 5 {
		_, err := pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1`,
			config.ConnConfig.RuntimeParams["application_name"])
		require.NoError(t, err)
		add(t.Context(), t, pool, seat)
		published(t, pool)
	}
}

func TestARefusedEventComesAgainAsItWas(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	b := &broker{fail: func(attempt int) bool { return attempt <= 2 }}
	add(t.Context(), t, pool, 1)
	relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: 20 * time.Millisecond})
	published(t, pool)

	require.Len(t, b.events(), 1)
	var id string
	var attempts int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT id::text, attempts FROM outbox`).Scan(&id, &attempts))
	require.Equal(t, id, b.events()[0].ID)
	require.Equal(t, 3, attempts)
}

func TestOneRefusedEventDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	b := &broker{fail: func(attempt int) bool { return attempt == 1 }}
	add(t.Context(), t, pool, 1)
	relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: time.Minute})
	require.Eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.attempts > 0 }, deadline, tick)
	add(t.Context(), t, pool, 2)
	published(t, pool)
	require.Len(t, b.events(), 2)
}

// picky refuses every call with certain seats in it, and like the sidecar does not say which of them it refused.
type picky struct {
	broker
	refused atomic.Pointer[[]int]
}

func (p *picky) PublishEvents(ctx context.Context, pubsub, topic string, events []any, options ...dapr.PublishEventsOption) dapr.PublishEventsResponse {
	for _, e := range events {
		var ce cloudEvent
		if err := json.Unmarshal(e.(dapr.PublishEventsEvent).Data, &ce); err == nil && slices.Contains(*p.refused.Load(), ce.Data.Payload.Seat) {
			return dapr.PublishEventsResponse{Error: errors.New("too large"), FailedEvents: events}
		}
	}
	return p.broker.PublishEvents(ctx, pubsub, topic, events, options...)
}

func TestARefusedEventHoldsUpNoneOfItsBatch(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &picky{}
	b.refused.Store(&[]int{3, 5})
	add(t.Context(), t, pool, 1, 2, 3, 4, 5, 6)
	relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: 200 * time.Millisecond})
	require.Eventually(t, func() bool {
		seats := b.seats()
		slices.Sort(seats)
		return slices.Equal(seats, []int{1, 2, 4, 6})
	}, deadline, tick, "each once, since none of them was taken before")
	b.refused.Store(&[]int{})
	published(t, pool)
	require.Len(t, b.events(), 6, "and the refused ones are not lost")
}

func TestAnEventThatCannotBeReadHoldsUpNone(t *testing.T) {
	t.Parallel()
	for name, ordered := range map[string]map[string]string{"Ordered": {"seat-events": "pubsub"}, "Unordered": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, b := setup(t), &broker{}
			_, err := pool.Exec(t.Context(), `
				INSERT INTO outbox (id, topic, cloud_event) VALUES (gen_random_uuid(), 'seat-events', '{"subject": "another", "type": 7}')`)
			require.NoError(t, err)
			add(t.Context(), t, pool, 1, 2)
			relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: 200 * time.Millisecond, Ordered: ordered})
			require.Eventually(t, func() bool { return len(b.events()) == 2 }, deadline, tick)
		})
	}
}

func TestReplicasPublishEachEventOnce(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	const n = 500
	for range 3 {
		relay(t, messaging.Relay{Pool: pool, Publisher: b, Batch: 7, Poll: tick})
	}
	var writers errgroup.Group
	for w := range 5 {
		writers.Go(func() error {
			for i := range n / 5 {
				add(t.Context(), t, pool, w*n+i)
			}
			return nil
		})
	}
	require.NoError(t, writers.Wait())
	published(t, pool)
	ids := map[string]bool{}
	for _, e := range b.events() {
		ids[e.ID] = true
	}
	require.Len(t, ids, n)
	require.Len(t, b.events(), n, "none twice")
}

func TestARelayThatDiesLeavesItsEventsToTheNext(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	dying, next := &broker{hold: make(chan struct{})}, &broker{}
	add(t.Context(), t, pool, 1)
	stop := relay(t, messaging.Relay{Pool: pool, Publisher: dying, Lease: 500 * time.Millisecond})
	require.Eventually(t, func() bool { return len(dying.events()) == 1 }, deadline, tick)
	stop() // the broker has the event, the outbox does not know

	relay(t, messaging.Relay{Pool: pool, Publisher: next, Poll: tick, Lease: 500 * time.Millisecond})
	published(t, pool)
	require.Len(t, next.events(), 1)
	require.Equal(t, dying.events()[0].ID, next.events()[0].ID, "consumers see that it is the same")
}

func TestAHungSidecarHoldsNoBatchBeyondItsLease(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	b := &broker{hold: make(chan struct{})}
	add(t.Context(), t, pool, 1)
	relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: 50 * time.Millisecond})
	require.Eventually(t, func() bool { return len(b.events()) > 1 }, deadline, tick, "the relay gave up and tried again")
	close(b.hold)
	published(t, pool)
}

func TestFirstTxIsTrueOnce(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	id := uuid.New()
	var mu sync.Mutex
	effects := 0
	var deliveries errgroup.Group
	for range 20 {
		deliveries.Go(func() error {
			return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				first, err := messaging.FirstTx(t.Context(), tx, id, "SEAT_SOLD")
				if first {
					mu.Lock()
					effects++
					mu.Unlock()
				}
				return err
			})
		})
	}
	require.NoError(t, deliveries.Wait())
	require.Equal(t, 1, effects)
}

func TestFirstTxForgetsWhatWasRolledBack(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	id := uuid.New()
	errEffect := errors.New("effect failed")
	for _, want := range []error{errEffect, nil} {
		require.ErrorIs(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			first, err := messaging.FirstTx(t.Context(), tx, id, "SEAT_SOLD")
			require.NoError(t, err)
			require.True(t, first)
			return want
		}), want)
	}
}

// seats gives the seats that were sold, as the broker heard of them.
func (b *broker) seats() []int {
	var seats []int
	for _, e := range b.events() {
		seats = append(seats, e.Data.Payload.Seat)
	}
	return seats
}

func TestAnOrderedTopicKeepsItsOrder(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	b := &broker{fail: func(attempt int) bool { return attempt%12 == 0 }} // and nothing overtakes what failed
	const n = 36
	var want []int
	for range 3 { // replicas
		relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: tick, Batch: 7, Ordered: map[string]string{"seat-events": "pubsub"}})
	}
	for seat := range n {
		add(t.Context(), t, pool, seat)
		want = append(want, seat)
	}
	published(t, pool)
	require.Equal(t, want, b.seats())
}

func TestABacklogOfAnOrderedTopicIsPublishedAtOnce(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	add(t.Context(), t, pool, want...)
	relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: never, Batch: 3, Ordered: map[string]string{"seat-events": "pubsub"}})
	published(t, pool)
	require.Equal(t, want, b.seats())
}

// inHall is a sale in a hall, which is its subject.
type inHall struct {
	sold
	hall string
}

func (s inHall) Subject() string { return s.hall }

func TestARefusedEventOfAnOrderedTopicHoldsUpItsSubjectOnly(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &picky{}
	b.refused.Store(&[]int{2})
	const more = 20 // of the hall that waits, than fit into a batch
	halls := append([]string{"north", "north"}, slices.Repeat([]string{"north"}, more)...)
	halls = append(halls, "south", "south")
	payloads := make([]messaging.Payload, len(halls))
	for i, hall := range halls {
		payloads[i] = inHall{sold{i + 1}, hall}
	}
	require.NoError(t, postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		return messaging.AddTx(t.Context(), tx, "seat-service", payloads...)
	}))
	relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: tick, Batch: 7, Lease: 5 * time.Second, Ordered: map[string]string{"seat-events": "pubsub"}})
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
	require.Equal(t, []int{1}, of("north"), "the others wait for the second")
	b.refused.Store(&[]int{})
	published(t, pool)
	want := make([]int, more+2)
	for i := range want {
		want[i] = i + 1
	}
	require.Equal(t, want, of("north"))
}

func TestAHungRelayOfAnOrderedTopicIsSucceeded(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	hung, next := &broker{hold: make(chan struct{})}, &broker{}
	ordered := map[string]string{"seat-events": "pubsub"}
	add(t.Context(), t, pool, 1, 2, 3)
	stop := relay(t, messaging.Relay{Pool: pool, Publisher: hung, Poll: tick, Lease: 200 * time.Millisecond, Ordered: ordered})
	require.Eventually(t, func() bool { return len(hung.events()) > 0 }, deadline, tick)
	relay(t, messaging.Relay{Pool: pool, Publisher: next, Poll: tick, Lease: 200 * time.Millisecond, Ordered: ordered})
	published(t, pool)
	require.Equal(t, []int{1, 2, 3}, next.seats())
	for _, seat := range hung.seats() {
		require.Equal(t, 1, seat, "it never got further")
	}
	stop()
	var left int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE published_at IS NULL`).Scan(&left))
	require.Zero(t, left, "nor did it take back what its successor did")
}

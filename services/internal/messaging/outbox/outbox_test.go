package outbox_test

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

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

const (
	// deadline bounds how long a test waits for a condition, and tick is the interval between its checks.
	deadline = 15 * time.Second
	tick     = 5 * time.Millisecond
	// never is longer than any test runs.
	never = time.Hour
)

// broker is a Publisher that records the events that it accepts.
type broker struct {
	fail func(attempt int) bool // if set, reports whether the broker refuses the call
	hold chan struct{}          // if set, the broker answers only after it is closed

	mu       sync.Mutex
	attempts int
	accepted []cloudEvent
}

type cloudEvent struct {
	ID, Source, Type, Subject, SpecVersion, DataContentType string
	SeatID, CorrelationID, TraceParent, TraceState, TraceID string
	Data                                                    messaging.Envelope[messagingtest.Sold]
}

func (b *broker) PublishEvents(
	ctx context.Context, pubsub, topic string, events []any, _ ...dapr.PublishEventsOption,
) dapr.PublishEventsResponse {
	b.mu.Lock()
	b.attempts++
	if pubsub != "pubsub" || topic != "seat-events" || b.fail != nil && b.fail(b.attempts) {
		b.mu.Unlock()
		return dapr.PublishEventsResponse{Error: errors.New("broker down"), FailedEvents: events}
	}
	for _, e := range events {
		event := e.(dapr.PublishEventsEvent)
		var ce cloudEvent
		if err := json.Unmarshal(event.Data, &ce); err != nil ||
			event.ContentType != "application/cloudevents+json" || ce.ID != event.EntryID {
			panic("not a cloud event")
		}
		b.accepted = append(b.accepted, ce)
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
	return append([]cloudEvent(nil), b.accepted...)
}

// seats returns the seats of the events, in the order in which the broker accepted them.
func (b *broker) seats() []int {
	var seats []int
	for _, e := range b.events() {
		seats = append(seats, e.Data.Payload.Seat)
	}
	return seats
}

// picky is a broker that refuses every call with an event of certain seats. Like the sidecar, it does not report
// which event it refused.
type picky struct {
	broker
	refused atomic.Pointer[[]int]
}

func (p *picky) PublishEvents(
	ctx context.Context, pubsub, topic string, events []any, options ...dapr.PublishEventsOption,
) dapr.PublishEventsResponse {
	for _, e := range events {
		var ce cloudEvent
		if err := json.Unmarshal(e.(dapr.PublishEventsEvent).Data, &ce); err == nil &&
			slices.Contains(*p.refused.Load(), ce.Data.Payload.Seat) {
			return dapr.PublishEventsResponse{Error: errors.New("too large"), FailedEvents: events}
		}
	}
	return p.broker.PublishEvents(ctx, pubsub, topic, events, options...)
}

func setup(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return postgrestest.New(t, messaging.Migrations())
}

// relay runs a Relay until the end of the test or a call of stop.
func relay(t *testing.T, r outbox.Relay) (stop func()) {
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

// add commits the sales of seats.
func add(ctx context.Context, t *testing.T, pool *pgxpool.Pool, seats ...int) {
	t.Helper()
	payloads := make([]messaging.Payload, len(seats))
	for i, seat := range seats {
		payloads[i] = messagingtest.Sold{Seat: seat}
	}
	require.NoError(t, postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		return outbox.AddTx(ctx, tx, "seat-service", payloads...)
	}))
}

func unpublished(t *testing.T, pool *pgxpool.Pool) int {
	t.Helper()
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE published_at IS NULL`).Scan(&n))
	return n
}

// waitPublished waits until every event is published.
func waitPublished(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	require.Eventually(t, func() bool { return unpublished(t, pool) == 0 }, deadline, tick)
}

func TestOnlyCommittedEventsArePublished(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := telemetry.With(t.Context(), telemetry.Trace{CorrelationID: "corr-1", Parent: parent, State: "a=b"})
	add(ctx, t, pool, 7)
	errRollback := errors.New("rolled back")
	require.ErrorIs(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := outbox.AddTx(ctx, tx, "seat-service", messagingtest.Sold{Seat: 13}); err != nil {
			return err
		}
		return errRollback
	}), errRollback)

	relay(t, outbox.Relay{Pool: pool, Publisher: b})
	waitPublished(t, pool)
	require.Len(t, b.events(), 1, "the event of the rolled back transaction is not published")
	got := b.events()[0]
	require.NoError(t, uuid.Validate(got.ID))
	require.WithinDuration(t, time.Now(), got.Data.Timestamp, time.Minute)
	got.ID, got.Data.Timestamp = "", time.Time{}
	require.Equal(t, cloudEvent{
		Source: "seat-service", Type: "SEAT_SOLD", Subject: "seat", SpecVersion: "1.0", DataContentType: "application/json",
		SeatID: "x", CorrelationID: "corr-1", TraceParent: parent, TraceState: "a=b", TraceID: parent,
		Data: messaging.Envelope[messagingtest.Sold]{
			EventType: "SEAT_SOLD", Version: "1.0", CorrelationID: "corr-1", Payload: messagingtest.Sold{Seat: 7},
		},
	}, got)
}

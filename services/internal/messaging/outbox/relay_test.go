package outbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// It does not run in parallel with other tests, since their commits would wake the relay too.
func TestCommitWakesTheRelay(t *testing.T) {
	pool, b := setup(t), &broker{}
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: never})
	add(t.Context(), t, pool, 1)
	waitPublished(t, pool)
	add(t.Context(), t, pool, 2)
	waitPublished(t, pool)
	require.Len(t, b.events(), 2)
}

func TestRelaySurvivesLostConnections(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	config := pool.Config()
	// Only the relay's connections have this name.
	config.ConnConfig.RuntimeParams["application_name"] = "relay-" + uuid.NewString()
	relayPool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(relayPool.Close)
	relay(t, outbox.Relay{Pool: relayPool, Publisher: b, Poll: tick})
	for seat := range 5 {
		_, err := pool.Exec(t.Context(),
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1`,
			config.ConnConfig.RuntimeParams["application_name"])
		require.NoError(t, err)
		add(t.Context(), t, pool, seat)
		waitPublished(t, pool)
	}
}

func TestRefusedEventIsRetriedUnderItsID(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	b := &broker{fail: func(attempt int) bool { return attempt <= 2 }}
	add(t.Context(), t, pool, 1)
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: 20 * time.Millisecond})
	waitPublished(t, pool)

	require.Len(t, b.events(), 1)
	var id string
	var attempts int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT id::text, attempts FROM outbox`).Scan(&id, &attempts))
	require.Equal(t, id, b.events()[0].ID)
	require.Equal(t, 3, attempts)
}

func TestRefusedEventDoesNotHoldUpLaterEvents(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	b := &broker{fail: func(attempt int) bool { return attempt == 1 }}
	add(t.Context(), t, pool, 1)
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: time.Minute})
	require.Eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.attempts > 0 }, deadline, tick)
	add(t.Context(), t, pool, 2)
	waitPublished(t, pool)
	require.Len(t, b.events(), 2)
}

func TestRefusedEventDoesNotHoldUpItsBatch(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &picky{}
	b.refused.Store(&[]int{3, 5})
	add(t.Context(), t, pool, 1, 2, 3, 4, 5, 6)
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: 200 * time.Millisecond})
	require.Eventually(t, func() bool {
		seats := b.seats()
		slices.Sort(seats)
		return slices.Equal(seats, []int{1, 2, 4, 6})
	}, deadline, tick, "each once, since the broker accepted none of the first call")
	b.refused.Store(&[]int{})
	waitPublished(t, pool)
	require.Len(t, b.events(), 6, "the refused events are published later")
}

func TestManyUnpublishableEventsDoNotHoldUpRetries(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &picky{}
	b.refused.Store(&[]int{13})
	add(t.Context(), t, pool, 13)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO outbox (id, topic, cloud_event)
		SELECT gen_random_uuid(), topic, cloud_event FROM outbox, generate_series(1, 3000)`)
	require.NoError(t, err)
	add(t.Context(), t, pool, 7)
	_, err = pool.Exec(t.Context(), `UPDATE outbox SET attempts = 1`)
	require.NoError(t, err)
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: 200 * time.Millisecond})
	require.Eventually(t, func() bool { return slices.Equal(b.seats(), []int{7}) }, deadline, tick)
}

func TestEventThatIsRefusedForItsOwnSakeIsRetriedLessAndLessOften(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &picky{}
	b.refused.Store(&[]int{13})
	add(t.Context(), t, pool, 13)
	for seat := range 5 {
		add(t.Context(), t, pool, seat)
	}
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: 20 * time.Millisecond})
	require.Eventually(t, func() bool {
		var delayed bool
		require.NoError(t, pool.QueryRow(t.Context(), `
			SELECT count(*) = 1 AND bool_and(refusals = 2 AND retry_at > now() + interval '1 second')
			FROM outbox WHERE published_at IS NULL`).Scan(&delayed))
		return delayed
	}, deadline, tick)
	require.Len(t, b.events(), 5)
}

func TestMalformedEventDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	for name, ordered := range map[string]map[string]string{"Ordered": {"seat-events": "pubsub"}, "Unordered": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, b := setup(t), &broker{}
			_, err := pool.Exec(t.Context(), `
				INSERT INTO outbox (id, topic, cloud_event)
				VALUES (gen_random_uuid(), 'seat-events', '{"subject": "another", "type": 7}')`)
			require.NoError(t, err)
			add(t.Context(), t, pool, 1, 2)
			relay(t, outbox.Relay{
				Pool: pool, Publisher: b, Poll: tick, Lease: 200 * time.Millisecond, Ordered: ordered,
			})
			require.Eventually(t, func() bool { return len(b.events()) == 2 }, deadline, tick)
		})
	}
}

func TestReplicasPublishEachEventOnce(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	const n = 500
	for range 3 {
		relay(t, outbox.Relay{Pool: pool, Publisher: b, Batch: 7, Poll: tick})
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
	waitPublished(t, pool)
	ids := map[string]bool{}
	for _, e := range b.events() {
		ids[e.ID] = true
	}
	require.Len(t, ids, n)
	require.Len(t, b.events(), n, "no event is published twice")
}

func TestNextRelayPublishesEventsOfDeadRelay(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	dying, next := &broker{hold: make(chan struct{})}, &broker{}
	add(t.Context(), t, pool, 1)
	stop := relay(t, outbox.Relay{Pool: pool, Publisher: dying, Lease: 500 * time.Millisecond})
	require.Eventually(t, func() bool { return len(dying.events()) == 1 }, deadline, tick)
	stop() // the broker has the event, and the outbox has no mark

	relay(t, outbox.Relay{Pool: pool, Publisher: next, Poll: tick, Lease: 500 * time.Millisecond})
	waitPublished(t, pool)
	require.Len(t, next.events(), 1)
	require.Equal(t, dying.events()[0].ID, next.events()[0].ID, "consumers recognize the repetition")
}

func TestHungSidecarHoldsBatchOnlyForItsLease(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	b := &broker{hold: make(chan struct{})}
	add(t.Context(), t, pool, 1)
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick, Lease: 50 * time.Millisecond})
	require.Eventually(t, func() bool { return len(b.events()) > 1 }, deadline, tick, "the relay retried after the lease")
	close(b.hold)
	waitPublished(t, pool)
}

func TestRelayDoesNotReadPublishedEvents(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	_, err := pool.Exec(t.Context(), `
		INSERT INTO outbox (id, topic, cloud_event, published_at)
		SELECT gen_random_uuid(), 'seat-events', '{}', now() FROM generate_series(1, 20000)`)
	require.NoError(t, err)
	for name, ordered := range map[string]map[string]string{"Ordered": {"seat-events": "pubsub"}, "Unordered": nil} {
		plans := postgrestest.Explain(t, pool, func(pool *pgxpool.Pool) {
			stop := relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick, Ordered: ordered})
			add(t.Context(), t, pool, 1)
			waitPublished(t, pool)
			stop()
		})
		require.NotContains(t, plans.Of(t, "outbox"), "Seq Scan on outbox", name)
		// Marking published events does not read the backlog.
		require.NotContains(t, plans.Of(t, `WHERE id = ANY`), "outbox_unpublished", name)
	}
}

func TestRelayDoesNotReadRefusedEventsToFindNewOnes(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{}
	_, err := pool.Exec(t.Context(), `
		INSERT INTO outbox (id, topic, cloud_event, attempts, refusals, retry_at)
		SELECT gen_random_uuid(), 'seat-events', '{}', 9, 9, now() + interval '1 hour' FROM generate_series(1, 20000)`)
	require.NoError(t, err)
	// One that a relay abandoned and one that is due: the relay has executed each statement when all are published.
	add(t.Context(), t, pool, 2, 3)
	_, err = pool.Exec(t.Context(), `
		UPDATE outbox SET attempts = 1, retry_at = CASE WHEN position = (SELECT max(position) FROM outbox) THEN now() END
		WHERE attempts = 0`)
	require.NoError(t, err)
	plans := postgrestest.Explain(t, pool, func(pool *pgxpool.Pool) {
		stop := relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick})
		add(t.Context(), t, pool, 1)
		require.Eventually(t, func() bool { return len(b.events()) == 3 }, deadline, tick)
		stop()
	})
	for _, condition := range []string{`attempts = 0`, `attempts > 0`} {
		require.Contains(t, plans.Of(t, condition), "outbox_not_refused")
	}
	require.Contains(t, plans.Of(t, `ORDER BY retry_at`), "outbox_refused")
}

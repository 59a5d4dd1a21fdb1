package outbox_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// All tests of a process share the counters, so no other test publishes this type.
type counted struct{ messagingtest.Sold }

var countedType = "SEAT_COUNTED_" + uuid.NewString()

func (counted) Type() string { return countedType }

func TestPublishedEventsAreCounted(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{fail: func(attempt int) bool { return attempt == 1 }}
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		return outbox.AddTx(t.Context(), tx, "seat-service", counted{})
	}))
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(postgres.Collector(pool, outbox.Gauges))
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
		# HELP outbox_events Events in the outbox that are not published yet, counted up to 10000.
		# TYPE outbox_events gauge
		outbox_events 1
	`), "outbox_events"))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	count := func() int {
		series := `events_published_total{topic="seat-events",type="` + countedType + `"} `
		_, after, _ := strings.Cut(messagingtest.Scrape(t), series)
		digits, _, _ := strings.Cut(after, "\n")
		n, _ := strconv.Atoi(digits) // 0 if there is no such series yet
		return n
	}
	before := count()
	relay(t, outbox.Relay{Pool: pool, Publisher: b, Poll: tick})
	waitPublished(t, pool)
	require.Equal(t, before+1, count(), "the refused attempt is not counted")
	// A new collector queries again instead of returning the recent numbers.
	require.NoError(t, testutil.CollectAndCompare(postgres.Collector(pool, outbox.Gauges), strings.NewReader(`
		# HELP outbox_oldest_seconds Age of the oldest event that is not published yet; 0 if there is none.
		# TYPE outbox_oldest_seconds gauge
		outbox_oldest_seconds 0
	`), "outbox_oldest_seconds"))
}

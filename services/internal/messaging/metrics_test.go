package messaging_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// counted is a sale as nobody but TestDeliveriesAreCounted sees it, since all tests of a process count together.
type counted struct{ sold }

func (counted) Type() string { return "SEAT_COUNTED" }

func TestDeliveriesAreCounted(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	errFull := errors.New("full")
	// Names that nobody else counts under, also when the test runs twice.
	run := uuid.NewString()
	seatCounted, queue, ordered := "SEAT_COUNTED_"+run, "counted-queue-"+run, "counted.fifo-"+run
	consumer := messaging.Consumer{
		Pool: pool, Service: "seat-service", Queue: queue, Ordered: ordered, API: "/api/seats",
		Guard: identity.Guard{AppAPIToken: "token"},
		Handlers: map[string]messaging.Handler{seatCounted: messaging.Handle(func(ctx context.Context, e messaging.Event[sold]) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				if _, err := messaging.FirstTx(ctx, tx, e.ID, e.EventType); err != nil || e.Payload.Seat > 9 {
					return errors.Join(err, errFull)
				}
				return nil
			})
		})},
	}
	router := web.NewRouter()
	consumer.Mount(router)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	event := func(eventType, topic, payload string) string {
		return strings.Replace(delivery(uuid.NewString(), eventType, data(eventType, "1.0", payload)),
			`"topic":"seat-events"`, `"time":"2020-01-01T00:00:00Z","topic":"`+topic+`"`, 1)
	}
	good := event(seatCounted, "seat-events", `{"seat":7}`)
	for _, body := range []string{
		good, good,
		event(seatCounted, ordered, `{"seat":8}`),
		event(seatCounted, "seat-events", `{"seat":10}`),
		event("SEAT_INVENTED", "seat-events", `{}`),
		`no event`,
	} {
		status, answer := do(t, http.MethodPost, server.URL+"/events/any", body, "dapr-api-token", "token")
		require.Contains(t, []int{http.StatusOK, http.StatusInternalServerError, http.StatusUnprocessableEntity}, status, "%s", answer)
	}
	status, _ := do(t, http.MethodPost, server.URL+"/bindings/dead-letters", framed(t, "message-1", `no event`), "dapr-api-token", "token")
	require.Equal(t, http.StatusOK, status)

	page := scrape(t)
	for _, line := range []string{
		`events_consumed_total{outcome="processed",queue="counted-queue",type="SEAT_COUNTED"} 2`,
		`events_consumed_total{outcome="processed",queue="counted.fifo",type="SEAT_COUNTED"} 1`,
		`events_consumed_total{outcome="refused",queue="counted-queue",type="SEAT_COUNTED"} 1`,
		`events_consumed_total{outcome="unknown",queue="counted-queue",type="unknown"} 1`,
		`events_consumed_total{outcome="refused",queue="counted-queue",type="unknown"} 2`, // it, and as a dead letter
		`events_repeated_total{type="SEAT_COUNTED"} 1`,
		`event_age_seconds_count{queue="counted-queue",type="SEAT_COUNTED"} 2`,
		`event_age_seconds_bucket{queue="counted-queue",type="SEAT_COUNTED",le="3600"} 0`, // it is years old
		`dead_letters_total{queue="counted-queue"} 1`,
	} {
		line = strings.NewReplacer("SEAT_COUNTED", seatCounted, "counted-queue", queue, "counted.fifo", ordered).Replace(line)
		require.Contains(t, page, line+"\n")
	}
	require.NotContains(t, page, "INVENTED")

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(postgres.Collector(pool, messaging.Gauges(queue, ordered)))
	found, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range found {
		if family.GetName() == "dead_letters_open" {
			require.Len(t, family.GetMetric(), 2)
			require.InDelta(t, 1, family.GetMetric()[0].GetGauge().GetValue(), 0)
			require.Zero(t, family.GetMetric()[1].GetGauge().GetValue(), "a queue without any")
		}
	}
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// scrape gives what Prometheus would read.
func scrape(t *testing.T) string {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	var page bytes.Buffer
	for _, family := range families {
		_, err := expfmt.MetricFamilyToText(&page, family)
		require.NoError(t, err)
	}
	return page.String()
}

func TestPublishedEventsAreCounted(t *testing.T) {
	t.Parallel()
	pool, b := setup(t), &broker{fail: func(attempt int) bool { return attempt == 1 }}
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		return messaging.AddTx(t.Context(), tx, "seat-service", counted{})
	}))
	waiting := postgres.Collector(pool, messaging.Gauges())
	require.NoError(t, testutil.CollectAndCompare(waiting, strings.NewReader(`
		# HELP outbox_events Events that wait to be published, of which no more than 10000 are counted.
		# TYPE outbox_events gauge
		outbox_events 1
	`), "outbox_events"))
	count := func() int {
		const series = `events_published_total{topic="seat-events",type="SEAT_COUNTED"} `
		_, after, _ := strings.Cut(scrape(t), series)
		digits, _, _ := strings.Cut(after, "\n")
		n, _ := strconv.Atoi(digits) // there is no such line yet
		return n
	}
	before := count()
	relay(t, messaging.Relay{Pool: pool, Publisher: b, Poll: tick})
	published(t, pool)
	require.Equal(t, before+1, count(), "what was refused is not counted")
	// Asked anew, and not what was found a moment ago.
	require.NoError(t, testutil.CollectAndCompare(postgres.Collector(pool, messaging.Gauges()), strings.NewReader(`
		# HELP outbox_oldest_seconds How long the oldest of them has waited; 0 when there is none.
		# TYPE outbox_oldest_seconds gauge
		outbox_oldest_seconds 0
	`), "outbox_oldest_seconds"))
}

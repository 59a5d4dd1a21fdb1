package deadletter_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

func TestArchivedMessagesAreCounted(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	// All tests of a process share the counters, so no other test uses these queues.
	queues := messaging.Queues{Main: "counted-queue-" + uuid.NewString(), Ordered: "counted.fifo-" + uuid.NewString()}
	url := serveQueues(t, pool, queues, func(context.Context, inbox.Event[messagingtest.Sold]) error { return nil })
	for range 2 { // the second time it is the same message
		archive(t, url, framed(t, "message-1", `no event`))
	}
	page := messagingtest.Scrape(t)
	require.Contains(t, page, `dead_letters_total{queue="`+queues.Main+"\"} 1\n")
	require.Contains(t, page, `dead_letters_total{queue="`+queues.Ordered+"\"} 0\n")

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(postgres.Collector(pool, deadletter.Gauges(queues)))
	families, err := registry.Gather()
	require.NoError(t, err)
	open := map[string]float64{} // by queue
	for _, family := range families {
		if family.GetName() == "dead_letters_open" {
			for _, metric := range family.GetMetric() {
				open[metric.GetLabel()[0].GetValue()] = metric.GetGauge().GetValue()
			}
		}
	}
	require.Equal(t, map[string]float64{queues.Main: 1, queues.Ordered: 0}, open)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

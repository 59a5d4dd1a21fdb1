package outbox

import (
	"encoding/json"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

var published = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "events_published_total",
	Help: "Events of the outbox that the broker accepted, repetitions included.",
}, []string{"topic", "type"})

// Gauges measure the backlog of a service's outbox.
var Gauges = []postgres.Gauges{{
	// The limit bounds what the query costs. Beyond it the exact length of the backlog does not matter.
	Query: `
		SELECT count(*), coalesce(extract(epoch FROM now() - min(since)), 0)
		FROM (
			SELECT coalesce(replayed_at, created_at) AS since FROM outbox
			WHERE published_at IS NULL ORDER BY position LIMIT 10000) waiting`,
	Values: []postgres.Gauge{
		{Name: "outbox_events", Help: "Events in the outbox that are not published yet, counted up to 10000."},
		{Name: "outbox_oldest_seconds", Help: "Age of the oldest event that is not published yet; 0 if there is none."},
	},
}}

// countPublished counts an event that the broker accepted.
func countPublished(row outboxRow) {
	var event struct{ Type string }
	_ = json.Unmarshal(row.CloudEvent, &event) // AddTx wrote it
	published.WithLabelValues(row.Topic, event.Type).Inc()
}

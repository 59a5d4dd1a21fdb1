package messaging

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

var (
	published = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "events_published_total",
		Help: "Events that the broker took from the outbox.",
	}, []string{"topic", "type"})
	consumed = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "events_consumed_total",
		Help: "Deliveries by what became of them: processed, refused, or unknown here.",
	}, []string{"queue", "type", "outcome"})
	repeated = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "events_repeated_total",
		Help: "Deliveries of events that had taken effect before, and therefore had none.",
	}, []string{"type"})
	age = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "event_age_seconds",
		Help: "From when an event was written into its outbox to when it was processed.",
		// An event may wait for a queue to show it again, or days for somebody to redrive it.
		Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 15, 30, 60, 120, 300, 900, 3600},
	}, []string{"queue", "type"})
	archived = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "dead_letters_total",
		Help: "Messages that came out of a dead-letter queue.",
	}, []string{"queue"})
)

// Gauges are a service's outbox, and the dead letters of the queues that it reads.
func Gauges(queues ...string) []postgres.Gauges {
	return []postgres.Gauges{{
		// Nobody needs to know exactly how long a long backlog is.
		Query: `
			SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)
			FROM (SELECT created_at FROM outbox WHERE published_at IS NULL ORDER BY position LIMIT 10000) waiting`,
		Values: []postgres.Gauge{
			{Name: "outbox_events", Help: "Events that wait to be published, of which no more than 10000 are counted."},
			{Name: "outbox_oldest_seconds", Help: "How long the oldest of them has waited; 0 when there is none."},
		},
	}, {
		Query: `
			SELECT coalesce(known, queue), count(id), coalesce(extract(epoch FROM now() - min(first_seen)), 0)
			FROM unnest($1::text[]) known FULL JOIN (SELECT * FROM dead_letters WHERE state = 'OPEN') open ON queue = known
			GROUP BY 1`,
		Args:   []any{queues},
		Labels: []string{"queue"},
		Values: []postgres.Gauge{
			{Name: "dead_letters_open", Help: "Dead letters that nobody has redriven or discarded."},
			{Name: "dead_letters_oldest_seconds", Help: "How long ago the oldest of them was first seen; 0 when there is none."},
		},
	}}
}

// countPublished counts an event that the broker took.
func countPublished(row outboxRow) {
	var event struct{ Type string }
	_ = json.Unmarshal(row.CloudEvent, &event) // which AddTx wrote
	published.WithLabelValues(row.Topic, event.Type).Inc()
}

// countFromZero makes the counters be there before there is anything to count: a rate of one that begins with 1 is 0.
func (c Consumer) countFromZero() {
	for eventType := range c.Handlers {
		consumed.WithLabelValues(c.Queue, eventType, "refused")
		repeated.WithLabelValues(eventType)
	}
	consumed.WithLabelValues(c.Queue, "unknown", "unknown")
	archived.WithLabelValues(c.Queue)
}

// count counts what became of an event, and measures how old one was that is processed. The events of an ordered queue
// are those of the topic by its name. What a stranger calls an event is no label.
func (c Consumer) count(event cloudEvent, body []byte, err error) {
	var frame struct {
		Topic string
		Time  time.Time
	}
	dated := json.Unmarshal(body, &frame) == nil && !frame.Time.IsZero()
	queue, eventType, outcome := c.Queue, event.Type, "processed"
	if c.Ordered != "" && frame.Topic == c.Ordered {
		queue = c.Ordered
	}
	if _, known := c.Handlers[eventType]; !known {
		eventType = "unknown"
	}
	switch {
	case errors.Is(err, errUnknown):
		outcome = "unknown"
	case err != nil:
		outcome = "refused"
	case dated:
		age.WithLabelValues(queue, eventType).Observe(time.Since(frame.Time).Seconds())
	}
	consumed.WithLabelValues(queue, eventType, outcome).Inc()
}

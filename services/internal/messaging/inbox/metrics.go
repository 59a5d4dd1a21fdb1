package inbox

import (
	"encoding/json"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
)

var (
	consumed = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "events_consumed_total",
		Help: "Deliveries by outcome: processed, refused, or unknown (no handler for the event's type and version).",
	}, []string{"queue", "type", "outcome"})
	repeated = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "events_repeated_total",
		Help: "Deliveries without effect, because the event had taken effect before.",
	}, []string{"type"})
	age = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "event_age_seconds",
		Help: "Time from the creation of an event to the end of its processing.",
		// A retried event waits for its queue's visibility timeout, a dead letter possibly days for an admin.
		Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 15, 30, 60, 120, 300, 900, 3600},
	}, []string{"queue", "type"})
)

// outcome is the result of a delivery.
type outcome string

const (
	processed outcome = "processed"
	refused   outcome = "refused"
	unknown   outcome = "unknown"
)

// countFromZero creates the counters with the value 0. Prometheus computes no increase for a series that starts
// at 1.
func (c Consumer) countFromZero() {
	for eventType := range c.handlers {
		consumed.WithLabelValues(c.queues.Main, eventType, string(refused))
		repeated.WithLabelValues(eventType)
	}
	consumed.WithLabelValues(c.queues.Main, unknownType, string(unknown))
}

// unknownType labels all events without a handler: types that others invent must not become label values.
const unknownType = "unknown"

// queueOf returns the queue that an event came from: the ordered queue if the event's topic has its name.
func (c Consumer) queueOf(body []byte) string {
	var frame struct{ Topic string }
	if c.queues.Ordered != "" && json.Unmarshal(body, &frame) == nil && frame.Topic == c.queues.Ordered {
		return c.queues.Ordered
	}
	return c.queues.Main
}

// count counts a delivery and measures the age of a processed event.
func (c Consumer) count(event messaging.CloudEvent, body []byte, result outcome) {
	var frame struct{ Time time.Time }
	dated := json.Unmarshal(body, &frame) == nil && !frame.Time.IsZero()
	queue, eventType := c.queueOf(body), event.Type
	if _, found := c.handlers[eventType]; !found {
		eventType = unknownType
	}
	if result == processed && dated {
		age.WithLabelValues(queue, eventType).Observe(time.Since(frame.Time).Seconds())
	}
	consumed.WithLabelValues(queue, eventType, string(result)).Inc()
}

package deadletter

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

var archived = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "dead_letters_total",
	Help: "Messages of dead-letter queues that were archived.",
}, []string{"queue"})

// Gauges measure the open dead letters of the queues.
func Gauges(queues messaging.Queues) []postgres.Gauges {
	return []postgres.Gauges{{
		Query: `
			SELECT coalesce(known, queue), count(id), coalesce(extract(epoch FROM now() - min(first_seen)), 0)
			FROM unnest($1::text[]) known FULL JOIN (SELECT * FROM dead_letters WHERE state = 'OPEN') open ON queue = known
			GROUP BY 1`,
		Args:   []any{queues.Names()},
		Labels: []string{"queue"},
		Values: []postgres.Gauge{
			{Name: "dead_letters_open", Help: "Dead letters that are neither redriven nor discarded."},
			{Name: "dead_letters_oldest_seconds", Help: "Age of the oldest open dead letter; 0 if there is none."},
		},
	}}
}

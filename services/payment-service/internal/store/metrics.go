package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// These are counted when they are written, a moment before the transaction commits. One that does not after all, since
// it lost against another, is counted twice; the tables are the truth.
var (
	sagaEvents = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "saga_events_total",
		Help: "Lines in the histories of orders: what became of each, step by step.",
	}, []string{"saga", "event"})
	orderFailures = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "order_failures_total",
		Help: "Orders that failed, by the code of the reason: ticket-service's, the card processor's, or ours.",
	}, []string{"code"})
)

// Gauges are the sagas that have not ended.
var Gauges = []postgres.Gauges{{
	Query: `
		SELECT saga, step, count(created_at), coalesce(extract(epoch FROM now() - min(created_at)), 0)
		FROM (VALUES ('` + purchase + `', 'RESERVE'), ('` + purchase + `', 'CHARGE'), ('` + purchase + `', 'RELEASE'),
		             ('` + purchase + `', 'FULFIL'), ('` + refunds + `', 'CANCEL_TICKETS'), ('` + refunds + `', 'REFUND')) known (saga, step)
		LEFT JOIN (
			SELECT '` + purchase + `' AS saga, step, created_at FROM orders WHERE ` + unfinishedOrders + `
			UNION ALL
			SELECT '` + refunds + `', step, created_at FROM refunds WHERE ` + unfinishedRefunds + `) unfinished USING (saga, step)
		GROUP BY 1, 2`,
	Labels: []string{"saga", "step"},
	Values: []postgres.Gauge{
		{Name: "saga_unfinished", Help: "Orders and refunds that have not ended, by what is to be done next."},
		{Name: "saga_oldest_seconds", Help: "How long ago the oldest of them was asked for; 0 when there is none."},
	},
}, {
	Query: `
		SELECT '` + purchase + `', count(*) FROM orders WHERE ` + unfinishedOrders + ` AND alerted_at IS NOT NULL
		UNION ALL
		SELECT '` + refunds + `', (SELECT count(*) FROM refunds WHERE ` + unfinishedRefunds + ` AND alerted_at IS NOT NULL)
		                        + (SELECT count(*) FROM refunds r WHERE ` + abandonedRefund + `)`,
	Labels: []string{"saga"},
	Values: []postgres.Gauge{
		{Name: "saga_stuck", Help: "Those of which people were told, and that are not in order yet."},
	},
}, {
	Query: `SELECT count(*), coalesce(extract(epoch FROM now() - min(heard_at)), 0) FROM event_refunds WHERE NOT done`,
	Values: []postgres.Gauge{
		{Name: "cancelled_events_unrefunded", Help: "Cancelled events of whose orders not all have a refund yet."},
		{Name: "cancelled_events_unrefunded_oldest_seconds", Help: "How long ago the first of them was heard of; 0 when there is none."},
	},
}}

package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// The counters are incremented after the transaction that they count has committed. A process that dies in between
// loses the increment; the tables are exact.
var (
	sagaEvents = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "saga_events_total",
		Help: "Events in the histories of orders, by saga and event type.",
	}, []string{"saga", "event"})
	orderFailures = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "order_failures_total",
		Help: "Failed orders, by failure code of ticket-service, the card processor or payment-service.",
	}, []string{"code"})
)

// Gauges are the metrics of unfinished sagas, read from the database.
var Gauges = []postgres.Gauges{{
	Query: `
		SELECT saga, step, count(created_at), coalesce(extract(epoch FROM now() - min(created_at)), 0)
		FROM (VALUES ('` + purchaseSaga + `', 'RESERVE'), ('` + purchaseSaga + `', 'CHARGE'),
		             ('` + purchaseSaga + `', 'RELEASE'), ('` + purchaseSaga + `', 'FULFIL'),
		             ('` + refundSaga + `', 'CANCEL_TICKETS'), ('` + refundSaga + `', 'REFUND')) known (saga, step)
		LEFT JOIN (
			SELECT '` + purchaseSaga + `' AS saga, step, created_at FROM orders WHERE ` + unfinishedOrders + `
			UNION ALL
			SELECT '` + refundSaga + `', step, created_at FROM refunds WHERE ` + unfinishedRefunds + `
		) unfinished USING (saga, step)
		GROUP BY 1, 2`,
	Labels: []string{"saga", "step"},
	Values: []postgres.Gauge{
		{Name: "saga_unfinished", Help: "Unfinished orders and refunds, by their next step."},
		{
			Name: "saga_oldest_seconds",
			Help: "Age of the oldest unfinished order or refund, by its next step; 0 if there is none.",
		},
	},
}, {
	Query: `
		SELECT '` + purchaseSaga + `', count(*) FROM orders WHERE ` + unfinishedOrders + ` AND alerted_at IS NOT NULL
		UNION ALL
		SELECT '` + refundSaga + `',
		       (SELECT count(*) FROM refunds WHERE ` + unfinishedRefunds + ` AND alerted_at IS NOT NULL)
		     + (SELECT count(*) FROM refunds r WHERE ` + abandonedRefund + `)`,
	Labels: []string{"saga"},
	Values: []postgres.Gauge{
		{Name: "saga_stuck", Help: "Unfinished orders and refunds that operations were alerted about."},
	},
}, {
	Query: `
		SELECT count(*), coalesce(extract(epoch FROM now() - min(heard_at)), 0) FROM event_refunds WHERE NOT done`,
	Values: []postgres.Gauge{
		{Name: "cancelled_events_unrefunded", Help: "Cancelled events with orders that have no refund yet."},
		{
			Name: "cancelled_events_unrefunded_oldest_seconds",
			Help: "Time since the first of these cancellations was received; 0 if there is none.",
		},
	},
}}

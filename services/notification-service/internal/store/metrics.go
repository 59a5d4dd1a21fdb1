package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

var attempts = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "notification_attempts_total",
	Help: "Attempts to tell somebody something, by the status after them: SENT, FAILED for good, or PENDING, to be tried again.",
}, []string{"kind", "status"})

// Gauges are what people have not been told yet.
var Gauges = []postgres.Gauges{{
	Query: `SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM notifications WHERE status = 'PENDING'`,
	Values: []postgres.Gauge{
		{Name: "notifications_pending", Help: "Notifications that are to be sent."},
		{Name: "notifications_oldest_seconds", Help: "How long ago the oldest of them was written down; 0 when there is none."},
	},
}, {
	Query: `SELECT count(*) FROM announcements WHERE finished_at IS NULL`,
	Values: []postgres.Gauge{
		{Name: "announcements_unfinished", Help: "Announcements of which not all holders of tickets have a notification yet."},
	},
}}

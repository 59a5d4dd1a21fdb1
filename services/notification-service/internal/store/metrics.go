package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

var attempts = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "notification_attempts_total",
	Help: "Attempts to send a notification, by the status after it: SENT, FAILED (permanently), PENDING (to be retried).",
}, []string{"kind", "status"})

// Gauges measure the notifications and announcements that are not sent yet.
var Gauges = []postgres.Gauges{{
	Query: `
		SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)
		FROM notifications WHERE status = 'PENDING'`,
	Values: []postgres.Gauge{
		{Name: "notifications_pending", Help: "Notifications that are not sent yet."},
		{Name: "notifications_oldest_seconds", Help: "Age of the oldest pending notification in seconds, 0 without one."},
	},
}, {
	Query: `SELECT count(*) FROM announcements WHERE finished_at IS NULL`,
	Values: []postgres.Gauge{{
		Name: "announcements_unfinished",
		Help: "Announcements for which not every holder of tickets has a notification yet.",
	}},
}}

package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

var attempts = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "notification_attempts_total",
	Help: "Attempts to send a notification, by the status after it: SENT, " +
		"FAILED (permanently, also of an announcement), SUPERSEDED (not sent), PENDING (to be retried).",
}, []string{"kind", "status"})

// Gauges measure the notifications and announcements that are not sent yet.
var Gauges = []postgres.Gauges{{
	Query: `
		SELECT class, count(n.id), coalesce(extract(epoch FROM now() - min(n.created_at)), 0)
		FROM unnest($1::text[]) classes (class)
		LEFT JOIN (SELECT id, class, created_at FROM notifications WHERE status = 'PENDING') n USING (class)
		GROUP BY class`,
	Args:   []any{notification.Classes()},
	Labels: []string{"class"},
	Values: []postgres.Gauge{
		{Name: "notifications_pending", Help: "Notifications that are not sent yet, by class."},
		{
			Name: "notifications_oldest_seconds",
			Help: "Age of the oldest pending notification of a class in seconds, 0 without one.",
		},
	},
}, {
	Query: `SELECT count(*) FROM announcements WHERE finished_at IS NULL`,
	Values: []postgres.Gauge{{
		Name: "announcements_unfinished",
		Help: "Announcements for which not every holder of tickets has a notification yet.",
	}},
}}

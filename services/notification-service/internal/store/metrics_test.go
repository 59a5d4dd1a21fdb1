package store_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

func TestMetricsCountNotificationsByStatus(t *testing.T) {
	b := setup(t)
	n := b.notification
	n.Kind, n.OrderID = notification.PasswordReset, uuid.Nil // a kind that no other test settles
	for _, err := range []error{nil, nil, errRefused, errDown} {
		b.attempt(t, n, err)
	}
	require.NoError(t, testutil.CollectAndCompare(postgres.Collector(b.pool, store.Gauges), strings.NewReader(`
		# HELP announcements_unfinished Announcements for which not every holder of tickets has a notification yet.
		# TYPE announcements_unfinished gauge
		announcements_unfinished 0
		# HELP notifications_pending Notifications that are not sent yet, by class.
		# TYPE notifications_pending gauge
		notifications_pending{class="ACCOUNT"} 1
		notifications_pending{class="ALERT"} 0
		notifications_pending{class="BULK"} 0
		notifications_pending{class="ORDER"} 0
	`), "announcements_unfinished", "notifications_pending"))
	families, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	counted := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if l := m.GetLabel(); len(l) == 2 && l[0].GetValue() == string(n.Kind) {
				counted[l[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	require.Equal(t, map[string]float64{"SENT": 2, "FAILED": 1, "PENDING": 1}, counted)
}

func TestGaugesDoNotScanHistory(t *testing.T) {
	b := setup(t)
	b.attempt(t, b.notification, errDown)
	b.exec(t, `
		INSERT INTO notifications (message_id, event_id, user_id, kind, status, attempts, sent_at)
		SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'PASSWORD_RESET', 'SENT', 1, now()
		FROM generate_series(1, 5000)`)
	b.exec(t, `
		INSERT INTO announcements (id, about, kind, facts, finished_at)
		SELECT gen_random_uuid(), gen_random_uuid(), 'EVENT_POSTPONED', '{}', now() FROM generate_series(1, 5000)`)
	require.NotContains(t, postgrestest.Plans(t, b.pool, store.Gauges), "Seq Scan on")
}

package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPurgedRowsAreNoDiscrepancy(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const (
		old   = "01700000-0000-7000-8000-000000000000" // UUIDv7 of 2020
		young = "01900000-0000-7000-8000-000000000000" // UUIDv7 of 2024
		late  = "{late}"
		purge = `INSERT INTO purged (relation, before) VALUES ('inbox', '2022-01-01'), ('outbox', '2022-01-01')`
	)
	notify := func(event string) string {
		return `INSERT INTO notifications (id, message_id, event_id, user_id, kind, status, attempts, sent_at, created_at)
			VALUES ('{late}', '{late}', '` + event + `', '{buyer}', 'REFUND_PROCESSED', 'SENT', 1, now(), '2024-06-01')`
	}
	publish := func(at string) string {
		return `INSERT INTO outbox (id, topic, cloud_event, published_at)
			VALUES ('{late}', 'payment-events', '{"type": "PAYMENT_COMPLETED", "data": {}}', '` + at + `')`
	}
	recordUnknown := func(event string) string {
		return `INSERT INTO unknown_events (event_id, type, body) VALUES ('` + event + `', '', '')`
	}
	for _, tt := range []struct {
		name, service, purger string
		old, young            string
		check, id             string
	}{
		{
			"EventOfNotification", notificationService, paymentService, notify(old), notify(young),
			"notifications", late,
		},
		{
			"UnknownEvent", ticketService, paymentService, recordUnknown(old), recordUnknown(young),
			"unknown events", young,
		},
		{
			"InboxEntry", paymentService, ticketService, publish("2021-12-31"), publish("2022-01-02"),
			"effects", late,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.reset(t)
			s.exec(t, tt.service, tt.old)
			report, err := s.Audit(t.Context(), true)
			require.NoError(t, err)
			require.NotEmpty(t, report.Discrepancies(), "before anything was purged")
			s.exec(t, tt.purger, purge)
			s.exec(t, analyticsService, purge) // it subscribes to payment-events as well
			report, err = s.Audit(t.Context(), true)
			require.NoError(t, err)
			require.Empty(t, report.Findings)

			s.reset(t)
			s.exec(t, tt.service, tt.young)
			s.exec(t, tt.purger, purge)
			report, err = s.Audit(t.Context(), true)
			require.NoError(t, err)
			requireFinding(t, report.Discrepancies(), tt.check, tt.id)
		})
	}
}

func TestFindingsInFlightBecomeDiscrepancies(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, tt := range []struct {
		name, service, young, old string
		check, id                 string
	}{
		{
			"Unpublished", paymentService, `UPDATE outbox SET published_at = NULL WHERE id = '{paid1}'`,
			`UPDATE outbox SET created_at = now() - interval '2 minutes'`, "outbox", "{paid1}",
		},
		{"Unprocessed", ticketService, `DELETE FROM inbox WHERE event_id = '{paid1}'`, "", "effects", "{paid1}"},
		{
			"Pending", paymentService, `UPDATE orders SET status = 'PENDING', step = 'CHARGE' WHERE id = '{declined}'`,
			`UPDATE orders SET created_at = now() - interval '11 minutes' WHERE id = '{declined}'`, "sagas", "{declined}",
		},
		{
			"AwaitsBuyer", paymentService, `
			UPDATE orders SET status = 'PENDING', step = 'CHARGE', action_client_secret = 'secret',
				created_at = now() - interval '19 minutes', charge_since = now() - interval '19 minutes'
			WHERE id = '{declined}'`,
			`UPDATE orders SET charge_since = now() - interval '21 minutes' WHERE id = '{declined}'`, "sagas", "{declined}",
		},
		{
			"Unsent", notificationService, `
			UPDATE notifications SET id = '{late}', status = 'PENDING', sent_at = NULL, due_at = now(),
				created_at = now() - interval '1 hour' WHERE event_id = '{failed}'`,
			`UPDATE notifications SET created_at = now() - interval '26 hours' WHERE id = '{late}'`,
			"notifications", "{late}",
		},
		{
			"Expired", ticketService, `
			UPDATE reservations SET status = 'ACTIVE', expires_at = now() - interval '30 seconds' WHERE id = '{declined}';
			UPDATE ticket_types SET held = 1`,
			`UPDATE reservations SET expires_at = now() - interval '3 minutes' WHERE id = '{declined}'`,
			"reservations", "{declined}",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.reset(t)
			s.exec(t, tt.service, tt.young)
			report, err := s.Audit(t.Context(), false)
			require.NoError(t, err)
			require.Empty(t, report.Discrepancies())
			requireFinding(t, report.InFlight(), tt.check, tt.id)
			if tt.old == "" {
				return
			}
			s.exec(t, tt.service, tt.old)
			report, err = s.Audit(t.Context(), false)
			require.NoError(t, err)
			requireFinding(t, report.Discrepancies(), tt.check, tt.id)
		})
	}
}

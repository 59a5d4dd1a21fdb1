package audit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/tests/audit"
)

func TestConsistentSystemHasNoFindings(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.reset(t)
	for _, exact := range []bool{false, true} {
		report, err := s.Audit(t.Context(), exact)
		require.NoError(t, err)
		require.Empty(t, report.Findings)
		var out strings.Builder
		require.NoError(t, report.Print(&out))
		require.Contains(t, out.String(), "Discrepancies: 0")
	}
}

func TestEveryCorruptionIsFound(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const postponement = `
		INSERT INTO outbox (id, topic, cloud_event, published_at)
		VALUES ('{late}', 'event-events', '{"type": "EVENT_UPDATED",
			"data": {"payload": {"eventId": "{event}", "postponedFrom": "2030-07-15T18:00:00Z"}}}', now())`
	for _, tt := range []struct {
		name, check, id string
		service, sql    string
		change          func()
	}{
		{name: "Oversold", check: "capacity", id: "{floor}", service: ticketService, sql: `
			ALTER TABLE ticket_types DROP CONSTRAINT never_oversold; UPDATE ticket_types SET capacity = 1`},
		{
			name: "SoldIsMiscounted", check: "capacity", id: "{floor}",
			service: ticketService, sql: `UPDATE ticket_types SET sold = 3`,
		},
		{
			name: "HeldIsMiscounted", check: "capacity", id: "{floor}",
			service: ticketService, sql: `UPDATE ticket_types SET held = 1`,
		},
		{name: "ReservationStaysActive", check: "reservations", id: "{declined}", service: ticketService, sql: `
			UPDATE reservations SET status = 'ACTIVE', expires_at = now() - interval '3 minutes' WHERE id = '{declined}';
			UPDATE ticket_types SET held = 1`},
		{name: "SagaStopped", check: "sagas", id: "{declined}", service: paymentService, sql: `
			UPDATE orders SET status = 'PENDING', step = 'CHARGE', created_at = now() - interval '1 hour'
			WHERE id = '{declined}'`},
		{name: "DoneButPending", check: "sagas", id: "{declined}", service: paymentService, sql: `
			UPDATE orders SET status = 'PENDING' WHERE id = '{declined}'`},
		{name: "RefundStopped", check: "sagas", id: "{late}", service: paymentService, sql: `
			INSERT INTO refunds (id, order_id, whole, amount_minor, reason, step, created_at)
			VALUES ('{late}', '{bought}', false, 100, '', 'REFUND', now() - interval '1 hour');
			UPDATE orders SET refunding_minor = 100 WHERE id = '{bought}'`},
		{name: "BuyerIsAskedTooLate", check: "sagas", id: "{declined}", service: paymentService, sql: `
			UPDATE orders SET action_client_secret = 'secret' WHERE id = '{declined}'`},
		{name: "ReplayStopped", check: "replays", id: "{late}", service: paymentService, sql: `
			INSERT INTO replays (id, topic, since, until) VALUES ('{late}', 'payment-events', now(), now())`},
		{
			name: "CardOfFailedOrderCanBeCharged", check: "charges", id: "pi_3",
			change: func() { s.charges[2].Status = "requires_action" },
		},
		{
			name: "ChargedTwice", check: "charges", id: "{bought}",
			change: func() { s.charges = append(s.charges, s.charges[0]) },
		},
		{
			name: "ChargedAnotherAmount", check: "charges", id: "{bought}",
			change: func() { s.charges[0].Received = 9999 },
		},
		{
			name: "ChargedInAnotherCurrency", check: "charges", id: "{bought}",
			change: func() { s.charges[0].Currency = "eur" },
		},
		{name: "PaidWithoutCharge", check: "charges", id: "{bought}", change: func() { s.charges = s.charges[1:] }},
		{name: "PaidByAnotherCharge", check: "charges", id: "{bought}", service: paymentService, sql: `
			UPDATE orders SET transaction_id = 'pi_9' WHERE id = '{bought}'`},
		{
			name: "ChargeOfFailedOrder", check: "charges", id: "{declined}",
			service: paymentService, sql: `UPDATE orders SET created_at = now() - interval '1 hour'`,
			change: func() { s.charges[2].Received = 5000 },
		},
		{
			name: "ChargeWithoutOrder", check: "charges", id: "pi_2",
			change: func() { s.charges[1].Metadata = map[string]string{"order_id": uuid.NewString()} },
		},
		{
			name: "RefundDidNotArrive", check: "refunds", id: "{returned}",
			change: func() { s.charges[1].Refunded = 0 },
		},
		{
			name: "RefundWasNotRequested", check: "refunds", id: "{bought}",
			change: func() { s.charges[0].Refunded = 100 },
		},
		{
			name: "RefundsDoNotAddUp", check: "refunds", id: "{returned}",
			service: paymentService, sql: `UPDATE refunds SET amount_minor = 4000`,
		},
		{name: "NeitherTicketsNorRefund", check: "tickets", id: "{late}", service: paymentService, sql: `
			INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash, status, step,
				reservation_id, currency, total_minor, payment_method, created_at)
			VALUES ('{late}', 'ORD-4', '{buyer}', '{event}', '', '4', '', 'COMPLETED', 'DONE',
				'{late}', 'USD', 0, '', now() - interval '1 hour');
			INSERT INTO order_items (order_id, ticket_type_id, quantity) VALUES ('{late}', '{floor}', 1)`},
		{name: "TooFewTickets", check: "tickets", id: "{bought}", service: ticketService, sql: `
			DELETE FROM tickets WHERE id = '{ticket2}'; UPDATE ticket_types SET sold = 1`},
		{name: "TicketOfFailedOrder", check: "tickets", id: "{ticket1}", service: ticketService, sql: `
			UPDATE tickets SET order_id = '{declined}' WHERE id = '{ticket1}'`},
		{name: "TicketWithoutOrder", check: "tickets", id: "{ticket1}", service: ticketService, sql: `
			UPDATE tickets SET order_id = '{late}' WHERE id = '{ticket1}'`},
		{name: "TicketOfRefusedOrder", check: "tickets", id: "{ticket1}", service: ticketService, sql: `
			UPDATE orders SET refusal = 'EVENT_CANCELLED' WHERE id = '{bought}'`},
		{name: "RefundedTicketIsValid", check: "tickets", id: "{ticket3}", service: ticketService, sql: `
			UPDATE tickets SET status = 'ACTIVE', cancelled_at = NULL, cancelled_by = NULL,
				created_at = now() - interval '1 hour' WHERE id = '{ticket3}';
			UPDATE ticket_types SET sold = 3`},
		{name: "RefundedTicketIsValidAgain", check: "tickets", id: "{ticket1}", service: paymentService, sql: `
			INSERT INTO refunds (id, order_id, whole, ticket_ids, keep_used, amount_minor, reason, status, step)
			VALUES ('{late}', '{bought}', false, '{{ticket1}}', true, 0, '', 'SUCCEEDED', 'DONE')`},
		{name: "CancelledWithoutRefund", check: "tickets", id: "{ticket3}", service: ticketService, sql: `
			UPDATE tickets SET refund_key = 'refund-of-nothing' WHERE id = '{ticket3}'`},
		{
			name: "CancelledForFailedRefund", check: "tickets", id: "{ticket3}",
			service: paymentService, sql: `UPDATE refunds SET status = 'FAILED'`,
		},
		{
			name: "DisputeIsUnknown", check: "disputes", id: "{bought}",
			change: func() { s.charges[0].Disputed, s.charges[0].Dispute = 10000, "needs_response" },
		},
		{
			name: "DisputedAmountDiffers", check: "disputes", id: "{bought}",
			service: paymentService, sql: `UPDATE orders SET dispute = 'OPEN', disputed_minor = 1 WHERE id = '{bought}'`,
			change: func() { s.charges[0].Disputed, s.charges[0].Dispute = 10000, "needs_response" },
		},
		{
			name: "TicketOfLostDisputeAdmits", check: "disputes", id: "{ticket1}",
			service: paymentService, sql: `UPDATE orders SET dispute = 'LOST', disputed_minor = 10000 WHERE id = '{bought}'`,
			change: func() { s.charges[0].Disputed, s.charges[0].Dispute = 10000, "lost" },
		},
		{
			name: "TicketOfWonDisputeIsSuspended", check: "disputes", id: "{ticket1}",
			service: ticketService, sql: `UPDATE orders SET suspension = 'SUSPENDED' WHERE id = '{bought}'`,
			change: func() {
				s.charges[0].Dispute = "won"
				s.exec(t, paymentService, `UPDATE orders SET dispute = 'WON' WHERE id = '{bought}'`)
			},
		},
		{
			name: "DisputedMoneyIsNotShown", check: "sales", id: "{event}",
			service: paymentService, sql: `UPDATE orders SET dispute = 'OPEN', disputed_minor = 10000 WHERE id = '{bought}'`,
			change: func() { s.charges[0].Disputed, s.charges[0].Dispute = 10000, "needs_response" },
		},
		{name: "CancelledWithEventButNotRefunded", check: "tickets", id: "{ticket1}", service: ticketService, sql: `
			UPDATE tickets SET status = 'CANCELLED', cancelled_at = now() - interval '1 hour', cancelled_by = 'EVENT'
			WHERE id = '{ticket1}';
			UPDATE ticket_types SET sold = 1`},
		{name: "CancelledEventHasValidTickets", check: "cancelled events", id: "{event}", service: ticketService, sql: `
			UPDATE events SET status = 'CANCELLED', updated_at = now() - interval '1 hour'`},
		{name: "CancellationStopped", check: "cancelled events", id: "{event}", service: ticketService, sql: `
			INSERT INTO event_cancellations (event_id, reason, correlation_id) VALUES ('{event}', '', '')`},
		{name: "RefundsOfEventStopped", check: "cancelled events", id: "{event}", service: paymentService, sql: `
			INSERT INTO event_refunds (event_id, correlation_id, traceparent) VALUES ('{event}', '', '')`},
		{name: "NotPublished", check: "outbox", id: "{paid1}", service: paymentService, sql: `
			UPDATE outbox SET published_at = NULL, created_at = now() - interval '1 hour' WHERE id = '{paid1}'`},
		{name: "NotProcessedByTicketService", check: "effects", id: "{paid1}", service: ticketService, sql: `
			DELETE FROM inbox WHERE event_id = '{paid1}'`},
		{name: "NotProcessedByPaymentService", check: "effects", id: "{generated1}", service: paymentService, sql: `
			DELETE FROM inbox WHERE event_id = '{generated1}'`},
		{name: "NotProcessedByAnalyticsService", check: "effects", id: "{processed}", service: analyticsService, sql: `
			DELETE FROM inbox WHERE event_id = '{processed}'`},
		{name: "OrderIsNotConfirmed", check: "effects", id: "{generated1}", service: notificationService, sql: `
			DELETE FROM notifications WHERE kind = 'ORDER_CONFIRMATION'`},
		{name: "RecipientIsNotNotified", check: "effects", id: "{transferred}", service: notificationService, sql: `
			DELETE FROM notifications WHERE kind = 'TICKET_RECEIVED'`},
		{name: "NotifiedTwice", check: "notifications", id: "{late}", service: notificationService, sql: `
			INSERT INTO notifications (id, message_id, event_id, user_id, order_id, kind, status, attempts, sent_at, created_at)
			SELECT '{late}', '{late}', '{late}', user_id, order_id, kind, status, 1, now(), now() + interval '1 s'
			FROM notifications WHERE event_id = '{failed}'`},
		{name: "NotSent", check: "notifications", id: "{late}", service: notificationService, sql: `
			UPDATE notifications SET id = '{late}', status = 'PENDING', sent_at = NULL, due_at = now(),
				created_at = now() - interval '1 hour' WHERE event_id = '{failed}'`},
		{name: "SendingFailed", check: "notifications", id: "{late}", service: notificationService, sql: `
			UPDATE notifications SET id = '{late}', status = 'FAILED', sent_at = NULL, error_code = 'SERVICE_UNAVAILABLE'
			WHERE event_id = '{failed}'`},
		{name: "WrongUserIsNotified", check: "notifications", id: "{late}", service: notificationService, sql: `
			UPDATE notifications SET id = '{late}', user_id = '{friend}' WHERE event_id = '{failed}'`},
		{name: "TicketHolderIsNotNotified", check: "effects", id: "{late}", service: ticketService, sql: `
			INSERT INTO outbox (id, topic, cloud_event, published_at)
			VALUES ('{late}', 'ticket-events', '{"type": "TICKET_CANCELLED",
				"data": {"payload": {"orderId": "{bought}", "userId": "{friend}", "cancelledBy": "EVENT"}}}', now())`},
		{
			name: "OwnerOfRefundedTicketIsNotNotified", check: "effects", id: "{cancelled}",
			service: notificationService, sql: `DELETE FROM notifications WHERE event_id = '{cancelled}'`,
		},
		{name: "OperationsAreNotNotifiedOfDeadLetter", check: "effects", id: "{late}", service: analyticsService, sql: `
			INSERT INTO outbox (id, topic, cloud_event, published_at)
			VALUES ('{late}', 'operations-events', '{"type": "DEAD_LETTER_ARCHIVED"}', now())`},
		{name: "OperationsAreNotNotifiedOfCompensation", check: "effects", id: "{late}", service: paymentService, sql: `
			INSERT INTO outbox (id, topic, cloud_event, published_at)
			VALUES ('{late}', 'saga-compensation-failed', '{"type": "COMPENSATION_FAILED"}', now())`},
		{name: "NotAnnounced", check: "effects", id: "{late}", service: eventService, sql: postponement},
		{
			name: "ChangeIsNotAnnounced", check: "effects", id: "{late}", service: eventService, sql: `
				INSERT INTO outbox (id, topic, cloud_event, published_at)
				VALUES ('{late}', 'event-events', '{"type": "EVENT_UPDATED",
					"data": {"payload": {"eventId": "{event}", "status": "PUBLISHED", "eventName": "Fair",
						"previous": {"eventName": "Fest"}}}}', now())`,
		},
		{
			name: "AnnouncementStopped", check: "notifications", id: "{late}", service: eventService, sql: postponement,
			change: func() {
				s.exec(t, notificationService, `
					INSERT INTO announcements (id, about, kind, facts) VALUES ('{late}', '{event}', 'EVENT_POSTPONED', '{}')`)
			},
		},
		{
			name: "SalesAreCountedTwice", check: "sales", id: "{event}",
			service: analyticsService, sql: `UPDATE event_sales SET orders_completed = 3`,
		},
		{
			name: "RevenueIsWrong", check: "sales", id: "{event}",
			service: analyticsService, sql: `UPDATE ticket_type_sales SET revenue_minor = 1`,
		},
		{name: "EventOfAnotherPublisher", check: "unknown events", id: "strange", service: ticketService, sql: `
			INSERT INTO unknown_events (event_id, type, body) VALUES ('strange', 'SURPRISE', '{}')`},
		{name: "UnknownVersion", check: "effects", id: "{paid1}", service: ticketService, sql: `
			DELETE FROM inbox WHERE event_id = '{paid1}';
			INSERT INTO unknown_events (event_id, type, body) VALUES ('{paid1}', 'PAYMENT_COMPLETED', '{}')`},
		{name: "OpenDeadLetter", check: "dead letters", id: "{late}", service: analyticsService, sql: `
			INSERT INTO dead_letters (id, queue, event_id, type, body, message_id, reason)
			VALUES ('{late}', 'analytics-dlq', '{paid1}', '', '', '', '')`},
		{
			name: "DeadLetterInQueue", check: "dead letters", id: "analytics-dlq",
			change: func() { s.queues["analytics-dlq"] = 1 },
		},
		{
			name: "Backlog", check: "queues", id: "analytics-queue",
			change: func() { s.queues["analytics-queue"] = 7 },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.reset(t)
			if tt.sql != "" {
				s.exec(t, tt.service, tt.sql)
			}
			if tt.change != nil {
				tt.change()
			}
			report, err := s.Audit(t.Context(), true)
			require.NoError(t, err)
			requireFinding(t, report.Discrepancies(), tt.check, tt.id)
		})
	}
}

// requireFinding requires a finding of the check for the id, which may be a name in braces.
func requireFinding(t *testing.T, findings []audit.Finding, check, id string) {
	t.Helper()
	found := slices.ContainsFunc(findings, func(f audit.Finding) bool { return f.Check == check && f.ID == withIDs(id) })
	require.True(t, found, "no finding %s %s among %s", check, withIDs(id), findings)
}

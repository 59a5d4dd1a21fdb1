package audit_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/tests/audit"
)

// story is what all tests begin with: two orders were paid, one of which got its money back, and a third one's card was
// declined. A ticket of the first was given to a friend. What stands in braces is an id.
var story = map[string]string{
	"ticket-service": `
		INSERT INTO events (id, organizer_id, name, event_date, venue_name, status)
		VALUES ('{event}', '{buyer}', 'Festival', now() + interval '1 year', 'Lake', 'PUBLISHED');
		INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity, sold, held) VALUES ('{floor}', '{event}', 'Floor', 5000, 'USD', 5, 2, 0);
		INSERT INTO reservations (id, user_id, event_id, expires_at, status, order_id) VALUES
			('{bought}', '{buyer}', '{event}', now(), 'COMPLETED', '{bought}'), ('{returned}', '{buyer}', '{event}', now(), 'COMPLETED', '{returned}'),
			('{declined}', '{buyer}', '{event}', now(), 'CANCELLED', NULL);
		INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency) VALUES
			('{bought}', '{floor}', 2, 5000, 'USD'), ('{returned}', '{floor}', 1, 5000, 'USD'), ('{declined}', '{floor}', 1, 5000, 'USD');
		INSERT INTO orders (id) VALUES ('{bought}'), ('{returned}');
		INSERT INTO tickets (id, number, ticket_type_id, event_id, order_id, reservation_id, owner_id, holder_name) VALUES
			('{ticket1}', '1', '{floor}', '{event}', '{bought}', '{bought}', '{buyer}', 'Ben'), ('{ticket2}', '2', '{floor}', '{event}', '{bought}', '{bought}', '{friend}', 'Bea');
		INSERT INTO tickets (id, number, ticket_type_id, event_id, order_id, reservation_id, owner_id, holder_name, status, cancelled_at, cancelled_by, refund_key)
		VALUES ('{ticket3}', '3', '{floor}', '{event}', '{returned}', '{returned}', '{buyer}', 'Ben', 'CANCELLED', now(), 'REFUND', 'refund-{refund}');
		INSERT INTO outbox (id, topic, cloud_event, published_at) VALUES
			('{generated1}', 'ticket-events', '{"type": "TICKETS_GENERATED", "data": {"payload": {"orderId": "{bought}", "userId": "{buyer}"}}}', now()),
			('{generated2}', 'ticket-events', '{"type": "TICKETS_GENERATED", "data": {"payload": {"orderId": "{returned}", "userId": "{buyer}"}}}', now()),
			('{transferred}', 'ticket-events', '{"type": "TICKET_TRANSFERRED", "data": {"payload": {"fromUserId": "{buyer}", "toUserId": "{friend}"}}}', now()),
			('{cancelled}', 'ticket-events', '{"type": "TICKET_CANCELLED", "data": {"payload": {"cancelledBy": "REFUND"}}}', now());
		INSERT INTO inbox (event_id, type) VALUES ('{paid1}', 'PAYMENT_COMPLETED'), ('{paid2}', 'PAYMENT_COMPLETED'), ('{failed}', 'PAYMENT_FAILED');`,
	"payment-service": `
		INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash, status, step, reservation_id, currency,
			total_minor, payment_method, transaction_id, refunding_minor, refunded_minor) VALUES
			('{bought}', 'ORD-1', '{buyer}', '{event}', 'Ben', '1', '', 'COMPLETED', 'DONE', '{bought}', 'USD', 10000, 'CREDIT_CARD', 'pi_1', 0, 0),
			('{returned}', 'ORD-2', '{buyer}', '{event}', 'Ben', '2', '', 'REFUNDED', 'DONE', '{returned}', 'USD', 5000, 'CREDIT_CARD', 'pi_2', 5000, 5000),
			('{declined}', 'ORD-3', '{buyer}', '{event}', 'Ben', '3', '', 'FAILED', 'DONE', '{declined}', 'USD', 5000, 'CREDIT_CARD', NULL, 0, 0);
		INSERT INTO order_items (order_id, ticket_type_id, quantity, unit_price_minor) VALUES
			('{bought}', '{floor}', 2, 5000), ('{returned}', '{floor}', 1, 5000), ('{declined}', '{floor}', 1, 5000);
		INSERT INTO refunds (id, order_id, whole, ticket_ids, amount_minor, reason, status, step)
		VALUES ('{refund}', '{returned}', true, '{{ticket3}}', 5000, 'asked', 'SUCCEEDED', 'DONE');
		INSERT INTO outbox (id, topic, cloud_event, published_at) VALUES
			('{paid1}', 'payment-events', '{"type": "PAYMENT_COMPLETED"}', now()), ('{paid2}', 'payment-events', '{"type": "PAYMENT_COMPLETED"}', now()),
			('{failed}', 'payment-events', '{"type": "PAYMENT_FAILED", "data": {"payload": {"orderId": "{declined}", "userId": "{buyer}"}}}', now()),
			('{processed}', 'payment-events', '{"type": "REFUND_PROCESSED", "data": {"payload": {"userId": "{buyer}"}}}', now());
		INSERT INTO inbox (event_id, type) VALUES ('{generated1}', 'TICKETS_GENERATED'), ('{generated2}', 'TICKETS_GENERATED');
		INSERT INTO unknown_events (event_id, type, body) VALUES ('{transferred}', 'TICKET_TRANSFERRED', '{}'), ('{cancelled}', 'TICKET_CANCELLED', '{}');`,
	"notification-service": `
		INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, status, attempts, sent_at) VALUES
			('{generated1}', '{generated1}', '{buyer}', '{bought}', 'ORDER_CONFIRMATION', 'SENT', 1, now()),
			('{generated2}', '{generated2}', '{buyer}', '{returned}', 'ORDER_CONFIRMATION', 'SENT', 1, now()),
			('{failed}', '{failed}', '{buyer}', '{declined}', 'PAYMENT_FAILED', 'SENT', 1, now()),
			('{processed}', '{processed}', '{buyer}', '{returned}', 'REFUND_PROCESSED', 'SENT', 1, now()),
			('{transferred}', '{transferred}', '{buyer}', '{bought}', 'TICKET_TRANSFERRED', 'SENT', 1, now()),
			('{transferred}', '{transferred}', '{friend}', NULL, 'TICKET_RECEIVED', 'SENT', 1, now());`,
	"analytics-service": `
		INSERT INTO event_sales (event_id, currency, orders_completed, orders_failed, tickets_generated, tickets_cancelled, refunds, refunded_minor)
		VALUES ('{event}', 'USD', 2, 1, 3, 1, 1, 5000);
		INSERT INTO ticket_type_sales (event_id, ticket_type_id, tickets, revenue_minor) VALUES ('{event}', '{floor}', 3, 15000);
		INSERT INTO inbox (event_id, type) VALUES ('{paid1}', ''), ('{paid2}', ''), ('{failed}', ''), ('{processed}', ''), ('{generated1}', ''), ('{generated2}', ''), ('{cancelled}', '');`,
}

// id gives what stands in braces in the story.
func id(name string) uuid.UUID { return uuid.NewSHA1(uuid.Nil, []byte(name)) }

var braces = regexp.MustCompile(`\{[a-z]+[0-9]?\}`)

func withIDs(sql string) string {
	return braces.ReplaceAllStringFunc(sql, func(name string) string { return id(name[1 : len(name)-1]).String() })
}

// system is what an audit reads: the services' databases with their own migrations, a card processor and queues.
type system struct {
	audit.Sources
	charges []map[string]any
	queues  map[string]int // and how many messages are in each
}

func setup(t *testing.T) *system {
	t.Helper()
	subscriptions, err := audit.ReadSubscriptions("../../../components/local")
	require.NoError(t, err)
	// Only those that the story has effects of.
	s := &system{Sources: audit.Sources{Databases: map[string]*pgxpool.Pool{}}}
	for _, sub := range subscriptions {
		if sub.Topic != "event-events" && sub.Topic != "event-updates.fifo" || sub.Consumer == "notification-service" {
			s.Subscriptions = append(s.Subscriptions, sub)
		}
	}
	for _, service := range audit.Services {
		dir := filepath.Join("../..", service, "internal/store/migrations")
		s.Databases[service] = postgrestest.New(t, messaging.Migrations(), postgres.Migrations{VersionTable: "service_version", Files: os.DirFS(dir)})
	}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.Stripe, s.AWS = server.URL, server.URL
	return s
}

func (s *system) serve(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch {
	case r.URL.Path == "/_charges":
		answer = map[string]any{"charges": s.charges}
	case r.Header.Get("X-Amz-Target") == "AmazonSQS.ListQueues":
		var urls []string
		for name := range s.queues {
			urls = append(urls, "http://sqs/0/"+name)
		}
		answer = map[string]any{"QueueUrls": urls}
	default:
		var request struct {
			QueueURL string `json:"QueueUrl"`
		}
		if json.NewDecoder(r.Body).Decode(&request) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer = map[string]any{"Attributes": map[string]string{
			"ApproximateNumberOfMessages":           strconv.Itoa(s.queues[strings.TrimPrefix(request.QueueURL, "http://sqs/0/")]),
			"ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0",
		}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// tell makes the system as it is at the end of the story.
func (s *system) tell(t *testing.T) {
	t.Helper()
	for service, pool := range s.Databases {
		_, err := pool.Exec(t.Context(), `DO $$ DECLARE list text; BEGIN
			SELECT string_agg(quote_ident(tablename), ', ') INTO list FROM pg_tables
			WHERE schemaname = current_schema() AND tablename NOT LIKE '%version';
			EXECUTE 'TRUNCATE ' || list; END $$`)
		require.NoError(t, err)
		s.change(t, service, story[service])
	}
	charge := func(key, order string, received, refunded int) map[string]any {
		return map[string]any{
			"id": key, "amountReceived": received, "amountRefunded": refunded, "currency": "usd",
			"metadata": map[string]string{"order_id": id(order).String()}, "created": time.Now().Add(-time.Hour),
		}
	}
	s.charges = []map[string]any{charge("pi_1", "bought", 10000, 0), charge("pi_2", "returned", 5000, 5000), charge("pi_3", "declined", 0, 0)}
	s.queues = map[string]int{"analytics-queue": 0, "analytics-dlq": 0}
}

func (s *system) change(t *testing.T, service, sql string) {
	t.Helper()
	_, err := s.Databases[service].Exec(t.Context(), withIDs(sql))
	require.NoError(t, err)
}

func TestAStoryThatAddsUp(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.tell(t)
	for _, exact := range []bool{false, true} {
		report, err := s.Audit(t.Context(), exact)
		require.NoError(t, err)
		require.Empty(t, report.Findings)
		var out strings.Builder
		require.NoError(t, report.Print(&out))
		require.Contains(t, out.String(), "Discrepancies: 0")
	}
}

func TestEveryCorruptionIsCaught(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const ticketService, paymentService, notificationService, analyticsService = "ticket-service", "payment-service", "notification-service", "analytics-service"
	const eventService, postponement = "event-service", `
		INSERT INTO outbox (id, topic, cloud_event, published_at) VALUES ('{late}', 'event-events', '{"type": "EVENT_UPDATED",
			"data": {"payload": {"eventId": "{event}", "postponedFrom": "2030-07-15T18:00:00Z"}}}', now())`
	for _, tt := range []struct {
		name, service, sql string
		change             func()
		check, id          string
	}{
		{name: "Oversold", service: ticketService, sql: `ALTER TABLE ticket_types DROP CONSTRAINT never_oversold; UPDATE ticket_types SET capacity = 1`, check: "capacity", id: "{floor}"},
		{name: "SoldIsMiscounted", service: ticketService, sql: `UPDATE ticket_types SET sold = 3`, check: "capacity", id: "{floor}"},
		{name: "HeldIsMiscounted", service: ticketService, sql: `UPDATE ticket_types SET held = 1`, check: "capacity", id: "{floor}"},
		{name: "HoldThatDoesNotEnd", service: ticketService, sql: `
			UPDATE reservations SET status = 'ACTIVE', expires_at = now() - interval '3 minutes' WHERE id = '{declined}'; UPDATE ticket_types SET held = 1`, check: "holds", id: "{declined}"},
		{name: "SagaThatStopped", service: paymentService, sql: `
			UPDATE orders SET status = 'PENDING', step = 'CHARGE', created_at = now() - interval '1 hour' WHERE id = '{declined}'`, check: "sagas", id: "{declined}"},
		{name: "DoneAndYetPending", service: paymentService, sql: `UPDATE orders SET status = 'PENDING' WHERE id = '{declined}'`, check: "sagas", id: "{declined}"},
		{name: "RefundThatStopped", service: paymentService, sql: `
			INSERT INTO refunds (id, order_id, whole, amount_minor, reason, step, created_at)
			VALUES ('{late}', '{bought}', false, 100, '', 'REFUND', now() - interval '1 hour');
			UPDATE orders SET refunding_minor = 100 WHERE id = '{bought}'`, check: "sagas", id: "{late}"},
		{name: "ChargedTwice", change: func() { s.charges = append(s.charges, s.charges[0]) }, check: "charges", id: "{bought}"},
		{name: "ChargedAnotherAmount", change: func() { s.charges[0]["amountReceived"] = 9999 }, check: "charges", id: "{bought}"},
		{name: "ChargedInAnotherCurrency", change: func() { s.charges[0]["currency"] = "eur" }, check: "charges", id: "{bought}"},
		{name: "PaidWithoutACharge", change: func() { s.charges = s.charges[1:] }, check: "charges", id: "{bought}"},
		{name: "PaidByAnotherCharge", service: paymentService, sql: `UPDATE orders SET transaction_id = 'pi_9' WHERE id = '{bought}'`, check: "charges", id: "{bought}"},
		{
			name: "ChargeOfAnOrderThatFailed", service: paymentService, sql: `UPDATE orders SET created_at = now() - interval '1 hour'`,
			change: func() { s.charges[2]["amountReceived"] = 5000 }, check: "charges", id: "{declined}",
		},
		{name: "ChargeOfNoOrder", change: func() { s.charges[1]["metadata"] = map[string]string{"order_id": uuid.NewString()} }, check: "charges", id: "pi_2"},
		{name: "RefundThatNeverArrived", change: func() { s.charges[1]["amountRefunded"] = 0 }, check: "refunds", id: "{returned}"},
		{name: "RefundThatNobodyAskedFor", change: func() { s.charges[0]["amountRefunded"] = 100 }, check: "refunds", id: "{bought}"},
		{name: "RefundsDoNotAddUp", service: paymentService, sql: `UPDATE refunds SET amount_minor = 4000`, check: "refunds", id: "{returned}"},
		{name: "NeitherTicketsNorMoney", service: paymentService, sql: `
			INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash, status, step, reservation_id, currency, total_minor, payment_method, created_at)
			VALUES ('{late}', 'ORD-4', '{buyer}', '{event}', '', '4', '', 'COMPLETED', 'DONE', '{late}', 'USD', 0, '', now() - interval '1 hour');
			INSERT INTO order_items (order_id, ticket_type_id, quantity) VALUES ('{late}', '{floor}', 1)`, check: "tickets", id: "{late}"},
		{name: "TooFewTickets", service: ticketService, sql: `DELETE FROM tickets WHERE id = '{ticket2}'; UPDATE ticket_types SET sold = 1`, check: "tickets", id: "{bought}"},
		{name: "TicketsOfAnOrderThatFailed", service: ticketService, sql: `UPDATE tickets SET order_id = '{declined}' WHERE id = '{ticket1}'`, check: "tickets", id: "{ticket1}"},
		{name: "TicketsOfNoOrder", service: ticketService, sql: `UPDATE tickets SET order_id = '{late}' WHERE id = '{ticket1}'`, check: "tickets", id: "{ticket1}"},
		{name: "TicketsOfARefusedOrder", service: ticketService, sql: `UPDATE orders SET refusal = 'EVENT_CANCELLED' WHERE id = '{bought}'`, check: "tickets", id: "{ticket1}"},
		{name: "TicketThatOutlivesItsRefund", service: ticketService, sql: `
			UPDATE tickets SET status = 'ACTIVE', cancelled_at = NULL, cancelled_by = NULL, created_at = now() - interval '1 hour' WHERE id = '{ticket3}';
			UPDATE ticket_types SET sold = 3`, check: "tickets", id: "{ticket3}"},
		{name: "CancelledForNoRefund", service: ticketService, sql: `UPDATE tickets SET refund_key = 'refund-of-nothing' WHERE id = '{ticket3}'`, check: "tickets", id: "{ticket3}"},
		{name: "CancelledForARefundThatFailed", service: paymentService, sql: `UPDATE refunds SET status = 'FAILED'`, check: "tickets", id: "{ticket3}"},
		{name: "CancelledWithTheEventAndNotRefunded", service: ticketService, sql: `
			UPDATE tickets SET status = 'CANCELLED', cancelled_at = now() - interval '1 hour', cancelled_by = 'EVENT' WHERE id = '{ticket1}';
			UPDATE ticket_types SET sold = 1`, check: "tickets", id: "{ticket1}"},
		{name: "CancelledEventThatLetsPeopleIn", service: ticketService, sql: `
			UPDATE events SET status = 'CANCELLED', updated_at = now() - interval '1 hour'`, check: "cancelled events", id: "{event}"},
		{name: "CancellationThatStopped", service: ticketService, sql: `
			INSERT INTO event_cancellations (event_id, reason, correlation_id) VALUES ('{event}', '', '')`, check: "cancelled events", id: "{event}"},
		{name: "RefundsOfAnEventThatStopped", service: paymentService, sql: `
			INSERT INTO event_refunds (event_id, correlation_id, traceparent) VALUES ('{event}', '', '')`, check: "cancelled events", id: "{event}"},
		{name: "NeverPublished", service: paymentService, sql: `
			UPDATE outbox SET published_at = NULL, created_at = now() - interval '1 hour' WHERE id = '{paid1}'`, check: "outbox", id: "{paid1}"},
		{name: "NoEffectAtTicketService", service: ticketService, sql: `DELETE FROM inbox WHERE event_id = '{paid1}'`, check: "effects", id: "{paid1}"},
		{name: "NoEffectAtPaymentService", service: paymentService, sql: `DELETE FROM inbox WHERE event_id = '{generated1}'`, check: "effects", id: "{generated1}"},
		{name: "NoEffectAtAnalyticsService", service: analyticsService, sql: `DELETE FROM inbox WHERE event_id = '{processed}'`, check: "effects", id: "{processed}"},
		{name: "NobodyWasTold", service: notificationService, sql: `DELETE FROM notifications WHERE kind = 'ORDER_CONFIRMATION'`, check: "effects", id: "{generated1}"},
		{name: "TheFriendWasNotTold", service: notificationService, sql: `DELETE FROM notifications WHERE kind = 'TICKET_RECEIVED'`, check: "effects", id: "{transferred}"},
		{
			name: "ToldTwice", service: notificationService, sql: `
			INSERT INTO notifications (id, message_id, event_id, user_id, order_id, kind, status, attempts, sent_at, created_at)
			SELECT '{late}', '{late}', '{late}', user_id, order_id, kind, status, 1, now(), now() + interval '1 s' FROM notifications WHERE event_id = '{failed}'`,
			check: "notifications", id: "{late}",
		},
		{
			name: "NeverSent", service: notificationService, sql: `
			UPDATE notifications SET id = '{late}', status = 'PENDING', sent_at = NULL, due_at = now(), created_at = now() - interval '1 hour' WHERE event_id = '{failed}'`,
			check: "notifications", id: "{late}",
		},
		{
			name: "GivenUp", service: notificationService, sql: `
			UPDATE notifications SET id = '{late}', status = 'FAILED', sent_at = NULL, error_code = 'SERVICE_UNAVAILABLE' WHERE event_id = '{failed}'`,
			check: "notifications", id: "{late}",
		},
		{name: "SomebodyElseWasTold", service: notificationService, sql: `
			UPDATE notifications SET id = '{late}', user_id = '{friend}' WHERE event_id = '{failed}'`, check: "notifications", id: "{late}"},
		{name: "TheHolderWasNotTold", service: ticketService, sql: `
			INSERT INTO outbox (id, topic, cloud_event, published_at) VALUES ('{late}', 'ticket-events', '{"type": "TICKET_CANCELLED",
				"data": {"payload": {"orderId": "{bought}", "userId": "{friend}", "cancelledBy": "EVENT"}}}', now())`, check: "effects", id: "{late}"},
		{name: "OperationsWereNotToldOfADeadLetter", service: analyticsService, sql: `
			INSERT INTO outbox (id, topic, cloud_event, published_at)
			VALUES ('{late}', 'operations-events', '{"type": "DEAD_LETTER_ARCHIVED"}', now())`, check: "effects", id: "{late}"},
		{name: "OperationsWereNotToldOfACompensation", service: paymentService, sql: `
			INSERT INTO outbox (id, topic, cloud_event, published_at)
			VALUES ('{late}', 'saga-compensation-failed', '{"type": "COMPENSATION_FAILED"}', now())`, check: "effects", id: "{late}"},
		{name: "NotAnnounced", service: eventService, sql: postponement, check: "effects", id: "{late}"},
		{
			name: "NotAnnouncedToEverybody", service: eventService, sql: postponement, check: "notifications", id: "{late}",
			change: func() {
				s.change(t, notificationService, `INSERT INTO announcements (id, about, kind, facts) VALUES ('{late}', '{event}', 'EVENT_POSTPONED', '{}')`)
			},
		},
		{name: "FiguresCountTwice", service: analyticsService, sql: `UPDATE event_sales SET orders_completed = 3`, check: "figures", id: "{event}"},
		{name: "RevenueIsWrong", service: analyticsService, sql: `UPDATE ticket_type_sales SET revenue_minor = 1`, check: "figures", id: "{event}"},
		{name: "StrangeEvent", service: ticketService, sql: `INSERT INTO unknown_events (event_id, type, body) VALUES ('strange', 'SURPRISE', '{}')`, check: "unknown events", id: "strange"},
		{name: "VersionThatNobodyKnows", service: ticketService, sql: `
			DELETE FROM inbox WHERE event_id = '{paid1}'; INSERT INTO unknown_events (event_id, type, body) VALUES ('{paid1}', 'PAYMENT_COMPLETED', '{}')`, check: "effects", id: "{paid1}"},
		{
			name: "OpenDeadLetter", service: analyticsService, sql: `
			INSERT INTO dead_letters (id, queue, event_id, type, body, message_id, reason) VALUES ('{late}', 'analytics-dlq', '{paid1}', '', '', '', '')`,
			check: "dead letters", id: "{late}",
		},
		{name: "DeadLetter", change: func() { s.queues["analytics-dlq"] = 1 }, check: "dead letters", id: "analytics-dlq"},
		{name: "Backlog", change: func() { s.queues["analytics-queue"] = 7 }, check: "queues", id: "analytics-queue"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.tell(t)
			if tt.sql != "" {
				s.change(t, tt.service, tt.sql)
			}
			if tt.change != nil {
				tt.change()
			}
			report, err := s.Audit(t.Context(), true)
			require.NoError(t, err)
			named := func(f audit.Finding) bool { return f.Check == tt.check && f.ID == withIDs(tt.id) }
			require.True(t, slices.ContainsFunc(report.Discrepancies(), named), "%s", report.Findings)
		})
	}
}

// What services have purged is missed by nobody, and what they have not is.
func TestWhatIsPurgedIsNoDiscrepancy(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const (
		old   = "01700000-0000-7000-8000-000000000000" // of 2020
		young = "01900000-0000-7000-8000-000000000000" // of 2024
		late  = "{late}"
		purge = `INSERT INTO purged (relation, before) VALUES ('inbox', '2022-01-01'), ('outbox', '2022-01-01')`
	)
	tell := func(event string) string {
		return `INSERT INTO notifications (id, message_id, event_id, user_id, kind, status, attempts, sent_at, created_at)
			VALUES ('{late}', '{late}', '` + event + `', '{buyer}', 'REFUND_PROCESSED', 'SENT', 1, now(), '2024-06-01')`
	}
	publish := func(at string) string {
		return `INSERT INTO outbox (id, topic, cloud_event, published_at)
			VALUES ('{late}', 'payment-events', '{"type": "PAYMENT_COMPLETED", "data": {}}', '` + at + `')`
	}
	for _, tt := range []struct {
		name, service, purger string
		old, young            string
		check, id             string
	}{
		{"EventThatWasToldOf", "notification-service", "payment-service", tell(old), tell(young), "notifications", late},
		{
			"EventThatNobodyKnew", "ticket-service", "payment-service", `INSERT INTO unknown_events (event_id, type, body) VALUES ('` + old + `', '', '')`,
			`INSERT INTO unknown_events (event_id, type, body) VALUES ('` + young + `', '', '')`, "unknown events", young,
		},
		{"RecordOfAnEffect", "payment-service", "ticket-service", publish("2021-12-31"), publish("2022-01-02"), "effects", late},
	} {
		t.Run(tt.name, func(t *testing.T) {
			named := func(f audit.Finding) bool { return f.Check == tt.check && f.ID == withIDs(tt.id) }
			s.tell(t)
			s.change(t, tt.service, tt.old)
			report, err := s.Audit(t.Context(), true)
			require.NoError(t, err)
			require.NotEmpty(t, report.Discrepancies(), "nothing was purged")
			s.change(t, tt.purger, purge)
			s.change(t, "analytics-service", purge) // which hears payment-events as well
			report, err = s.Audit(t.Context(), true)
			require.NoError(t, err)
			require.Empty(t, report.Findings)

			s.tell(t)
			s.change(t, tt.service, tt.young)
			s.change(t, tt.purger, purge)
			report, err = s.Audit(t.Context(), true)
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(report.Discrepancies(), named), "%s", report.Findings)
		})
	}
}

func TestWhatIsUnderWayIsNoDiscrepancyYet(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, tt := range []struct {
		name, service, young, old string
		check, id                 string
	}{
		{
			"Unpublished", "payment-service", `UPDATE outbox SET published_at = NULL WHERE id = '{paid1}'`,
			`UPDATE outbox SET created_at = now() - interval '2 minutes'`, "outbox", "{paid1}",
		},
		{"Unprocessed", "ticket-service", `DELETE FROM inbox WHERE event_id = '{paid1}'`, "", "effects", "{paid1}"},
		{
			"Pending", "payment-service", `UPDATE orders SET status = 'PENDING', step = 'CHARGE' WHERE id = '{declined}'`,
			`UPDATE orders SET created_at = now() - interval '11 minutes' WHERE id = '{declined}'`, "sagas", "{declined}",
		},
		{
			"Unsent", "notification-service", `
			UPDATE notifications SET id = '{late}', status = 'PENDING', sent_at = NULL, due_at = now(), created_at = now() - interval '1 hour' WHERE event_id = '{failed}'`,
			`UPDATE notifications SET created_at = now() - interval '26 hours' WHERE id = '{late}'`, "notifications", "{late}",
		},
		{
			"Overdue", "ticket-service", `
			UPDATE reservations SET status = 'ACTIVE', expires_at = now() - interval '30 seconds' WHERE id = '{declined}'; UPDATE ticket_types SET held = 1`,
			`UPDATE reservations SET expires_at = now() - interval '3 minutes' WHERE id = '{declined}'`, "holds", "{declined}",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.tell(t)
			named := func(f audit.Finding) bool { return f.Check == tt.check && f.ID == withIDs(tt.id) }
			s.change(t, tt.service, tt.young)
			report, err := s.Audit(t.Context(), false)
			require.NoError(t, err)
			require.Empty(t, report.Discrepancies())
			require.True(t, slices.ContainsFunc(report.InFlight(), named), "%s", report.Findings)
			if tt.old == "" {
				return
			}
			s.change(t, tt.service, tt.old)
			report, err = s.Audit(t.Context(), false)
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(report.Discrepancies(), named), "%s", report.Findings)
		})
	}
}

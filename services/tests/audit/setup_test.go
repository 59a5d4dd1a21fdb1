package audit_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/tests/audit"
)

const (
	ticketService       = "ticket-service"
	paymentService      = "payment-service"
	notificationService = "notification-service"
	analyticsService    = "analytics-service"
	eventService        = "event-service"
)

// baseline is the consistent state that each test begins with, by service. Two orders are paid, and one of them is
// refunded. The card of a third order was declined. A ticket of the first order was transferred to a friend. A name in
// braces stands for an id.
var baseline = map[string]string{
	ticketService: `
		INSERT INTO events (id, organizer_id, name, event_date, venue_name, status)
		VALUES ('{event}', '{buyer}', 'Festival', now() + interval '1 year', 'Lake', 'PUBLISHED');
		INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity, sold, held)
		VALUES ('{floor}', '{event}', 'Floor', 5000, 'USD', 5, 2, 0);
		INSERT INTO reservations (id, user_id, event_id, expires_at, status, order_id) VALUES
			('{bought}', '{buyer}', '{event}', now(), 'COMPLETED', '{bought}'),
			('{returned}', '{buyer}', '{event}', now(), 'COMPLETED', '{returned}'),
			('{declined}', '{buyer}', '{event}', now(), 'CANCELLED', NULL);
		INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency) VALUES
			('{bought}', '{floor}', 2, 5000, 'USD'),
			('{returned}', '{floor}', 1, 5000, 'USD'),
			('{declined}', '{floor}', 1, 5000, 'USD');
		INSERT INTO orders (id) VALUES ('{bought}'), ('{returned}');
		INSERT INTO tickets (id, number, ticket_type_id, event_id, order_id, reservation_id, owner_id, holder_name) VALUES
			('{ticket1}', '1', '{floor}', '{event}', '{bought}', '{bought}', '{buyer}', 'Ben'),
			('{ticket2}', '2', '{floor}', '{event}', '{bought}', '{bought}', '{friend}', 'Bea');
		INSERT INTO tickets (id, number, ticket_type_id, event_id, order_id, reservation_id, owner_id, holder_name,
			status, cancelled_at, cancelled_by, refund_key)
		VALUES ('{ticket3}', '3', '{floor}', '{event}', '{returned}', '{returned}', '{buyer}', 'Ben',
			'CANCELLED', now(), 'REFUND', 'refund-{refund}');
		INSERT INTO outbox (id, topic, cloud_event, published_at) VALUES
			('{generated1}', 'ticket-events', '{"type": "TICKETS_GENERATED",
				"data": {"payload": {"orderId": "{bought}", "userId": "{buyer}"}}}', now()),
			('{generated2}', 'ticket-events', '{"type": "TICKETS_GENERATED",
				"data": {"payload": {"orderId": "{returned}", "userId": "{buyer}"}}}', now()),
			('{transferred}', 'ticket-events', '{"type": "TICKET_TRANSFERRED",
				"data": {"payload": {"fromUserId": "{buyer}", "toUserId": "{friend}"}}}', now()),
			('{cancelled}', 'ticket-events', '{"type": "TICKET_CANCELLED",
				"data": {"payload": {"orderId": "{returned}", "userId": "{buyer}", "cancelledBy": "REFUND",
					"refundKey": "refund-{refund}"}}}', now());
		INSERT INTO inbox (event_id, type) VALUES
			('{paid1}', 'PAYMENT_COMPLETED'), ('{paid2}', 'PAYMENT_COMPLETED'), ('{failed}', 'PAYMENT_FAILED');`,
	paymentService: `
		INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash, status, step,
			reservation_id, currency, total_minor, payment_method, transaction_id, refunding_minor, refunded_minor) VALUES
			('{bought}', 'ORD-1', '{buyer}', '{event}', 'Ben', '1', '', 'COMPLETED', 'DONE',
				'{bought}', 'USD', 10000, 'CREDIT_CARD', 'pi_1', 0, 0),
			('{returned}', 'ORD-2', '{buyer}', '{event}', 'Ben', '2', '', 'REFUNDED', 'DONE',
				'{returned}', 'USD', 5000, 'CREDIT_CARD', 'pi_2', 5000, 5000),
			('{declined}', 'ORD-3', '{buyer}', '{event}', 'Ben', '3', '', 'FAILED', 'DONE',
				'{declined}', 'USD', 5000, 'CREDIT_CARD', NULL, 0, 0);
		INSERT INTO order_items (order_id, ticket_type_id, quantity, unit_price_minor) VALUES
			('{bought}', '{floor}', 2, 5000), ('{returned}', '{floor}', 1, 5000), ('{declined}', '{floor}', 1, 5000);
		INSERT INTO refunds (id, order_id, whole, ticket_ids, amount_minor, reason, status, step)
		VALUES ('{refund}', '{returned}', true, '{{ticket3}}', 5000, 'asked', 'SUCCEEDED', 'DONE');
		INSERT INTO outbox (id, topic, cloud_event, published_at) VALUES
			('{paid1}', 'payment-events', '{"type": "PAYMENT_COMPLETED"}', now()),
			('{paid2}', 'payment-events', '{"type": "PAYMENT_COMPLETED"}', now()),
			('{failed}', 'payment-events', '{"type": "PAYMENT_FAILED",
				"data": {"payload": {"orderId": "{declined}", "userId": "{buyer}"}}}', now()),
			('{processed}', 'payment-events', '{"type": "REFUND_PROCESSED",
				"data": {"payload": {"userId": "{buyer}"}}}', now());
		INSERT INTO inbox (event_id, type) VALUES
			('{generated1}', 'TICKETS_GENERATED'), ('{generated2}', 'TICKETS_GENERATED');
		INSERT INTO unknown_events (event_id, type, body) VALUES
			('{transferred}', 'TICKET_TRANSFERRED', '{}'), ('{cancelled}', 'TICKET_CANCELLED', '{}');`,
	notificationService: `
		INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, status, attempts, sent_at) VALUES
			('{generated1}', '{generated1}', '{buyer}', '{bought}', 'ORDER_CONFIRMATION', 'SENT', 1, now()),
			('{generated2}', '{generated2}', '{buyer}', '{returned}', 'ORDER_CONFIRMATION', 'SENT', 1, now()),
			('{failed}', '{failed}', '{buyer}', '{declined}', 'PAYMENT_FAILED', 'SENT', 1, now()),
			('{processed}', '{processed}', '{buyer}', '{returned}', 'REFUND_PROCESSED', 'SENT', 1, now()),
			('{transferred}', '{transferred}', '{buyer}', '{bought}', 'TICKET_TRANSFERRED', 'SENT', 1, now()),
			('{transferred}', '{transferred}', '{friend}', NULL, 'TICKET_RECEIVED', 'SENT', 1, now());
		INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, facts, status, attempts, sent_at) VALUES
			('{cancelled}', '{cancelled}', '{buyer}', '{returned}', 'TICKET_CANCELLED',
				'{"refundKey": "refund-{refund}"}', 'SENT', 1, now());`,
	analyticsService: `
		INSERT INTO event_sales (event_id, currency, orders_completed, orders_failed, tickets_generated,
			tickets_cancelled, refunds, refunded_minor)
		VALUES ('{event}', 'USD', 2, 1, 3, 1, 1, 5000);
		INSERT INTO ticket_type_sales (event_id, ticket_type_id, tickets, revenue_minor)
		VALUES ('{event}', '{floor}', 3, 15000);
		INSERT INTO inbox (event_id, type) VALUES ('{paid1}', ''), ('{paid2}', ''), ('{failed}', ''),
			('{processed}', ''), ('{generated1}', ''), ('{generated2}', ''), ('{cancelled}', '');`,
}

// id returns the id that a name in braces stands for.
func id(name string) uuid.UUID { return uuid.NewSHA1(uuid.Nil, []byte(name)) }

var braces = regexp.MustCompile(`\{[a-z]+[0-9]?\}`)

func withIDs(sql string) string {
	return braces.ReplaceAllStringFunc(sql, func(name string) string { return id(name[1 : len(name)-1]).String() })
}

// system is what an audit reads: the services' databases with their own migrations, a Stripe simulator and queues.
type system struct {
	audit.Sources
	charges []charge
	queues  map[string]int // by name: the number of messages
}

// charge is a charge as the Stripe simulator returns it.
type charge struct {
	ID       string            `json:"id"`
	Status   string            `json:"status"`
	Received int               `json:"amountReceived"`
	Refunded int               `json:"amountRefunded"`
	Disputed int               `json:"amountDisputed"`
	Dispute  string            `json:"dispute,omitempty"`
	Currency string            `json:"currency"`
	Metadata map[string]string `json:"metadata"`
	Created  time.Time         `json:"created"`
}

func setup(t *testing.T) *system {
	t.Helper()
	subscriptions, err := contracts.Subscriptions()
	require.NoError(t, err)
	// The baseline does not process the events of other subscriptions.
	s := &system{Sources: audit.Sources{Databases: map[string]*pgxpool.Pool{}}}
	for _, sub := range subscriptions {
		if sub.Topic != "event-events" && sub.Topic != "event-updates.fifo" || sub.Service == notificationService {
			s.Subscriptions = append(s.Subscriptions, sub)
		}
	}
	for _, service := range audit.Services {
		dir := filepath.Join("../..", service, "internal/store/migrations")
		s.Databases[service] = postgrestest.New(t, messaging.Migrations(),
			postgres.Migrations{VersionTable: "service_version", Files: os.DirFS(dir)})
	}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.Stripe, s.AWS = server.URL, server.URL
	return s
}

// serve is the Stripe simulator and the queue emulator.
func (s *system) serve(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch {
	case r.URL.Path == "/_charges":
		answer = map[string][]charge{"charges": s.charges}
	case r.Header.Get("X-Amz-Target") == "AmazonSQS.ListQueues":
		var urls []string
		for name := range s.queues {
			urls = append(urls, "http://sqs/0/"+name)
		}
		answer = map[string][]string{"QueueUrls": urls}
	default:
		var request struct {
			QueueURL string `json:"QueueUrl"`
		}
		if json.NewDecoder(r.Body).Decode(&request) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer = map[string]map[string]string{"Attributes": {
			"ApproximateNumberOfMessages": strconv.Itoa(
				s.queues[strings.TrimPrefix(request.QueueURL, "http://sqs/0/")]),
			"ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0",
		}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// reset restores the baseline.
func (s *system) reset(t *testing.T) {
	t.Helper()
	for service, pool := range s.Databases {
		_, err := pool.Exec(t.Context(), `DO $$ DECLARE list text; BEGIN
			SELECT string_agg(quote_ident(tablename), ', ') INTO list FROM pg_tables
			WHERE schemaname = current_schema() AND tablename NOT LIKE '%version';
			EXECUTE 'TRUNCATE ' || list; END $$`)
		require.NoError(t, err)
		s.exec(t, service, baseline[service])
	}
	newCharge := func(key, order string, received, refunded int) charge {
		return charge{
			ID: key, Status: "succeeded", Received: received, Refunded: refunded, Currency: "usd",
			Metadata: map[string]string{"order_id": id(order).String()}, Created: time.Now().Add(-time.Hour),
		}
	}
	s.charges = []charge{
		newCharge("pi_1", "bought", 10000, 0), newCharge("pi_2", "returned", 5000, 5000), newCharge("pi_3", "declined", 0, 0),
	}
	s.charges[2].Status = "requires_payment_method"
	s.queues = map[string]int{"analytics-queue": 0, "analytics-dlq": 0}
}

func (s *system) exec(t *testing.T, service, sql string) {
	t.Helper()
	_, err := s.Databases[service].Exec(t.Context(), withIDs(sql))
	require.NoError(t, err)
}

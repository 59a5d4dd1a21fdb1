package store_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

func TestGaugesCountUnfinishedSagasByStep(t *testing.T) {
	b := setup(t)
	for _, step := range []order.Step{order.Charge, order.Charge, order.Release, order.Done} {
		b.move(t, b.create(t), paths[step]...)
	}
	b.at(t, refund.CancelTickets)
	refused := b.at(t, refund.ReturnMoney)
	require.NoError(t, b.store.RefundFailed(t.Context(), refused, refund.Failure{Code: "LOST_OR_STOLEN_CARD"}))
	b.exec(t, `
		INSERT INTO event_refunds (event_id, correlation_id, traceparent, done)
		VALUES (gen_random_uuid(), '', '', true), (gen_random_uuid(), '', '', false)`)
	require.NoError(t, testutil.CollectAndCompare(postgres.Collector(b.pool, store.Gauges), strings.NewReader(`
		# HELP saga_unfinished Unfinished orders and refunds, by their next step.
		# TYPE saga_unfinished gauge
		saga_unfinished{saga="ORDER_REFUND",step="CANCEL_TICKETS"} 1
		saga_unfinished{saga="ORDER_REFUND",step="REFUND"} 0
		saga_unfinished{saga="TICKET_PURCHASE",step="CHARGE"} 2
		saga_unfinished{saga="TICKET_PURCHASE",step="FULFIL"} 0
		saga_unfinished{saga="TICKET_PURCHASE",step="RELEASE"} 1
		saga_unfinished{saga="TICKET_PURCHASE",step="RESERVE"} 0
		# HELP saga_stuck Unfinished orders and refunds that operations were alerted about.
		# TYPE saga_stuck gauge
		saga_stuck{saga="ORDER_REFUND"} 1
		saga_stuck{saga="TICKET_PURCHASE"} 0
		# HELP cancelled_events_unrefunded Cancelled events with orders that have no refund yet.
		# TYPE cancelled_events_unrefunded gauge
		cancelled_events_unrefunded 1
	`), "saga_unfinished", "saga_stuck", "cancelled_events_unrefunded"))

	b.exec(t, `UPDATE orders SET created_at = now() - interval '1 hour' WHERE step = 'CHARGE'`)
	found, err := testutil.CollectAndFormat(
		postgres.Collector(b.pool, store.Gauges), expfmt.TypeTextPlain, "saga_oldest_seconds",
	)
	require.NoError(t, err)
	require.Contains(t, string(found), `saga_oldest_seconds{saga="TICKET_PURCHASE",step="CHARGE"} 360`, "one hour")
	require.Contains(t, string(found), `saga_oldest_seconds{saga="TICKET_PURCHASE",step="FULFIL"} 0`)
}

func TestGaugesDoNotReadDoneOrders(t *testing.T) {
	b := setup(t)
	b.exec(t, `
		INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash,
		                    step, reservation_id, payment_method)
		SELECT gen_random_uuid(), n, gen_random_uuid(), gen_random_uuid(), '', n, '', 'DONE', gen_random_uuid(), ''
		FROM generate_series(1, 5000) n`)
	b.exec(t, `
		INSERT INTO refunds (id, order_id, whole, amount_minor, reason, status, step)
		SELECT gen_random_uuid(), id, true, 0, '', 'SUCCEEDED', 'DONE' FROM orders`)
	b.exec(t, `INSERT INTO order_items (order_id, ticket_type_id, quantity) SELECT id, id, 1 FROM orders`)
	b.exec(t, `
		INSERT INTO order_tickets (ticket_id, order_id, ticket_type_id)
		SELECT gen_random_uuid(), order_id, ticket_type_id FROM order_items`)
	b.exec(t, `
		INSERT INTO event_refunds (event_id, correlation_id, traceparent, done)
		SELECT gen_random_uuid(), '', '', true FROM generate_series(1, 5000)`)
	b.exec(t, `
		INSERT INTO outbox (id, topic, cloud_event, published_at)
		SELECT gen_random_uuid(), '', '{}', now() FROM generate_series(1, 5000)`)
	b.exec(t, `
		INSERT INTO dead_letters (queue, event_id, type, body, message_id, reason, state)
		SELECT '', n, '', '', '', '', 'REDRIVEN' FROM generate_series(1, 5000) n`)
	queues := messaging.Queues{Main: "payment-processing-queue"}
	for _, gauges := range [][]postgres.Gauges{store.Gauges, outbox.Gauges, deadletter.Gauges(queues)} {
		require.NotContains(t, postgrestest.Plans(t, b.pool, gauges), "Seq Scan on")
	}
}

package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

func TestPublishedEventsHaveTheContractsEnvelope(t *testing.T) {
	b := setup(t)
	ctx := telemetry.With(t.Context(), telemetry.Trace{
		CorrelationID: "corr-123456", Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		State: "vendor=1",
	})
	for _, tt := range []struct {
		name    string
		path    []string
		move    func(o order.Order) error
		payload func(o order.Order) string
	}{
		{
			"PAYMENT_COMPLETED", paths[order.Charge],
			func(o order.Order) error { return b.store.Paid(ctx, o, "txn-987654") },
			func(o order.Order) string {
				return fmt.Sprintf(`{"orderId": "%s", "orderNumber": "%s", "userId": "%s", "eventId": "%s",
					"reservationId": "%s", "holderName": "Ann O'Hara", "totalAmount": 100.00, "currency": "USD",
					"paymentMethod": "CREDIT_CARD", "transactionId": "txn-987654",
					"items": [{"ticketTypeId": "%s", "quantity": 2, "unitPrice": 50.00}]}`,
					o.ID, o.Number, o.UserID, o.EventID, o.ReservationID, o.Items[0].TicketTypeID)
			},
		},
		{
			"PAYMENT_FAILED", paths[order.Charge],
			func(o order.Order) error {
				return b.store.Declined(ctx, o, order.Failure{
					Code: "INSUFFICIENT_FUNDS", Message: "Payment declined by issuing bank",
				})
			},
			func(o order.Order) string {
				return fmt.Sprintf(`{"orderId": "%s", "userId": "%s", "eventId": "%s", "reservationId": "%s",
					"failureReason": "INSUFFICIENT_FUNDS", "errorMessage": "Payment declined by issuing bank",
					"retryable": false}`,
					o.ID, o.UserID, o.EventID, o.ReservationID)
			},
		},
		{
			"REFUND_PROCESSED", paths[order.Refund],
			func(o order.Order) error {
				r, err := refundOf(ctx, b.store, o)
				return errors.Join(err, b.store.RefundSucceeded(ctx, r, "re_1"))
			},
			func(o order.Order) string {
				r, err := refundOf(ctx, b.store, o)
				require.NoError(t, err)
				return fmt.Sprintf(`{"orderId": "%s", "userId": "%s", "eventId": "%s", "refundId": "%s",
					"amount": 100.00, "refundedTotal": 100.00, "currency": "USD",
					"reason": "INSUFFICIENT_INVENTORY", "orderRefunded": true}`,
					o.ID, o.UserID, o.EventID, r.ID)
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := b.move(t, b.create(t), tt.path...)
			require.NoError(t, tt.move(o))
			rows, err := b.pool.Query(t.Context(), `
				SELECT id, topic, cloud_event::text FROM outbox
				WHERE cloud_event->>'subject' = $1 AND cloud_event->>'type' = $2`, o.ID.String(), tt.name)
			require.NoError(t, err)
			row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[struct {
				ID    uuid.UUID
				Topic string
				Body  string
			}])
			require.NoError(t, err)
			require.Equal(t, "payment-events", row.Topic)

			var sent struct{ Time time.Time }
			require.NoError(t, json.Unmarshal([]byte(row.Body), &sent))
			require.WithinDuration(t, time.Now(), sent.Time, time.Minute)
			at, err := sent.Time.MarshalText()
			require.NoError(t, err)
			require.JSONEq(t, fmt.Sprintf(`{
				"specversion": "1.0", "id": "%s", "source": "payment-service", "type": "%s", "subject": "%s",
				"time": "%s", "datacontenttype": "application/json", "correlationid": "corr-123456", "orderid": "%s",
				"userid": "%s", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
				"tracestate": "vendor=1", "data": {"eventType": "%s", "version": "1.0", "timestamp": "%s",
				"correlationId": "corr-123456", "payload": %s}}`,
				row.ID, tt.name, o.ID, at, o.ID, o.UserID, tt.name, at, tt.payload(o)), row.Body)
			require.Regexp(t, `"(totalAmount|amount)":100\.00,|"retryable":false`, row.Body,
				"amounts have the currency's digits")
		})
	}
}

func TestHistoryHasAnEventForEachStep(t *testing.T) {
	b := setup(t)
	o := b.move(t, b.create(t), paths[order.Refund]...)
	o = b.move(t, o, "Refunded")
	r, err := refundOf(t.Context(), b.store, o)
	require.NoError(t, err)
	history, err := b.store.History(t.Context(), o.ID)
	require.NoError(t, err)
	type event struct {
		eventType string
		status    order.SagaStatus
		payload   string
	}
	want := []event{
		{"ORDER_CREATED", order.SagaCompleted, `{"reservationId": "` + o.ReservationID.String() + `"}`},
		{"TICKETS_RESERVED", order.SagaCompleted, ""},
		{"PAYMENT_STARTED", order.SagaPending, `{"attemptKey": "` + o.AttemptKey() + `"}`},
		{"PAYMENT_COMPLETED", order.SagaCompleted, `{"transactionId": "pi_1"}`},
		{"TICKET_GENERATION_FAILED", order.SagaFailed, `{"reason": "INSUFFICIENT_INVENTORY"}`},
		{"REFUND_REQUESTED", order.SagaPending, `{"refundId": "` + r.ID.String() + `", "amount": 100.00,
			"currency": "USD", "reason": "INSUFFICIENT_INVENTORY", "tickets": 0}`},
		{"PAYMENT_REFUNDED", order.SagaCompensated, `{"refundId": "` + r.ID.String() + `", "amount": 100.00,
			"currency": "USD", "gatewayRefundId": "re_1"}`},
	}
	require.Len(t, history, len(want))
	for i, e := range history {
		require.Equal(t, want[i].eventType, e.EventType)
		require.Equal(t, want[i].status, e.Status)
		if want[i].payload != "" {
			require.JSONEq(t, want[i].payload, string(e.Payload))
		}
		require.WithinDuration(t, time.Now(), e.Timestamp, time.Minute)
	}
	var sagaTypes []string
	b.query(t, &sagaTypes, `SELECT array_agg(saga_type ORDER BY position) FROM saga_events`)
	require.Equal(t, []string{
		"TICKET_PURCHASE", "TICKET_PURCHASE", "TICKET_PURCHASE", "TICKET_PURCHASE", "TICKET_PURCHASE",
		"ORDER_REFUND", "ORDER_REFUND",
	}, sagaTypes)

	b.exec(t, `
		INSERT INTO saga_events (saga_id, saga_type, event_type, payload, status)
		SELECT saga_id, 'ORDER_REFUND', 'RETRY_REQUESTED', '{}', 'PENDING' FROM generate_series(1, 999), saga_events s
		WHERE event_type = 'PAYMENT_REFUNDED'`)
	history, err = b.store.History(t.Context(), o.ID)
	require.NoError(t, err)
	require.Len(t, history, 1000)
	require.Equal(t, "PAYMENT_REFUNDED", history[0].EventType, "the last ones, the oldest first")

	none, err := b.store.History(t.Context(), uuid.New())
	require.NoError(t, err)
	require.Empty(t, none)
}

package httpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHistoryListsTheStepsOfAPurchase(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	a := b.get(t, orders+"/"+id+"/history", b.as(t, b.buyer))
	require.Equal(t, http.StatusOK, a.status)
	var got struct {
		OrderID string
		Events  []struct {
			EventType, Status string
			Payload           map[string]any
			Timestamp         time.Time
			Text              string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &got))
	require.Equal(t, id, got.OrderID)
	var types, texts []string
	for i, e := range got.Events {
		types = append(types, e.EventType+" "+e.Status)
		texts = append(texts, e.Text)
		require.NotNil(t, e.Payload)
		require.Equal(t, time.UTC, e.Timestamp.Location())
		require.False(t, i > 0 && e.Timestamp.Before(got.Events[i-1].Timestamp))
	}
	require.Equal(t, []string{
		"ORDER_CREATED COMPLETED", "TICKETS_RESERVED COMPLETED", "PAYMENT_STARTED PENDING",
		"PAYMENT_COMPLETED COMPLETED",
	}, types)
	require.Regexp(t, `^The tickets are held until \d\d:\d\d UTC for 100.00 USD\.$`, texts[1])
	texts[1] = ""
	require.Equal(t, []string{
		"The order was placed.", "", "The payment was started.", "The order was paid.",
	}, texts)
}

// Every type of saga event has a text, and so has an unknown type.
func TestHistoryHasATextForEveryEventType(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	for _, event := range [][2]string{
		{"RESERVATION_REFUSED", `{"reason": "INSUFFICIENT_INVENTORY"}`},
		{"RESERVATION_ABANDONED", `{"reason": "ORDER_ABANDONED"}`},
		{"PAYMENT_DECLINED", `{"reason": "INSUFFICIENT_FUNDS"}`},
		{"PAYMENT_TOO_LATE", `{"transactionId": "pi_1"}`},
		{"RESERVATION_RELEASED", `{"ticketsReleased": 1}`},
		{"TICKETS_GENERATED", `{"tickets": 2}`},
		{"TICKET_GENERATION_FAILED", `{"reason": "INSUFFICIENT_INVENTORY"}`},
		{"REFUND_REQUESTED", `{"amount": 50.00, "currency": "USD", "reason": "Bad view.", "tickets": 1}`},
		{"TICKETS_CANCELLED", `{"amount": 50.00, "currency": "USD", "tickets": 1}`},
		{"PAYMENT_REFUNDED", `{"amount": 50.00, "currency": "USD"}`},
		{"REFUND_FAILED", `{"amount": 50.00, "currency": "USD", "reason": "LOST_OR_STOLEN_CARD"}`},
		{"TICKETS_PRINTED", `null`},
	} {
		_, err := b.pool.Exec(t.Context(), `
			INSERT INTO saga_events (saga_id, saga_type, event_type, payload, status)
			VALUES ($1, 'X', $2, $3, 'COMPLETED')`, id, event[0], event[1])
		require.NoError(t, err)
	}
	history := b.get(t, orders+"/"+id+"/history", b.as(t, b.buyer))
	require.Equal(t, http.StatusOK, history.status, history.body)
	var got struct{ Events []struct{ Text string } }
	require.NoError(t, json.Unmarshal([]byte(history.body), &got))
	var texts []string
	for _, e := range got.Events[4:] {
		texts = append(texts, e.Text)
	}
	require.Equal(t, []string{
		"The tickets could not be reserved: insufficient inventory. Nothing was charged.",
		"The order could not be processed in time and was cancelled. Nothing was charged.",
		"The payment failed: insufficient funds. Nothing was charged.",
		"The card was charged after the order had failed. The charge is refunded.",
		"The hold on 1 ticket was released.",
		"The order has 2 tickets.",
		"The tickets could not be issued: insufficient inventory. The payment is refunded.",
		"A refund of 50.00 USD was requested: Bad view.",
		"The refund cancelled 1 ticket of the order.",
		"50.00 USD was refunded to the card.",
		"The refund of 50.00 USD failed: lost or stolen card.",
		"tickets printed.",
	}, texts)
}

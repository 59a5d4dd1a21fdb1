package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// The buyer sees a dispute in the order and in its history, and the organizer cannot refund meanwhile.
func TestDisputeShowsInTheOrder(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "a", map[string]any{"paymentToken": sagatest.GoodCard}).id(t)
	transaction := b.services.TransactionID(uuid.MustParse(id))
	report := func(status string) {
		t.Helper()
		body := fmt.Sprintf(`{"id": "evt_%s", "type": "charge.dispute.x", "transactionId": %[2]q, "dispute": {
			"disputeId": "dp_1", "transactionId": %[2]q, "amount": 100.00, "currency": "USD", "reason": "FRAUDULENT",
			"status": %[3]q, "openedAt": "2030-01-15T10:30:00Z"}}`, uuid.NewString(), transaction, status)
		a := b.send(t, http.MethodPost, webhookPath, body, signed)
		require.Equal(t, http.StatusOK, a.status, a.body)
	}
	get := func(path string) string {
		a := b.get(t, orders+"/"+id+path, b.as(t, b.buyer))
		require.Equal(t, http.StatusOK, a.status, a.body)
		return a.body
	}
	require.NotContains(t, get(""), "dispute")
	report("OPEN")
	require.Contains(t, get(""), `"disputeStatus":"OPEN","disputedAmount":100.00`)
	require.Contains(t, get(""), `"paymentStatus":"COMPLETED"`)
	require.Contains(t, get("/history"), "disputes the payment of 100.00 USD (fraudulent)")
	report("WON")
	require.Contains(t, get(""), `"disputeStatus":"WON"`)
	require.NotContains(t, get(""), "disputedAmount")
	require.Contains(t, get("/history"), "The tickets are valid again")
	report("LOST")
	require.Contains(t, get("/history"), "The tickets are void")
}

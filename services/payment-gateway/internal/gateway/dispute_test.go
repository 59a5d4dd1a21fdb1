package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/gateway"
)

// disputedCharge makes a charge that is disputed, and returns it with the dispute.
func (b *bundle) disputedCharge(key string) (gateway.Charge, calls.Dispute) {
	b.t.Helper()
	request := chargeRequest("pm_card_createDispute")
	request.AttemptKey = key
	charge, err := b.Charge(b.t.Context(), request)
	require.NoError(b.t, err)
	var found []calls.Dispute
	require.Eventually(b.t, func() bool {
		var err error
		found, _, err = b.Disputes(b.t.Context(), charge.TransactionID, time.Time{}, "")
		require.NoError(b.t, err)
		return len(found) == 1
	}, 10*time.Second, 5*time.Millisecond)
	return charge, found[0]
}

// decide ends a dispute with the evidence.
func (b *bundle) decide(id, evidence string) {
	b.t.Helper()
	form := url.Values{"evidence[uncategorized_text]": {evidence}, "submit": {"true"}}
	request, err := http.NewRequestWithContext(
		b.t.Context(), http.MethodPost, b.url+"/v1/disputes/"+id, strings.NewReader(form.Encode()))
	require.NoError(b.t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	require.NoError(b.t, response.Body.Close())
	require.Equal(b.t, http.StatusOK, response.StatusCode)
}

func TestDisputesAreListed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(simulator.Faults{SettleMs: 1})
	first, opened := b.disputedCharge("attempt-1")
	require.Equal(t, calls.Dispute{
		DisputeID: opened.DisputeID, TransactionID: first.TransactionID, Amount: "150.00", Currency: "USD",
		Reason: "FRAUDULENT", Status: calls.DisputeOpen, OpenedAt: opened.OpenedAt,
	}, opened)
	require.WithinDuration(t, time.Now(), opened.OpenedAt, time.Minute)

	_, second := b.disputedCharge("attempt-2")
	b.decide(opened.DisputeID, "losing_evidence")
	b.decide(second.DisputeID, "winning_evidence")
	all, next, err := b.Disputes(t.Context(), "", time.Now().Add(-time.Hour), "")
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, all, 2)
	require.Equal(t, second.DisputeID, all[0].DisputeID, "the newest first")
	require.Equal(t, calls.DisputeWon, all[0].Status)
	require.Equal(t, calls.DisputeLost, all[1].Status)

	rest, _, err := b.Disputes(t.Context(), "", time.Time{}, second.DisputeID)
	require.NoError(t, err)
	require.Len(t, rest, 1)
	none, _, err := b.Disputes(t.Context(), "", time.Now().Add(time.Hour), "")
	require.NoError(t, err)
	require.Empty(t, none)

	b.faults(simulator.Faults{Fail: -1})
	_, _, err = b.Disputes(t.Context(), "", time.Time{}, "")
	require.ErrorIs(t, err, gateway.ErrUnavailable)
}

// The account may have disputes of others. One that cannot be read does not hide those after it.
func TestUnreadableDisputeDoesNotHideOthers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"object": "list", "has_more": false, "url": "/v1/disputes", "data": [
			{"id": "dp_1", "object": "dispute", "payment_intent": "pi_1", "status": "lost",
				"amount": 1, "currency": "zzz"},
			{"id": "dp_2", "object": "dispute", "payment_intent": "pi_2", "status": "lost",
				"amount": 100, "currency": "usd"}]}`))
	}))
	t.Cleanup(server.Close)
	page, next, err := newGateway(t, server.URL).Disputes(t.Context(), "", time.Time{}, "")
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, page, 1)
	require.Equal(t, "dp_2", page[0].DisputeID)
}

func TestDisputedChargeIsNotRefunded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(simulator.Faults{SettleMs: 1})
	charge, opened := b.disputedCharge("attempt-1")
	refund := func(key string) gateway.Refund {
		r, err := b.Refund(t.Context(), key, charge.TransactionID, money.Of(15000, "USD"), "Cannot come")
		require.NoError(t, err)
		return r
	}
	refused := refund("refund-1")
	require.Equal(t, gateway.Failed, refused.Status)
	require.Equal(t, calls.FailureChargeDisputed, refused.FailureCode)
	b.decide(opened.DisputeID, "winning_evidence")
	require.Equal(t, gateway.Succeeded, refund("refund-2").Status)
}

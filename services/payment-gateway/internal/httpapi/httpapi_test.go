package httpapi_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/gateway"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/httpapi"
)

var serviceSecret = []byte("service secret of this test")

const (
	appToken      = "app-api-token"
	webhookSecret = "whsec_test"
)

// bundle is the service over HTTP, which calls a simulated Stripe.
type bundle struct {
	t         *testing.T
	url       string
	simulator string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	sim, err := simulator.Open(t.TempDir(), "", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	stripe := httptest.NewServer(sim.Handler())
	cards, err := gateway.New(stripe.URL, "sk_test_123")
	require.NoError(t, err)
	server := httptest.NewServer(httpapi.New(httpapi.Deps{
		Cards: cards, Webhooks: gateway.Webhooks{Secret: webhookSecret},
		Guard: identity.Guard{ServiceSecret: serviceSecret, AppAPIToken: appToken},
	}))
	t.Cleanup(func() {
		server.Close()
		stripe.Close()
		require.NoError(t, sim.Close())
	})
	return &bundle{t: t, url: server.URL, simulator: stripe.URL}
}

// as sends a request as the named service.
func (b *bundle) as(service, method, path, body string) (int, map[string]any) {
	b.t.Helper()
	token, err := identity.SignServiceToken(serviceSecret, service)
	require.NoError(b.t, err)
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	request.Header.Set("X-Service-Token", token)
	request.Header.Set("X-Service-Name", service)
	request.Header.Set("dapr-api-token", appToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	require.NoError(b.t, json.NewDecoder(response.Body).Decode(&answer))
	return response.StatusCode, answer
}

const (
	charges = "/api/gateway/internal/charges"
	refunds = "/api/gateway/internal/refunds"
	verify  = "/api/gateway/internal/webhooks/verify"

	disputes = "/api/gateway/internal/disputes"
)

// chargeBody returns a valid charge request, with the given pairs of field and raw JSON value changed.
func chargeBody(pairs ...string) string {
	fields := map[string]json.RawMessage{
		"attemptKey":     json.RawMessage(`"attempt-1"`),
		"attemptedSince": json.RawMessage(`"2024-01-15T10:30:00Z"`),
		"orderId":        json.RawMessage(`"cc0e8400-e29b-41d4-a716-446655440000"`),
		"amount":         json.RawMessage(`150.00`),
		"currency":       json.RawMessage(`"USD"`),
		"paymentToken":   json.RawMessage(`"pm_card_visa"`),
		"description":    json.RawMessage(`"ORD-2026-000001"`),
	}
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(body)
}

func TestChargeSettleAndRefund(t *testing.T) {
	t.Parallel()
	b := setup(t)

	status, charged := b.as("payment-service", http.MethodPost, charges, chargeBody())
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "SUCCEEDED", charged["status"])
	require.Equal(t, "attempt-1", charged["attemptKey"])
	require.Equal(t, false, charged["retryable"])

	status, settled := b.as("payment-service", http.MethodPost, charges+"/settle", chargeBody())
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, charged, settled)

	status, missing := b.as("payment-service", http.MethodPost, charges+"/settle", chargeBody("attemptKey", `"attempt-2"`))
	require.Equal(t, http.StatusOK, status, "an attempt without a charge is an outcome")
	require.Equal(t, "NOT_FOUND", missing["status"])

	body := fmt.Sprintf(`{"refundKey":"refund-1","transactionId":%q,"amount":150.00,"currency":"USD",
		"reason":"TICKET_GENERATION_FAILED"}`, charged["transactionId"])
	status, refunded := b.as("payment-service", http.MethodPost, refunds, body)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "SUCCEEDED", refunded["status"])
	require.NotEmpty(t, refunded["refundId"])
}

func TestDeclineIsAnOutcome(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ field, value, code string }{
		"ByTheBank": {
			"paymentToken", `"pm_card_visa_chargeDeclinedInsufficientFunds"`, "INSUFFICIENT_FUNDS",
		},
		"UnknownPaymentMethod": {"paymentToken", `"pm_card_unknown"`, "UNKNOWN_PAYMENT_METHOD"},
		"CardNumber":           {"paymentToken", `"4242424242424242"`, "UNKNOWN_PAYMENT_METHOD"},
		"BelowStripesMinimum":  {"amount", `0.49`, "UNSUPPORTED_AMOUNT"},
		"AboveStripesMaximum":  {"amount", `1000000.00`, "UNSUPPORTED_AMOUNT"},
		"CurrencyWithoutCards": {"currency", `"CUP"`, "UNSUPPORTED_CURRENCY"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t) // one for each, because the bodies have the same attempt key
			status, answer := b.as("payment-service", http.MethodPost, charges, chargeBody(tt.field, tt.value))
			require.Equal(t, http.StatusOK, status, answer)
			require.Equal(t, "DECLINED", answer["status"])
			require.Equal(t, tt.code, answer["declineCode"])
			require.NotEmpty(t, answer["message"])
			require.NotContains(t, answer["message"], "4242")
		})
	}
}

func TestInvalidRequestsAreRejected(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := `"` + strings.Repeat("x", 501) + `"`
	for name, tt := range map[string]struct{ method, path, body, field string }{
		"NoKey":               {path: charges, body: chargeBody("attemptKey", `""`), field: "attemptKey"},
		"KeyWithAQuote":       {path: charges, body: chargeBody("attemptKey", `"a' OR 'b"`), field: "attemptKey"},
		"NoTime":              {path: charges, body: chargeBody("attemptedSince", `""`), field: "attemptedSince"},
		"OrderIDIsNoUUID":     {path: charges, body: chargeBody("orderId", `"1"`), field: "orderId"},
		"NoAmount":            {path: charges, body: chargeBody("amount", `null`), field: "amount"},
		"Zero":                {path: charges, body: chargeBody("amount", `0`), field: "amount"},
		"Negative":            {path: charges, body: chargeBody("amount", `-1`), field: "amount"},
		"TooPrecise":          {path: charges, body: chargeBody("amount", `1.001`), field: "amount"},
		"CurrencyInLowerCase": {path: charges, body: chargeBody("currency", `"usd"`), field: "currency"},
		"LongDescription":     {path: charges, body: chargeBody("description", long), field: "description"},
		"LongReturnURL":       {path: charges, body: chargeBody("returnUrl", long), field: "returnUrl"},
		"DisputesOfACharge":   {method: http.MethodGet, path: disputes + "?transactionId=ch_1", field: "transactionId"},
		"DisputesSinceNever":  {method: http.MethodGet, path: disputes + "?since=yesterday", field: "since"},
		"DisputesAfterNone":   {method: http.MethodGet, path: disputes + "?after=1%27", field: "after"},
		"SettleWithoutKey":    {path: charges + "/settle", body: chargeBody("attemptKey", `""`), field: "attemptKey"},
		"SettleWithoutTime": {
			path: charges + "/settle", body: chargeBody("attemptedSince", `""`), field: "attemptedSince",
		},
		"RefundWithoutKey": {
			path: refunds, body: `{"transactionId":"pi_none","amount":1,"currency":"USD"}`, field: "refundKey",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, answer := b.as("payment-service", cmp.Or(tt.method, http.MethodPost), tt.path, tt.body)
			require.Equal(t, http.StatusBadRequest, status, answer)
			require.Equal(t, "VALIDATION_ERROR", answer["error"])
			require.Equal(t, tt.field, answer["field"])
		})
	}
	t.Run("MalformedJSON", func(t *testing.T) {
		t.Parallel()
		status, answer := b.as("payment-service", http.MethodPost, charges, `{`)
		require.Equal(t, http.StatusBadRequest, status, answer)
		require.Equal(t, "MALFORMED_JSON", answer["error"])
	})
	t.Run("RefundOfAnUnknownTransaction", func(t *testing.T) {
		t.Parallel()
		status, answer := b.as("payment-service", http.MethodPost, refunds,
			`{"refundKey":"r","transactionId":"pi_none","amount":1,"currency":"USD"}`)
		require.Equal(t, http.StatusNotFound, status, answer)
		require.Equal(t, "UNKNOWN_TRANSACTION", answer["error"])
		require.Equal(t, "transactionId", answer["field"])
	})
}

func TestStripeUnavailable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.simulator+"/_faults",
		strings.NewReader(`{"fail":-1,"status":500}`))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	status, answer := b.as("payment-service", http.MethodPost, charges, chargeBody())
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "PAYMENT_GATEWAY_UNAVAILABLE", answer["error"])
	status, _ = b.as("payment-service", http.MethodGet, "/actuator/health", "")
	require.Equal(t, http.StatusOK, status, "the service is healthy without Stripe")
}

func TestOnlyPaymentServiceMayCall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, answer := b.as("ticket-service", http.MethodPost, charges, chargeBody())
	require.Equal(t, http.StatusForbidden, status)
	require.Equal(t, "SERVICE_FORBIDDEN", answer["error"])

	for _, path := range []string{charges, refunds, verify} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path,
			strings.NewReader(chargeBody()))
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	}
}

// A forged webhook is an outcome too, and a genuine one is translated to a charge.
func TestVerifyWebhook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := `{"id": "evt_1", "object": "event", "type": "payment_intent.payment_failed", "data": {"object": {
		"id": "pi_1", "object": "payment_intent", "status": "requires_payment_method",
		"metadata": {"attempt_key": "attempt-1", "order_id": "cc0e8400-e29b-41d4-a716-446655440000"},
		"last_payment_error": {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds",
			"message": "Your card has insufficient <funds> & \u00e5."}}}}`
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: webhookSecret})
	verifyWebhook := func(body, signature string) (int, map[string]any) {
		request, err := json.Marshal(map[string]string{"payload": body, "signature": signature})
		require.NoError(t, err)
		return b.as("payment-service", http.MethodPost, verify, string(request))
	}

	status, answer := verifyWebhook(body, signed.Header)
	require.Equal(t, http.StatusOK, status, answer)
	require.Equal(t, map[string]any{"verified": true, "event": map[string]any{
		"id": "evt_1", "type": "payment_intent.payment_failed", "attemptKey": "attempt-1",
		"orderId": "cc0e8400-e29b-41d4-a716-446655440000", "transactionId": "pi_1", "status": "DECLINED",
		"declineCode": "INSUFFICIENT_FUNDS", "message": "Your card has insufficient <funds> & å.",
	}}, answer)

	for range 20 { // as many failures would open a circuit breaker
		status, answer = verifyWebhook(body+" ", signed.Header)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, map[string]any{"verified": false}, answer)
	}

	large := `{"id": "evt_2", "type": "x", "description": "` + strings.Repeat("<", web.MaxBody-100) + `"}`
	signed = webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(large), Secret: webhookSecret})
	status, answer = verifyWebhook(large, signed.Header)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, map[string]any{"verified": true, "event": map[string]any{"id": "evt_2", "type": "x"}}, answer)

	status, answer = b.as("payment-service", http.MethodPost, verify, `{"payload": 7}`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "VALIDATION_ERROR", answer["error"])
	status, _ = b.as("ticket-service", http.MethodPost, verify, `{}`)
	require.Equal(t, http.StatusForbidden, status)
}

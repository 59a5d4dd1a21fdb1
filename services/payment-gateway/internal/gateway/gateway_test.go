package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-mock/embedded"
	mock "github.com/stripe/stripe-mock/server"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/gateway"
)

const key = "sk_test_123"

// bundle is a Gateway that calls a simulated Stripe.
type bundle struct {
	*gateway.Gateway
	t   *testing.T
	url string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	sim, err := simulator.Open(t.TempDir(), "", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		server.Close()
		require.NoError(t, sim.Close())
	})
	return &bundle{Gateway: newGateway(t, server.URL), t: t, url: server.URL}
}

func newGateway(t *testing.T, url string) *gateway.Gateway {
	t.Helper()
	g, err := gateway.New(url, key)
	require.NoError(t, err)
	return g
}

// faults sets the simulator's faults.
func (b *bundle) faults(faults simulator.Faults) {
	b.t.Helper()
	body, err := json.Marshal(faults)
	require.NoError(b.t, err)
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodPut, b.url+"/_faults", bytes.NewReader(body))
	require.NoError(b.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	require.NoError(b.t, response.Body.Close())
	require.Equal(b.t, http.StatusOK, response.StatusCode)
}

// charges returns the charges that the simulator stores.
func (b *bundle) charges() []simulator.Charge {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+"/_charges", nil)
	require.NoError(b.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	defer func() { _ = response.Body.Close() }()
	var stored struct{ Charges []simulator.Charge }
	require.NoError(b.t, json.NewDecoder(response.Body).Decode(&stored))
	return stored.Charges
}

func chargeRequest(token string) gateway.ChargeRequest {
	return gateway.ChargeRequest{
		AttemptKey:     "attempt-1",
		AttemptedSince: time.Now(),
		OrderID:        "cc0e8400-e29b-41d4-a716-446655440000",
		Amount:         money.Of(15000, "USD"),
		PaymentToken:   token,
		Description:    "ORD-2026-000001",
	}
}

// loadMock builds stripe-mock once, because compiling its OpenAPI document takes a second or two.
var loadMock = sync.OnceValues(func() (http.Handler, error) {
	spec, err := mock.LoadSpec(embedded.OpenAPISpec, "")
	if err != nil {
		return nil, err
	}
	fixtures, err := mock.LoadFixtures(embedded.OpenAPIFixtures, "")
	if err != nil {
		return nil, err
	}
	stub, err := mock.NewStubServer(fixtures, spec, false, false)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(stub.HandleRequest), nil
})

// TestRequestsMatchStripesAPI sends every request of this package to the simulator, which behaves like Stripe, and to
// stripe-mock, which validates requests against Stripe's published OpenAPI document and responds with its fixtures. A
// request that passes both is valid for the real API.
func TestRequestsMatchStripesAPI(t *testing.T) {
	t.Parallel()
	handler, err := loadMock()
	require.NoError(t, err)
	stripeMock := httptest.NewServer(handler)
	t.Cleanup(stripeMock.Close)

	servers := map[string]func(t *testing.T) *gateway.Gateway{
		"Simulator":  func(t *testing.T) *gateway.Gateway { t.Helper(); return setup(t).Gateway },
		"StripeMock": func(t *testing.T) *gateway.Gateway { t.Helper(); return newGateway(t, stripeMock.URL) },
	}
	calls := map[string]func(t *testing.T, g *gateway.Gateway){
		"Charge": func(t *testing.T, g *gateway.Gateway) {
			t.Helper()
			charge, err := g.Charge(t.Context(), chargeRequest("pm_card_visa"))
			require.NoError(t, err)
			require.NotEmpty(t, charge.TransactionID)
		},
		"Settle": func(t *testing.T, g *gateway.Gateway) {
			t.Helper()
			charge, err := g.Settle(t.Context(), chargeRequest("pm_card_visa"))
			require.NoError(t, err)
			require.Equal(t, "attempt-1", charge.AttemptKey)
		},
		"SettleAfterADay": func(t *testing.T, g *gateway.Gateway) {
			t.Helper()
			request := chargeRequest("pm_card_visa")
			request.AttemptedSince = time.Now().Add(-48 * time.Hour)
			_, err := g.Settle(t.Context(), request)
			require.NoError(t, err)
		},
		"Refund": func(t *testing.T, g *gateway.Gateway) {
			t.Helper()
			charge, err := g.Charge(t.Context(), chargeRequest("pm_card_visa"))
			require.NoError(t, err)
			refund, err := g.Refund(t.Context(), "refund-1", charge.TransactionID, money.Of(100, "USD"), "Bad view")
			require.NoError(t, err)
			require.NotEmpty(t, refund.RefundID)
		},
		"Disputes": func(t *testing.T, g *gateway.Gateway) {
			t.Helper()
			_, next, err := g.Disputes(t.Context(), "pi_1", time.Now().Add(-time.Hour), "")
			require.NoError(t, err)
			require.Empty(t, next)
		},
	}
	for server, connect := range servers {
		for name, call := range calls {
			t.Run(server+name, func(t *testing.T) {
				t.Parallel()
				call(t, connect(t))
			})
		}
	}

	// The test would prove nothing if stripe-mock accepted everything.
	t.Run("StripeMockRejectsAnUnknownParameter", func(t *testing.T) {
		t.Parallel()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, stripeMock.URL+"/v1/payment_intents",
			strings.NewReader("amount=100&currency=usd&attempt=1"))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+key)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusBadRequest, response.StatusCode)
	})
}

func TestCharge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		token     string
		status    gateway.Status
		code      string
		retryable bool
	}{
		"Visa":           {token: "pm_card_visa", status: gateway.Succeeded},
		"Mastercard":     {token: "pm_card_mastercard", status: gateway.Succeeded},
		"GenericDecline": {token: "pm_card_visa_chargeDeclined", status: gateway.Declined, code: "GENERIC_DECLINE"},
		"InsufficientFunds": {
			token: "pm_card_visa_chargeDeclinedInsufficientFunds", status: gateway.Declined, code: "INSUFFICIENT_FUNDS",
		},
		"ExpiredCard": {
			token: "pm_card_chargeDeclinedExpiredCard", status: gateway.Declined, code: "EXPIRED_CARD",
		},
		"ProcessingError": {
			token: "pm_card_chargeDeclinedProcessingError", status: gateway.Declined, code: "PROCESSING_ERROR",
			retryable: true,
		},
		"StolenCardIsAGenericDecline": {
			token: "pm_card_visa_chargeDeclinedStolenCard", status: gateway.Declined, code: "GENERIC_DECLINE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)

			got, err := b.Charge(t.Context(), chargeRequest(tt.token))
			require.NoError(t, err)
			require.Equal(t, tt.status, got.Status)
			require.Equal(t, tt.code, got.DeclineCode)
			require.Equal(t, tt.retryable, got.Retryable)
			require.Equal(t, tt.status == gateway.Declined, got.Message != "")
			require.NotEmpty(t, got.TransactionID)

			again, err := b.Charge(t.Context(), chargeRequest(tt.token))
			require.NoError(t, err)
			require.Equal(t, got, again, "repeating the request returns the first outcome")
			settled, err := b.Settle(t.Context(), chargeRequest(tt.token))
			require.NoError(t, err)
			require.Equal(t, got, settled, "settling returns the outcome of the charge")
			require.Len(t, b.charges(), 1)
			require.Equal(t, "cc0e8400-e29b-41d4-a716-446655440000", b.charges()[0].Metadata["order_id"])
		})
	}
}

func TestChargeErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*gateway.ChargeRequest)
		want   error
	}{
		"UnknownPaymentMethod": {
			change: func(r *gateway.ChargeRequest) { r.PaymentToken = "pm_card_unknown" },
			want:   gateway.ErrUnknownPaymentMethod,
		},
		"TooSmall": {change: func(r *gateway.ChargeRequest) { r.Amount.Minor = 49 }, want: gateway.ErrAmount},
		"TooLarge": {change: func(r *gateway.ChargeRequest) { r.Amount.Minor = 100_000_000 }, want: gateway.ErrAmount},
		"Currency": {change: func(r *gateway.ChargeRequest) { r.Amount.Currency = "CUP" }, want: gateway.ErrCurrency},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			request := chargeRequest("pm_card_visa")
			tt.change(&request)

			_, err := b.Charge(t.Context(), request)

			require.ErrorIs(t, err, tt.want)
			require.Empty(t, b.charges())
		})
	}

	t.Run("KeyReused", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.NoError(t, err)
		_, err = b.Charge(t.Context(), chargeRequest("pm_card_mastercard"))
		require.ErrorIs(t, err, gateway.ErrKeyReused)
	})

	t.Run("Misconfigured", func(t *testing.T) {
		t.Parallel()
		g, err := gateway.New(setup(t).url, "pk_test_publishable")
		require.NoError(t, err)
		_, err = g.Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.ErrorIs(t, err, gateway.ErrMisconfigured)
	})
}

// brokenStripe returns a Gateway that calls a Stripe which creates nothing: it answers every POST with status and
// replays that for the same idempotency key. Its list has an endless number of pages of others, which are
// PaymentIntents, or none if others is nil. Its search index is empty.
func brokenStripe(t *testing.T, status int, others []any) *gateway.Gateway {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{"object": "list", "data": []any{}, "has_more": false}
		switch {
		case r.Method == http.MethodPost:
			answer = map[string]any{"error": map[string]string{"type": "api_error", "message": "Sorry"}}
			mu.Lock()
			defer mu.Unlock()
			if key := r.Header.Get("Idempotency-Key"); seen[key] {
				w.Header().Set("Idempotent-Replayed", "true")
			} else {
				seen[key] = true
			}
			w.WriteHeader(status)
		case r.URL.Path == "/v1/payment_intents" && others != nil:
			answer["data"], answer["has_more"] = others, true
		}
		assert.NoError(t, json.NewEncoder(w).Encode(answer))
	}))
	t.Cleanup(server.Close)
	return newGateway(t, server.URL)
}

// TestRepeatedChargeFindsTheOutcome is the central promise: whatever happened to the first response, repeating the
// charge returns its outcome, and the card is charged once.
func TestRepeatedChargeFindsTheOutcome(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]simulator.Faults{
		"ResponseLost":          {LoseAnswer: 1},
		"Unavailable":           {Fail: 1, Status: http.StatusServiceUnavailable},
		"FailedBeforeTheCharge": {Fail: 1, Status: http.StatusInternalServerError},
		"RateLimited":           {Fail: 1, Status: http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.faults(faults)

			_, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
			require.ErrorIs(t, err, gateway.ErrUnavailable)

			got, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
			require.NoError(t, err)
			require.Equal(t, gateway.Succeeded, got.Status)
			require.Len(t, b.charges(), 1)
		})
	}

	t.Run("KeyInUse", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.faults(simulator.Faults{DelayMs: 300})
		var both sync.WaitGroup
		errs := make([]error, 2)
		for i := range errs {
			both.Go(func() { _, errs[i] = b.Charge(t.Context(), chargeRequest("pm_card_visa")) })
		}
		both.Wait()
		require.True(t, (errs[0] == nil) != (errs[1] == nil), "one of two concurrent requests is rejected: %v", errs)
		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, gateway.ErrUnavailable)
			}
		}
		require.Len(t, b.charges(), 1)
	})

	// Stripe failed after the charge and saved its error under the key, so every repetition receives that error.
	for name, tt := range map[string]struct {
		token  string
		lag    int
		status gateway.Status
		code   string
	}{
		"ReplayedErrorAfterACharge": {"pm_card_visa", 0, gateway.Succeeded, ""},
		"ReplayedErrorAfterADecline": {
			"pm_card_visa_chargeDeclinedInsufficientFunds", 0, gateway.Declined, "INSUFFICIENT_FUNDS",
		},
		"ReplayedErrorAfterAChargeThatIsNotIndexedYet": {"pm_card_visa", 60_000, gateway.Succeeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.faults(simulator.Faults{FailAfter: 1, SearchLagMs: tt.lag})
			_, err := b.Charge(t.Context(), chargeRequest(tt.token))
			require.ErrorIs(t, err, gateway.ErrUnavailable)
			for range 2 {
				got, err := b.Charge(t.Context(), chargeRequest(tt.token))
				require.NoError(t, err)
				require.Equal(t, tt.status, got.Status)
				require.Equal(t, tt.code, got.DeclineCode)
			}
			require.Len(t, b.charges(), 1)
		})
	}

	t.Run("ReplayedErrorWithoutACharge", func(t *testing.T) {
		t.Parallel()
		broken := brokenStripe(t, http.StatusInternalServerError, nil)
		_, err := broken.Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.ErrorIs(t, err, gateway.ErrUnavailable, "the outcome of the first request is unknown")
		got, err := broken.Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.NoError(t, err)
		require.Equal(t, gateway.Declined, got.Status)
		require.Equal(t, "PROCESSING_ERROR", got.DeclineCode)
		require.True(t, got.Retryable)
	})

	t.Run("ReplayedErrorAndAListTooLongToRead", func(t *testing.T) {
		t.Parallel()
		others := make([]any, 100)
		for i := range others {
			others[i] = map[string]any{
				"id": fmt.Sprint("pi_", i), "object": "payment_intent",
				"metadata": map[string]string{"attempt_key": "other"},
			}
		}
		broken := brokenStripe(t, http.StatusInternalServerError, others)
		for range 2 {
			_, err := broken.Charge(t.Context(), chargeRequest("pm_card_visa"))
			require.ErrorIs(t, err, gateway.ErrUnavailable)
		}
		_, err := broken.Settle(t.Context(), chargeRequest("pm_card_visa"))
		require.ErrorIs(t, err, gateway.ErrUnavailable, "the list was not read to its end")
	})

	// Stripe replays refusals as well. They are final, so there is no need to look up what the first request did.
	t.Run("ReplayedRefusal", func(t *testing.T) {
		t.Parallel()
		broken := brokenStripe(t, http.StatusBadRequest, nil)
		for range 2 {
			_, err := broken.Charge(t.Context(), chargeRequest("pm_card_visa"))
			require.ErrorIs(t, err, gateway.ErrRefused)
		}
	})

	t.Run("ConnectionRefused", func(t *testing.T) {
		t.Parallel()
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		_, err := newGateway(t, gone.URL).Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.ErrorIs(t, err, gateway.ErrUnavailable)
	})

	t.Run("NotStripesAPI", func(t *testing.T) {
		t.Parallel()
		other := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(other.Close)
		_, err := newGateway(t, other.URL).Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.ErrorIs(t, err, gateway.ErrUnavailable)
	})
}

func TestRefund(t *testing.T) {
	t.Parallel()
	b := setup(t)
	charge, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
	require.NoError(t, err)
	refund := func(key string, minor int64) (gateway.Refund, error) {
		return b.Refund(t.Context(), key, charge.TransactionID, money.Of(minor, "USD"), "EVENT_CANCELLED")
	}

	part, err := refund("refund-1", 5000)
	require.NoError(t, err)
	require.Equal(t, gateway.Succeeded, part.Status)
	again, err := refund("refund-1", 5000)
	require.NoError(t, err)
	require.Equal(t, part, again)
	_, err = refund("refund-1", 4000)
	require.ErrorIs(t, err, gateway.ErrKeyReused)

	tooMuch, err := refund("refund-2", 10001)
	require.NoError(t, err)
	require.Equal(t, gateway.Failed, tooMuch.Status)
	require.Equal(t, "EXCEEDS_CHARGE", tooMuch.FailureCode)

	b.faults(simulator.Faults{LoseAnswer: 1})
	_, err = refund("refund-3", 10000)
	require.ErrorIs(t, err, gateway.ErrUnavailable)
	rest, err := refund("refund-3", 10000)
	require.NoError(t, err)
	require.Equal(t, gateway.Succeeded, rest.Status)

	over, err := refund("refund-4", 1)
	require.NoError(t, err)
	require.Equal(t, "ALREADY_REFUNDED", over.FailureCode)
	require.EqualValues(t, 15000, b.charges()[0].AmountRefunded)

	_, err = b.Refund(t.Context(), "refund-5", "pi_none", money.Of(1, "USD"), "")
	require.ErrorIs(t, err, gateway.ErrUnknownTransaction)
}

func TestNew(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ base, key, wrong string }{
		"Stripe":          {key: "sk_live_x"},
		"Simulator":       {base: "http://127.0.0.1:12111", key: key},
		"NotAURL":         {base: "localhost:12111", key: key, wrong: "STRIPE_API_BASE"},
		"LiveKeyOverHTTP": {base: "http://127.0.0.1:12111", key: "sk_live_x", wrong: "STRIPE_API_BASE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := gateway.New(tt.base, tt.key)
			if tt.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.wrong, "the error names the variable")
		})
	}
}

func TestRefundBeyondTheBalanceIsDeferred(t *testing.T) {
	t.Parallel()
	b := setup(t)
	charge, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
	require.NoError(t, err)
	b.faults(simulator.Faults{LackBalance: 1})
	refund := func() gateway.Refund {
		made, err := b.Refund(t.Context(), "refund-1", charge.TransactionID, money.Of(5000, "USD"), "Ill")
		require.NoError(t, err)
		return made
	}
	deferred := refund()
	require.Equal(t, gateway.Deferred, deferred.Status)
	require.Equal(t, "INSUFFICIENT_BALANCE", deferred.FailureCode)
	require.Equal(t, gateway.Succeeded, refund().Status, "the same request succeeds later")
}

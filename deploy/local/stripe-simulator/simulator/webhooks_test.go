package simulator_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
)

const webhookSecret = "whsec_test"

// endpoint is a simulator with a webhook endpoint.
type endpoint struct {
	*bundle

	mu     sync.Mutex
	refuse int // how many more events to refuse
	events []stripe.Event
}

// listen starts an endpoint. It verifies each signature with stripe-go.
func listen(t *testing.T) *endpoint {
	t.Helper()
	b, sim := serveWith(t, t.TempDir())
	e := &endpoint{bundle: b}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.refuse > 0 {
			e.refuse--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		event, err := webhook.ConstructEvent(body, r.Header.Get("Stripe-Signature"), webhookSecret)
		if err != nil {
			t.Errorf("stripe-go refuses the event: %v", err)
			return
		}
		e.events = append(e.events, event)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	run := sim.Webhooks(simulator.Endpoint{URL: server.URL, Secret: webhookSecret})
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		server.Close()
	})
	return e
}

// wait waits for n events and returns their types.
func (e *endpoint) wait(n int) []string {
	e.t.Helper()
	var types []string
	require.Eventually(e.t, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		types = nil
		for _, event := range e.events {
			types = append(types, string(event.Type))
		}
		return len(types) >= n
	}, 20*time.Second, 5*time.Millisecond)
	return types
}

func TestWebhooksAreSignedAndSentOnce(t *testing.T) {
	t.Parallel()
	e := listen(t)
	pi := text(e.do(http.MethodPost, "/v1/payment_intents", "key", charge("pm_card_visa")).body["id"])
	require.Equal(t, []string{"payment_intent.succeeded"}, e.wait(1))
	e.do(http.MethodPost, "/v1/payment_intents", "key", charge("pm_card_visa")) // a replay sends no event
	e.do(http.MethodPost, "/v1/payment_intents", "", charge("pm_card_unknown"))
	e.do(http.MethodPost, "/v1/refunds", "", url.Values{"payment_intent": {pi}, "amount": {"5000"}})
	require.ElementsMatch(t, []string{"payment_intent.succeeded", "refund.created", "charge.refunded"}, e.wait(3))
	e.do(http.MethodPost, "/v1/payment_intents", "", charge("pm_card_visa_chargeDeclined"))
	require.Contains(t, e.wait(4), "payment_intent.payment_failed")

	require.Equal(t, "key", e.events[0].Request.IdempotencyKey)
	for _, event := range e.events {
		switch event.Type {
		case "payment_intent.succeeded":
			var intent stripe.PaymentIntent
			require.NoError(t, json.Unmarshal(event.Data.Raw, &intent))
			require.Equal(t, pi, intent.ID)
			require.Equal(t, "attempt-1", intent.Metadata["attempt_key"])
		case "charge.refunded":
			var ch stripe.Charge
			require.NoError(t, json.Unmarshal(event.Data.Raw, &ch))
			require.Equal(t, pi, ch.PaymentIntent.ID)
			require.EqualValues(t, 5000, ch.AmountRefunded)
			require.False(t, ch.Refunded)
		case "refund.created":
			var refund stripe.Refund
			require.NoError(t, json.Unmarshal(event.Data.Raw, &refund))
			require.Equal(t, pi, refund.PaymentIntent.ID)
		case "payment_intent.payment_failed":
			var intent stripe.PaymentIntent
			require.NoError(t, json.Unmarshal(event.Data.Raw, &intent))
			require.Equal(t, stripe.ErrorCodeCardDeclined, intent.LastPaymentError.Code)
		default:
			t.Errorf("unexpected event %s", event.Type)
		}
	}
}

func TestFaultsLoseRepeatAndDelayWebhooks(t *testing.T) {
	t.Parallel()
	e := listen(t)
	pay := func() { e.do(http.MethodPost, "/v1/payment_intents", "", charge("pm_card_visa")) }
	e.faults(`{"loseWebhook":1,"repeatWebhook":1}`)
	pay()
	pay()
	e.wait(2)
	require.Equal(t, e.events[0].ID, e.events[1].ID, "the second event is sent twice")
	require.EqualValues(t, 1, e.do(http.MethodGet, "/_counters", "", nil).body["webhooksLost"])

	e.faults(`{"webhookDelayMs":80}`)
	begin := time.Now()
	pay()
	e.wait(3)
	require.GreaterOrEqual(t, time.Since(begin), 80*time.Millisecond)

	// A charge whose answer is lost still sends its event.
	e.faults(`{"loseAnswer":1}`)
	_, err := e.try(http.MethodPost, "/v1/payment_intents", "", charge("pm_card_visa"))
	require.Error(t, err)
	e.wait(4)

	e.mu.Lock()
	e.refuse = 1
	e.mu.Unlock()
	pay()
	e.wait(5)
}

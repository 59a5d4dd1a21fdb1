package gateway_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/gateway"
)

const webhookSecret = "whsec_test"

var hooks = gateway.Webhooks{Secret: webhookSecret}

// sign gives the header Stripe-Signature that a holder of the secret makes.
func sign(body, secret string, at time.Time) string {
	return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: secret, Timestamp: at}).Header
}

// event is a webhook's body about the object.
func event(eventType, object string) string {
	return fmt.Sprintf(`{"id": "evt_1", "object": "event", "api_version": "2020-08-27", "created": 1705314600, "livemode": false,
		"pending_webhooks": 1, "request": {"id": "req_1", "idempotency_key": "attempt-1"}, "type": %q, "data": {"object": %s}}`, eventType, object)
}

const intent = `"id": "pi_1", "object": "payment_intent", "metadata": {"attempt_key": "attempt-1", "order_id": "order-1"}`

// What Stripe says is told in the words that the answer to a charge has.
func TestReadWebhook(t *testing.T) {
	t.Parallel()
	ours := func(c gateway.Charge) gateway.Event {
		c.AttemptKey, c.TransactionID = "attempt-1", "pi_1"
		return gateway.Event{Charge: c, OrderID: "order-1"}
	}
	for name, tt := range map[string]struct {
		eventType, object string
		want              gateway.Event
	}{
		"Succeeded": {"payment_intent.succeeded", `{` + intent + `, "status": "succeeded"}`, ours(gateway.Charge{Status: gateway.Succeeded})},
		"Failed": {
			"payment_intent.payment_failed",
			`{` + intent + `, "status": "requires_payment_method", "last_payment_error": {"type": "card_error", "code": "expired_card", "message": "Your card has expired."}}`,
			ours(gateway.Charge{Status: gateway.Declined, DeclineCode: "EXPIRED_CARD", Message: "Your card has expired."}),
		},
		"StolenIsNotTold": {
			"payment_intent.payment_failed",
			`{` + intent + `, "status": "requires_payment_method", "last_payment_error": {"type": "card_error", "code": "card_declined", "decline_code": "stolen_card", "message": "Stolen."}}`,
			ours(gateway.Charge{Status: gateway.Declined, DeclineCode: "GENERIC_DECLINE", Message: "Your card was declined."}),
		},
		"Canceled": {
			"payment_intent.canceled", `{` + intent + `, "status": "canceled"}`,
			ours(gateway.Charge{Status: gateway.Declined, DeclineCode: "CANCELED", Message: "The payment was canceled."}),
		},
		"Processing": {"payment_intent.processing", `{` + intent + `, "status": "processing"}`, ours(gateway.Charge{Status: gateway.Pending})},
		"Created":    {"payment_intent.created", `{` + intent + `, "status": "requires_payment_method"}`, ours(gateway.Charge{Status: gateway.Pending})},
		"NotOfOurs": {
			"payment_intent.succeeded", `{"id": "pi_1", "object": "payment_intent", "status": "succeeded", "metadata": {}}`,
			gateway.Event{Charge: gateway.Charge{TransactionID: "pi_1", Status: gateway.Succeeded}},
		},
		"ChargeRefunded": {
			"charge.refunded", `{"id": "ch_1", "object": "charge", "payment_intent": "pi_1", "refunded": true, "metadata": {"order_id": "order-1"}}`,
			gateway.Event{Charge: gateway.Charge{TransactionID: "pi_1"}, OrderID: "order-1"},
		},
		"ChargeWithoutIntent": {"charge.refunded", `{"id": "ch_1", "object": "charge", "payment_intent": null}`, gateway.Event{}},
		"RefundFailed": {
			"refund.failed", `{"id": "re_1", "object": "refund", "payment_intent": "pi_1", "status": "failed"}`,
			gateway.Event{Charge: gateway.Charge{TransactionID: "pi_1", Status: gateway.Failed}},
		},
		"OfNoInterest": {"customer.created", `{"id": "cus_1", "object": "customer"}`, gateway.Event{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := event(tt.eventType, tt.object)
			got, err := hooks.Read([]byte(body), sign(body, webhookSecret, time.Now()))
			require.NoError(t, err)
			tt.want.ID, tt.want.Type = "evt_1", tt.eventType
			require.Equal(t, tt.want, got)
		})
	}

	t.Run("Thin", func(t *testing.T) {
		t.Parallel()
		body := `{"id": "evt_2", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found", "related_object": null}`
		got, err := hooks.Read([]byte(body), sign(body, webhookSecret, time.Now()))
		require.NoError(t, err)
		require.Equal(t, gateway.Event{ID: "evt_2", Type: "v1.billing.meter.no_meter_found"}, got)
	})
	for name, body := range map[string]string{
		"NotJSON": "hello", "OtherShape": event("payment_intent.succeeded", `{"object": "payment_intent", "status": 7}`), "NoObject": event("x", `7`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := hooks.Read([]byte(body), sign(body, webhookSecret, time.Now()))
			require.Error(t, err, "Stripe is to send it again, when somebody has looked")
			require.NotErrorIs(t, err, gateway.ErrForged)
		})
	}
}

// Whoever does not have the secret gets nothing in, whatever they know besides.
func TestForgedWebhook(t *testing.T) {
	t.Parallel()
	body := event("payment_intent.succeeded", `{`+intent+`, "status": "succeeded"}`)
	now := time.Now()
	genuine := sign(body, webhookSecret, now)
	at, signature, _ := strings.Cut(genuine, ",")
	for name, tt := range map[string]struct{ body, header string }{
		"NoSignature":         {body, ""},
		"Garbage":             {body, "hello"},
		"NoTime":              {body, signature},
		"TimeNotANumber":      {body, "t=now," + signature},
		"EmptySignature":      {body, "t=" + strconv.FormatInt(now.Unix(), 10) + ",v1="},
		"OtherSecret":         {body, sign(body, "whsec_guess", now)},
		"NoSecret":            {body, sign(body, "", now)},
		"BodyChanged":         {strings.Replace(body, "order-1", "order-2", 1), genuine},
		"BodyReformatted":     {strings.ReplaceAll(body, "\n", ""), genuine},
		"TimeChanged":         {body, "t=" + strconv.FormatInt(now.Unix()+1, 10) + "," + signature},
		"OldScheme":           {body, strings.Replace(genuine, "v1=", "v0=", 1)},
		"KeptAndSentAgain":    {body, sign(body, webhookSecret, now.Add(-6*time.Minute))},
		"SignatureOfNothing":  {body, sign("", webhookSecret, now)},
		"TwoWrong":            {body, at + ",v1=" + hex.EncodeToString([]byte("x")) + ",v1=00"},
		"EmptyBody":           {"", genuine},
		"HeaderInTheBody":     {genuine, genuine},
		"SignatureOfTheOther": {event("payment_intent.canceled", `{`+intent+`, "status": "canceled"}`), genuine},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := hooks.Read([]byte(tt.body), tt.header)
			require.ErrorIs(t, err, gateway.ErrForged)
		})
	}

	t.Run("WhileTheSecretIsRolled", func(t *testing.T) {
		t.Parallel()
		_, err := hooks.Read([]byte(body), sign(body, "whsec_next", now)+","+signature)
		require.NoError(t, err)
	})
}

// A webhook says of a charge just what the answer to it said.
func TestWebhookTellsTheAnswer(t *testing.T) {
	t.Parallel()
	sim, err := simulator.Open(t.TempDir(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	stripe := httptest.NewServer(sim.Handler())
	heard := make(chan gateway.Event, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			var e gateway.Event
			if e, err = hooks.Read(body, r.Header.Get("Stripe-Signature")); err == nil {
				heard <- e
			}
		}
		if err != nil {
			t.Errorf("webhook: %v", err)
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	run := sim.Webhooks(simulator.Endpoint{URL: endpoint.URL, Secret: webhookSecret})
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		endpoint.Close()
		stripe.Close()
		require.NoError(t, sim.Close())
	})
	next := func() gateway.Event {
		select {
		case e := <-heard:
			return e
		case <-time.After(20 * time.Second):
			require.Fail(t, "nothing was heard")
			return gateway.Event{}
		}
	}

	g := connect(t, stripe.URL)
	for _, card := range []string{"pm_card_visa_chargeDeclinedInsufficientFunds", "pm_card_visa"} {
		o := order(card)
		o.AttemptKey = card
		answer, err := g.Charge(t.Context(), o)
		require.NoError(t, err)
		e := next()
		require.Equal(t, answer, e.Charge)
		require.Equal(t, o.OrderID, e.OrderID)
		if answer.Status == gateway.Succeeded {
			_, err := g.Refund(t.Context(), "refund-1", answer.TransactionID, money.Of(100, "USD"), "Bad view")
			require.NoError(t, err)
			for range 2 {
				require.Equal(t, answer.TransactionID, next().Charge.TransactionID)
			}
		}
	}
}

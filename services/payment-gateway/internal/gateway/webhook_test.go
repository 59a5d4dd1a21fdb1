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
	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/gateway"
)

const webhookSecret = "whsec_test"

var webhooks = gateway.Webhooks{Secret: webhookSecret}

// sign returns the header Stripe-Signature of body, signed with the secret at a time.
func sign(body, secret string, at time.Time) string {
	payload := &webhook.UnsignedPayload{Payload: []byte(body), Secret: secret, Timestamp: at}
	return webhook.GenerateTestSignedPayload(payload).Header
}

// eventBody returns the body of a webhook event about the object.
func eventBody(eventType, object string) string {
	return fmt.Sprintf(`{"id": "evt_1", "object": "event", "api_version": "2020-08-27", "created": 1705314600,
		"livemode": false, "pending_webhooks": 1, "request": {"id": "req_1", "idempotency_key": "attempt-1"},
		"type": %q, "data": {"object": %s}}`, eventType, object)
}

// intent is the beginning of a PaymentIntent of ours in JSON.
const intent = `"id": "pi_1", "object": "payment_intent",
	"metadata": {"attempt_key": "attempt-1", "order_id": "order-1"}`

// dispute returns a dispute in JSON.
func dispute(status string) string {
	return `{"id": "dp_1", "object": "dispute", "amount": 15000, "currency": "usd", "charge": "ch_1",
		"payment_intent": "pi_1", "reason": "product_not_received", "created": 1705314600, "status": "` + status + `"}`
}

// disputed returns the event about dispute.
func disputed(status calls.DisputeStatus) gateway.Event {
	return gateway.Event{Charge: gateway.Charge{TransactionID: "pi_1"}, Dispute: &calls.Dispute{
		DisputeID: "dp_1", TransactionID: "pi_1", Amount: "150.00", Currency: "USD", Reason: "PRODUCT_NOT_RECEIVED",
		Status: status, OpenedAt: time.Unix(1705314600, 0).UTC(),
	}}
}

func TestParseWebhook(t *testing.T) {
	t.Parallel()
	ours := func(c gateway.Charge) gateway.Event {
		c.AttemptKey, c.TransactionID = "attempt-1", "pi_1"
		return gateway.Event{Charge: c, OrderID: "order-1"}
	}
	for name, tt := range map[string]struct {
		eventType, object string
		want              gateway.Event
	}{
		"Succeeded": {
			"payment_intent.succeeded", `{` + intent + `, "status": "succeeded"}`,
			ours(gateway.Charge{Status: gateway.Succeeded}),
		},
		"Failed": {
			"payment_intent.payment_failed",
			`{` + intent + `, "status": "requires_payment_method", "last_payment_error":
				{"type": "card_error", "code": "expired_card", "message": "Your card has expired."}}`,
			ours(gateway.Charge{
				Status: gateway.Declined, DeclineCode: "EXPIRED_CARD", Message: "Your card has expired.",
			}),
		},
		"StolenCardIsAGenericDecline": {
			"payment_intent.payment_failed",
			`{` + intent + `, "status": "requires_payment_method", "last_payment_error":
				{"type": "card_error", "code": "card_declined", "decline_code": "stolen_card", "message": "Stolen."}}`,
			ours(gateway.Charge{
				Status: gateway.Declined, DeclineCode: "GENERIC_DECLINE", Message: "Your card was declined.",
			}),
		},
		"Canceled": {
			"payment_intent.canceled", `{` + intent + `, "status": "canceled"}`,
			ours(gateway.Charge{
				Status: gateway.Declined, DeclineCode: "CANCELED", Retryable: true,
				Message: "The payment was not completed in time and was cancelled.",
			}),
		},
		"Processing": {
			"payment_intent.processing", `{` + intent + `, "status": "processing"}`,
			ours(gateway.Charge{Status: gateway.Pending}),
		},
		"Created": {
			"payment_intent.created", `{` + intent + `, "status": "requires_payment_method"}`,
			ours(gateway.Charge{Status: gateway.Pending}),
		},
		"PaymentIntentWithoutOurMetadata": {
			"payment_intent.succeeded",
			`{"id": "pi_1", "object": "payment_intent", "status": "succeeded", "metadata": {}}`,
			gateway.Event{Charge: gateway.Charge{TransactionID: "pi_1", Status: gateway.Succeeded}},
		},
		"ChargeRefunded": {
			"charge.refunded",
			`{"id": "ch_1", "object": "charge", "payment_intent": "pi_1", "refunded": true,
				"metadata": {"order_id": "order-1"}}`,
			gateway.Event{Charge: gateway.Charge{TransactionID: "pi_1"}, OrderID: "order-1"},
		},
		"ChargeWithoutPaymentIntent": {
			"charge.refunded", `{"id": "ch_1", "object": "charge", "payment_intent": null}`, gateway.Event{},
		},
		"RefundFailed": {
			"refund.failed", `{"id": "re_1", "object": "refund", "payment_intent": "pi_1", "status": "failed",
				"failure_reason": "expired_or_canceled_card", "metadata": {"refund_key": "refund-1"}}`,
			gateway.Event{RefundKey: "refund-1", Charge: gateway.Charge{
				TransactionID: "pi_1", Status: gateway.Failed, DeclineCode: "EXPIRED_OR_CANCELED_CARD",
				Message: "The bank did not accept the refund",
			}},
		},
		"DisputeOpened": {
			"charge.dispute.created", dispute("needs_response"), disputed(calls.DisputeOpen),
		},
		"DisputeUnderReview": {
			"charge.dispute.updated", dispute("under_review"), disputed(calls.DisputeOpen),
		},
		"DisputeWon": {"charge.dispute.closed", dispute("won"), disputed(calls.DisputeWon)},
		"DisputeLost": {
			"charge.dispute.closed", dispute("lost"), disputed(calls.DisputeLost),
		},
		"Inquiry": {
			"charge.dispute.created", dispute("warning_needs_response"), disputed(calls.DisputeInquiry),
		},
		"InquiryClosed": {
			"charge.dispute.closed", dispute("warning_closed"), disputed(calls.DisputeInquiry),
		},
		"DisputePrevented": {
			"charge.dispute.updated", dispute("prevented"), disputed(calls.DisputeInquiry),
		},
		"DisputeWithoutPaymentIntent": {
			"charge.dispute.created",
			`{"id": "dp_1", "object": "dispute", "currency": "usd", "status": "lost", "payment_intent": null}`,
			gateway.Event{},
		},
		"OtherObject": {"customer.created", `{"id": "cus_1", "object": "customer"}`, gateway.Event{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := eventBody(tt.eventType, tt.object)
			got, err := webhooks.Parse([]byte(body), sign(body, webhookSecret, time.Now()))
			require.NoError(t, err)
			tt.want.ID, tt.want.Type = "evt_1", tt.eventType
			require.Equal(t, tt.want, got)
		})
	}

	t.Run("ThinEvent", func(t *testing.T) {
		t.Parallel()
		body := `{"id": "evt_2", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found",
			"related_object": null}`
		got, err := webhooks.Parse([]byte(body), sign(body, webhookSecret, time.Now()))
		require.NoError(t, err)
		require.Equal(t, gateway.Event{ID: "evt_2", Type: "v1.billing.meter.no_meter_found"}, got)
	})
	for name, body := range map[string]string{
		"NotJSON":          "hello",
		"StatusIsANumber":  eventBody("payment_intent.succeeded", `{"object": "payment_intent", "status": 7}`),
		"ObjectIsNoObject": eventBody("x", `7`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := webhooks.Parse([]byte(body), sign(body, webhookSecret, time.Now()))
			require.Error(t, err, "Stripe delivers it again, after a person has fixed the cause")
			require.NotErrorIs(t, err, gateway.ErrForged)
		})
	}
}

// A sender without the secret cannot have an event accepted, even with genuine signatures of other bodies.
func TestForgedWebhookIsRejected(t *testing.T) {
	t.Parallel()
	body := eventBody("payment_intent.succeeded", `{`+intent+`, "status": "succeeded"}`)
	now := time.Now()
	other := eventBody("payment_intent.canceled", `{`+intent+`, "status": "canceled"}`)
	genuine := sign(body, webhookSecret, now)
	at, signature, _ := strings.Cut(genuine, ",")
	for name, tt := range map[string]struct{ body, header string }{
		"NoSignature":             {body, ""},
		"Garbage":                 {body, "hello"},
		"NoTime":                  {body, signature},
		"TimeNotANumber":          {body, "t=now," + signature},
		"EmptySignature":          {body, "t=" + strconv.FormatInt(now.Unix(), 10) + ",v1="},
		"OtherSecret":             {body, sign(body, "whsec_guess", now)},
		"EmptySecret":             {body, sign(body, "", now)},
		"BodyChanged":             {strings.Replace(body, "order-1", "order-2", 1), genuine},
		"BodyReformatted":         {strings.ReplaceAll(body, "\n", ""), genuine},
		"TimeChanged":             {body, "t=" + strconv.FormatInt(now.Unix()+1, 10) + "," + signature},
		"OldScheme":               {body, strings.Replace(genuine, "v1=", "v0=", 1)},
		"Replayed":                {body, sign(body, webhookSecret, now.Add(-6*time.Minute))},
		"SignatureOfAnEmptyBody":  {body, sign("", webhookSecret, now)},
		"TwoWrongSignatures":      {body, at + ",v1=" + hex.EncodeToString([]byte("x")) + ",v1=00"},
		"EmptyBody":               {"", genuine},
		"HeaderAsBody":            {genuine, genuine},
		"SignatureOfAnotherEvent": {other, genuine},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := webhooks.Parse([]byte(tt.body), tt.header)
			require.ErrorIs(t, err, gateway.ErrForged)
		})
	}

	t.Run("AcceptedWhileTheSecretIsRotated", func(t *testing.T) {
		t.Parallel()
		_, err := webhooks.Parse([]byte(body), sign(body, "whsec_next", now)+","+signature)
		require.NoError(t, err)
	})
}

// The event of a charge has the same Charge as the response to the request.
func TestWebhookHasTheOutcomeOfTheCharge(t *testing.T) {
	t.Parallel()
	sim, err := simulator.Open(t.TempDir(), "", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	stripe := httptest.NewServer(sim.Handler())
	received := make(chan gateway.Event, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			var event gateway.Event
			if event, err = webhooks.Parse(body, r.Header.Get("Stripe-Signature")); err == nil {
				received <- event
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
		case event := <-received:
			return event
		case <-time.After(20 * time.Second):
			require.Fail(t, "no webhook arrived")
			return gateway.Event{}
		}
	}

	g := newGateway(t, stripe.URL)
	for _, card := range []string{"pm_card_visa_chargeDeclinedInsufficientFunds", "pm_card_visa"} {
		request := chargeRequest(card)
		request.AttemptKey = card
		charge, err := g.Charge(t.Context(), request)
		require.NoError(t, err)
		event := next()
		require.Equal(t, charge, event.Charge)
		require.Equal(t, request.OrderID, event.OrderID)
		if charge.Status == gateway.Succeeded {
			_, err := g.Refund(t.Context(), "refund-1", charge.TransactionID, money.Of(100, "USD"), "Bad view")
			require.NoError(t, err)
			for range 2 {
				require.Equal(t, charge.TransactionID, next().Charge.TransactionID)
			}
		}
	}
}

// FuzzWebhook checks that no body and no header make Parse panic, and that only a signature with the secret is
// accepted.
func FuzzWebhook(f *testing.F) {
	const old = 1705314600 // a Unix time in seconds; the signature is genuine and too old
	body := eventBody("payment_intent.succeeded", `{`+intent+`, "status": "succeeded"}`)
	f.Add([]byte(body), sign(body, webhookSecret, time.Unix(old, 0)))
	f.Add([]byte(`{"data": {"object": {"object": "charge", "payment_intent": {}}}}`), "t=1705314600,v1=00")
	f.Add([]byte(`{"data": {"object": {"object": "refund", "payment_intent": "pi_1", "status": 7}}}`), "v1=,t=")
	f.Add([]byte("\xff"), "")
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		_, err := webhooks.Parse(body, header)
		require.ErrorIs(t, err, gateway.ErrForged, "accepted without a current signature")

		_, err = webhooks.Parse(body, sign(string(body), "whsec_other", time.Now()))
		require.ErrorIs(t, err, gateway.ErrForged, "accepted with another endpoint's secret")

		genuine := sign(string(body), webhookSecret, time.Now())
		_, err = webhooks.Parse(append(body[:len(body):len(body)], ' '), genuine)
		require.ErrorIs(t, err, gateway.ErrForged, "accepted after a change of the body")

		event, err := webhooks.Parse(body, genuine) // whatever is signed, Parse does not panic
		require.NotErrorIs(t, err, gateway.ErrForged)
		if err != nil {
			require.Empty(t, event)
		}
	})
}

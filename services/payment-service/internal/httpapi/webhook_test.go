package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

const webhookPath = "/api/payments/webhooks/stripe"

// report returns the body of a webhook, as the stand-in of payment-gateway parses it, that reports the status of a
// charge.
func report(id, status string) string {
	return fmt.Sprintf(`{"id": "evt_%s", "type": "payment_intent.x", "status": %q, "attemptKey": "charge-%s",
		"orderId": %q, "transactionId": "pi_1", "declineCode": "EXPIRED_CARD", "message": "Your card has expired."}`,
		uuid.NewString(), status, id, id)
}

var signed = http.Header{"Stripe-Signature": {sagatest.GenuineSignature}}

func TestWebhookMovesAnOrderForwardOnly(t *testing.T) {
	b := setup(t)
	pending := func(key string) string {
		return b.buy(t, key, map[string]any{"paymentToken": sagatest.PendingCard}).id(t)
	}
	status := func(id string) any {
		return b.get(t, orders+"/"+id, b.as(t, b.buyer)).order(t)["paymentStatus"]
	}
	requireReceived := func(t *testing.T, body string) {
		t.Helper()
		a := b.send(t, http.MethodPost, webhookPath, body, signed)
		require.Equal(t, http.StatusOK, a.status, a.body)
		require.JSONEq(t, `{"received": true}`, a.body)
	}

	t.Run("Succeeded", func(t *testing.T) {
		id := pending("a")
		body := report(id, "SUCCEEDED")
		for range 2 {
			requireReceived(t, body)
		}
		require.Equal(t, "COMPLETED", status(id))
		requireReceived(t, report(id, "DECLINED"))
		require.Equal(t, "COMPLETED", status(id), "an order does not move back")
		history := b.get(t, orders+"/"+id+"/history", b.as(t, b.buyer))
		require.Equal(t, 1, strings.Count(history.body, `"PAYMENT_COMPLETED"`))
	})
	t.Run("Declined", func(t *testing.T) {
		id := pending("b")
		left := b.services.Left(b.typeID)
		requireReceived(t, report(id, "DECLINED"))
		require.Equal(t, "FAILED", status(id))
		require.Equal(t, left+2, b.services.Left(b.typeID))
		again := b.buy(t, "b", map[string]any{"paymentToken": sagatest.PendingCard})
		again.requireFailure(t, http.StatusPaymentRequired, "PAYMENT_DECLINED", "")
	})
	t.Run("NotAboutAnOrder", func(t *testing.T) {
		requireReceived(t, report(uuid.NewString(), "SUCCEEDED"))
		requireReceived(t, `{"id": "evt_1", "type": "customer.created"}`)
	})

	id := pending("c")
	t.Run("Forged", func(t *testing.T) {
		for name, tt := range map[string]struct {
			body      string
			signature []string
		}{
			"WrongSignature":   {report(id, "SUCCEEDED"), []string{"t=1,v1=00"}},
			"NoSignature":      {report(id, "SUCCEEDED"), nil},
			"EmptySignature":   {report(id, "SUCCEEDED"), []string{""}},
			"LongSignature":    {report(id, "SUCCEEDED"), []string{strings.Repeat("a", 5000)}},
			"SignatureNotUTF8": {report(id, "SUCCEEDED"), []string{"\xff"}},
			"BodyNotUTF8":      {"{\"id\":\"\xff\"}", signed["Stripe-Signature"]},
			"NoBody":           {"", signed["Stripe-Signature"]},
		} {
			t.Run(name, func(t *testing.T) {
				a := b.send(t, http.MethodPost, webhookPath, tt.body, http.Header{"Stripe-Signature": tt.signature})
				a.requireFailure(t, http.StatusBadRequest, "INVALID_SIGNATURE", "")
			})
		}
		b.send(t, http.MethodPost, webhookPath, strings.Repeat("a", web.MaxBody+1), signed).
			requireFailure(t, http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", "")
		require.Equal(t, "PENDING", status(id))
	})
	t.Run("VerificationUnavailable", func(t *testing.T) {
		b.services.Next(sagatest.Verify, sagatest.CallLost)
		body := report(id, "SUCCEEDED")
		a := b.send(t, http.MethodPost, webhookPath, body, signed)
		a.requireFailure(t, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "")
		require.Equal(t, "5", a.header.Get("Retry-After"))
		require.Equal(t, "PENDING", status(id))
		requireReceived(t, body)
		require.Equal(t, "COMPLETED", status(id))
	})
}

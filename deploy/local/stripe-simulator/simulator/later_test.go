package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
)

// listener collects the types of the webhook events that the simulator sends.
type listener struct {
	mu    sync.Mutex
	types []string
}

func (l *listener) seen(eventType string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.types {
		if t == eventType {
			return true
		}
	}
	return false
}

// listenFor starts a simulator that sends its webhooks to the returned listener.
func listenFor(t *testing.T, dir string) (*bundle, *listener) {
	t.Helper()
	l := &listener{}
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var event struct{ Type string }
		if json.Unmarshal(body, &event) == nil {
			l.mu.Lock()
			l.types = append(l.types, event.Type)
			l.mu.Unlock()
		}
	}))
	t.Cleanup(endpoint.Close)
	b, sim := serveWith(t, dir)
	run := sim.Webhooks(simulator.Endpoint{URL: endpoint.URL, Secret: "whsec_test"})
	go run(t.Context())
	return b, l
}

// pay charges a test payment method and returns the intent's id.
func (b *bundle) pay(method, key string) string {
	b.t.Helper()
	a := b.do(http.MethodPost, "/v1/payment_intents", key, charge(method))
	require.Equal(b.t, http.StatusOK, a.status, a.raw)
	id, _ := a.body["id"].(string)
	return id
}

func (b *bundle) get(path string) map[string]any {
	b.t.Helper()
	a := b.do(http.MethodGet, path, "", nil)
	require.Equal(b.t, http.StatusOK, a.status, a.raw)
	return a.body
}

func TestRefundsSettleLater(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method, faults string
		first, last    string
		left           float64 // amount that is refunded in the end
		event          string
	}{
		"Pending":      {"pm_card_pendingRefund", `{"settleMs":1}`, "pending", "succeeded", 15000, "refund.updated"},
		"FailsByCard":  {"pm_card_refundFail", `{"settleMs":1}`, "succeeded", "failed", 0, "refund.failed"},
		"FailsByFault": {"pm_card_visa", `{"settleMs":1,"failRefund":1}`, "succeeded", "failed", 0, "refund.failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, events := listenFor(t, t.TempDir())
			b.faults(tt.faults)
			id := b.pay(tt.method, "charge")
			refund := b.do(http.MethodPost, "/v1/refunds", "refund", url.Values{"payment_intent": {id}})
			require.Equal(t, http.StatusOK, refund.status, refund.raw)
			require.Equal(t, tt.first, refund.body["status"])

			require.Eventually(t, func() bool { return events.seen(tt.event) && events.seen("charge.refund.updated") },
				5*time.Second, 5*time.Millisecond)
			refundID, _ := refund.body["id"].(string)
			require.Equal(t, tt.last, b.get("/v1/refunds/" + refundID)["status"])
			stored, _ := b.charges()[0].(map[string]any)
			require.InDelta(t, tt.left, stored["amountRefunded"], 0)
		})
	}
}

func TestLaterChangesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var refundID string
	t.Run("Before", func(t *testing.T) {
		b := serve(t, dir)
		b.faults(`{"settleMs":60000}`)
		id := b.pay("pm_card_refundFail", "charge")
		refund := b.do(http.MethodPost, "/v1/refunds", "refund", url.Values{"payment_intent": {id}})
		refundID, _ = refund.body["id"].(string)
		require.Equal(t, "succeeded", b.get("/v1/refunds/" + refundID)["status"])
	})
	t.Run("After", func(t *testing.T) {
		b, sim := serveWith(t, dir)
		sim.SetClock(func() time.Time { return time.Now().Add(time.Hour) })
		require.Equal(t, "failed", b.get("/v1/refunds/" + refundID)["status"])
	})
}

func TestLostEventsAboutFailedRefundsAreSentAgain(t *testing.T) {
	t.Parallel()
	b, events := listenFor(t, t.TempDir())
	b.faults(`{"settleMs":1,"failRefund":1,"loseWebhook":-1}`)
	id := b.pay("pm_card_visa", "charge")
	refund := b.do(http.MethodPost, "/v1/refunds", "refund", url.Values{"payment_intent": {id}})
	refundID, _ := refund.body["id"].(string)
	require.Eventually(t, func() bool { return b.get("/v1/refunds/" + refundID)["status"] == "failed" },
		5*time.Second, 5*time.Millisecond)

	require.Eventually(t, func() bool { // one event about the charge, two about the refund, three about its failure
		return b.do(http.MethodGet, "/_counters", "", nil).body["webhooksLost"] == 6.0
	}, 5*time.Second, 5*time.Millisecond)
	require.False(t, events.seen("refund.failed"))
	b.faults(`{}`)
	require.Equal(t, http.StatusAccepted, b.do(http.MethodPost, "/_webhooks", "", nil).status)
	require.Eventually(t, func() bool { return events.seen("refund.failed") }, 5*time.Second, 5*time.Millisecond)
}

func TestRefundBeyondTheBalance(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(`{"lackBalance":1}`)
	id := b.pay("pm_card_visa", "charge")
	form := url.Values{"payment_intent": {id}}
	refused := b.do(http.MethodPost, "/v1/refunds", "refund", form)
	require.Equal(t, http.StatusBadRequest, refused.status)
	require.Equal(t, "balance_insufficient", refused.apiError()["code"])
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/v1/refunds", "refund", form).status, "a refusal is not saved")
}

func TestDisputes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path   string
		form   url.Values
		status string
		event  string
	}{
		"Won": {
			"",
			url.Values{"evidence[uncategorized_text]": {"winning_evidence"}, "submit": {"true"}},
			"won",
			"charge.dispute.funds_reinstated",
		},
		"Lost":   {"", url.Values{"evidence[uncategorized_text]": {"losing_evidence"}}, "lost", "charge.dispute.closed"},
		"Closed": {"/close", nil, "lost", "charge.dispute.closed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, events := listenFor(t, t.TempDir())
			b.faults(`{"settleMs":1}`)
			id := b.pay("pm_card_createDispute", "charge")
			require.Eventually(t, func() bool { return events.seen("charge.dispute.created") },
				5*time.Second, 5*time.Millisecond)

			disputes, _ := b.get("/v1/disputes?payment_intent=" + id)["data"].([]any)
			require.Len(t, disputes, 1)
			opened, _ := disputes[0].(map[string]any)
			require.Equal(t, "needs_response", opened["status"])
			require.Equal(t, "fraudulent", opened["reason"])
			require.InDelta(t, 15000, opened["amount"], 0)

			refund := b.do(http.MethodPost, "/v1/refunds", "", url.Values{"payment_intent": {id}})
			require.Equal(t, http.StatusBadRequest, refund.status)
			require.Contains(t, refund.raw, "charge_disputed")

			disputeID, _ := opened["id"].(string)
			decided := b.do(http.MethodPost, "/v1/disputes/"+disputeID+tt.path, "", tt.form)
			require.Equal(t, http.StatusOK, decided.status, decided.raw)
			require.Equal(t, tt.status, b.get("/v1/disputes/" + disputeID)["status"])
			require.Eventually(t, func() bool { return events.seen(tt.event) }, 5*time.Second, 5*time.Millisecond)
			stored, _ := b.charges()[0].(map[string]any)
			require.Equal(t, tt.status, stored["dispute"])
			refund = b.do(http.MethodPost, "/v1/refunds", "", url.Values{"payment_intent": {id}})
			if tt.status == "won" {
				require.Equal(t, http.StatusOK, refund.status, refund.raw)
				require.InDelta(t, 0, stored["amountDisputed"], 0)
			} else {
				require.Equal(t, http.StatusBadRequest, refund.status)
				require.InDelta(t, 15000, stored["amountDisputed"], 0)
			}
			again := b.do(http.MethodPost, "/v1/disputes/"+disputeID+"/close", "", nil)
			require.Equal(t, http.StatusBadRequest, again.status, "a decided dispute stays decided")
		})
	}
}

func TestARefundedChargeIsNotDisputed(t *testing.T) {
	t.Parallel()
	b, sim := serveWith(t, t.TempDir())
	b.faults(`{"dispute":1,"settleMs":60000}`)
	id := b.pay("pm_card_visa", "charge")
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/v1/refunds", "", url.Values{"payment_intent": {id}}).status)
	sim.SetClock(func() time.Time { return time.Now().Add(time.Hour) })
	require.Empty(t, b.get("/v1/disputes")["data"])
}

func TestUnconfirmedIntents(t *testing.T) {
	t.Parallel()
	t.Run("LeftBeforeConfirmation", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.faults(`{"leaveUnconfirmed":1}`)
		id := b.pay("pm_card_visa", "charge")
		require.Equal(t, "requires_confirmation", b.get("/v1/payment_intents/" + id)["status"])
		confirmed := b.do(http.MethodPost, "/v1/payment_intents/"+id+"/confirm", "", nil)
		require.Equal(t, "succeeded", confirmed.body["status"], confirmed.raw)
	})
	t.Run("Processing", func(t *testing.T) {
		t.Parallel()
		b, sim := serveWith(t, t.TempDir())
		b.faults(`{"process":1,"settleMs":60000}`)
		id := b.pay("pm_card_visa", "charge")
		require.Equal(t, "processing", b.get("/v1/payment_intents/" + id)["status"])
		require.Equal(t, http.StatusBadRequest, b.do(http.MethodPost, "/v1/payment_intents/"+id+"/cancel", "", nil).status)
		sim.SetClock(func() time.Time { return time.Now().Add(time.Hour) })
		require.Equal(t, "succeeded", b.get("/v1/payment_intents/" + id)["status"])
	})
}

func TestBankPageCompletesAuthentication(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ outcome, status, redirect string }{
		"Authenticated": {"authenticate", "succeeded", "succeeded"},
		"Failed":        {"fail", "requires_payment_method", "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			form := charge("pm_card_threeDSecure2Required", "return_url", "http://127.0.0.1:1/paid?order=7")
			form.Del("error_on_requires_action")
			intent := b.do(http.MethodPost, "/v1/payment_intents", "charge", form)
			require.Equal(t, "requires_action", intent.body["status"], intent.raw)
			id, _ := intent.body["id"].(string)
			require.Contains(t, intent.raw, `"url":"/_bank/`+id+`"`)

			page, err := http.Get(b.url + "/_bank/" + id)
			require.NoError(t, err)
			html, err := io.ReadAll(page.Body)
			require.NoError(t, err)
			require.NoError(t, page.Body.Close())
			require.Contains(t, string(html), "Yes, pay")

			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			decided, err := client.Post(b.url+"/_bank/"+id, "application/x-www-form-urlencoded",
				strings.NewReader("outcome="+tt.outcome))
			require.NoError(t, err)
			require.NoError(t, decided.Body.Close())
			require.Equal(t, http.StatusSeeOther, decided.StatusCode)
			to, err := decided.Location()
			require.NoError(t, err)
			require.Equal(t, "7", to.Query().Get("order"))
			require.Equal(t, tt.redirect, to.Query().Get("redirect_status"))
			require.Equal(t, tt.status, b.get("/v1/payment_intents/" + id)["status"])
		})
	}
}

func TestAmountsOfCurrencies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		currency, amount, code string
	}{
		"ThreeDecimals":         {"kwd", "1230", ""},
		"ThreeDecimalsLastNot0": {"kwd", "1235", "parameter_invalid_integer"},
		"TwelveDigitsOfRupiah":  {"idr", "150000000000", ""},
		"NineDigitsOfDollars":   {"usd", "100000000", "amount_too_large"},
		"BelowTheLeastYen":      {"jpy", "49", "amount_too_small"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := setup(t).do(http.MethodPost, "/v1/payment_intents", "",
				charge("pm_card_visa", "currency", tt.currency, "amount", tt.amount))
			if tt.code == "" {
				require.Equal(t, http.StatusOK, a.status, a.raw)
				return
			}
			require.Equal(t, tt.code, a.apiError()["code"], a.raw)
		})
	}
}

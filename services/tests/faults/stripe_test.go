package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
)

// stripeFaults has the faults of the Stripe simulator that schedules draw, by what they affect.
var stripeFaults = []struct {
	name   string
	faults simulator.Faults
}{
	{"answers lost", simulator.Faults{Method: http.MethodPost, LoseAnswer: 3}},
	{"requests failed", simulator.Faults{Method: http.MethodPost, Fail: 4, Status: http.StatusInternalServerError}},
	{"requests failed after their effect", simulator.Faults{Method: http.MethodPost, FailAfter: 1}},
	{"requests delayed", simulator.Faults{Method: http.MethodPost, DelayMs: 1500}},
	{"answers delayed", simulator.Faults{Method: http.MethodPost, DelayAnswerMs: 2500}},
	{"webhooks repeated", simulator.Faults{RepeatWebhook: 5, WebhookDelayMs: 1500}},
	{"webhooks lost", simulator.Faults{LoseWebhook: 5}},
	{"charges left unconfirmed", simulator.Faults{LeaveUnconfirmed: 3}},
	{"charges processed later", simulator.Faults{Process: 3}},
	{"charges disputed", simulator.Faults{Dispute: 2}},
	{"refunds sent back", simulator.Faults{FailRefund: 2}},
	{"refunds beyond the balance", simulator.Faults{LackBalance: 2}},
}

// settleMs is when the later changes of charges and refunds take place. Every fault sets it, so that a simulator
// without it has been restarted and has no faults.
const settleMs = 1500

// hits returns the number of requests and events that the counters of faults can still affect.
func hits(f simulator.Faults) int {
	return f.LoseAnswer + f.Fail + f.FailAfter + f.RepeatWebhook + f.LoseWebhook + f.LeaveUnconfirmed + f.Process +
		f.Dispute + f.FailRefund + f.LackBalance
}

// injectStripeFault injects a fault of the Stripe simulator for its time, and counts what it has affected. If the
// simulator is down, the fault is skipped.
func (h *harness) injectStripeFault(ctx context.Context, f fault) error {
	h.stripeFaulty.Lock() // the simulator has one set of faults
	defer h.stripeFaulty.Unlock()
	f.stripe.SettleMs = settleMs
	if h.stripe(ctx, http.MethodPut, "/_faults", f.stripe, nil) != nil {
		return ctx.Err()
	}
	h.count(string(stripeFault), 1)
	h.count(drawnFaults+f.target, 1)
	if err := pause(ctx, f.length); err != nil {
		return err
	}
	var left simulator.Faults
	if h.stripe(ctx, http.MethodGet, "/_faults", nil, &left) == nil && left.SettleMs == settleMs {
		h.count(affected+f.target, hits(f.stripe)-hits(left))
	}
	_ = h.stripe(ctx, http.MethodDelete, "/_faults", nil, nil) // a simulator that was killed starts without faults
	return ctx.Err()
}

// The keys of a tally that begin with these count the drawn faults of the Stripe simulator, and what they have
// affected.
const (
	drawnFaults = "stripe faults: "
	affected    = "affected by stripe: "
)

// stripe returns how often each fault of the Stripe simulator was drawn, and how many requests or events it affected.
func (t tally) stripe() string {
	counts := make([]string, len(stripeFaults))
	for i, f := range stripeFaults {
		counts[i] = fmt.Sprintf("%s: %d faults", f.name, t[drawnFaults+f.name])
		if hits(f.faults) > 0 {
			counts[i] += fmt.Sprintf(", %d hits", t[affected+f.name])
		}
	}
	return strings.Join(counts, "; ")
}

// stripe sends a request to the Stripe simulator's own API, with a JSON body unless that is nil, and decodes the answer
// into out unless that is nil.
func (h *harness) stripe(ctx context.Context, method, path string, body, out any) error {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, h.system.StripeURL()+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return errors.New(path + ": " + res.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

// The answers of a buyer whom the bank asks about a payment.
const (
	bankYes     = "authenticate"
	bankNo      = "fail"
	bankNothing = ""
)

// bankClient does not follow the bank's redirect to the shop, which does not exist.
var bankClient = &http.Client{
	Timeout:       callTimeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// answerBank gives the buyer's answer on the page of the bank, which is a page of the Stripe simulator.
func answerBank(ctx context.Context, stripeURL string, action demo.Action, answer string) error {
	page := action.RedirectURL
	if page == "" { // without a return URL Stripe.js shows the page, and knows the payment by the secret
		id, _, _ := strings.Cut(action.ClientSecret, "_secret_")
		page = stripeURL + "/_bank/" + id
	}
	form := strings.NewReader(url.Values{"outcome": {answer}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, page, form)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := bankClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		return errors.New("the bank: " + res.Status)
	}
	return nil
}

// authenticationWindow is longer than the ten minutes that a buyer has to authenticate.
const authenticationWindow = 11 * time.Minute

// passAuthenticationWindow lets the time pass that buyers have to authenticate.
func (h *harness) passAuthenticationWindow(ctx context.Context) error {
	_, err := h.sources.Databases["payment-service"].Exec(ctx, `
		UPDATE orders SET charge_since = charge_since - $1::interval, resume_at = now()
		WHERE step = 'CHARGE' AND action_client_secret IS NOT NULL AND charge_since > now() - $1::interval`,
		authenticationWindow)
	if err != nil {
		return fmt.Errorf("let the time of the buyers pass: %w", err)
	}
	return nil
}

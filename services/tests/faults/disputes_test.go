package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// decisionInterval is the time between two decisions of the bank.
const decisionInterval = 2 * time.Second

// decideDisputes decides disputes for a time, as banks do: some for the buyer, some for the organizer, and some not at
// all. While the Stripe simulator is down, nothing is decided.
func (h *harness) decideDisputes(ctx context.Context, random *rand.Rand, during time.Duration) error {
	for end := time.Now().Add(during); time.Now().Before(end); {
		if err := pause(ctx, decisionInterval); err != nil {
			return err
		}
		var disputes struct {
			Data []struct{ ID, Status string }
		}
		if h.callStripe(ctx, http.MethodGet, "/v1/disputes?limit=100", nil, &disputes) != nil {
			continue
		}
		for _, d := range disputes.Data {
			if d.Status != "needs_response" {
				continue
			}
			evidence := []string{"winning_evidence", "losing_evidence", "", ""}[random.IntN(4)]
			if evidence == "" { // later, or never
				continue
			}
			form := url.Values{"evidence[uncategorized_text]": {evidence}, "submit": {"true"}}
			_ = h.callStripe(ctx, http.MethodPost, "/v1/disputes/"+d.ID, form, nil)
		}
	}
	return ctx.Err()
}

// callStripe sends a request to the Stripe simulator and decodes the answer into out, unless that is nil.
func (h *harness) callStripe(ctx context.Context, method, path string, form url.Values, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, h.system.StripeURL()+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer sk_test_bank")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

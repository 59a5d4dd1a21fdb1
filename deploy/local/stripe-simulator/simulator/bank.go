package simulator

import (
	"html/template"
	"net/http"
	"net/url"
)

// authentication returns what a client does next with a card that requires 3-D Secure. With a return URL it sends the
// buyer to the bank's page; without one it needs Stripe.js.
func (s *Server) authentication(id, returnURL string) *nextAction {
	if returnURL == "" {
		return &nextAction{Type: "use_stripe_sdk", UseStripeSDK: &sdkAction{Type: "three_d_secure_redirect"}}
	}
	return &nextAction{
		Type: "redirect_to_url", RedirectToURL: &redirectAction{ReturnURL: returnURL, URL: s.base + "/_bank/" + id},
	}
}

var bankPage = template.Must(template.New("bank").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Test bank</title>
<style>
body { font: 1.1rem/1.5 system-ui; max-width: 30rem; margin: 3rem auto; padding: 0 1rem }
button { font: inherit; padding: .5rem 1rem }
</style>
<h1>Test bank</h1>
{{if .Waiting}}
<p>A shop wants to charge your card {{.Amount}} {{.Currency}} (minor units). Is that you?</p>
<form method="post">
<button name="outcome" value="authenticate">Yes, pay</button>
<button name="outcome" value="fail">No, decline</button>
</form>
{{else}}
<p>There is nothing to confirm: this payment is {{.Status}}.</p>
{{end}}
</html>
`))

// registerBank registers the page of a bank that asks the cardholder to confirm a payment. Tests and people use it to
// complete an intent in requires_action.
func (s *Server) registerBank(mux *http.ServeMux) {
	mux.HandleFunc("GET /_bank/{id}", s.showBank)
	mux.HandleFunc("POST /_bank/{id}", func(w http.ResponseWriter, r *http.Request) {
		returnURL, status := s.authenticate(r.PathValue("id"), r.FormValue("outcome") == "authenticate")
		switch {
		case status != http.StatusOK:
			http.Error(w, http.StatusText(status), status)
		case returnURL == "":
			s.showBank(w, r)
		default:
			http.Redirect(w, r, returnURL, http.StatusSeeOther)
		}
	})
}

func (s *Server) showBank(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	pi, ok := s.intents[r.PathValue("id")]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = bankPage.Execute(w, map[string]any{
		"Waiting": pi.Intent.Status == statusRequiresAction, "Status": pi.Intent.Status,
		"Amount": pi.Intent.Amount, "Currency": pi.Intent.Currency,
	})
}

// authenticate completes an intent in requires_action as the cardholder decided. It returns where the buyer is sent
// then, which is empty without a return URL, and a status other than 200 if there is no such intent to complete.
func (s *Server) authenticate(id string, confirmed bool) (returnURL string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.intents[id]
	switch {
	case !ok:
		return "", http.StatusNotFound
	case old.Intent.Status != statusRequiresAction:
		return "", http.StatusConflict
	}
	pi := *old
	action := pi.Intent.NextAction
	result, counter := "succeeded", "charged"
	refusal := testMethods[pi.TestMethod].cardError()
	if !confirmed {
		refusal = invalidRequest("payment_intent_authentication_failure", "",
			"The provided PaymentMethod has failed authentication.")
	}
	if refusal == nil {
		s.succeed(&pi)
	} else {
		s.decline(&pi, refusal)
		result, counter = "failed", "declined"
	}
	if err := s.commit(entry{Intent: &pi, news: pi.news()}, ""); err != nil {
		return "", http.StatusInternalServerError
	}
	s.counters[counter]++
	if action.RedirectToURL == nil {
		return "", http.StatusOK
	}
	to, err := url.Parse(action.RedirectToURL.ReturnURL)
	if err != nil {
		return "", http.StatusOK
	}
	query := to.Query()
	query.Set("payment_intent", id)
	query.Set("payment_intent_client_secret", pi.Intent.ClientSecret)
	query.Set("redirect_status", result)
	to.RawQuery = query.Encode()
	return to.String(), http.StatusOK
}

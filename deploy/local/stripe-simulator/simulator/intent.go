package simulator

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
)

// The statuses of a PaymentIntent that the simulator uses.
const (
	statusRequiresMethod       = "requires_payment_method"
	statusRequiresConfirmation = "requires_confirmation"
	statusRequiresAction       = "requires_action"
	statusProcessing           = "processing"
	statusSucceeded            = "succeeded"
	statusCanceled             = "canceled"
)

// intent is a PaymentIntent as Stripe renders it.
type intent struct {
	ID                      string                   `json:"id"`
	Object                  string                   `json:"object"`
	Amount                  int64                    `json:"amount"`
	AmountCapturable        int64                    `json:"amount_capturable"`
	AmountReceived          int64                    `json:"amount_received"`
	AutomaticPaymentMethods *automaticPaymentMethods `json:"automatic_payment_methods"`
	CanceledAt              *int64                   `json:"canceled_at"`
	CancellationReason      *string                  `json:"cancellation_reason"`
	CaptureMethod           string                   `json:"capture_method"`
	ClientSecret            string                   `json:"client_secret"`
	ConfirmationMethod      string                   `json:"confirmation_method"`
	Created                 int64                    `json:"created"`
	Currency                string                   `json:"currency"`
	Customer                *string                  `json:"customer"`
	Description             *string                  `json:"description"`
	LastPaymentError        *apiError                `json:"last_payment_error"`
	LatestCharge            *string                  `json:"latest_charge"`
	Livemode                bool                     `json:"livemode"`
	Metadata                map[string]string        `json:"metadata"`
	NextAction              *nextAction              `json:"next_action"`
	PaymentMethod           *string                  `json:"payment_method"`
	PaymentMethodTypes      []string                 `json:"payment_method_types"`
	ReceiptEmail            *string                  `json:"receipt_email"`
	Status                  string                   `json:"status"`
}

type automaticPaymentMethods struct {
	AllowRedirects string `json:"allow_redirects"`
	Enabled        bool   `json:"enabled"`
}

type nextAction struct {
	Type          string          `json:"type"`
	RedirectToURL *redirectAction `json:"redirect_to_url,omitempty"`
	UseStripeSDK  *sdkAction      `json:"use_stripe_sdk,omitempty"`
}

type redirectAction struct {
	ReturnURL string `json:"return_url"`
	URL       string `json:"url"`
}

type sdkAction struct {
	Type string `json:"type"`
}

// storedIntent is an intent with what Stripe knows about it but does not show.
type storedIntent struct {
	Intent intent `json:"intent"`
	// CreatedMs is the time of creation in Unix milliseconds. Search lag needs a finer unit than the seconds of Intent.
	CreatedMs int64 `json:"createdMs"`
	// TestMethod names the test payment method behind Intent.PaymentMethod.
	TestMethod string `json:"testMethod,omitempty"`
	// Refunded is the sum of the refunds of this intent that have not failed.
	Refunded int64 `json:"refunded,omitempty"`
	// Later is the status that a processing intent takes.
	Later *later `json:"later,omitempty"`
	// Dispute is the dispute that the cardholder will open.
	Dispute *later `json:"dispute,omitempty"`
}

// later is a change that takes place by itself at a time.
type later struct {
	To   string `json:"to"`   // the status of an intent or a refund, or the reason of a dispute
	AtMs int64  `json:"atMs"` // Unix milliseconds
}

// news returns what a change of the intent is announced with.
func (pi *storedIntent) news() []announcement {
	eventType := "payment_intent.created"
	switch pi.Intent.Status {
	case statusSucceeded:
		eventType = "payment_intent.succeeded"
	case statusRequiresMethod:
		if pi.Intent.LastPaymentError != nil {
			eventType = "payment_intent.payment_failed"
		}
	case statusRequiresAction:
		eventType = "payment_intent.requires_action"
	case statusProcessing:
		eventType = "payment_intent.processing"
	case statusCanceled:
		eventType = "payment_intent.canceled"
	}
	return []announcement{{eventType, pi.Intent}}
}

// changed returns the outcome of a request that changed pi: the intent itself.
func changed(pi storedIntent, counter string) outcome {
	return outcome{
		entry: entry{Intent: &pi, news: pi.news()}, status: http.StatusOK, body: pi.Intent, counter: counter,
	}
}

// newID returns a random id in Stripe's form.
func newID(prefix string) string { return prefix + "_" + rand.Text()[:24] }

// createIntent executes POST /v1/payment_intents.
func (s *Server) createIntent(p params, _ string) (outcome, *apiError) {
	if apiErr := p.only("amount", "currency", "automatic_payment_methods", "capture_method", "confirm",
		"confirmation_method", "description", "error_on_requires_action", "metadata", "off_session",
		"payment_method", "payment_method_types", "receipt_email", "return_url"); apiErr != nil {
		return outcome{}, apiErr
	}
	amount, currency, apiErr := chargeAmount(p)
	if apiErr != nil {
		return outcome{}, apiErr
	}
	metadata, apiErr := p.metadata()
	if apiErr != nil {
		return outcome{}, apiErr
	}
	if method := p.Get("capture_method"); method != "" && !strings.HasPrefix(method, "automatic") {
		return outcome{}, invalidRequest("", "capture_method",
			"capture_method must be automatic: this simulator has no manual capture")
	}
	confirm, apiErr := p.boolean("confirm")
	if apiErr != nil {
		return outcome{}, apiErr
	}
	if p.Has("error_on_requires_action") && !confirm {
		return outcome{}, invalidRequest("", "error_on_requires_action",
			"error_on_requires_action can only be used when confirm is true")
	}
	id := newID("pi")
	created := s.now()
	pi := storedIntent{
		CreatedMs: created.UnixMilli(),
		Intent: intent{
			ID:                 id,
			Object:             "payment_intent",
			Amount:             amount,
			CaptureMethod:      "automatic",
			ClientSecret:       id + "_secret_" + rand.Text(),
			ConfirmationMethod: "automatic",
			Created:            created.Unix(),
			Currency:           currency,
			Description:        p.optional("description"),
			Metadata:           metadata,
			ReceiptEmail:       p.optional("receipt_email"),
			Status:             statusRequiresMethod,
		},
	}
	if apiErr := methodTypes(p, &pi.Intent); apiErr != nil {
		return outcome{}, apiErr
	}
	if apiErr := attach(p, &pi); apiErr != nil {
		return outcome{}, apiErr
	}
	if !confirm || pi.TestMethod != "" && s.faults.leavesUnconfirmed() {
		return changed(pi, ""), nil
	}
	return s.charge(p, pi)
}

// confirmIntent executes POST /v1/payment_intents/{id}/confirm.
func (s *Server) confirmIntent(p params, id string) (outcome, *apiError) {
	apiErr := p.only("payment_method", "error_on_requires_action", "off_session", "return_url", "receipt_email")
	if apiErr != nil {
		return outcome{}, apiErr
	}
	old, ok := s.intents[id]
	if !ok {
		return outcome{}, noSuch(http.StatusNotFound, "payment_intent", "intent", id)
	}
	pi := *old
	switch pi.Intent.Status {
	case statusRequiresMethod, statusRequiresConfirmation, statusRequiresAction:
	default:
		return outcome{}, unexpectedState(pi.Intent, "You cannot confirm this PaymentIntent because it has a status of %s.")
	}
	if apiErr := attach(p, &pi); apiErr != nil {
		return outcome{}, apiErr
	}
	return s.charge(p, pi)
}

// cancelIntent executes POST /v1/payment_intents/{id}/cancel.
func (s *Server) cancelIntent(p params, id string) (outcome, *apiError) {
	if apiErr := p.only("cancellation_reason"); apiErr != nil {
		return outcome{}, apiErr
	}
	old, ok := s.intents[id]
	if !ok {
		return outcome{}, noSuch(http.StatusNotFound, "payment_intent", "intent", id)
	}
	pi := *old
	switch pi.Intent.Status {
	case statusRequiresMethod, statusRequiresConfirmation, statusRequiresAction:
	default:
		return outcome{}, unexpectedState(pi.Intent, "You cannot cancel this PaymentIntent because it has a status of %s.")
	}
	reason := p.optional("cancellation_reason")
	reasons := []string{"abandoned", "duplicate", "fraudulent", "requested_by_customer"}
	if reason != nil && !slices.Contains(reasons, *reason) {
		return outcome{}, invalidRequest("", "cancellation_reason", "Invalid cancellation_reason: %s", *reason)
	}
	canceledAt := s.now().Unix()
	pi.Intent.Status = statusCanceled
	pi.Intent.CanceledAt = &canceledAt
	pi.Intent.CancellationReason = reason
	pi.Intent.NextAction = nil
	return changed(pi, ""), nil
}

// charge charges the payment method that is attached to pi. The outcome holds the changed intent.
func (s *Server) charge(p params, pi storedIntent) (outcome, *apiError) {
	errorOnAction, apiErr := p.boolean("error_on_requires_action")
	if apiErr != nil {
		return outcome{}, apiErr
	}
	offSession, apiErr := p.boolean("off_session")
	if apiErr != nil {
		return outcome{}, apiErr
	}
	if pi.TestMethod == "" {
		return outcome{}, unexpectedState(pi.Intent,
			"You cannot confirm this PaymentIntent because it's missing a payment method (its status is %s).")
	}
	if a := pi.Intent.AutomaticPaymentMethods; a != nil && a.AllowRedirects != "never" && !p.Has("return_url") {
		return outcome{}, invalidRequest("", "return_url",
			"This PaymentIntent is configured to accept payment methods enabled in your Dashboard, some of which might "+
				"redirect: provide a `return_url`, or set automatic_payment_methods[allow_redirects] to never.")
	}
	method := testMethods[pi.TestMethod]
	refusal := method.cardError()
	if method.authenticates {
		if !errorOnAction && !offSession {
			pi.Intent.Status = statusRequiresAction
			pi.Intent.LastPaymentError = nil
			pi.Intent.NextAction = s.authentication(pi.Intent.ID, p.Get("return_url"))
			return changed(pi, "actionsRequired"), nil
		}
		refusal = &apiError{
			status:      http.StatusPaymentRequired,
			Type:        "card_error",
			Code:        "authentication_required",
			DeclineCode: "authentication_required",
			Message:     "Your card was declined. This transaction requires authentication.",
		}
	}
	if refusal == nil {
		if s.faults.processes() {
			pi.Intent.Status, pi.Intent.NextAction = statusProcessing, nil
			pi.Later = s.later(statusSucceeded)
			return changed(pi, ""), nil
		}
		s.succeed(&pi)
		return changed(pi, "charged"), nil
	}
	s.decline(&pi, refusal)
	return outcome{
		entry: entry{Intent: &pi, news: pi.news()}, status: refusal.status, body: errorBody{refusal}, counter: "declined",
	}, nil
}

// succeed charges the payment method that is attached to pi.
func (s *Server) succeed(pi *storedIntent) {
	charge := newID("ch")
	pi.Intent.LatestCharge = &charge
	pi.Intent.NextAction = nil
	pi.Intent.Status = statusSucceeded
	pi.Intent.AmountReceived = pi.Intent.Amount
	pi.Intent.LastPaymentError = nil
	pi.Later = nil
	if reason := testMethods[pi.TestMethod].disputes; reason != "" {
		pi.Dispute = s.later(reason)
	} else if s.faults.disputes() {
		pi.Dispute = s.later("fraudulent")
	}
}

// decline records that the payment method that is attached to pi was declined, and completes the refusal.
func (s *Server) decline(pi *storedIntent, refusal *apiError) {
	charge := newID("ch")
	pi.Intent.LatestCharge = &charge
	pi.Intent.NextAction = nil
	method := testMethods[pi.TestMethod]
	refusal.Charge = charge
	refusal.PaymentMethod = &paymentMethod{
		ID:      *pi.Intent.PaymentMethod,
		Object:  "payment_method",
		Type:    "card",
		Created: pi.Intent.Created,
		Card: card{
			Brand: method.brand, Last4: method.last4, ExpMonth: 12, ExpYear: s.now().Year() + 1, Funding: "credit",
		},
	}
	// A declined intent loses its payment method and can be confirmed with another.
	lastError := *refusal
	pi.Intent.LastPaymentError = &lastError
	pi.Intent.Status = statusRequiresMethod
	pi.Intent.PaymentMethod = nil
	pi.TestMethod = ""
	refusal.PaymentIntent = &pi.Intent
}

// chargeAmount reads and checks amount and currency as Stripe does.
func chargeAmount(p params) (amount int64, currency string, apiErr *apiError) {
	amount, given, apiErr := p.integer("amount")
	if apiErr != nil {
		return 0, "", apiErr
	}
	currency = strings.ToLower(p.Get("currency"))
	limit, supported := limits[currency]
	switch {
	case !given:
		return 0, "", invalidRequest("parameter_missing", "amount", "Missing required param: amount.")
	case currency == "":
		return 0, "", invalidRequest("parameter_missing", "currency", "Missing required param: currency.")
	case !supported:
		return 0, "", invalidRequest("", "currency", "Invalid currency: %s.", currency)
	case amount < 1:
		return 0, "", invalidRequest("parameter_invalid_integer", "amount",
			"This value must be greater than or equal to 1.")
	case amount < limit.least:
		return 0, "", invalidRequest("amount_too_small", "amount",
			"Amount must be at least %d (minor units of %s).", limit.least, currency)
	case amount > limit.most():
		return 0, "", invalidRequest("amount_too_large", "amount",
			"Amount must be no more than %d (minor units of %s).", limit.most(), currency)
	case amount%limit.step() != 0:
		return 0, "", invalidRequest("parameter_invalid_integer", "amount",
			"Invalid amount: the last digit must be 0 in %s, a three-decimal currency.", currency)
	}
	return amount, currency, nil
}

// methodTypes sets which types of payment method pi accepts.
func methodTypes(p params, pi *intent) *apiError {
	types := p.list("payment_method_types")
	enabled, apiErr := p.boolean("automatic_payment_methods[enabled]")
	if apiErr != nil {
		return apiErr
	}
	switch {
	case len(types) > 0 && enabled:
		return invalidRequest("", "payment_method_types",
			"You may only specify one of these parameters: automatic_payment_methods, payment_method_types.")
	case len(types) > 0:
		if !slices.Equal(types, []string{"card"}) {
			return invalidRequest("", "payment_method_types",
				"payment_method_types must be card: this simulator has no other type")
		}
	default:
		// Without payment_method_types, automatic payment methods are Stripe's default.
		redirects := p.Get("automatic_payment_methods[allow_redirects]")
		if redirects == "" {
			redirects = "always"
		}
		pi.AutomaticPaymentMethods = &automaticPaymentMethods{AllowRedirects: redirects, Enabled: true}
	}
	pi.PaymentMethodTypes = []string{"card"}
	return nil
}

// attach attaches the payment method that p names, if any, to pi.
func attach(p params, pi *storedIntent) *apiError {
	name := p.Get("payment_method")
	if name == "" || (pi.Intent.PaymentMethod != nil && name == *pi.Intent.PaymentMethod) {
		return nil
	}
	if _, ok := testMethods[name]; !ok {
		return noSuch(http.StatusBadRequest, "PaymentMethod", "payment_method", name)
	}
	id := newID("pm")
	pi.Intent.PaymentMethod = &id
	pi.TestMethod = name
	pi.Intent.Status = statusRequiresConfirmation
	return nil
}

// unexpectedState returns the error for an operation that the status of pi does not allow. The format has one verb, for
// the status.
func unexpectedState(pi intent, format string) *apiError {
	e := invalidRequest("payment_intent_unexpected_state", "", format, pi.Status)
	e.PaymentIntent = &pi
	return e
}

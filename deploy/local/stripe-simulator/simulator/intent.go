package simulator

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
)

// Statuses of a PaymentIntent that the simulator reaches.
const (
	statusRequiresMethod       = "requires_payment_method"
	statusRequiresConfirmation = "requires_confirmation"
	statusRequiresAction       = "requires_action"
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
	Type         string         `json:"type"`
	UseStripeSDK map[string]any `json:"use_stripe_sdk"`
}

// storedIntent is an intent with what Stripe knows and does not show.
type storedIntent struct {
	Intent intent `json:"intent"`
	// CreatedMs is the creation in milliseconds: search lag needs finer time than Stripe shows.
	CreatedMs int64 `json:"createdMs"`
	// TestMethod names the test payment method behind Intent.PaymentMethod.
	TestMethod string `json:"testMethod,omitempty"`
	// Refunded is the sum of the refunds of this intent.
	Refunded int64 `json:"refunded,omitempty"`
}

// newID is an id in Stripe's form.
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
		return outcome{}, invalidRequest("", "capture_method", "capture_method must be automatic: this simulator does not capture")
	}
	confirm, apiErr := p.boolean("confirm")
	if apiErr != nil {
		return outcome{}, apiErr
	}
	if p.Has("error_on_requires_action") && !confirm {
		return outcome{}, invalidRequest("", "error_on_requires_action", "error_on_requires_action can only be used when confirm is true")
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
	if !confirm {
		return outcome{entry: entry{Intent: &pi}, status: http.StatusOK, body: pi.Intent}, nil
	}
	return s.charge(p, pi)
}

// confirmIntent executes POST /v1/payment_intents/{id}/confirm.
func (s *Server) confirmIntent(p params, id string) (outcome, *apiError) {
	if apiErr := p.only("payment_method", "error_on_requires_action", "off_session", "return_url", "receipt_email"); apiErr != nil {
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
	if reason != nil && !slices.Contains([]string{"abandoned", "duplicate", "fraudulent", "requested_by_customer"}, *reason) {
		return outcome{}, invalidRequest("", "cancellation_reason", "Invalid cancellation_reason: %s", *reason)
	}
	canceledAt := s.now().Unix()
	pi.Intent.Status = statusCanceled
	pi.Intent.CanceledAt = &canceledAt
	pi.Intent.CancellationReason = reason
	pi.Intent.NextAction = nil
	return outcome{entry: entry{Intent: &pi}, status: http.StatusOK, body: pi.Intent}, nil
}

// charge charges the attached payment method of pi, which it changes.
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
		return outcome{}, unexpectedState(pi.Intent, "You cannot confirm this PaymentIntent because it's missing a payment method (its status is %s).")
	}
	if a := pi.Intent.AutomaticPaymentMethods; a != nil && a.AllowRedirects != "never" && !p.Has("return_url") {
		return outcome{}, invalidRequest("", "return_url", "This PaymentIntent is configured to accept payment methods enabled in your Dashboard, of which some might redirect: provide a `return_url`, or set automatic_payment_methods[allow_redirects] to never.")
	}
	method := testMethods[pi.TestMethod]
	decline := method.decline()
	if method.authenticates {
		if !errorOnAction && !offSession {
			pi.Intent.Status = statusRequiresAction
			pi.Intent.LastPaymentError = nil
			pi.Intent.NextAction = &nextAction{Type: "use_stripe_sdk", UseStripeSDK: map[string]any{"type": "three_d_secure_redirect"}}
			return outcome{entry: entry{Intent: &pi}, status: http.StatusOK, body: pi.Intent, counter: "actionsRequired"}, nil
		}
		decline = &apiError{
			status:      http.StatusPaymentRequired,
			Type:        "card_error",
			Code:        "authentication_required",
			DeclineCode: "authentication_required",
			Message:     "Your card was declined. This transaction requires authentication.",
		}
	}
	charge := newID("ch")
	pi.Intent.LatestCharge = &charge
	pi.Intent.NextAction = nil
	if decline == nil {
		pi.Intent.Status = statusSucceeded
		pi.Intent.AmountReceived = pi.Intent.Amount
		pi.Intent.LastPaymentError = nil
		return outcome{entry: entry{Intent: &pi}, status: http.StatusOK, body: pi.Intent, counter: "charged"}, nil
	}
	decline.Charge = charge
	decline.PaymentMethod = &paymentMethod{
		ID:      *pi.Intent.PaymentMethod,
		Object:  "payment_method",
		Type:    "card",
		Created: pi.Intent.Created,
		Card:    card{Brand: method.brand, Last4: method.last4, ExpMonth: 12, ExpYear: s.now().Year() + 1, Funding: "credit"},
	}
	// A declined intent is left without its method, to be confirmed with another.
	lastError := *decline
	pi.Intent.LastPaymentError = &lastError
	pi.Intent.Status = statusRequiresMethod
	pi.Intent.PaymentMethod = nil
	pi.TestMethod = ""
	decline.PaymentIntent = &pi.Intent
	return outcome{entry: entry{Intent: &pi}, status: decline.status, body: errorBody{decline}, counter: "declined"}, nil
}

// chargeAmount reads and checks amount and currency as Stripe does.
func chargeAmount(p params) (amount int64, currency string, apiErr *apiError) {
	amount, given, apiErr := p.integer("amount")
	if apiErr != nil {
		return 0, "", apiErr
	}
	currency = strings.ToLower(p.Get("currency"))
	minimum, supported := minimumAmounts[currency]
	switch {
	case !given:
		return 0, "", invalidRequest("parameter_missing", "amount", "Missing required param: amount.")
	case currency == "":
		return 0, "", invalidRequest("parameter_missing", "currency", "Missing required param: currency.")
	case !supported:
		return 0, "", invalidRequest("", "currency", "Invalid currency: %s.", currency)
	case amount < 1:
		return 0, "", invalidRequest("parameter_invalid_integer", "amount", "This value must be greater than or equal to 1.")
	case amount < minimum:
		return 0, "", invalidRequest("amount_too_small", "amount", "Amount must be at least %d (minor units of %s).", minimum, currency)
	case amount > maximumAmount:
		return 0, "", invalidRequest("amount_too_large", "amount", "Amount must be no more than %d (minor units of %s).", maximumAmount, currency)
	}
	return amount, currency, nil
}

// methodTypes sets which kinds of payment method the intent takes.
func methodTypes(p params, pi *intent) *apiError {
	types := p.list("payment_method_types")
	enabled, apiErr := p.boolean("automatic_payment_methods[enabled]")
	if apiErr != nil {
		return apiErr
	}
	switch {
	case len(types) > 0 && enabled:
		return invalidRequest("", "payment_method_types", "You may only specify one of these parameters: automatic_payment_methods, payment_method_types.")
	case len(types) > 0:
		if !slices.Equal(types, []string{"card"}) {
			return invalidRequest("", "payment_method_types", "payment_method_types must be card: this simulator has no other")
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

// attach gives pi the payment method p names, if any.
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

// unexpectedState is the refusal of a step that pi's status does not allow.
func unexpectedState(pi intent, format string) *apiError {
	e := invalidRequest("payment_intent_unexpected_state", "", format, pi.Status)
	e.PaymentIntent = &pi
	return e
}

package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// ChargeRequest is a request to charge a card.
type ChargeRequest struct {
	AttemptKey     string
	AttemptedSince time.Time // when the first request with this key was sent
	OrderID        string
	Amount         money.Amount
	PaymentToken   string
	Description    string
	ReturnURL      string // where the bank sends the buyer after authentication; empty for clients with Stripe.js
}

// Charge is what is known about one charge attempt.
type Charge struct {
	AttemptKey    string
	Status        Status
	TransactionID string
	DeclineCode   string // set if Declined, such as INSUFFICIENT_FUNDS
	Message       string // safe to show to the buyer
	Retryable     bool   // of a Declined charge: another attempt with the same card may succeed
	// Action is what the buyer does next, set if RequiresAction.
	Action *calls.PaymentAction
}

// The keys of a PaymentIntent's metadata. Searches use the first; a webhook event names its order by the second.
const (
	metadataAttemptKey = "attempt_key"
	metadataOrderID    = "order_id"
)

// Charge creates and confirms a PaymentIntent. If it did so before under the same attempt key, it returns the present
// state of that. If Stripe replays an internal error, Charge looks up what was made in spite of it. It returns
// ErrUnknownPaymentMethod, ErrAmount, ErrCurrency, ErrKeyReused, ErrRefused or ErrMisconfigured if no charge was made,
// and ErrUnavailable if the outcome is unknown.
func (g *Gateway) Charge(ctx context.Context, request ChargeRequest) (Charge, error) {
	params, err := createParams(request)
	if err != nil {
		return Charge{}, err
	}
	intent, err := g.stripe.V1PaymentIntents.Create(ctx, params)
	if err != nil {
		return g.afterError(ctx, request, err)
	}
	if replayed(intent.LastResponse) {
		if intent, err = g.retrieve(ctx, intent.ID); err != nil {
			return Charge{}, err
		}
	}
	if intent.Status == stripe.PaymentIntentStatusRequiresConfirmation { // Stripe stopped between its two steps
		return g.confirm(ctx, request, intent.ID)
	}
	return chargeOf(request.AttemptKey, intent), nil
}

// createParams returns the parameters that create and confirm the intent of a request.
func createParams(request ChargeRequest) (*stripe.PaymentIntentCreateParams, error) {
	units, err := request.Amount.ChargeUnits()
	switch {
	case errors.Is(err, money.ErrNotSupported):
		return nil, ErrCurrency.Because(err)
	case err != nil:
		return nil, ErrAmount.Because(err)
	}
	params := &stripe.PaymentIntentCreateParams{
		Amount:        stripe.Int64(units),
		Currency:      stripe.String(strings.ToLower(string(request.Amount.Currency))),
		PaymentMethod: stripe.String(request.PaymentToken),
		// Cards only: other payment methods may take days to succeed, and no hold lasts so long.
		PaymentMethodTypes: []*string{stripe.String("card")},
		Confirm:            stripe.Bool(true),
		Metadata: map[string]string{
			metadataAttemptKey: request.AttemptKey, metadataOrderID: request.OrderID,
		},
	}
	if request.ReturnURL != "" {
		params.ReturnURL = stripe.String(request.ReturnURL)
	}
	if request.Description != "" {
		params.Description = stripe.String(request.Description)
	}
	params.SetIdempotencyKey(request.AttemptKey)
	return params, nil
}

// afterError returns the charge that an error of the request to charge stands for.
func (g *Gateway) afterError(ctx context.Context, request ChargeRequest, err error) (Charge, error) {
	e, isStripe := errors.AsType[*stripe.Error](err)
	if isStripe && e.Type == stripe.ErrorTypeCard {
		transactionID := ""
		if e.PaymentIntent != nil {
			transactionID = e.PaymentIntent.ID
		}
		return declined(request.AttemptKey, transactionID, e), nil
	}
	translated := translate(err)
	if !errors.Is(translated, ErrUnavailable) || !isStripe || !replayed(e.LastResponse) {
		return Charge{}, translated
	}
	// The first request failed with an internal error at Stripe. Every repetition receives that error, but the first
	// request has ended, so a lookup finds its outcome.
	found, certain, err := g.find(ctx, request)
	switch {
	case err != nil:
		return Charge{}, err
	case found == nil && !certain:
		return Charge{}, translated
	case found == nil:
		return Charge{
			AttemptKey: request.AttemptKey, Status: Declined, DeclineCode: "PROCESSING_ERROR",
			Message: "The card processor failed, and nothing was charged.", Retryable: true,
		}, nil
	}
	return chargeOf(request.AttemptKey, found), nil
}

// confirm confirms the intent of a request that is not confirmed yet.
func (g *Gateway) confirm(ctx context.Context, request ChargeRequest, id string) (Charge, error) {
	params := &stripe.PaymentIntentConfirmParams{PaymentMethod: stripe.String(request.PaymentToken)}
	if request.ReturnURL != "" {
		params.ReturnURL = stripe.String(request.ReturnURL)
	}
	params.SetIdempotencyKey(request.AttemptKey + ":confirm")
	intent, err := g.stripe.V1PaymentIntents.Confirm(ctx, id, params)
	if e, ok := errors.AsType[*stripe.Error](err); ok && e.Type == stripe.ErrorTypeCard {
		return declined(request.AttemptKey, id, e), nil
	}
	if err != nil {
		return Charge{}, translate(err)
	}
	return chargeOf(request.AttemptKey, intent), nil
}

func (g *Gateway) retrieve(ctx context.Context, id string) (*stripe.PaymentIntent, error) {
	intent, err := g.stripe.V1PaymentIntents.Retrieve(ctx, id, nil)
	if err != nil {
		return nil, translate(err)
	}
	return intent, nil
}

// replayed reports whether Stripe returned a response that it had saved under the idempotency key.
func replayed(response *stripe.APIResponse) bool {
	return response != nil && response.Header.Get("Idempotent-Replayed") == "true"
}

// precedence orders the statuses of several charges with one key, the decisive one last.
var precedence = []Status{Declined, RequiresAction, Pending, Succeeded}

// chargeOf returns the Charge that a PaymentIntent stands for.
func chargeOf(key string, intent *stripe.PaymentIntent) Charge {
	charge := Charge{AttemptKey: key, TransactionID: intent.ID, Status: Pending}
	switch intent.Status {
	case stripe.PaymentIntentStatusSucceeded:
		charge.Status = Succeeded
	case stripe.PaymentIntentStatusRequiresPaymentMethod:
		if intent.LastPaymentError != nil {
			return declined(key, intent.ID, intent.LastPaymentError)
		}
	case stripe.PaymentIntentStatusCanceled:
		charge.Status, charge.DeclineCode, charge.Retryable = Declined, "CANCELED", true
		charge.Message = "The payment was not completed in time and was cancelled."
	case stripe.PaymentIntentStatusRequiresAction:
		charge.Status = RequiresAction
		charge.Action = &calls.PaymentAction{ClientSecret: intent.ClientSecret}
		if next := intent.NextAction; next != nil && next.RedirectToURL != nil {
			charge.Action.RedirectURL = next.RedirectToURL.URL
		}
	case stripe.PaymentIntentStatusProcessing, stripe.PaymentIntentStatusRequiresCapture,
		stripe.PaymentIntentStatusRequiresConfirmation:
	}
	return charge
}

// confidential lists the decline codes that Stripe asks to present to the buyer as a generic decline.
var confidential = []stripe.DeclineCode{
	stripe.DeclineCodeFraudulent, stripe.DeclineCodeLostCard,
	stripe.DeclineCodeStolenCard, stripe.DeclineCodeMerchantBlacklist,
}

// transient lists the decline codes after which the same card may succeed a little later.
var transient = []stripe.DeclineCode{
	stripe.DeclineCodeProcessingError, stripe.DeclineCodeIssuerNotAvailable,
	stripe.DeclineCodeReenterTransaction, stripe.DeclineCodeTryAgainLater,
}

// declined returns the Charge that one of Stripe's card errors stands for.
func declined(key, transactionID string, e *stripe.Error) Charge {
	// With the error code card_declined, the decline code has the reason. Any other error code is the reason itself.
	code := e.DeclineCode
	if code == "" {
		code = stripe.DeclineCode(e.Code)
	}
	message := e.Msg
	if slices.Contains(confidential, code) {
		code, message = stripe.DeclineCodeGenericDecline, "Your card was declined."
	}
	return Charge{
		AttemptKey:    key,
		Status:        Declined,
		TransactionID: transactionID,
		DeclineCode:   beginning(strings.ToUpper(string(code)), maxCode),
		Message:       beginning(message, maxMessage),
		Retryable:     slices.Contains(transient, code),
	}
}

// Limits of what Stripe says about a decline, in characters. Orders, events and mails contain it.
const (
	maxCode    = 100
	maxMessage = 500
)

// beginning returns the first n characters of text.
func beginning(text string, n int) string {
	for i := range text {
		if n == 0 {
			return text[:i]
		}
		n--
	}
	return text
}

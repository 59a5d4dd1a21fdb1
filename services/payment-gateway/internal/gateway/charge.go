package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

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
}

// Charge is what is known about one charge attempt.
type Charge struct {
	AttemptKey    string
	Status        Status
	TransactionID string
	DeclineCode   string // set if Declined, such as INSUFFICIENT_FUNDS
	Message       string // safe to show to the buyer
	// Retryable, on a Declined charge, means that another attempt with the same card may succeed. On a NotFound one it
	// means that a later lookup may find a charge.
	Retryable bool
}

// The keys of a PaymentIntent's metadata. Find searches for the first; a webhook event names its order by the second.
const (
	metadataAttemptKey = "attempt_key"
	metadataOrderID    = "order_id"
)

// Charge creates and confirms a PaymentIntent. If it did so before under the same attempt key, it returns the outcome
// of that. If Stripe replays an internal error, Charge returns the charge that was made in spite of it, or a decline if
// none was. It returns ErrUnknownPaymentMethod, ErrAmount, ErrCurrency, ErrKeyReused, ErrRefused or ErrMisconfigured if
// no charge was made, and ErrUnavailable if the outcome is unknown.
func (g *Gateway) Charge(ctx context.Context, request ChargeRequest) (Charge, error) {
	minor, err := request.Amount.ChargeUnits()
	switch {
	case errors.Is(err, money.ErrNotSupported):
		return Charge{}, ErrCurrency.Because(err)
	case err != nil:
		return Charge{}, ErrAmount.Because(err)
	}
	params := &stripe.PaymentIntentCreateParams{
		Amount:        stripe.Int64(minor),
		Currency:      stripe.String(strings.ToLower(string(request.Amount.Currency))),
		PaymentMethod: stripe.String(request.PaymentToken),
		// Cards only: a payment method that redirects the buyer needs a page to return to.
		PaymentMethodTypes: []*string{stripe.String("card")},
		// The buyer waits for this response, and no client can present a 3-D Secure challenge yet. A card that requires
		// one is declined immediately, so that the order does not stay pending.
		ErrorOnRequiresAction: stripe.Bool(true),
		Confirm:               stripe.Bool(true),
		Metadata: map[string]string{
			metadataAttemptKey: request.AttemptKey, metadataOrderID: request.OrderID,
		},
	}
	if request.Description != "" {
		params.Description = stripe.String(request.Description)
	}
	params.SetIdempotencyKey(request.AttemptKey)
	intent, err := g.stripe.V1PaymentIntents.Create(ctx, params)
	if err == nil {
		return chargeOf(request.AttemptKey, intent), nil
	}
	if e, ok := errors.AsType[*stripe.Error](err); ok && e.Type == stripe.ErrorTypeCard {
		transactionID := ""
		if e.PaymentIntent != nil {
			transactionID = e.PaymentIntent.ID
		}
		return declined(request.AttemptKey, transactionID, e), nil
	}
	translated := translate(err)
	if !errors.Is(translated, ErrUnavailable) || !replayed(err) {
		return Charge{}, translated
	}
	// The first request failed with an internal error at Stripe. Every repetition receives that error, but the first
	// request has ended, so a lookup finds its outcome.
	found, err := g.Find(ctx, request.AttemptKey, request.AttemptedSince)
	switch {
	case err != nil:
		return Charge{}, err
	case found.Status == NotFound && found.Retryable:
		return Charge{}, translated
	case found.Status == NotFound:
		return Charge{
			AttemptKey: request.AttemptKey, Status: Declined, DeclineCode: "PROCESSING_ERROR",
			Message: "The card processor failed, and nothing was charged.", Retryable: true,
		}, nil
	}
	return found, nil
}

// replayed reports whether Stripe returned a response that it had saved under the idempotency key.
func replayed(err error) bool {
	e, ok := errors.AsType[*stripe.Error](err)
	return ok && e.LastResponse != nil && e.LastResponse.Header.Get("Idempotent-Replayed") == "true"
}

const (
	// clockSkew is how far Stripe's clock may be behind that of the caller, which recorded the first attempt.
	clockSkew = 5 * time.Minute
	// maxListed is how many PaymentIntents Find reads at most. A first attempt long ago has too many after it.
	maxListed = 2000
)

// Find looks up the charge of an attempt whose first request was sent at since. It returns NotFound if Stripe has made
// none; if that is Retryable, Find did not read the whole list (see the package comment). The key must not contain
// quotes or backslashes. Find returns ErrUnavailable or ErrMisconfigured.
func (g *Gateway) Find(ctx context.Context, key string, since time.Time) (Charge, error) {
	best := Charge{AttemptKey: key, Status: NotFound, Message: "There is no charge with this key"}
	// A key that was repeated after Stripe had dropped it has several charges. The one that took money counts.
	consider := func(intent *stripe.PaymentIntent) {
		charge := chargeOf(key, intent)
		if slices.Index(precedence, charge.Status) > slices.Index(precedence, best.Status) {
			best = charge
		}
	}
	indexed := g.stripe.V1PaymentIntents.Search(ctx, &stripe.PaymentIntentSearchParams{
		SearchParams: stripe.SearchParams{Query: fmt.Sprintf("metadata['%s']:'%s'", metadataAttemptKey, key)},
	})
	if err := indexed.Err(); err != nil {
		return Charge{}, translate(err)
	}
	for _, intent := range indexed.Data() {
		consider(intent)
	}
	if best.Status != NotFound {
		return best, nil
	}
	listed := 0
	for intent, err := range g.stripe.V1PaymentIntents.List(ctx, &stripe.PaymentIntentListParams{
		ListParams:   stripe.ListParams{Limit: stripe.Int64(100)},
		CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: since.Add(-clockSkew).Unix()},
	}).All(ctx) {
		if err != nil {
			return Charge{}, translate(err)
		}
		if intent.Metadata[metadataAttemptKey] == key {
			consider(intent)
		}
		if listed++; listed < maxListed {
			continue
		}
		if best.Status == NotFound {
			best.Retryable = true
			best.Message = "No charge with this key is known yet; the index may lag behind by a minute or more"
		}
		break
	}
	return best, nil
}

// precedence orders the statuses of several charges with one key, the decisive one last.
var precedence = []Status{NotFound, Declined, Pending, Succeeded}

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
		charge.Status, charge.DeclineCode, charge.Message = Declined, "CANCELED", "The payment was canceled."
	case stripe.PaymentIntentStatusProcessing, stripe.PaymentIntentStatusRequiresAction,
		stripe.PaymentIntentStatusRequiresCapture, stripe.PaymentIntentStatusRequiresConfirmation:
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
		DeclineCode:   strings.ToUpper(string(code)),
		Message:       message,
		Retryable:     slices.Contains(transient, code),
	}
}

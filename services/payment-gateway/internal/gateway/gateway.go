package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Errors of this package's methods. Only ErrUnavailable leaves it open whether money moved.
var (
	ErrUnavailable          = problem.New(problem.Unavailable, "PAYMENT_GATEWAY_UNAVAILABLE", "The card processor does not answer")
	ErrMisconfigured        = problem.New(problem.Internal, "PAYMENT_GATEWAY_MISCONFIGURED", "The card processor does not accept this service")
	ErrUnknownPaymentMethod = fieldError(problem.Invalid, "UNKNOWN_PAYMENT_METHOD", "paymentToken", "The card processor does not know this payment method")
	ErrAmount               = fieldError(problem.Invalid, "UNSUPPORTED_AMOUNT", "amount", "The card processor does not take this amount in this currency")
	ErrCurrency             = fieldError(problem.Invalid, "UNSUPPORTED_CURRENCY", "currency", "The card processor does not take this currency")
	ErrUnknownTransaction   = fieldError(problem.NotFound, "UNKNOWN_TRANSACTION", "transactionId", "The card processor does not know this transaction")
	ErrKeyReused            = problem.New(problem.Conflict, "KEY_REUSED", "This key was used for something else before")
	ErrRefused              = problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED", "The card processor refused the request")
)

func fieldError(kind problem.Kind, code, field, message string) *problem.Error {
	e := problem.New(kind, code, "%s", message)
	e.Field = field
	return e
}

// timeout bounds one request to Stripe. It ends before the sidecar's timeout on the hop to this
// service, so that the caller gets our answer and not the sidecar's.
const timeout = 4 * time.Second

// Status is what became of a charge or a refund.
type Status string

// Statuses of charges and refunds. Declined and NotFound are a charge's, Failed is a refund's.
const (
	Succeeded Status = "SUCCEEDED"
	Declined  Status = "DECLINED"
	Pending   Status = "PENDING"
	NotFound  Status = "NOT_FOUND"
	Failed    Status = "FAILED"
)

// Order is a request to charge a card.
type Order struct {
	AttemptKey   string
	OrderID      string
	Amount       money.Amount
	PaymentToken string
	Description  string
	Since        time.Time // when it was first attempted
}

// Charge is what is known of one charge attempt.
type Charge struct {
	AttemptKey    string
	Status        Status
	TransactionID string
	DeclineCode   string // of a Declined one, such as INSUFFICIENT_FUNDS
	Message       string // safe to show to the buyer
	// Retryable says that another attempt with the same card may succeed; of a NotFound, that the
	// same question may get another answer later.
	Retryable bool
}

// Refund is what became of a refund.
type Refund struct {
	RefundKey   string
	RefundID    string
	Status      Status
	FailureCode string // of a Failed one
	Message     string
}

// Gateway is a client of Stripe. It is safe for concurrent use.
type Gateway struct{ stripe *stripe.Client }

// New makes a Gateway for the Stripe at apiBase, the real one when that is empty. It does not call
// it. Its errors name the variable at fault.
func New(apiBase, key string) (*Gateway, error) {
	if apiBase == "" {
		apiBase = stripe.APIURL
	}
	base, err := url.Parse(apiBase)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, errors.New("STRIPE_API_BASE must be an http or https URL, or empty for Stripe itself")
	}
	if base.Scheme == "http" && strings.Contains(key, "_live_") {
		return nil, errors.New("STRIPE_API_BASE must be https with a live key")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32 // Stripe is the only host, and the bulkhead allows 20 calls
	return &Gateway{stripe.NewClient(key, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL:               stripe.String(apiBase),
		HTTPClient:        &http.Client{Transport: measured{transport}, Timeout: timeout},
		MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry:   stripe.Bool(false),
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull}, // errors are logged once, at the edge
	})))}, nil
}

// Charge charges the card, or gives the answer it gave to the same order before. It returns
// ErrUnknownPaymentMethod, ErrAmount, ErrCurrency, ErrKeyReused or ErrRefused when there is no
// charge, ErrMisconfigured, and ErrUnavailable when nobody knows. Of a breakdown that Stripe saved under the
// key it tells what is left of it: the charge that was made in spite of it, or that there is none.
func (g *Gateway) Charge(ctx context.Context, o Order) (Charge, error) {
	minor, err := minorUnits(o.Amount)
	if err != nil {
		return Charge{}, err
	}
	params := &stripe.PaymentIntentCreateParams{
		Amount:        stripe.Int64(minor),
		Currency:      stripe.String(strings.ToLower(string(o.Amount.Currency))),
		PaymentMethod: stripe.String(o.PaymentToken),
		// Cards only: a method that redirects needs a page to come back to.
		PaymentMethodTypes: []*string{stripe.String("card")},
		// The buyer waits for this answer, and nobody can pass a 3-D Secure challenge on to them yet:
		// a card that demands one is declined at once and the order does not hang.
		ErrorOnRequiresAction: stripe.Bool(true),
		Confirm:               stripe.Bool(true),
		Metadata:              map[string]string{attemptKey: o.AttemptKey, orderID: o.OrderID},
	}
	if o.Description != "" {
		params.Description = stripe.String(o.Description)
	}
	params.SetIdempotencyKey(o.AttemptKey)
	intent, err := g.stripe.V1PaymentIntents.Create(ctx, params)
	if err == nil {
		return chargeOf(o.AttemptKey, intent), nil
	}
	if e, ok := errors.AsType[*stripe.Error](err); ok && e.Type == stripe.ErrorTypeCard {
		transaction := ""
		if e.PaymentIntent != nil {
			transaction = e.PaymentIntent.ID
		}
		return declined(o.AttemptKey, transaction, e), nil
	}
	unknown := translate(err)
	if !errors.Is(unknown, ErrUnavailable) || !replayed(err) {
		return Charge{}, unknown
	}
	// The first request broke down at Stripe, and that is all which this key will ever get to hear. What the
	// request did is done.
	found, err := g.Find(ctx, o.AttemptKey, o.Since)
	switch {
	case err != nil:
		return Charge{}, err
	case found.Status == NotFound && found.Retryable:
		return Charge{}, unknown
	case found.Status == NotFound:
		return Charge{
			AttemptKey: o.AttemptKey, Status: Declined, DeclineCode: "PROCESSING_ERROR",
			Message: "The card processor failed, and nothing was charged.", Retryable: true,
		}, nil
	}
	return found, nil
}

// replayed reports whether Stripe only repeated what it had saved under an idempotency key.
func replayed(err error) bool {
	e, ok := errors.AsType[*stripe.Error](err)
	return ok && e.LastResponse != nil && e.LastResponse.Header.Get("Idempotent-Replayed") == "true"
}

// Metadata of a PaymentIntent: what Find searches for, and what a webhook knows its order by.
const (
	attemptKey = "attempt_key"
	orderID    = "order_id"
)

// How far a list of charges is read: what is older than the first attempt, by Stripe's clock too, is somebody
// else's, and an attempt may be too long ago for a list.
const (
	clockSkew = 5 * time.Minute
	maxListed = 2000
)

// Find looks for the charge of an attempt that was first made at since. A NotFound that is not Retryable says
// that Stripe had made none by now; see the package comment. The key must be free of quotes and backslashes.
// It returns ErrUnavailable or ErrMisconfigured.
func (g *Gateway) Find(ctx context.Context, key string, since time.Time) (Charge, error) {
	best := Charge{AttemptKey: key, Status: NotFound, Message: "There is no charge with this key"}
	// A key repeated after Stripe forgot it has several charges: the one that took money counts.
	take := func(intent *stripe.PaymentIntent) {
		charge := chargeOf(key, intent)
		if slices.Index(weight, charge.Status) > slices.Index(weight, best.Status) {
			best = charge
		}
	}
	indexed := g.stripe.V1PaymentIntents.Search(ctx, &stripe.PaymentIntentSearchParams{
		SearchParams: stripe.SearchParams{Query: fmt.Sprintf("metadata['%s']:'%s'", attemptKey, key)},
	})
	if err := indexed.Err(); err != nil {
		return Charge{}, translate(err)
	}
	for _, intent := range indexed.Data() {
		take(intent)
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
		if intent.Metadata[attemptKey] == key {
			take(intent)
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

// weight orders statuses by how much they commit us to.
var weight = []Status{NotFound, Declined, Pending, Succeeded}

// chargeOf reads a charge out of a PaymentIntent.
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
	}
	return charge
}

// Codes that the buyer is not to learn: Stripe asks that they be shown as a generic decline.
var confidential = []stripe.DeclineCode{
	stripe.DeclineCodeFraudulent, stripe.DeclineCodeLostCard, stripe.DeclineCodeStolenCard, stripe.DeclineCodeMerchantBlacklist,
}

// Codes after which the same card may well work a little later.
var passing = []stripe.DeclineCode{
	stripe.DeclineCodeProcessingError, stripe.DeclineCodeIssuerNotAvailable,
	stripe.DeclineCodeReenterTransaction, stripe.DeclineCodeTryAgainLater,
}

// declined reads a decline out of Stripe's card error.
func declined(key, transaction string, e *stripe.Error) Charge {
	// card_declined leaves the reason to the decline code; other codes are the reason.
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
		TransactionID: transaction,
		DeclineCode:   strings.ToUpper(string(code)),
		Message:       message,
		Retryable:     slices.Contains(passing, code),
	}
}

// Refund gives amount of the transaction back, or says what the same refund key did before. What
// cannot be refunded (any more) is Failed with a code and not an error. It returns
// ErrUnknownTransaction, ErrAmount, ErrKeyReused, ErrRefused, ErrMisconfigured and ErrUnavailable.
func (g *Gateway) Refund(ctx context.Context, key, transaction string, amount money.Amount, reason string) (Refund, error) {
	minor, err := minorUnits(amount)
	if err != nil {
		return Refund{}, err
	}
	// The idempotency key holds for a day, and a part refunded twice is money lost: look first.
	earlier := g.stripe.V1Refunds.List(ctx, &stripe.RefundListParams{PaymentIntent: stripe.String(transaction)})
	for refund, err := range earlier.All(ctx) {
		switch {
		case err != nil:
			return Refund{}, translate(err)
		case refund.Metadata[refundKey] != key:
		case refund.Amount != minor:
			return Refund{}, ErrKeyReused
		default:
			return refundOf(key, refund), nil
		}
	}
	params := &stripe.RefundCreateParams{
		Amount:        stripe.Int64(minor),
		PaymentIntent: stripe.String(transaction),
		Reason:        stripe.String(string(stripe.RefundReasonRequestedByCustomer)), // Stripe has no closer word
		Metadata:      map[string]string{refundKey: key, "reason": reason},
	}
	params.SetIdempotencyKey(key)
	refund, err := g.stripe.V1Refunds.Create(ctx, params)
	if err == nil {
		return refundOf(key, refund), nil
	}
	e, ok := errors.AsType[*stripe.Error](err)
	switch {
	case ok && e.Code == stripe.ErrorCodeChargeAlreadyRefunded:
		return Refund{RefundKey: key, Status: Failed, FailureCode: "ALREADY_REFUNDED", Message: "The charge was refunded before"}, nil
	case ok && e.Type == stripe.ErrorTypeInvalidRequest && e.Param == "amount":
		return Refund{RefundKey: key, Status: Failed, FailureCode: "EXCEEDS_CHARGE", Message: "The refund exceeds what is left of the charge"}, nil
	}
	return Refund{}, translate(err)
}

// refundKey is the metadata by which Refund knows its own refunds.
const refundKey = "refund_key"

// refundOf reads Stripe's refund.
func refundOf(key string, refund *stripe.Refund) Refund {
	r := Refund{RefundKey: key, RefundID: refund.ID, Status: Pending}
	switch refund.Status {
	case stripe.RefundStatusSucceeded:
		r.Status = Succeeded
	case stripe.RefundStatusFailed, stripe.RefundStatusCanceled:
		r.Status, r.FailureCode, r.Message = Failed, strings.ToUpper(string(refund.FailureReason)), "The bank did not take the refund"
	}
	return r
}

// translate turns an error of stripe-go into one of this package's. What it wraps for the logs is
// put together from harmless parts: Stripe's own text of a card error has the whole intent in it,
// client secret included.
func translate(err error) error {
	e, ok := errors.AsType[*stripe.Error](err)
	if !ok {
		if timedOut, isNet := errors.AsType[net.Error](err); isNet && timedOut.Timeout() {
			return ErrUnavailable.Because(fmt.Errorf("no answer within %s: %w", timeout, err))
		}
		return ErrUnavailable.Because(err)
	}
	cause := fmt.Errorf("stripe answered %d %s %s (request %s): %s", e.HTTPStatusCode, e.Type, e.Code, e.RequestID, e.Msg)
	switch {
	case e.HTTPStatusCode == http.StatusUnauthorized, e.HTTPStatusCode == http.StatusForbidden:
		return ErrMisconfigured.Because(cause)
	// A conflict is an earlier request with our key still running: the next try gets its answer.
	case e.HTTPStatusCode >= 500, e.HTTPStatusCode == http.StatusTooManyRequests, e.HTTPStatusCode == http.StatusConflict:
		return ErrUnavailable.Because(cause)
	case e.Type == stripe.ErrorTypeIdempotency:
		return ErrKeyReused.Because(cause)
	case e.Code == stripe.ErrorCodeResourceMissing && e.Param == "payment_method":
		return ErrUnknownPaymentMethod.Because(cause)
	case e.Code == stripe.ErrorCodeResourceMissing && e.Param == "payment_intent":
		return ErrUnknownTransaction.Because(cause)
	case e.Param == "amount":
		return ErrAmount.Because(cause)
	case e.Param == "currency":
		return ErrCurrency.Because(cause)
	default:
		return ErrRefused.Because(cause)
	}
}

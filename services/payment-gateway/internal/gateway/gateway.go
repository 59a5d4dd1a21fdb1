package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Errors of this package's methods. After ErrUnavailable it is unknown whether money moved. The others report that the
// request moved none.
var (
	ErrUnavailable = problem.New(problem.Unavailable, "PAYMENT_GATEWAY_UNAVAILABLE",
		"The card processor does not answer")
	ErrMisconfigured = problem.New(problem.Internal, "PAYMENT_GATEWAY_MISCONFIGURED",
		"The card processor does not accept this service")
	ErrUnknownPaymentMethod = fieldError(problem.Invalid, "UNKNOWN_PAYMENT_METHOD", "paymentToken",
		"The card processor does not know this payment method")
	ErrAmount = fieldError(problem.Invalid, "UNSUPPORTED_AMOUNT", "amount",
		"The card processor does not accept this amount in this currency")
	ErrCurrency = fieldError(problem.Invalid, "UNSUPPORTED_CURRENCY", "currency",
		"The card processor does not accept this currency")
	ErrUnknownTransaction = fieldError(problem.NotFound, "UNKNOWN_TRANSACTION", "transactionId",
		"The card processor does not know this transaction")
	ErrKeyReused = problem.New(problem.Conflict, "KEY_REUSED", "This key was used for a different request before")
	ErrRefused   = problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED",
		"The card processor refused the request")
)

func fieldError(kind problem.Kind, code, field, message string) *problem.Error {
	e := problem.New(kind, code, "%s", message)
	e.Field = field
	return e
}

// timeout bounds one request to Stripe. It is shorter than the sidecar's timeout on calls to this service, so that the
// caller receives this service's error and not the sidecar's.
const timeout = 4 * time.Second

// Status is the outcome of a charge or a refund.
type Status = calls.GatewayStatus

// Statuses of charges and refunds. Declined, RequiresAction and NotFound occur only on charges, Failed and Deferred
// only on refunds.
const (
	Succeeded      = calls.GatewaySucceeded
	Declined       = calls.GatewayDeclined
	RequiresAction = calls.GatewayRequiresAction
	Pending        = calls.GatewayPending
	NotFound       = calls.GatewayNotFound
	Failed         = calls.GatewayFailed
	Deferred       = calls.GatewayDeferred
)

// Gateway is a client of Stripe. It is safe for concurrent use.
type Gateway struct{ stripe *stripe.Client }

// New returns a Gateway that calls the Stripe API at apiBase with the secret key; an empty apiBase is Stripe itself.
// New sends no request. Its errors name the environment variable at fault.
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
	transport.MaxIdleConnsPerHost = 32 // Stripe is the only host, and the sidecar's bulkhead allows 20 concurrent calls
	return &Gateway{stripe.NewClient(key, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL:               stripe.String(apiBase),
		HTTPClient:        &http.Client{Transport: instrumented{transport}, Timeout: timeout},
		MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry:   stripe.Bool(false),
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull}, // errors are logged once, at the edge
	})))}, nil
}

// translate returns the error of this package that stands for an error of stripe-go. The wrapped cause, which reaches
// logs, has selected fields only: the text of Stripe's card errors contains the whole PaymentIntent with its client
// secret.
func translate(err error) error {
	e, ok := errors.AsType[*stripe.Error](err)
	if !ok {
		if timedOut, isNet := errors.AsType[net.Error](err); isNet && timedOut.Timeout() {
			return ErrUnavailable.Because(fmt.Errorf("no response within %s: %w", timeout, err))
		}
		return ErrUnavailable.Because(err)
	}
	status := e.HTTPStatusCode
	cause := fmt.Errorf("stripe responded %d %s %s (request %s): %s", status, e.Type, e.Code, e.RequestID, e.Msg)
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return ErrMisconfigured.Because(cause)
	// 409 means that an earlier request with this idempotency key is still running. A later retry gets its outcome.
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusConflict:
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

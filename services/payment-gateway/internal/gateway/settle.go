package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"
)

const (
	// keyLifetime is how long Stripe keeps an idempotency key at least, less the time that clocks may differ.
	keyLifetime = 23 * time.Hour
	// searchLag is how old an intent is when the search index has it, even during an outage of the index.
	searchLag = 2 * time.Hour
	// clockSkew is how far Stripe's clock may be behind that of the caller, which recorded the first attempt.
	clockSkew = time.Minute
	// maxListed is how many PaymentIntents find reads at most. A busy account has more of them after a minute.
	maxListed = 500
)

// Settle ends the attempt to make a charge. It returns its outcome; if the charge was not made, Settle makes sure that
// it never is, cancels an intent that waits for the buyer, and returns NotFound or Declined. It returns Pending while
// the bank processes the charge, and ErrUnavailable or ErrMisconfigured.
func (g *Gateway) Settle(ctx context.Context, request ChargeRequest) (Charge, error) {
	notFound := Charge{AttemptKey: request.AttemptKey, Status: NotFound, Message: "No charge was made with this key"}
	params, err := createParams(request)
	if err != nil {
		return notFound, nil //nolint:nilerr // Charge refused the request as well, so nothing was charged
	}
	var intent *stripe.PaymentIntent
	if time.Since(request.AttemptedSince) < keyLifetime {
		var used bool
		if used, err = g.takeKey(ctx, request); err != nil || !used {
			return notFound, err
		}
		// The key is used, so the original request cannot charge again: Stripe replays its answer.
		if intent, err = g.stripe.V1PaymentIntents.Create(ctx, params); err != nil {
			intent = nil
			if e, ok := errors.AsType[*stripe.Error](err); ok && e.PaymentIntent != nil {
				intent = e.PaymentIntent
			}
		}
	}
	if intent == nil { // the answer is lost, was an internal error, or the request was another one before an upgrade
		var certain bool
		intent, certain, err = g.find(ctx, request)
		switch {
		case err != nil:
			return Charge{}, err
		case intent == nil && !certain:
			return Charge{}, ErrUnavailable.Because(errors.New("the search index may not have the charge yet"))
		case intent == nil:
			return notFound, nil
		}
	}
	return g.end(ctx, request.AttemptKey, intent.ID)
}

// takeKey uses the attempt key for an intent without a card, which it cancels, unless the key is used already. After it
// no request that is still on its way to Stripe can charge with this key.
func (g *Gateway) takeKey(ctx context.Context, request ChargeRequest) (used bool, err error) {
	units, err := request.Amount.ChargeUnits()
	if err != nil {
		return false, ErrAmount.Because(err)
	}
	params := &stripe.PaymentIntentCreateParams{
		Amount:             stripe.Int64(units),
		Currency:           stripe.String(strings.ToLower(string(request.Amount.Currency))),
		PaymentMethodTypes: []*string{stripe.String("card")},
		Metadata:           map[string]string{metadataOrderID: request.OrderID},
	}
	params.SetIdempotencyKey(request.AttemptKey)
	intent, err := g.stripe.V1PaymentIntents.Create(ctx, params)
	if err == nil {
		// It cannot take money, so it does no harm if the process stops before it is cancelled.
		return false, g.cancel(ctx, intent.ID)
	}
	e, ok := errors.AsType[*stripe.Error](err)
	if ok && (e.Type == stripe.ErrorTypeIdempotency || replayed(e.LastResponse)) {
		return true, nil
	}
	translated := translate(err)
	if errors.Is(translated, ErrUnavailable) || errors.Is(translated, ErrMisconfigured) {
		return false, translated
	}
	return false, nil // Stripe refuses the request, and refused the original one
}

// end returns the outcome of an intent, after it cancelled one that waits for a confirmation or for the buyer.
func (g *Gateway) end(ctx context.Context, key, id string) (Charge, error) {
	intent, err := g.retrieve(ctx, id)
	if err != nil {
		return Charge{}, err
	}
	switch intent.Status {
	case stripe.PaymentIntentStatusRequiresAction, stripe.PaymentIntentStatusRequiresConfirmation,
		stripe.PaymentIntentStatusRequiresPaymentMethod, stripe.PaymentIntentStatusRequiresCapture:
		if err := g.cancel(ctx, id); err != nil {
			return Charge{}, err
		}
		// The buyer may have confirmed it meanwhile.
		after, err := g.retrieve(ctx, id)
		if err != nil {
			return Charge{}, err
		}
		if intent.LastPaymentError != nil && after.Status == stripe.PaymentIntentStatusCanceled {
			return chargeOf(key, intent), nil // the reason of the decline says more than that it was cancelled
		}
		intent = after
	case stripe.PaymentIntentStatusCanceled, stripe.PaymentIntentStatusProcessing, stripe.PaymentIntentStatusSucceeded:
	}
	return chargeOf(key, intent), nil
}

// cancel cancels an intent. It returns nil also for one that is beyond that.
func (g *Gateway) cancel(ctx context.Context, id string) error {
	_, err := g.stripe.V1PaymentIntents.Cancel(ctx, id, &stripe.PaymentIntentCancelParams{
		CancellationReason: stripe.String(string(stripe.PaymentIntentCancellationReasonAbandoned)),
	})
	if e, ok := errors.AsType[*stripe.Error](err); ok && e.Code == stripe.ErrorCodePaymentIntentUnexpectedState {
		return nil
	}
	if err != nil {
		return translate(err)
	}
	return nil
}

// find looks for the intent of a request whose answer does not tell it. It asks the search index, and reads the list
// of intents since the first attempt while the index may lag. certain reports whether nil means that there is none. A
// key that was repeated after Stripe had dropped it has several intents; the one that took money counts. The key must
// not contain quotes or backslashes.
func (g *Gateway) find(
	ctx context.Context, request ChargeRequest,
) (best *stripe.PaymentIntent, certain bool, err error) {
	key := request.AttemptKey
	rank := func(intent *stripe.PaymentIntent) int {
		return slices.Index(precedence, chargeOf(key, intent).Status)
	}
	consider := func(intent *stripe.PaymentIntent) {
		if intent.Metadata[metadataAttemptKey] == key && (best == nil || rank(intent) > rank(best)) {
			best = intent
		}
	}
	found := g.stripe.V1PaymentIntents.Search(ctx, &stripe.PaymentIntentSearchParams{
		SearchParams: stripe.SearchParams{Query: fmt.Sprintf("metadata['%s']:'%s'", metadataAttemptKey, key)},
	})
	if err := found.Err(); err != nil {
		return nil, false, translate(err)
	}
	for _, intent := range found.Data() {
		consider(intent)
	}
	if best != nil || time.Since(request.AttemptedSince) > searchLag {
		return best, true, nil
	}
	listed := 0
	for intent, err := range g.stripe.V1PaymentIntents.List(ctx, &stripe.PaymentIntentListParams{
		ListParams:   stripe.ListParams{Limit: stripe.Int64(100)},
		CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: request.AttemptedSince.Add(-clockSkew).Unix()},
	}).All(ctx) {
		if err != nil {
			return nil, false, translate(err)
		}
		consider(intent)
		if listed++; listed == maxListed {
			return best, best != nil, nil
		}
	}
	return best, true, nil
}

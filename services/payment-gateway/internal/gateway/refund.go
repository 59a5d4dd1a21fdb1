package gateway

import (
	"context"
	"errors"
	"strings"

	"github.com/stripe/stripe-go/v85"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// Refund is the outcome of a refund.
type Refund struct {
	RefundKey   string
	RefundID    string
	Status      Status
	FailureCode string // set if Failed or Deferred
	Message     string
}

// metadataRefundKey is the key of a Stripe refund's metadata by which Refund recognizes its own refunds.
const metadataRefundKey = "refund_key"

// Refund refunds amount of the transaction. If it did so before under the same key, it returns the outcome of that. A
// charge that cannot be refunded, or not that much, is a Failed refund with a code and not an error. A Deferred refund
// can be repeated later. Refund returns ErrUnknownTransaction, ErrAmount, ErrKeyReused, ErrRefused, ErrMisconfigured or
// ErrUnavailable.
func (g *Gateway) Refund(
	ctx context.Context, key, transactionID string, amount money.Amount, reason string,
) (Refund, error) {
	minor, err := amount.CardUnits()
	if err != nil {
		return Refund{}, ErrAmount.Because(err)
	}
	// Stripe keeps an idempotency key for a day only, and a partial refund could be made twice. So look for it first.
	earlier := g.stripe.V1Refunds.List(ctx, &stripe.RefundListParams{PaymentIntent: stripe.String(transactionID)})
	for refund, err := range earlier.All(ctx) {
		switch {
		case err != nil:
			return Refund{}, translate(err)
		case refund.Metadata[metadataRefundKey] != key:
		case refund.Amount != minor:
			return Refund{}, ErrKeyReused
		default:
			return refundOf(key, refund), nil
		}
	}
	params := &stripe.RefundCreateParams{
		Amount:        stripe.Int64(minor),
		PaymentIntent: stripe.String(transactionID),
		Reason:        stripe.String(string(stripe.RefundReasonRequestedByCustomer)), // the closest of Stripe's reasons
		Metadata:      map[string]string{metadataRefundKey: key, "reason": reason},
	}
	params.SetIdempotencyKey(key)
	refund, err := g.stripe.V1Refunds.Create(ctx, params)
	if err == nil {
		return refundOf(key, refund), nil
	}
	e, ok := errors.AsType[*stripe.Error](err)
	switch {
	case ok && e.Code == stripe.ErrorCodeChargeAlreadyRefunded:
		return Refund{
			RefundKey: key, Status: Failed, FailureCode: calls.FailureAlreadyRefunded,
			Message: "The charge was refunded before",
		}, nil
	case ok && e.Code == stripe.ErrorCodeBalanceInsufficient:
		return Refund{
			RefundKey: key, Status: Deferred, FailureCode: "INSUFFICIENT_BALANCE",
			Message: "The account at the card processor does not cover the refund",
		}, nil
	case ok && e.Code == "charge_disputed":
		return Refund{
			RefundKey: key, Status: Failed, FailureCode: calls.FailureChargeDisputed,
			Message: "The charge is disputed, so the bank decides who gets the money",
		}, nil
	case ok && e.Type == stripe.ErrorTypeInvalidRequest && e.Param == "amount":
		return Refund{
			RefundKey: key, Status: Failed, FailureCode: "EXCEEDS_CHARGE",
			Message: "The refund exceeds what is left of the charge",
		}, nil
	}
	return Refund{}, translate(err)
}

// refundOf returns the Refund that a Stripe refund stands for.
func refundOf(key string, refund *stripe.Refund) Refund {
	r := Refund{RefundKey: key, RefundID: refund.ID, Status: Pending}
	switch refund.Status {
	case stripe.RefundStatusSucceeded:
		r.Status = Succeeded
	case stripe.RefundStatusFailed, stripe.RefundStatusCanceled:
		r.Status, r.FailureCode = Failed, beginning(strings.ToUpper(string(refund.FailureReason)), maxCode)
		r.Message = "The bank did not accept the refund"
	case stripe.RefundStatusPending, stripe.RefundStatusRequiresAction:
	}
	return r
}

package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// DisputesPage is the maximum number of disputes of a page.
const DisputesPage = 100

// Disputes returns a page of the disputes that were opened since a time, the newest first, or of those of a
// transaction. A zero time and an empty transaction id select all. The page begins after the dispute with the id after,
// or with the newest one if that is empty. Next is the after of the next page, and empty on the last one. Disputes
// returns ErrRefused, ErrMisconfigured or ErrUnavailable. It leaves out disputes of others that use the account.
func (g *Gateway) Disputes(
	ctx context.Context, transactionID string, since time.Time, after string,
) (page []calls.Dispute, next string, err error) {
	params := &stripe.DisputeListParams{ListParams: stripe.ListParams{Limit: stripe.Int64(DisputesPage)}}
	if transactionID != "" {
		params.PaymentIntent = stripe.String(transactionID)
	}
	if !since.IsZero() {
		params.CreatedRange = &stripe.RangeQueryParams{GreaterThanOrEqual: since.Unix()}
	}
	if after != "" {
		params.StartingAfter = stripe.String(after)
	}
	page = []calls.Dispute{}
	read := 0
	for dispute, err := range g.stripe.V1Disputes.List(ctx, params).All(ctx) {
		if err != nil {
			return nil, "", translate(err)
		}
		d, err := disputeOf(dispute)
		switch {
		case err != nil: // of another user of the account: no charge of ours has a currency that is not known
			slog.WarnContext(ctx, "dispute ignored", "disputeId", dispute.ID, "error", err.Error())
		case d != nil:
			page = append(page, *d)
		}
		if read++; read == DisputesPage { // before All reads the next page
			return page, dispute.ID, nil
		}
	}
	return page, "", nil
}

// disputeOf returns the Dispute that one of Stripe's stands for, or nil for one that is not about a PaymentIntent. It
// returns an error if its amount has no known currency.
func disputeOf(dispute *stripe.Dispute) (*calls.Dispute, error) {
	if dispute.PaymentIntent == nil {
		return nil, nil //nolint:nilnil // there is no such dispute of ours
	}
	currency, err := money.ParseCurrency(strings.ToUpper(string(dispute.Currency)))
	if err != nil {
		return nil, fmt.Errorf("dispute %s over %q: %w", dispute.ID, dispute.Currency, err)
	}
	d := calls.Dispute{
		DisputeID: dispute.ID, TransactionID: dispute.PaymentIntent.ID,
		Amount: money.OfCardUnits(dispute.Amount, currency).Decimal(), Currency: currency,
		Reason: strings.ToUpper(string(dispute.Reason)), OpenedAt: time.Unix(dispute.Created, 0).UTC(),
	}
	if d.Reason == "" {
		d.Reason = "GENERAL"
	}
	switch dispute.Status {
	case stripe.DisputeStatusNeedsResponse, stripe.DisputeStatusUnderReview:
		d.Status = calls.DisputeOpen
	case stripe.DisputeStatusWon:
		d.Status = calls.DisputeWon
	case stripe.DisputeStatusLost:
		d.Status = calls.DisputeLost
	case stripe.DisputeStatusWarningNeedsResponse, stripe.DisputeStatusWarningUnderReview,
		stripe.DisputeStatusWarningClosed, stripe.DisputeStatusPrevented:
		d.Status = calls.DisputeInquiry
	default: // a status that Stripe adds later
		d.Status = calls.DisputeInquiry
	}
	return &d, nil
}

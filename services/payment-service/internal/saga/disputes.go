package saga

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

const (
	matchedDisputes = 50 // disputes that a sweep matches with their orders
	checkedDisputes = 10 // open disputes that a sweep looks up
)

// disputed stores what was reported about a dispute.
func (s Saga) disputed(ctx context.Context, d calls.Dispute) error {
	changed, err := s.Store.Disputed(ctx, d)
	if err != nil {
		return err
	}
	if changed {
		slog.WarnContext(ctx, "payment disputed", "disputeId", d.DisputeID, "transactionId", d.TransactionID,
			"status", d.Status, "amount", d.Amount, "currency", d.Currency, "reason", d.Reason)
	}
	return nil
}

// pollDisputes finds the disputes whose webhooks were lost: it reads the list of those that were opened since it was
// read last, and looks up those that are still open. It returns errors of the database only.
func (s Saga) pollDisputes(ctx context.Context, until time.Time) error {
	if err := s.Store.MatchDisputes(ctx, matchedDisputes); err != nil {
		return err
	}
	for time.Now().Before(until) {
		since, after, leased, err := s.Store.LeaseDisputePoll(ctx)
		if err != nil {
			return err
		}
		if !leased {
			break
		}
		query := calls.DisputesQuery{Since: since.UTC().Format(time.RFC3339), After: after}
		next, err := s.readDisputes(ctx, query)
		if errors.Is(err, ErrUnsettled) {
			slog.WarnContext(ctx, "read disputes failed", "error", err.Error())
			return s.Store.DisputePollFailed(ctx)
		}
		if err != nil {
			return err
		}
		if err := s.Store.DisputesPolled(ctx, next); err != nil {
			return err
		}
	}
	open, err := s.Store.LeaseOpenDisputes(ctx, checkedDisputes)
	if err != nil {
		return err
	}
	for _, transaction := range open {
		_, err := s.readDisputes(ctx, calls.DisputesQuery{TransactionID: transaction})
		if errors.Is(err, ErrUnsettled) { // they are looked up again later
			slog.WarnContext(ctx, "look up dispute failed", "transactionId", transaction, "error", err.Error())
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readDisputes stores a page of disputes and returns where the next one begins. It returns ErrUnsettled if
// payment-gateway does not return the page.
func (s Saga) readDisputes(ctx context.Context, query calls.DisputesQuery) (next string, err error) {
	answer, err := sidecar.Call(ctx, s.Services, calls.ListDisputes, query)
	if err != nil {
		return "", unsettled(err)
	}
	for _, d := range answer.Disputes {
		if err := s.disputed(ctx, d); err != nil {
			return "", err
		}
	}
	return answer.Next, nil
}

// refundDisputed ends a refund that the card processor refuses because of a dispute; if the dispute is won, the refund
// is repeated. It looks a dispute up that was not reported yet. If the dispute was decided meanwhile, the refund is
// attempted again.
func (s Saga) refundDisputed(ctx context.Context, r refund.Refund) error {
	stopped, err := s.Store.RefundDisputed(ctx, r)
	if err != nil || stopped {
		return err
	}
	if _, err := s.readDisputes(ctx, calls.DisputesQuery{TransactionID: r.TransactionID}); err != nil {
		return err
	}
	if stopped, err = s.Store.RefundDisputed(ctx, r); err != nil || stopped {
		return err
	}
	return ErrUnsettled.Because(errors.New("the charge is disputed, and no such dispute is open or lost"))
}

package saga

import (
	"context"
	"errors"
	"log/slog"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

// ErrForged reports a webhook that the card processor did not sign, or that is too old.
var ErrForged = problem.New(problem.Invalid, "INVALID_SIGNATURE", "The signature is not the card processor's")

// Notice handles a webhook of the card processor: its body as received, and its signature. A genuine webhook takes
// effect once. Notice returns ErrForged for any other one, and ErrUnsettled if payment-gateway could not verify it; the
// card processor then has to send it again.
func (s Saga) Notice(ctx context.Context, body, signature string) error {
	answer, err := sidecar.Call(ctx, s.Services, calls.VerifyWebhook,
		calls.VerifyWebhookRequest{Payload: body, Signature: signature})
	e := answer.Event
	switch {
	case err != nil:
		return unsettled(err)
	case !answer.Verified:
		return ErrForged
	case e == nil || e.ID == "" || e.Type == "":
		return ErrUnsettled.Because(errors.New("the answer of payment-gateway has no event"))
	}
	if e.Dispute != nil { // it is about a transaction, whose order may not be known to be paid yet
		return s.disputed(ctx, *e.Dispute)
	}
	n := order.Notice{
		ID: uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://api.stripe.com/v1/events/"+e.ID)), Type: e.Type,
		AttemptKey: e.AttemptKey, RefundKey: e.RefundKey, TransactionID: e.TransactionID, Outcome: e.Status,
		Failure: order.Failure{Code: e.DeclineCode, Message: e.Message, Retryable: e.Retryable},
	}
	var o order.Order
	if id, err := uuid.Parse(e.OrderID); err == nil {
		if o, err = s.Store.Order(ctx, id); err != nil && !errors.Is(err, order.ErrNotFound) {
			return err
		}
	}
	ctx, span := startSpan(ctx, o.Trace, "handle notice")
	defer span.End()
	moved, err := s.Store.Notified(ctx, n, o)
	if err != nil {
		return err
	}
	slog.InfoContext(ctx, "notice received", "noticeId", e.ID, "type", e.Type, "orderId", e.OrderID, "moved", moved)
	if !moved {
		return nil
	}
	// Drives the order. If a step is unsettled, a sweep continues later: the notice itself has taken effect.
	if _, err := s.Drive(ctx, o.ID); err != nil && !errors.Is(err, ErrUnsettled) {
		return err
	}
	return nil
}

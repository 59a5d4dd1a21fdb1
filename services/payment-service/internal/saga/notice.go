package saga

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

// ErrForged reports a notice that the card processor did not sign, or not lately.
var ErrForged = problem.New(problem.Invalid, "INVALID_SIGNATURE", "The signature is not the card processor's")

// Notice takes what claims to come from the card processor: the body as it was sent, and its signature.
// What is genuine takes effect, once; the rest is ErrForged. sidecar.ErrUnavailable says that nobody can
// tell now, and that it should be sent again.
func (s Saga) Notice(ctx context.Context, body, signature string) error {
	var answer struct {
		Verified bool `json:"verified"`
		Event    struct {
			ID            string        `json:"id"`
			Type          string        `json:"type"`
			AttemptKey    string        `json:"attemptKey"`
			OrderID       string        `json:"orderId"`
			TransactionID string        `json:"transactionId"`
			Status        order.Outcome `json:"status"`
			DeclineCode   string        `json:"declineCode"`
			Message       string        `json:"message"`
			Retryable     bool          `json:"retryable"`
		} `json:"event"`
	}
	if _, err := s.call(ctx, "payment-gateway", http.MethodPost, "/api/gateway/internal/webhooks/verify",
		map[string]string{"payload": body, "signature": signature}, &answer); err != nil {
		return err
	}
	e := answer.Event
	switch {
	case !answer.Verified:
		return ErrForged
	case e.ID == "" || e.Type == "":
		return sidecar.ErrUnavailable.Because(errors.New("payment-gateway does not say which notice it is"))
	}
	n := order.Notice{
		ID: uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://api.stripe.com/v1/events/"+e.ID)), Type: e.Type,
		AttemptKey: e.AttemptKey, TransactionID: e.TransactionID, Outcome: e.Status,
		Failure: order.Failure{Code: e.DeclineCode, Message: e.Message, Retryable: e.Retryable},
	}
	var o order.Order
	if id, err := uuid.Parse(e.OrderID); err == nil {
		if o, err = s.Store.Order(ctx, id); err != nil && !errors.Is(err, order.ErrNotFound) {
			return err
		}
	}
	ctx, span := startSpan(ctx, o.Trace, "heed notice")
	defer span.End()
	moved, err := s.Store.Notified(ctx, n, o)
	if err != nil {
		return err
	}
	slog.InfoContext(ctx, "notice of the card processor", "notice", e.ID, "type", e.Type, "orderId", e.OrderID, "moved", moved)
	if !moved {
		return nil
	}
	// Who moves an order drives it. The notice has had its effect, whether that goes on now or later.
	if _, err := s.Drive(ctx, o.ID); err != nil && !errors.Is(err, sidecar.ErrUnavailable) {
		return err
	}
	return nil
}

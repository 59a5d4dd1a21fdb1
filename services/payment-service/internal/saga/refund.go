package saga

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// DriveRefund takes a refund whose lease the caller holds as far as it goes: to its end, or to a step that
// gets no answer, which it leaves to the sweeper. Only the latter is an error, sidecar.ErrUnavailable.
func (s Saga) DriveRefund(ctx context.Context, id uuid.UUID) (refund.Refund, error) {
	r, err := s.Store.Refund(ctx, id)
	if err != nil {
		return r, err
	}
	ctx, span := startSpan(ctx, r.Trace, "drive refund")
	defer span.End()
	for {
		switch r.Step {
		case refund.CancelTickets:
			err = s.cancelTickets(ctx, r)
		case refund.ReturnMoney:
			err = s.returnMoney(ctx, r)
		case refund.Done:
			return r, nil
		}
		if err != nil {
			slog.WarnContext(ctx, "refund waits", "refundId", id, "orderId", r.OrderID, "step", r.Step, "error", err.Error())
			alerted, postponed := s.Store.BackOffRefund(ctx, r, errors.Is(err, errRefundPending))
			if alerted {
				slog.ErrorContext(ctx, "compensation failed", "refundId", id, "orderId", r.OrderID, "step", r.Step)
			}
			return r, errors.Join(err, postponed)
		}
		slog.InfoContext(ctx, "refund step done", "refundId", id, "orderId", r.OrderID, "step", r.Step)
		if r, err = s.Store.Refund(ctx, id); err != nil {
			return r, err
		}
	}
}

func (s Saga) cancelTickets(ctx context.Context, r refund.Refund) error {
	request := map[string]any{"orderId": r.OrderID, "refundKey": r.Key(), "reason": r.Reason}
	if !r.Whole { // all of the order's otherwise, with those that we were never told of
		request["ticketIds"] = r.TicketIDs
	}
	var answer struct {
		Cancelled bool `json:"cancelled"`
		Tickets   []struct {
			TicketID uuid.UUID `json:"ticketId"`
		} `json:"tickets"`
	}
	refusal, err := s.call(ctx, "ticket-service", http.MethodPost, "/api/tickets/internal/cancel", request, &answer,
		problem.Conflict, problem.NotFound)
	switch {
	case err != nil:
		return err
	case refusal != nil && (refusal.Is(refund.ErrTicketUsed) || refusal.Is(refund.ErrTicketNotFound)):
		return s.Store.RefundFailed(ctx, r, refund.Failure{Code: refusal.Code, Message: refusal.Message})
	case refusal != nil: // a route that is not there, say
		return sidecar.ErrUnavailable.Because(refusal)
	case !answer.Cancelled:
		return sidecar.ErrUnavailable.Because(errors.New("ticket-service did not say that the tickets are cancelled"))
	}
	return s.Store.TicketsCancelled(ctx, r, len(answer.Tickets))
}

func (s Saga) returnMoney(ctx context.Context, r refund.Refund) error {
	if r.Amount.Minor == 0 { // of free tickets
		return s.Store.RefundSucceeded(ctx, r, "")
	}
	var answer struct {
		RefundID    string `json:"refundId"`
		Status      string `json:"status"`
		FailureCode string `json:"failureCode"`
		Message     string `json:"message"`
	}
	refusal, err := s.call(ctx, "payment-gateway", http.MethodPost, "/api/gateway/internal/refunds", map[string]any{
		"refundKey": r.Key(), "transactionId": r.TransactionID,
		"amount": r.Amount.Decimal(), "currency": r.Amount.Currency, "reason": r.Reason,
	}, &answer, problem.Invalid, problem.Unprocessable)
	switch {
	case err != nil:
		return err
	case refusal != nil: // of the request itself: it will never be another
		return s.refundFailed(ctx, r, refund.Failure{Code: refusal.Code, Message: refusal.Message})
	case answer.Status == "SUCCEEDED", answer.FailureCode == "ALREADY_REFUNDED": // by somebody else, and back all the same
		return s.Store.RefundSucceeded(ctx, r, answer.RefundID)
	case answer.Status == "FAILED":
		f := refund.Failure{Code: answer.FailureCode, Message: answer.Message}
		if f.Code == "" {
			f.Code = "REFUND_REFUSED"
		}
		return s.refundFailed(ctx, r, f)
	case answer.Status == "PENDING":
		return sidecar.ErrUnavailable.Because(errRefundPending)
	default:
		return sidecar.ErrUnavailable.Because(fmt.Errorf("the refund is %s", answer.Status))
	}
}

// errRefundPending is an answer of the bank's that it may yet break.
var errRefundPending = errors.New("the bank has promised the refund")

// refundFailed ends a refund that the bank will not make. Somebody has to see to it that the buyer gets
// the money in another way.
func (s Saga) refundFailed(ctx context.Context, r refund.Refund, f refund.Failure) error {
	if err := s.Store.RefundFailed(ctx, r, f); err != nil {
		return err
	}
	slog.ErrorContext(ctx, "refund failed", "refundId", r.ID, "orderId", r.OrderID, "amount", r.Amount.String(), "code", f.Code)
	return nil
}

// Organizes asks event-service whether the user is the organizer of the event. It returns
// sidecar.ErrUnavailable.
func (s Saga) Organizes(ctx context.Context, userID, eventID uuid.UUID) (bool, error) {
	var answer struct {
		IsOrganizer bool `json:"isOrganizer"`
	}
	path := fmt.Sprintf("/api/events/internal/%s/validate-organizer/%s", eventID, userID)
	_, err := s.call(ctx, "event-service", http.MethodGet, path, nil, &answer)
	return answer.IsOrganizer, err
}

package saga

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// DriveRefund drives a refund whose lease the caller holds until it is done or a step is unsettled. In that case it
// backs off and returns ErrUnsettled; a sweep continues later. The returned refund is the one that DriveRefund last
// read.
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
		if err = unsettled(err); err != nil {
			slog.WarnContext(ctx, "refund step failed",
				"refundId", id, "orderId", r.OrderID, "step", r.Step, "error", err.Error())
			alerted, backedOff := s.Store.BackOffRefund(ctx, r, errors.Is(err, errRefundPending))
			if alerted {
				slog.ErrorContext(ctx, "compensation failed repeatedly",
					"refundId", id, "orderId", r.OrderID, "step", r.Step)
			}
			return r, errors.Join(err, backedOff)
		}
		slog.InfoContext(ctx, "refund step done", "refundId", id, "orderId", r.OrderID, "step", r.Step)
		if r, err = s.Store.Refund(ctx, id); err != nil {
			return r, err
		}
	}
}

// cancelTickets cancels the tickets of a refund.
func (s Saga) cancelTickets(ctx context.Context, r refund.Refund) error {
	request := calls.CancelTicketsRequest{
		OrderID: r.OrderID.String(), RefundKey: r.Key(), Reason: r.Reason, KeepUsed: r.KeepUsed,
	}
	if r.HolderID != uuid.Nil {
		request.OwnerID = new(r.HolderID.String())
	}
	if !r.Whole { // without ids, all tickets of the order are cancelled, even those that are not known here
		request.TicketIDs = make(calls.TicketIDs, len(r.TicketIDs))
		for i, id := range r.TicketIDs {
			request.TicketIDs[i] = id.String()
		}
	}
	answer, err := sidecar.Call(ctx, s.Services, calls.CancelTickets, request)
	refusal, refused := sidecar.Refusal(err)
	switch {
	case refused: // a ticket was used, for example
		return s.Store.RefundFailed(ctx, r, refund.Failure{Code: refusal.Code, Message: refusal.Message})
	case err != nil:
		return err
	case !answer.Cancelled:
		return ErrUnsettled.Because(errors.New("ticket-service did not report that the tickets are cancelled"))
	}
	return s.Store.TicketsCancelled(ctx, r, len(answer.Tickets))
}

// returnMoney refunds the amount of a refund.
func (s Saga) returnMoney(ctx context.Context, r refund.Refund) error {
	if r.Amount.Minor == 0 { // the refund of free tickets
		return s.Store.RefundSucceeded(ctx, r, "")
	}
	answer, err := sidecar.Call(ctx, s.Services, calls.Refund, calls.RefundRequest{
		RefundKey: r.Key(), TransactionID: r.TransactionID,
		Amount: r.Amount.Decimal(), Currency: r.Amount.Currency, Reason: r.Reason,
	})
	if refusal, refused := sidecar.Refusal(err); refused { // of the request itself, so a repetition is refused too
		return s.refundFailed(ctx, r, refund.Failure{Code: refusal.Code, Message: refusal.Message})
	}
	if err != nil {
		return err
	}
	if answer.FailureCode == calls.FailureAlreadyRefunded { // a person refunded the charge at the card processor
		return s.Store.RefundSucceeded(ctx, r, answer.RefundID)
	}
	switch answer.Status {
	case calls.GatewaySucceeded:
		return s.Store.RefundSucceeded(ctx, r, answer.RefundID)
	case calls.GatewayFailed:
		if answer.FailureCode == calls.FailureChargeDisputed {
			return s.refundDisputed(ctx, r)
		}
		f := refund.Failure{Code: answer.FailureCode, Message: answer.Message}
		if f.Code == "" {
			f.Code = "REFUND_REFUSED"
		}
		return s.refundFailed(ctx, r, f)
	case calls.GatewayDeferred:
		return ErrUnsettled.Because(fmt.Errorf("the refund cannot be made yet: %s", answer.FailureCode))
	case calls.GatewayPending:
		return ErrUnsettled.Because(errRefundPending)
	default:
		return ErrUnsettled.Because(fmt.Errorf("the status of the refund is %q", answer.Status))
	}
}

// errRefundPending reports a refund that the bank has accepted and not yet made. It may still fail.
var errRefundPending = errors.New("the refund is pending at the bank")

// refundFailed records that the bank refused a refund. A person has to find another way to refund the buyer.
func (s Saga) refundFailed(ctx context.Context, r refund.Refund, f refund.Failure) error {
	if err := s.Store.RefundFailed(ctx, r, f); err != nil {
		return err
	}
	slog.ErrorContext(ctx, "refund failed",
		"refundId", r.ID, "orderId", r.OrderID, "amount", r.Amount.String(), "code", f.Code)
	return nil
}

// Returned returns the tickets of an order that the user returns: those with the ids, or all valid ones that the user
// owns if ids is nil. Its errors are those of refund.Returned, order.ErrNotFound if the user neither bought the order
// nor owns a ticket of it, and sidecar.ErrUnavailable.
func (s Saga) Returned(ctx context.Context, o order.Order, userID uuid.UUID, ids []uuid.UUID) ([]uuid.UUID, error) {
	query := calls.OrderTicketsQuery{OwnerID: userID.String()}
	answer, err := sidecar.Call(ctx, s.Services, calls.OrderTickets, query, o.ID)
	if err != nil {
		return nil, err
	}
	if len(answer.Tickets) == 0 && o.UserID != userID {
		return nil, order.ErrNotFound
	}
	return refund.Returned(answer.Tickets, ids)
}

// Organizes reports whether the user is the organizer of the event. It returns sidecar.ErrUnavailable.
func (s Saga) Organizes(ctx context.Context, userID, eventID uuid.UUID) (bool, error) {
	answer, err := sidecar.Call(ctx, s.Services, calls.ValidateOrganizer, calls.None{}, eventID, userID)
	return answer.IsOrganizer, err
}

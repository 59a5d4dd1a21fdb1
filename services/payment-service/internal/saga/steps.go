package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

// holdMinutes is how long ticket-service holds the tickets of an order.
const holdMinutes = 15

// reserve holds the tickets of an order.
func (s Saga) reserve(ctx context.Context, o order.Order) error {
	requests := make([]calls.TicketRequest, len(o.Items))
	for i, item := range o.Items {
		requests[i] = calls.TicketRequest{TicketTypeID: item.TicketTypeID.String(), Quantity: item.Quantity}
	}
	answer, err := sidecar.Call(ctx, s.Services, calls.Reserve, calls.ReserveRequest{
		UserID: o.UserID.String(), EventID: o.EventID.String(), ReservationID: o.ReservationID.String(),
		TicketRequests: requests, ReservationDurationMinutes: new(holdMinutes), ExpectedTotal: o.ExpectedTotal,
	})
	if refusal, refused := sidecar.Refusal(err); refused {
		return s.Store.Refused(ctx, o.ID, order.Failure{
			Code: refusal.Code, Message: refusal.Message, CurrentTotal: currentTotal(refusal),
		})
	}
	if err != nil {
		return err
	}
	items, total, err := pricesOf(o, answer)
	if err != nil {
		return ErrUnsettled.Because(fmt.Errorf("answer of ticket-service: %w", err))
	}
	return s.Store.Reserved(ctx, o.ID, items, total, answer.ExpiresAt)
}

// currentTotal returns what the tickets cost by a refusal because of their price. It returns the zero Amount for any
// other refusal, and if the refusal does not have a valid total.
func currentTotal(refusal *problem.Error) money.Amount {
	var body calls.ReserveRefused
	if err := json.Unmarshal([]byte(refusal.Body), &body); err != nil || refusal.Code != calls.CodePriceChanged {
		return money.Amount{}
	}
	currency, err := money.ParseCurrency(string(body.Currency))
	if err != nil {
		return money.Amount{}
	}
	total, err := body.CurrentTotal.In(currency)
	if err != nil {
		return money.Amount{}
	}
	return total
}

// pricesOf returns the items of an order with the prices of a reservation, and their total. The total is what is
// charged, so an answer without prices, or about other tickets, is an error and does not make the order free.
func pricesOf(o order.Order, answer calls.ReserveAnswer) ([]order.Item, money.Amount, error) {
	currency, err := money.ParseCurrency(string(answer.Currency))
	if err != nil {
		return nil, money.Amount{}, fmt.Errorf("currency: %w", err)
	}
	missing := map[uuid.UUID]int{}
	for _, item := range o.Items {
		missing[item.TicketTypeID] = item.Quantity
	}
	total := money.Of(0, currency)
	items := make([]order.Item, len(answer.Tickets))
	for i, t := range answer.Tickets {
		price, err := t.UnitPrice.In(currency)
		if err != nil {
			return nil, money.Amount{}, fmt.Errorf("price: %w", err)
		}
		items[i] = order.Item{
			TicketTypeID: t.TicketTypeID, Name: t.TicketTypeName, Quantity: t.Quantity, UnitPrice: price,
		}
		total = total.Plus(price.Times(t.Quantity))
		if missing[t.TicketTypeID] == t.Quantity {
			delete(missing, t.TicketTypeID)
		}
	}
	if !answer.Reserved || len(items) != len(o.Items) || len(missing) > 0 {
		return nil, money.Amount{}, errors.New("other tickets were reserved")
	}
	return items, total, nil
}

// charge makes the order's one charge, or looks up its outcome.
func (s Saga) charge(ctx context.Context, o order.Order) error {
	if o.Total.Minor == 0 { // free tickets
		return s.Store.Paid(ctx, o, "")
	}
	held := true
	if o.ChargeAge > order.HoldExtendAfter && o.ChargeAge < order.HoldMaxAge {
		held = s.extendHold(ctx, o)
	}
	if err := s.Charges.Wait(ctx); err != nil {
		return ErrUnsettled.Because(err)
	}
	request := calls.ChargeRequest{
		AttemptKey: o.AttemptKey(), AttemptedSince: o.ChargeSince.UTC().Format(time.RFC3339Nano),
		OrderID: o.ID.String(), Amount: o.Total.Decimal(), Currency: o.Total.Currency,
		PaymentToken: o.PaymentToken, Description: "Order " + o.Number, ReturnURL: o.ReturnURL,
	}
	if !held || o.ChargeAge > order.ChargeWindow || o.Settling {
		return s.settleCharge(ctx, o, request) // the hold may have ended
	}
	answer, err := sidecar.Call(ctx, s.Services, calls.Charge, request)
	refusal, refused := sidecar.Refusal(err)
	switch {
	case refused && refusal.Kind == problem.Unprocessable:
		// The card processor refused the request under this key, so nothing was charged and nothing will be.
		return s.Store.Declined(ctx, o, order.Failure{Code: refusal.Code, Message: refusal.Message})
	case refused:
		// payment-gateway refuses the request itself, and would refuse it again. An earlier attempt may have charged.
		slog.WarnContext(ctx, "charge refused", "orderId", o.ID, "error", refusal.Error())
		return s.settleCharge(ctx, o, request)
	case err != nil:
		return err
	case answer.Status == calls.GatewayNotFound:
		return ErrUnsettled.Because(errors.New("payment-gateway did not find the charge that it was asked to make"))
	}
	return s.recordCharge(ctx, o, answer)
}

// settleCharge ends the charging of an order and records the outcome of its attempts. After a refusal the outcome is
// still unknown, so nothing is compensated.
func (s Saga) settleCharge(ctx context.Context, o order.Order, request calls.ChargeRequest) error {
	if err := s.Store.StopCharging(ctx, o.ID); err != nil {
		return err
	}
	answer, err := sidecar.Call(ctx, s.Services, calls.SettleCharge, request)
	if refusal, refused := sidecar.Refusal(err); refused {
		return refusedStep(refusal)
	}
	if err != nil {
		return err
	}
	return s.recordCharge(ctx, o, answer)
}

// recordCharge records the outcome of a charge. It returns ErrUnsettled if the charge has none yet.
func (s Saga) recordCharge(ctx context.Context, o order.Order, answer calls.ChargeAnswer) error {
	switch answer.Status {
	case calls.GatewaySucceeded:
		return s.Store.Paid(ctx, o, answer.TransactionID)
	case calls.GatewayDeclined:
		return s.Store.Declined(ctx, o, order.Failure{
			Code: answer.DeclineCode, Message: answer.Message, Retryable: answer.Retryable,
		})
	case calls.GatewayNotFound:
		return s.Store.Declined(ctx, o, order.Failure{
			Code: order.CodePaymentAbandoned, Message: "The payment was not made in time", Retryable: true,
		})
	case calls.GatewayRequiresAction:
		if answer.Action == nil {
			return ErrUnsettled.Because(errors.New("the answer of payment-gateway has no action"))
		}
		if err := s.Store.AwaitBuyer(ctx, o, *answer.Action); err != nil {
			return err
		}
		return ErrUnsettled.Because(errAwaitingBuyer)
	default:
		return ErrUnsettled.Because(fmt.Errorf("the status of the charge is %q", answer.Status))
	}
}

// errAwaitingBuyer reports a charge that the buyer has to authenticate at the bank.
var errAwaitingBuyer = errors.New("the buyer has not authenticated yet")

// extendHold extends the order's hold. It returns false only if ticket-service reports that the hold has ended. If the
// call fails, the charge can be made anyway.
func (s Saga) extendHold(ctx context.Context, o order.Order) bool {
	_, err := sidecar.Call(ctx, s.Services, calls.ExtendReservation,
		calls.ExtendReservationRequest{ReservationID: o.ReservationID.String(), Minutes: holdMinutes})
	refusal, refused := sidecar.Refusal(err)
	ended := refused && refusal.Code == calls.CodeReservationNotFound
	if err != nil && !ended {
		slog.WarnContext(ctx, "extend hold failed", "orderId", o.ID, "error", err.Error())
	}
	return !ended
}

// release releases the hold of a failed order. ticket-service refuses it if the reservation was bought, which needs a
// person: the order has tickets and no charge.
func (s Saga) release(ctx context.Context, o order.Order) error {
	answer, err := sidecar.Call(ctx, s.Services, calls.ReleaseReservation, calls.ReleaseReservationRequest{
		ReservationID: o.ReservationID.String(), Reason: calls.ReasonPaymentFailed,
	})
	if refusal, refused := sidecar.Refusal(err); refused {
		return refusedStep(refusal)
	}
	if err != nil {
		return err
	}
	return s.Store.Released(ctx, o.ID, answer.TicketsReleased)
}

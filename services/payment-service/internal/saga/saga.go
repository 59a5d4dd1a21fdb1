package saga

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// Caller calls other services. *sidecar.Client implements it.
type Caller interface {
	Call(ctx context.Context, app, method, path string, in, out any) error
}

// Saga drives orders and refunds. Its methods may be called concurrently.
type Saga struct {
	Store    *store.Store
	Services Caller
	// Charges keeps charges below the number per second that payment-gateway accepts from one caller.
	Charges *admission.Pacer
}

// startSpan starts a span with the trace of the request that caused the work. That request itself keeps its own trace,
// which may have more in it than the stored one.
func startSpan(ctx context.Context, t telemetry.Trace, name string) (context.Context, trace.Span) {
	if t.CorrelationID == "" || t.CorrelationID == telemetry.From(ctx).CorrelationID {
		return telemetry.Start(ctx, name)
	}
	return telemetry.Resume(ctx, t, name)
}

// Drive drives an order whose lease the caller holds, as far as possible: until it is done, to FULFIL, where
// ticket-service goes on, to REFUND, where the refund saga does, or until a call has no outcome. In the last case Drive
// backs off and returns sidecar.ErrUnavailable; a sweep goes on later. The returned order is the one that Drive last
// read.
func (s Saga) Drive(ctx context.Context, id uuid.UUID) (order.Order, error) {
	o, err := s.Store.Order(ctx, id)
	if err != nil {
		return o, err
	}
	ctx, span := startSpan(ctx, o.Trace, "drive order")
	defer span.End()
	for {
		switch o.Step {
		case order.Reserve:
			err = s.reserve(ctx, o)
		case order.Charge:
			err = s.charge(ctx, o)
		case order.Release:
			err = s.release(ctx, o)
		case order.Fulfil, order.Refund, order.Done:
			return o, nil
		}
		if err != nil {
			slog.WarnContext(ctx, "saga step failed", "orderId", id, "step", o.Step, "error", err.Error())
			alerted, backedOff := s.Store.BackOff(ctx, o)
			if alerted {
				slog.ErrorContext(ctx, "compensation failed repeatedly", "orderId", id, "step", o.Step)
			}
			return o, errors.Join(err, backedOff)
		}
		slog.InfoContext(ctx, "saga step done", "orderId", id, "step", o.Step)
		if o, err = s.Store.Order(ctx, id); err != nil {
			return o, err
		}
	}
}

func (s Saga) reserve(ctx context.Context, o order.Order) error {
	type request struct {
		TicketTypeID uuid.UUID `json:"ticketTypeId"`
		Quantity     int       `json:"quantity"`
	}
	requests := make([]request, len(o.Items))
	for i, item := range o.Items {
		requests[i] = request{item.TicketTypeID, item.Quantity}
	}
	var answer struct {
		Reserved  bool      `json:"reserved"`
		ExpiresAt time.Time `json:"expiresAt"`
		Currency  string    `json:"currency"`
		Tickets   []struct {
			TicketTypeID uuid.UUID     `json:"ticketTypeId"`
			Quantity     int           `json:"quantity"`
			UnitPrice    money.Decimal `json:"unitPrice"`
		} `json:"tickets"`
	}
	refusal, err := s.call(ctx, "ticket-service", http.MethodPost, "/api/tickets/internal/reserve", map[string]any{
		"userId": o.UserID, "eventId": o.EventID, "reservationId": o.ReservationID,
		"ticketRequests": requests, "reservationDurationMinutes": 15,
	}, &answer, problem.Invalid, problem.NotFound, problem.Conflict)
	if err != nil {
		return err
	}
	if refusal != nil {
		return s.Store.Refused(ctx, o.ID, order.Failure{Code: refusal.Code, Message: refusal.Message})
	}

	// The price is what will be charged: an answer that lacks it, or is about other tickets, must not pass for a free
	// order.
	currency, err := money.ParseCurrency(answer.Currency)
	if err != nil {
		return sidecar.ErrUnavailable.Because(fmt.Errorf("currency of ticket-service's: %w", err))
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
			return sidecar.ErrUnavailable.Because(fmt.Errorf("price of ticket-service's: %w", err))
		}
		items[i] = order.Item{TicketTypeID: t.TicketTypeID, Quantity: t.Quantity, UnitPrice: price}
		total = total.Plus(price.Times(t.Quantity))
		if missing[t.TicketTypeID] == t.Quantity {
			delete(missing, t.TicketTypeID)
		}
	}
	if !answer.Reserved || len(items) != len(o.Items) || len(missing) > 0 {
		return sidecar.ErrUnavailable.Because(errors.New("ticket-service reserved something else"))
	}
	return s.Store.Reserved(ctx, o.ID, items, total, answer.ExpiresAt)
}

// charge makes the order's one charge or finds out what became of it.
func (s Saga) charge(ctx context.Context, o order.Order) error {
	if o.Total.Minor == 0 { // free tickets
		return s.Store.Paid(ctx, o, "")
	}
	var answer struct {
		Status        string `json:"status"`
		TransactionID string `json:"transactionId"`
		DeclineCode   string `json:"declineCode"`
		Message       string `json:"message"`
		Retryable     bool   `json:"retryable"`
	}
	held := true
	if o.ChargeAge > order.HoldExtendAfter && o.ChargeAge < order.HoldMaxAge {
		held = s.keepHold(ctx, o)
	}
	err := s.Charges.Wait(ctx)
	if err != nil {
		return sidecar.ErrUnavailable.Because(err)
	}
	var refusal *problem.Error
	if !held || o.ChargeAge > order.ChargeWindow || o.LookupAge > 0 {
		// The hold may be gone: no new charge any more, only the question what became of the old one. To refuse the
		// question is no answer to it.
		if err := s.Store.StopCharging(ctx, o.ID); err != nil {
			return err
		}
		query := url.Values{"attemptKey": {o.AttemptKey()}, "attemptedSince": {o.ChargeSince.UTC().Format(time.RFC3339Nano)}}
		_, err = s.call(ctx, "payment-gateway", http.MethodGet, "/api/gateway/internal/charges?"+query.Encode(), nil, &answer)
	} else {
		refusal, err = s.call(ctx, "payment-gateway", http.MethodPost, "/api/gateway/internal/charges", map[string]any{
			"attemptKey": o.AttemptKey(), "attemptedSince": o.ChargeSince.UTC(), "orderId": o.ID, "amount": o.Total.Decimal(), "currency": o.Total.Currency,
			"paymentToken": o.PaymentToken, "description": "Order " + o.Number,
		}, &answer, problem.Unprocessable)
	}
	if err != nil {
		return err
	}
	if refusal != nil {
		// The card processor refused the request under this key: nothing was charged, and nothing will be. That the
		// gateway cannot read it, one of another version say, would tell nothing of earlier attempts.
		return s.Store.Declined(ctx, o, order.Failure{Code: refusal.Code, Message: refusal.Message})
	}
	switch answer.Status {
	case "SUCCEEDED":
		return s.Store.Paid(ctx, o, answer.TransactionID)
	case "DECLINED":
		return s.Store.Declined(ctx, o, order.Failure{
			Code: answer.DeclineCode, Message: answer.Message, Retryable: answer.Retryable,
		})
	case "NOT_FOUND": // only a question gets this answer
		seen := !answer.Retryable && o.LookupAge > order.ChargeMaxInFlight
		if !seen && o.ChargeAge < order.ChargeSearchLag {
			return sidecar.ErrUnavailable.Because(errors.New("the gateway knows no such charge yet"))
		}
		return s.Store.Declined(ctx, o, order.Failure{
			Code: order.CodePaymentAbandoned, Message: "The payment was not made in time", Retryable: true,
		})
	default:
		return sidecar.ErrUnavailable.Because(fmt.Errorf("the charge is %s", answer.Status))
	}
}

// keepHold lets the order's hold live longer, and tells whether there may be one. Only ticket-service can say that
// there is none; if it does not answer, the payment can be asked for all the same.
func (s Saga) keepHold(ctx context.Context, o order.Order) bool {
	var answer struct{}
	refusal, err := s.call(ctx, "ticket-service", http.MethodPost, "/api/tickets/internal/extend-reservation",
		map[string]any{"reservationId": o.ReservationID, "minutes": 15}, &answer, problem.NotFound)
	if err != nil {
		slog.WarnContext(ctx, "hold not kept", "orderId", o.ID, "error", err.Error())
	}
	return refusal == nil || refusal.Code != "RESERVATION_NOT_FOUND" // but a route that is not there, say
}

func (s Saga) release(ctx context.Context, o order.Order) error {
	var answer struct {
		TicketsReleased int `json:"ticketsReleased"`
	}
	if _, err := s.call(ctx, "ticket-service", http.MethodPost, "/api/tickets/internal/release-reservation",
		map[string]any{"reservationId": o.ReservationID, "reason": "PAYMENT_FAILED"}, &answer); err != nil {
		return err
	}
	return s.Store.Released(ctx, o.ID, answer.TicketsReleased)
}

// call calls another service. A refusal of one of these kinds, after which nothing was done, is an answer. Any other
// refusal is not about the order: a refused service token, say. It counts as no answer, sidecar.ErrUnavailable, and
// never reaches the buyer.
func (s Saga) call(ctx context.Context, app, method, path string, in, out any, refusals ...problem.Kind) (*problem.Error, error) {
	err := s.Services.Call(ctx, app, method, path, in, out)
	p, refused := errors.AsType[*problem.Error](err)
	switch {
	case refused && slices.Contains(refusals, p.Kind):
		return p, nil
	case refused && !errors.Is(err, sidecar.ErrUnavailable):
		return nil, sidecar.ErrUnavailable.Because(err)
	}
	return nil, err
}

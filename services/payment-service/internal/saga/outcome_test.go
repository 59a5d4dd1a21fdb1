package saga_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// Neither a refusal that is not about the order nor a response that violates the contract is an outcome, and neither is
// shown to the buyer. The order completes when the callee works again.
func TestOnlyOutcomesMoveAnOrder(t *testing.T) {
	b := setup(t)
	refused := func(kind problem.Kind, code string) sagatest.Fault {
		return sagatest.Refused(problem.New(kind, code, "Refused"))
	}
	reserved := func(change func(*calls.ReserveAnswer)) sagatest.Fault {
		return func(_ context.Context, act func() (any, error)) (any, error) {
			answer, err := act()
			reservation, ok := answer.(calls.ReserveAnswer)
			if !ok {
				return nil, errors.Join(err, errors.New("no reservation"))
			}
			change(&reservation)
			return reservation, err
		}
	}
	tickets := func(typeID uuid.UUID, quantity int, price money.Decimal) sagatest.Fault {
		return reserved(func(a *calls.ReserveAnswer) {
			a.Tickets = []calls.ReservedTickets{{
				TicketTypeID: typeID, Quantity: quantity, UnitPrice: price, TotalPrice: price,
			}}
		})
	}
	empty := sagatest.Answered(struct{}{})
	charge := func(status calls.GatewayStatus) sagatest.Fault {
		return sagatest.Answered(calls.ChargeAnswer{Status: status})
	}

	for _, tt := range []struct {
		name  string
		call  sagatest.Call
		fault func() sagatest.Fault
	}{
		{"ReserveCallLost", sagatest.Reserve, func() sagatest.Fault { return sagatest.CallLost }},
		{"ReserveResponseLost", sagatest.Reserve, func() sagatest.Fault { return sagatest.ResponseLost }},
		{
			"ReserveUnauthenticated", sagatest.Reserve,
			func() sagatest.Fault { return refused(problem.Unauthenticated, "SERVICE_TOKEN_INVALID") },
		},
		{
			"ReserveForbidden", sagatest.Reserve,
			func() sagatest.Fault { return refused(problem.Forbidden, "SERVICE_FORBIDDEN") },
		},
		{"ReserveEmptyResponse", sagatest.Reserve, func() sagatest.Fault { return empty }},
		{
			"ReserveNotReserved", sagatest.Reserve,
			func() sagatest.Fault { return reserved(func(a *calls.ReserveAnswer) { a.Reserved = false }) },
		},
		{
			"ReserveWithoutTickets", sagatest.Reserve,
			func() sagatest.Fault { return reserved(func(a *calls.ReserveAnswer) { a.Tickets = nil }) },
		},
		{
			"ReserveOtherTickets", sagatest.Reserve,
			func() sagatest.Fault { return tickets(uuid.New(), quantity, "50.00") },
		},
		{
			"ReserveTooFewTickets", sagatest.Reserve,
			func() sagatest.Fault { return tickets(b.typeID, quantity-1, "50.00") },
		},
		{
			"ReserveWithoutCurrency", sagatest.Reserve,
			func() sagatest.Fault { return reserved(func(a *calls.ReserveAnswer) { a.Currency = "" }) },
		},
		{
			"ReservePriceTooPrecise", sagatest.Reserve,
			func() sagatest.Fault { return tickets(b.typeID, quantity, "50.001") },
		},
		{
			"ReservePriceNegative", sagatest.Reserve,
			func() sagatest.Fault { return tickets(b.typeID, quantity, "-50.00") },
		},

		{"ChargeCallLost", sagatest.Charge, func() sagatest.Fault { return sagatest.CallLost }},
		{"ChargeResponseLost", sagatest.Charge, func() sagatest.Fault { return sagatest.ResponseLost }},
		{
			"ChargeUnauthenticated", sagatest.Charge,
			func() sagatest.Fault { return refused(problem.Unauthenticated, "SERVICE_TOKEN_INVALID") },
		},
		{
			"ChargeForbidden", sagatest.Charge,
			func() sagatest.Fault { return refused(problem.Forbidden, "SERVICE_FORBIDDEN") },
		},
		{
			"ChargeRouteNotFound", sagatest.Charge,
			func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") },
		},
		{
			"ChargePending", sagatest.Charge,
			func() sagatest.Fault { return charge(calls.GatewayPending) },
		},
		{"ChargeEmptyResponse", sagatest.Charge, func() sagatest.Fault { return empty }},
		{
			"ChargeNotFound", sagatest.Charge,
			func() sagatest.Fault { return charge(calls.GatewayNotFound) },
		},

		{"SettleCallLost", sagatest.Settle, func() sagatest.Fault { return sagatest.CallLost }},
		{
			"SettlePending", sagatest.Settle,
			func() sagatest.Fault { return charge(calls.GatewayPending) },
		},
		{
			"SettleUnauthenticated", sagatest.Settle,
			func() sagatest.Fault { return refused(problem.Unauthenticated, "SERVICE_TOKEN_INVALID") },
		},
		{"SettleRouteNotFound", sagatest.Settle, func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") }},
		{
			"SettleRefused", sagatest.Settle,
			func() sagatest.Fault { return refused(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED") },
		},
		{"SettleInvalid", sagatest.Settle, func() sagatest.Fault { return refused(problem.Invalid, "VALIDATION_ERROR") }},
		{"SettleEmptyResponse", sagatest.Settle, func() sagatest.Fault { return empty }},

		{"ReleaseCallLost", sagatest.Release, func() sagatest.Fault { return sagatest.CallLost }},
		{"ReleaseResponseLost", sagatest.Release, func() sagatest.Fault { return sagatest.ResponseLost }},
		{
			"ReleaseForbidden", sagatest.Release,
			func() sagatest.Fault { return refused(problem.Forbidden, "SERVICE_FORBIDDEN") },
		},
		{
			"ReleaseRouteNotFound", sagatest.Release,
			func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") },
		},

		{"RefundCallLost", sagatest.Refund, func() sagatest.Fault { return sagatest.CallLost }},
		{"RefundResponseLost", sagatest.Refund, func() sagatest.Fault { return sagatest.ResponseLost }},
		{
			"RefundPending", sagatest.Refund,
			func() sagatest.Fault { return sagatest.Answered(calls.RefundAnswer{Status: calls.GatewayPending}) },
		},
		{
			"RefundRouteNotFound", sagatest.Refund,
			func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") },
		},
		{"RefundEmptyResponse", sagatest.Refund, func() sagatest.Fault { return empty }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			id := b.orderAt(t, tt.call)
			before := b.order(t, id)
			history := b.history(t, id)
			b.services.Next(tt.call, tt.fault())
			err := b.drive(t.Context(), id)
			require.ErrorIs(t, err, saga.ErrUnsettled)
			require.Equal(t, problem.Unavailable, problem.KindOf(err), "the buyer does not see the callee's refusal")
			after := b.order(t, id)
			after.ChargeAge, after.Settling = before.ChargeAge, before.Settling // neither is an outcome
			require.Equal(t, before, after)
			require.Equal(t, history, b.history(t, id))

			leased, err := b.store.Lease(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, before.Step != order.Refund, leased,
				"the next driver does not wait for the lease to expire")
			refunds, err := b.unfinished(t.Context(), id)
			require.NoError(t, err)
			for _, r := range refunds {
				leased, err := b.store.LeaseRefund(t.Context(), r)
				require.NoError(t, err)
				require.True(t, leased)
			}
			b.settle(t, id, b.clientsRetry)
			require.Zero(t, b.services.UnusedFaults())
			status := map[sagatest.Call]order.Status{
				sagatest.Reserve: order.Completed, sagatest.Charge: order.Completed, sagatest.Settle: order.Completed,
				sagatest.Release: order.Failed, sagatest.Refund: order.Refunded,
			}[tt.call]
			require.Equal(t, status, b.requirePromises(t, id).Status)
		})
	}
}

// ErrUnsettled is sidecar.ErrUnavailable only if a service is unavailable, and has the Retry-After of that.
func TestUnsettledStepIsNotAnUnavailableService(t *testing.T) {
	b := setup(t)
	busy := sidecar.ErrUnavailable.Because(problem.New(problem.Throttled, "TOO_MANY_REQUESTS", "Too many requests"))
	busy.RetryAfter = 17 * time.Second
	for name, tt := range map[string]struct {
		fault       sagatest.Fault
		unavailable bool
		retryAfter  time.Duration
	}{
		"CallLost":        {sagatest.CallLost, true, 0},
		"TooManyRequests": {sagatest.Refused(busy), true, 17 * time.Second},
		"Pending":         {sagatest.Answered(calls.ChargeAnswer{Status: calls.GatewayPending}), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b.services.Next(sagatest.Charge, tt.fault)
			_, err := b.saga.Drive(t.Context(), b.place(t, sagatest.GoodCard))
			require.ErrorIs(t, err, saga.ErrUnsettled)
			require.Equal(t, tt.unavailable, errors.Is(err, sidecar.ErrUnavailable))
			p, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok)
			require.Equal(t, tt.retryAfter, p.RetryAfter)
		})
	}
}

// After a lost reserve the buyer has a minute to repeat the request. Then the sweeper compensates the order.
func TestSweeperCompensatesAnAbandonedOrder(t *testing.T) {
	b := setup(t)
	for name, fault := range map[string]sagatest.Fault{
		"CallLost": sagatest.CallLost, "ResponseLost": sagatest.ResponseLost,
	} {
		t.Run(name, func(t *testing.T) {
			b.services.Next(sagatest.Reserve, fault)
			id := b.place(t, sagatest.GoodCard)
			_, err := b.saga.Drive(t.Context(), id)
			require.ErrorIs(t, err, saga.ErrUnsettled)
			n, err := b.saga.Sweep(t.Context())
			require.NoError(t, err)
			require.Zero(t, n, "the buyer has a minute")

			b.settle(t, id, b.sweep)
			o := b.requirePromises(t, id)
			require.Equal(t, order.Failed, o.Status)
			require.Equal(t, order.CodeAbandoned, o.Failure.Code)
			require.True(t, o.Failure.Retryable)
			require.Equal(t, capacity, b.services.Left(b.typeID))
			require.Equal(t, []string{
				"ORDER_CREATED COMPLETED", "RESERVATION_ABANDONED FAILED", "RESERVATION_RELEASED COMPENSATED",
			}, b.history(t, id))
		})
	}
}

package saga_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// Neither a refusal that is not about the order nor a response that violates the contract is an outcome, and neither is
// shown to the buyer. The order completes when the callee works again.
func TestOnlyOutcomesMoveAnOrder(t *testing.T) {
	b := setup(t)
	refused := func(kind problem.Kind, code string) sagatest.Fault {
		return sagatest.Refused(problem.New(kind, code, "Refused"))
	}
	reserved := func(change map[string]any) sagatest.Fault {
		return func(_ context.Context, act func() (any, error)) (any, error) {
			answer, err := act()
			fields, ok := answer.(map[string]any)
			if !ok {
				return nil, errors.Join(err, errors.New("no reservation"))
			}
			for name, value := range change {
				fields[name] = value
			}
			return fields, err
		}
	}
	tickets := func(typeID uuid.UUID, quantity int, price money.Decimal) map[string]any {
		return map[string]any{"tickets": []map[string]any{
			{"ticketTypeId": typeID, "quantity": quantity, "unitPrice": price},
		}}
	}
	empty := sagatest.Answered(map[string]any{})

	for _, tt := range []struct {
		name  string
		call  sagatest.Call
		fault func() sagatest.Fault
	}{
		{"ReserveCallLost", sagatest.Reserve, func() sagatest.Fault { return sagatest.CallLost }},
		{"ReserveResponseLost", sagatest.Reserve, func() sagatest.Fault { return sagatest.AnswerLost }},
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
			func() sagatest.Fault { return reserved(map[string]any{"reserved": false}) },
		},
		{
			"ReserveWithoutTickets", sagatest.Reserve,
			func() sagatest.Fault { return reserved(map[string]any{"tickets": []any{}}) },
		},
		{
			"ReserveOtherTickets", sagatest.Reserve,
			func() sagatest.Fault { return reserved(tickets(uuid.New(), quantity, "50.00")) },
		},
		{
			"ReserveTooFewTickets", sagatest.Reserve,
			func() sagatest.Fault { return reserved(tickets(b.typeID, quantity-1, "50.00")) },
		},
		{
			"ReserveWithoutCurrency", sagatest.Reserve,
			func() sagatest.Fault { return reserved(map[string]any{"currency": ""}) },
		},
		{
			"ReservePriceTooPrecise", sagatest.Reserve,
			func() sagatest.Fault { return reserved(tickets(b.typeID, quantity, "50.001")) },
		},
		{
			"ReservePriceNegative", sagatest.Reserve,
			func() sagatest.Fault { return reserved(tickets(b.typeID, quantity, "-50.00")) },
		},

		{"ChargeCallLost", sagatest.Charge, func() sagatest.Fault { return sagatest.CallLost }},
		{"ChargeResponseLost", sagatest.Charge, func() sagatest.Fault { return sagatest.AnswerLost }},
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
			"ChargeInvalid", sagatest.Charge,
			func() sagatest.Fault { return refused(problem.Invalid, "VALIDATION_ERROR") },
		},
		{
			"ChargeKeyReused", sagatest.Charge,
			func() sagatest.Fault { return refused(problem.Conflict, "KEY_REUSED") },
		},
		{
			"ChargePending", sagatest.Charge,
			func() sagatest.Fault { return sagatest.Answered(map[string]any{"status": "PENDING"}) },
		},
		{"ChargeEmptyResponse", sagatest.Charge, func() sagatest.Fault { return empty }},
		{
			"ChargeNotFound", sagatest.Charge,
			func() sagatest.Fault { return sagatest.Answered(map[string]any{"status": "NOT_FOUND"}) },
		},

		{"AskCallLost", sagatest.Ask, func() sagatest.Fault { return sagatest.CallLost }},
		{
			"AskPending", sagatest.Ask,
			func() sagatest.Fault { return sagatest.Answered(map[string]any{"status": "PENDING"}) },
		},
		{
			"AskUnauthenticated", sagatest.Ask,
			func() sagatest.Fault { return refused(problem.Unauthenticated, "SERVICE_TOKEN_INVALID") },
		},
		{"AskRouteNotFound", sagatest.Ask, func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") }},
		{
			"AskRefused", sagatest.Ask,
			func() sagatest.Fault { return refused(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED") },
		},
		{"AskInvalid", sagatest.Ask, func() sagatest.Fault { return refused(problem.Invalid, "VALIDATION_ERROR") }},
		{"AskEmptyResponse", sagatest.Ask, func() sagatest.Fault { return empty }},

		{"ReleaseCallLost", sagatest.Release, func() sagatest.Fault { return sagatest.CallLost }},
		{"ReleaseResponseLost", sagatest.Release, func() sagatest.Fault { return sagatest.AnswerLost }},
		{
			"ReleaseForbidden", sagatest.Release,
			func() sagatest.Fault { return refused(problem.Forbidden, "SERVICE_FORBIDDEN") },
		},
		{
			"ReleaseRouteNotFound", sagatest.Release,
			func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") },
		},

		{"RefundCallLost", sagatest.Refund, func() sagatest.Fault { return sagatest.CallLost }},
		{"RefundResponseLost", sagatest.Refund, func() sagatest.Fault { return sagatest.AnswerLost }},
		{
			"RefundPending", sagatest.Refund,
			func() sagatest.Fault { return sagatest.Answered(map[string]any{"status": "PENDING"}) },
		},
		{
			"RefundRouteNotFound", sagatest.Refund,
			func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") },
		},
		{
			"RefundKeyReused", sagatest.Refund,
			func() sagatest.Fault { return refused(problem.Conflict, "KEY_REUSED") },
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
			require.ErrorIs(t, err, sidecar.ErrUnavailable)
			require.Equal(t, problem.Unavailable, problem.KindOf(err), "the buyer does not see the callee's refusal")
			after := b.order(t, id)
			after.ChargeAge, after.LookupAge = before.ChargeAge, before.LookupAge // these change by themselves
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
			require.Zero(t, b.services.Pending())
			status := map[sagatest.Call]order.Status{
				sagatest.Reserve: order.Completed, sagatest.Charge: order.Completed, sagatest.Ask: order.Completed,
				sagatest.Release: order.Failed, sagatest.Refund: order.Refunded,
			}[tt.call]
			require.Equal(t, status, b.requirePromises(t, id).Status)
		})
	}
}

// After a lost reserve the buyer has a minute to repeat the request. Then the sweeper compensates the order.
func TestSweeperCompensatesAnAbandonedOrder(t *testing.T) {
	b := setup(t)
	for name, fault := range map[string]sagatest.Fault{
		"CallLost": sagatest.CallLost, "ResponseLost": sagatest.AnswerLost,
	} {
		t.Run(name, func(t *testing.T) {
			b.services.Next(sagatest.Reserve, fault)
			id := b.place(t, sagatest.GoodCard)
			_, err := b.saga.Drive(t.Context(), id)
			require.ErrorIs(t, err, sidecar.ErrUnavailable)
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

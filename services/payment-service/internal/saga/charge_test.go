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
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// After the charge window no new charge is attempted. The gateway is asked for the outcome.
func TestOverdueChargeIsLookedUp(t *testing.T) {
	b := setup(t)
	forbidden := func(context.Context, func() (any, error)) (any, error) {
		return nil, errors.New("a new charge was attempted")
	}
	for _, tt := range []struct {
		name, card string
		first      sagatest.Fault // of the only charge call
		age        time.Duration
		soldOut    bool // the hold has expired, and others bought the tickets
		status     order.Status
		code       string
	}{
		{"Succeeded", sagatest.GoodCard, sagatest.ResponseLost, order.ChargeWindow, false, order.Completed, ""},
		{
			"SucceededAndSoldOut", sagatest.GoodCard, sagatest.ResponseLost, order.ChargeWindow, true,
			order.Refunded, "INSUFFICIENT_INVENTORY",
		},
		{
			"Declined", sagatest.DeclinedCard, sagatest.ResponseLost, order.ChargeWindow, false,
			order.Failed, "INSUFFICIENT_FUNDS",
		},
		{
			"NotMade", sagatest.GoodCard, sagatest.CallLost, order.ChargeSearchLag, false,
			order.Failed, order.CodePaymentAbandoned,
		},
		{"NotFoundYet", sagatest.GoodCard, sagatest.CallLost, order.ChargeWindow, false, order.Pending, ""},
		{"PendingForHours", sagatest.PendingCard, sagatest.ResponseLost, order.ChargeSearchLag, false, order.Pending, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			b.services.Next(sagatest.Charge, tt.first, forbidden)
			id := b.place(t, tt.card)
			_, err := b.saga.Drive(t.Context(), id)
			require.ErrorIs(t, err, saga.ErrUnsettled)
			b.age(t, tt.age)
			if tt.soldOut {
				b.services.ExpireAndSellOut(b.typeID)
			}
			b.timeOut(t)
			_, err = b.saga.Sweep(t.Context())
			require.NoError(t, err)
			o := b.order(t, id)
			if tt.status == order.Pending {
				require.Equal(t, order.Charge, o.Step)
				require.Equal(t, order.Pending, o.Status)
				b.age(t, order.ChargeSearchLag)
				b.services.SettleCharges()
			}
			require.Equal(t, 1, b.services.UnusedFaults(), "no new charge was attempted")

			b.settle(t, id, b.sweep)
			o = b.requirePromises(t, id)
			if tt.status != order.Pending {
				require.Equal(t, tt.status, o.Status)
				require.Equal(t, tt.code, o.Failure.Code)
			}
		})
	}

	// The last attempt may be younger than the first, and the search index may lag behind it.
	t.Run("FoundLater", func(t *testing.T) {
		b.newType(5000)
		id := b.orderAt(t, sagatest.Charge)
		b.age(t, order.ChargeWindow)
		notYet := sagatest.Answered(calls.ChargeAnswer{Status: calls.GatewayNotFound, Retryable: true})
		b.services.Next(sagatest.Lookup, notYet, notYet)
		b.settle(t, id, b.sweep)
		require.Zero(t, b.services.UnusedFaults())
		require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
	})
}

// "No such charge" is final once no charge request can be in flight any more and the gateway has read the whole list. A
// charge that is found later is refunded. Once charging has stopped, no new charge is attempted.
func TestNoSuchChargeIsFinalOnceNoRequestIsInFlight(t *testing.T) {
	b := setup(t)
	// lookedUp returns an order whose charge call was lost, whose hold has expired and whose charging has just stopped.
	lookedUp := func(t *testing.T) uuid.UUID {
		t.Helper()
		b.newType(5000)
		b.services.Next(sagatest.Charge, sagatest.CallLost)
		id := b.place(t, sagatest.GoodCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.ErrorIs(t, err, saga.ErrUnsettled)
		b.services.ExpireAndSellOut(b.typeID)
		b.age(t, 2*order.HoldExtendAfter)
		b.timeOut(t)
		require.NoError(t, b.sweep(t.Context(), id))
		require.Equal(t, order.Charge, b.order(t, id).Step)
		return id
	}
	resumed := func(t *testing.T, id uuid.UUID) order.Order {
		t.Helper()
		b.timeOut(t)
		require.NoError(t, b.sweep(t.Context(), id))
		return b.order(t, id)
	}
	t.Run("FinalWhenNoRequestIsInFlight", func(t *testing.T) {
		id := lookedUp(t)
		b.age(t, order.ChargeMaxInFlight-10*time.Second)
		require.Equal(t, order.Pending, resumed(t, id).Status, "a charge request may be in flight")
		b.age(t, 20*time.Second)
		require.Equal(t, order.Failed, resumed(t, id).Status)
		b.settle(t, id, b.sweep)
		require.Equal(t, order.CodePaymentAbandoned, b.requirePromises(t, id).Failure.Code)
	})
	t.Run("NotFinalWhileTheIndexLags", func(t *testing.T) {
		id := lookedUp(t)
		b.age(t, order.ChargeMaxInFlight)
		indexed := sagatest.Answered(calls.ChargeAnswer{Status: calls.GatewayNotFound, Retryable: true})
		b.services.Next(sagatest.Lookup, indexed, indexed)
		require.Equal(t, order.Pending, resumed(t, id).Status)
		b.age(t, order.ChargeSearchLag)
		require.Equal(t, order.Failed, resumed(t, id).Status)
		b.settle(t, id, b.sweep)
		b.requirePromises(t, id)
	})
	t.Run("ChargingStaysStopped", func(t *testing.T) {
		id := lookedUp(t)
		b.services.Next(sagatest.Extend, sagatest.CallLost) // so that the saga does not learn that the hold has ended
		b.services.Next(sagatest.Charge, sagatest.CallLost)
		require.Equal(t, order.Charge, resumed(t, id).Step)
		require.Equal(t, 1, b.services.UnusedFaults(), "no new charge was attempted")
		b.age(t, order.ChargeMaxInFlight)
		b.settle(t, id, b.sweep)
		require.Equal(t, order.Failed, b.requirePromises(t, id).Status)
	})

	// A driver freezes before its charge request for longer than ChargeMaxInFlight.
	t.Run("FrozenDriver", func(t *testing.T) {
		b.newType(5000)
		id := b.place(t, sagatest.GoodCard)
		b.services.Next(sagatest.Charge, func(_ context.Context, act func() (any, error)) (any, error) {
			b.age(t, order.ChargeWindow)
			require.Equal(t, order.Pending, resumed(t, id).Status)
			b.age(t, order.ChargeMaxInFlight)
			require.Equal(t, order.Failed, resumed(t, id).Status)
			return act()
		})
		o, err := b.saga.Drive(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, order.Failed, o.Status, "the order stays as it was reported to the buyer")
		b.settleRefunds(t, id, b.sweep)
		charged, refunded := b.services.Money(id)
		require.Equal(t, []money.Decimal{"100.00"}, charged)
		require.Equal(t, charged, refunded)
		require.Contains(t, b.history(t, id), "PAYMENT_TOO_LATE FAILED")
		published, _ := b.outbox(t, id)
		require.Equal(t, []string{"PAYMENT_FAILED", "REFUND_PROCESSED"}, published)
	})
}

// While the outcome of a charge is unknown, each attempt first extends the hold. Only a hold that has ended prevents a
// new attempt.
func TestHoldIsExtendedBeforeEachAttempt(t *testing.T) {
	b := setup(t)
	var made []sagatest.Call
	recorded := func(call sagatest.Call, then sagatest.Fault) sagatest.Fault {
		return func(ctx context.Context, act func() (any, error)) (any, error) {
			made = append(made, call)
			if then != nil {
				return then(ctx, act)
			}
			return act()
		}
	}
	for _, tt := range []struct {
		name   string
		age    time.Duration
		ended  bool           // the hold has expired, and others bought the tickets
		extend sagatest.Fault // nil for ticket-service's own response
		calls  []sagatest.Call
		step   order.Step
	}{
		{"FirstMinute", 0, false, nil, []sagatest.Call{sagatest.Charge}, order.Fulfil},
		{
			"Extended", 2 * order.HoldExtendAfter, false, nil,
			[]sagatest.Call{sagatest.Extend, sagatest.Charge},
			order.Fulfil,
		},
		{
			"ExtendedForALookup", order.ChargeWindow, false, nil,
			[]sagatest.Call{sagatest.Extend, sagatest.Lookup},
			order.Charge,
		},
		{"PastTheMaximumAge", order.HoldMaxAge, false, nil, []sagatest.Call{sagatest.Lookup}, order.Charge},
		{"Ended", 2 * order.HoldExtendAfter, true, nil, []sagatest.Call{sagatest.Extend, sagatest.Lookup}, order.Charge},
		{
			"CallLost", 2 * order.HoldExtendAfter, false, sagatest.CallLost,
			[]sagatest.Call{sagatest.Extend, sagatest.Charge},
			order.Fulfil,
		},
		{
			"ResponseLost", 2 * order.HoldExtendAfter, false, sagatest.ResponseLost,
			[]sagatest.Call{sagatest.Extend, sagatest.Charge},
			order.Fulfil,
		},
		{
			"RouteNotFound", 2 * order.HoldExtendAfter, false,
			sagatest.Refused(problem.New(problem.NotFound, "NOT_FOUND", "No such route")),
			[]sagatest.Call{sagatest.Extend, sagatest.Charge},
			order.Fulfil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			b.services.Next(sagatest.Charge, sagatest.CallLost)
			id := b.place(t, sagatest.GoodCard)
			_, err := b.saga.Drive(t.Context(), id)
			require.ErrorIs(t, err, saga.ErrUnsettled)
			if tt.ended {
				b.services.ExpireAndSellOut(b.typeID)
			}
			b.age(t, tt.age)
			b.timeOut(t)
			made = nil
			b.services.Next(sagatest.Extend, recorded(sagatest.Extend, tt.extend))
			b.services.Next(sagatest.Charge, recorded(sagatest.Charge, nil))
			b.services.Next(sagatest.Lookup, recorded(sagatest.Lookup, nil))
			require.NoError(t, b.sweep(t.Context(), id))
			require.Equal(t, tt.calls, made)
			require.Equal(t, tt.step, b.order(t, id).Step)
			b.services.UnusedFaults()

			b.age(t, order.ChargeSearchLag)
			b.settle(t, id, b.sweep)
			want := order.Completed
			if tt.step == order.Charge {
				want = order.Failed
			}
			require.Equal(t, want, b.requirePromises(t, id).Status)
		})
	}
}

func TestOrderStaysPendingWhileTheChargeIs(t *testing.T) {
	b := setup(t)
	id := b.place(t, sagatest.PendingCard)
	o, err := b.saga.Drive(t.Context(), id)
	require.ErrorIs(t, err, saga.ErrUnsettled)
	require.Equal(t, order.Pending, o.Status)
	for range 3 {
		b.timeOut(t)
		n, err := b.saga.Sweep(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, order.Pending, b.order(t, id).Status)
	}
	b.services.SettleCharges()
	b.settle(t, id, b.sweep)
	require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
}

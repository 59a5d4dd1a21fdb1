package saga_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// After the charge window no new charge is attempted. The gateway settles the attempt.
func TestOverdueChargeIsSettled(t *testing.T) {
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
			"NotMade", sagatest.GoodCard, sagatest.CallLost, order.ChargeWindow, false,
			order.Failed, order.CodePaymentAbandoned,
		},
		{"PendingForHours", sagatest.PendingCard, sagatest.ResponseLost, order.ChargeWindow, false, order.Pending, ""},
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
}

// A charge that was not made before charging stopped is never made. No request that is still on its way can make it.
func TestChargingStaysStopped(t *testing.T) {
	b := setup(t)
	// stopped returns an order whose charge call was lost and whose hold has ended, and which is at CHARGE: the call that
	// settles the charge was lost too.
	stopped := func(t *testing.T) uuid.UUID {
		t.Helper()
		b.newType(5000)
		b.services.Next(sagatest.Charge, sagatest.CallLost)
		id := b.place(t, sagatest.GoodCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.ErrorIs(t, err, saga.ErrUnsettled)
		b.services.ExpireAndSellOut(b.typeID)
		b.age(t, 2*order.HoldExtendAfter)
		b.services.Next(sagatest.Settle, sagatest.CallLost)
		b.timeOut(t)
		require.NoError(t, b.sweep(t.Context(), id))
		require.Equal(t, order.Charge, b.order(t, id).Step)
		return id
	}
	t.Run("SettledAtTheNextAttempt", func(t *testing.T) {
		id := stopped(t)
		b.services.Next(sagatest.Extend, sagatest.CallLost) // so that the saga does not learn that the hold has ended
		b.services.Next(sagatest.Charge, sagatest.CallLost)
		b.settle(t, id, b.sweep)
		require.Equal(t, 1, b.services.UnusedFaults(), "no new charge was attempted")
		require.Equal(t, order.CodePaymentAbandoned, b.requirePromises(t, id).Failure.Code)
	})
	t.Run("FrozenDriver", func(t *testing.T) {
		b.newType(5000)
		id := b.place(t, sagatest.GoodCard)
		b.services.Next(sagatest.Charge, func(_ context.Context, act func() (any, error)) (any, error) {
			b.age(t, order.ChargeWindow)
			b.timeOut(t)
			require.NoError(t, b.sweep(t.Context(), id))
			require.Equal(t, order.Failed, b.order(t, id).Status)
			return act()
		})
		_, err := b.saga.Drive(t.Context(), id)
		require.NoError(t, err, "the gateway refuses the late request, and the charge is settled")
		b.settle(t, id, b.sweep)
		require.Equal(t, order.CodePaymentAbandoned, b.requirePromises(t, id).Failure.Code)
		charged, _ := b.services.Money(id)
		require.Empty(t, charged)
	})
}

// A card that requires authentication keeps its order at CHARGE until the buyer has authenticated, or until time is up.
func TestAuthentication(t *testing.T) {
	b := setup(t)
	waiting := func(t *testing.T) uuid.UUID {
		t.Helper()
		b.newType(5000)
		id := b.place(t, sagatest.SecuredCard)
		o, err := b.saga.Drive(t.Context(), id)
		require.ErrorIs(t, err, saga.ErrUnsettled)
		require.Equal(t, order.Charge, o.Step)
		require.NotNil(t, o.Action, "the response to the buyer has the action")
		require.Equal(t, "pi_secret", o.Action.ClientSecret)
		require.True(t, b.services.Holds(o.ReservationID))
		b.timeOut(t)
		require.NoError(t, b.sweep(t.Context(), id))
		require.Equal(t, order.Charge, b.order(t, id).Step, "the buyer has not authenticated yet")
		history := b.history(t, id)
		require.Contains(t, history, "AUTHENTICATION_REQUIRED PENDING")
		return id
	}
	t.Run("BySweep", func(t *testing.T) {
		id := waiting(t)
		b.services.Authenticate(id)
		b.settle(t, id, b.sweep)
		o := b.requirePromises(t, id)
		require.Equal(t, order.Completed, o.Status)
		require.Nil(t, o.Action)
	})
	t.Run("ByWebhook", func(t *testing.T) {
		id := waiting(t)
		b.services.Authenticate(id)
		n := succeeded(id)
		n.TransactionID = b.services.TransactionID(id)
		require.NoError(t, b.notify(t.Context(), t, n))
		require.Equal(t, order.Fulfil, b.order(t, id).Step)
		b.settle(t, id, b.sweep)
		require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
	})
	t.Run("NotInTime", func(t *testing.T) {
		id := waiting(t)
		b.age(t, order.ChargeWindow)
		b.settle(t, id, b.sweep)
		o := b.requirePromises(t, id)
		require.Equal(t, order.Failed, o.Status)
		require.Equal(t, "CANCELED", o.Failure.Code)
		require.Nil(t, o.Action)
		require.False(t, b.services.Holds(o.ReservationID))
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
			"ExtendedForSettling", order.ChargeWindow, false, nil,
			[]sagatest.Call{sagatest.Extend, sagatest.Settle},
			order.Done,
		},
		{"PastTheMaximumAge", order.HoldMaxAge, false, nil, []sagatest.Call{sagatest.Settle}, order.Done},
		{"Ended", 2 * order.HoldExtendAfter, true, nil, []sagatest.Call{sagatest.Extend, sagatest.Settle}, order.Done},
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
			b.services.Next(sagatest.Settle, recorded(sagatest.Settle, nil))
			require.NoError(t, b.sweep(t.Context(), id))
			require.Equal(t, tt.calls, made)
			require.Equal(t, tt.step, b.order(t, id).Step)
			b.services.UnusedFaults()

			b.settle(t, id, b.sweep)
			want := order.Completed
			if tt.step == order.Done {
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

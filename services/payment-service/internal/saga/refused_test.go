package saga_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// payment-gateway refuses the request to charge, and would refuse it again. The charge is settled at once, because an
// earlier attempt may have been made.
func TestRefusedChargeIsSettledAtOnce(t *testing.T) {
	b := setup(t)
	for name, refusal := range map[string]*problem.Error{
		"Invalid":   problem.Field("description", "description is too long"),
		"KeyReused": problem.New(problem.Conflict, "KEY_REUSED", "This key was used before"),
	} {
		t.Run(name+"/NotCharged", func(t *testing.T) {
			b.newType(5000)
			b.services.Next(sagatest.Charge, sagatest.Refused(refusal))
			id := b.place(t, sagatest.GoodCard)
			o, err := b.saga.Drive(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, order.Failed, o.Status)
			require.Equal(t, order.CodePaymentAbandoned, o.Failure.Code)
			b.requirePromises(t, id)
			require.Equal(t, capacity, b.services.Left(b.typeID))
		})
		t.Run(name+"/ChargedBefore", func(t *testing.T) {
			b.newType(5000)
			id := b.orderAt(t, sagatest.Charge)
			b.services.Next(sagatest.Charge, sagatest.Refused(refusal))
			require.NoError(t, b.sweep(t.Context(), id))
			b.settle(t, id, b.sweep)
			require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
		})
	}
	t.Run("ByTheCardProcessor", func(t *testing.T) {
		b.newType(5000)
		b.services.Next(sagatest.Charge,
			sagatest.Refused(problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED", "No")))
		id := b.place(t, sagatest.GoodCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "PAYMENT_REQUEST_REFUSED", b.requirePromises(t, id).Failure.Code)
	})
}

// A step whose refusal is no outcome is attempted order.MaxTries times. Then operations are alerted with the reason,
// and no further call is made until an admin retries.
func TestRepeatedlyRefusedStepStopsAndAlerts(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		call    sagatest.Call
		refusal *problem.Error
		step    order.Step
		before  order.Status
		after   order.Status
		charged []money.Decimal
		reason  string // in the list of stuck sagas
	}{
		{
			sagatest.Settle, problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED", "No"),
			order.Charge, order.Pending, order.Completed,
			[]money.Decimal{"100.00"},
			"PAYMENT_REQUEST_REFUSED",
		},
		{
			sagatest.Release, problem.New(problem.Conflict, "RESERVATION_COMPLETED", "The reservation was bought"),
			order.Release, order.Failed, order.Failed, nil, "INSUFFICIENT_FUNDS",
		},
	} {
		t.Run(string(tt.call), func(t *testing.T) {
			b.newType(5000)
			id := b.orderAt(t, tt.call)
			failed := b.tries(t, id) // orderAt has failed before
			refusals := slices.Repeat([]sagatest.Fault{sagatest.Refused(tt.refusal)}, order.MaxTries-failed)
			b.services.Next(tt.call, refusals...)
			for range refusals {
				alerts, _ := b.alerts(t, id)
				require.Zero(t, alerts, "too early")
				b.timeOut(t)
				require.NoError(t, b.sweep(t.Context(), id))
			}
			require.Zero(t, b.services.UnusedFaults())
			require.Equal(t, tt.step, b.order(t, id).Step)
			require.Equal(t, tt.before, b.order(t, id).Status)
			n, err := b.saga.Sweep(t.Context())
			require.NoError(t, err)
			require.Zero(t, n, "the order is not due")
			var never bool
			require.NoError(t, b.pool.QueryRow(t.Context(),
				`SELECT resume_at = 'infinity' FROM orders WHERE id = $1`, id).Scan(&never))
			require.True(t, never)

			alerts, recorded := b.alerts(t, id)
			require.Equal(t, 1, alerts)
			require.Equal(t, 1, recorded)
			stuck := b.stuck(t)
			require.Len(t, stuck, 1)
			require.Equal(t, id, stuck[0].OrderID)
			require.Equal(t, tt.reason, stuck[0].Reason)
			require.Nil(t, stuck[0].DueAt)

			// The retry of an admin is one attempt.
			b.services.Next(tt.call, sagatest.Refused(tt.refusal))
			require.NoError(t, b.store.Retry(t.Context(), id, uuid.New()))
			require.NotNil(t, b.stuck(t)[0].DueAt)
			require.NoError(t, b.sweep(t.Context(), id))
			require.Nil(t, b.stuck(t)[0].DueAt)
			alerts, _ = b.alerts(t, id)
			require.Equal(t, 1, alerts, "an admin knows about it")

			require.NoError(t, b.store.Retry(t.Context(), id, uuid.New()))
			require.NoError(t, b.sweep(t.Context(), id))
			require.Empty(t, b.stuck(t))
			b.deliver(t, id)
			o := b.order(t, id)
			require.Equal(t, tt.after, o.Status)
			require.Equal(t, order.Done, o.Step)
			require.False(t, b.services.Holds(o.ReservationID))
			charged, refunded := b.services.Money(id)
			require.Equal(t, tt.charged, charged)
			require.Empty(t, refunded)
		})
	}
}

// An order at CHARGE whose question for the outcome was refused is not forgotten: a webhook and a repeated request of
// the buyer still end it.
func TestWebhookEndsAStuckCharge(t *testing.T) {
	b := setup(t)
	stuck := func(t *testing.T) uuid.UUID {
		t.Helper()
		b.newType(5000)
		id := b.orderAt(t, sagatest.Settle)
		b.exec(t.Context(), t, `UPDATE orders SET tries = $2 WHERE id = $1`, id, order.MaxTries)
		b.services.Next(sagatest.Settle,
			sagatest.Refused(problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED", "No")))
		require.NoError(t, b.sweep(t.Context(), id))
		require.Len(t, b.stuck(t), 1)
		return id
	}
	for name, end := range map[string]func(t *testing.T, id uuid.UUID){
		"Webhook": func(t *testing.T, id uuid.UUID) {
			t.Helper()
			n := succeeded(id)
			n.TransactionID = b.services.TransactionID(id)
			require.NoError(t, b.notify(t.Context(), t, n))
		},
		"Buyer": func(t *testing.T, id uuid.UUID) {
			t.Helper()
			if err := b.clientsRetry(t.Context(), id); err != nil {
				require.ErrorIs(t, err, saga.ErrUnsettled)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := stuck(t)
			end(t, id)
			require.Equal(t, order.Fulfil, b.order(t, id).Step)
			require.Empty(t, b.stuck(t))
			b.deliver(t, id)
			require.Equal(t, order.Completed, b.order(t, id).Status)
		})
	}
}

// tries returns the number of failed attempts at the order's step.
func (b *bundle) tries(t *testing.T, id uuid.UUID) (tries int) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT tries FROM orders WHERE id = $1`, id).Scan(&tries))
	return tries
}

// stuck returns the sagas that operations were alerted about.
func (b *bundle) stuck(t *testing.T) []order.Unfinished {
	t.Helper()
	found, err := b.store.Unfinished(t.Context(), true, paging.Page{Limit: 100})
	require.NoError(t, err)
	return found
}

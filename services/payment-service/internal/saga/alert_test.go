package saga_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// alerts returns the number of alerts about an order, as published events and as events of its history.
func (b *bundle) alerts(t *testing.T, id uuid.UUID) (alerts, recorded int) {
	t.Helper()
	types, _ := b.outbox(t, id)
	for _, eventType := range types {
		if eventType == "COMPENSATION_FAILED" {
			alerts++
		}
	}
	for _, event := range b.history(t, id) {
		if event == "COMPENSATION_FAILED FAILED" {
			recorded++
		}
	}
	return alerts, recorded
}

// A compensation that fails is repeated until it succeeds, even if processes die, and operations are alerted once.
func TestFailingCompensationAlertsOnceAndGoesOn(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name   string
		call   sagatest.Call
		status order.Status
		begin  func(t *testing.T) uuid.UUID
	}{
		{"Release", sagatest.Release, order.Failed, func(t *testing.T) uuid.UUID {
			t.Helper()
			b.services.Next(sagatest.Charge, sagatest.Answered(calls.ChargeAnswer{
				Status: calls.GatewayDeclined, DeclineCode: "INSUFFICIENT_FUNDS",
			}))
			return b.place(t, sagatest.GoodCard)
		}},
		{"CancelTickets", sagatest.Cancel, order.Refunded, func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.bought(t)
			b.request(t.Context(), t, id, refund.Refund{Whole: true})
			return id
		}},
		{"ReturnMoney", sagatest.Refund, order.Refunded, func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.bought(t)
			b.request(t.Context(), t, id, refund.Refund{Whole: true})
			return id
		}},
		{"ReturnMoneyRequestedByTheSaga", sagatest.Refund, order.Refunded, func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.paid(t)
			b.services.ExpireAndSellOut(b.typeID)
			b.deliver(t, id)
			return id
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			id := tt.begin(t)
			p := b.start(t)
			failures := slices.Repeat([]sagatest.Fault{sagatest.CallLost, sagatest.ResponseLost}, order.MaxTries)
			b.services.Next(tt.call, append([]sagatest.Fault{p.before, p.after}, failures...)...)
			_ = b.drive(p.ctx, id)
			for try := range len(failures) + 1 {
				alerts, _ := b.alerts(t, id)
				require.LessOrEqual(t, alerts, 1)
				if try < order.MaxTries-1 {
					require.Zero(t, alerts, "too early")
				}
				p.restart(t)
				b.timeOut(t)
				_ = b.sweep(p.ctx, id)
			}
			alerts, recorded := b.alerts(t, id)
			require.Equal(t, 1, alerts)
			require.Equal(t, 1, recorded)
			stuck, err := b.store.Unfinished(t.Context(), true, paging.Page{Limit: 100})
			require.NoError(t, err)
			require.Len(t, stuck, 1)
			require.Equal(t, id, stuck[0].OrderID)

			require.NoError(t, b.store.Retry(t.Context(), id, uuid.New()))
			require.NoError(t, b.sweep(t.Context(), id))
			b.settleRefunds(t, id, b.sweep)
			b.settle(t, id, b.sweep)
			require.Zero(t, b.services.UnusedFaults())
			o := b.order(t, id)
			require.Equal(t, tt.status, o.Status)
			require.Equal(t, order.Done, o.Step)
			require.False(t, b.services.Holds(o.ReservationID))
			alerts, recorded = b.alerts(t, id)
			require.Equal(t, 1, alerts)
			require.Equal(t, 1, recorded)
			stuck, err = b.store.Unfinished(t.Context(), false, paging.Page{Limit: 100})
			require.NoError(t, err)
			require.Empty(t, stuck)
			if tt.status == order.Refunded {
				charged, refunded := b.services.Money(id)
				require.Equal(t, []money.Decimal{"100.00"}, charged)
				require.Equal(t, charged, refunded)
			}
		})
	}
}

func TestPendingRefundDoesNotAlert(t *testing.T) {
	b := setup(t)
	id := b.bought(t)
	b.request(t.Context(), t, id, refund.Refund{Whole: true})
	pending := sagatest.Answered(calls.RefundAnswer{Status: calls.GatewayPending})
	b.services.Next(sagatest.Refund, slices.Repeat([]sagatest.Fault{pending}, 2*order.MaxTries)...)
	b.settleRefunds(t, id, b.sweep)
	alerts, recorded := b.alerts(t, id)
	require.Zero(t, alerts)
	require.Zero(t, recorded)
	require.Equal(t, order.Refunded, b.order(t, id).Status)
}

package saga_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// told tells how often people heard that the order's compensation failed: by event, and in its history.
func (b *bundle) told(t *testing.T, id uuid.UUID) (announced, lines int) {
	t.Helper()
	types, _ := b.outbox(t, id)
	for _, eventType := range types {
		if eventType == "COMPENSATION_FAILED" {
			announced++
		}
	}
	for _, line := range b.story(t, id) {
		if line == "COMPENSATION_FAILED FAILED" {
			lines++
		}
	}
	return announced, lines
}

// What undoes something is never given up: people are told once that it is in vain, and it ends well as
// soon as its callee does, even if processes die meanwhile.
func TestCompensationInVain(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name   string
		call   sagatest.Call
		status order.Status
		begin  func(t *testing.T) uuid.UUID
	}{
		{"Release", sagatest.Release, order.Failed, func(t *testing.T) uuid.UUID {
			t.Helper()
			b.services.Next(sagatest.Charge, sagatest.Answered(map[string]any{"status": "DECLINED", "declineCode": "INSUFFICIENT_FUNDS"}))
			return b.place(t, sagatest.GoodCard)
		}},
		{"CancelTickets", sagatest.Cancel, order.Refunded, func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.bought(t)
			b.ask(t.Context(), t, id, refund.Refund{Whole: true})
			return id
		}},
		{"ReturnMoney", sagatest.Refund, order.Refunded, func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.bought(t)
			b.ask(t.Context(), t, id, refund.Refund{Whole: true})
			return id
		}},
		{"ReturnMoneyOfTheSaga", sagatest.Refund, order.Refunded, func(t *testing.T) uuid.UUID {
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
			inVain := slices.Repeat([]sagatest.Fault{sagatest.CallLost, sagatest.AnswerLost}, order.MaxTries)
			b.services.Next(tt.call, append([]sagatest.Fault{p.before, p.after}, inVain...)...)
			_ = b.drive(p.ctx, id)
			for try := range len(inVain) + 1 {
				announced, _ := b.told(t, id)
				require.LessOrEqual(t, announced, 1)
				if try < order.MaxTries-1 {
					require.Zero(t, announced, "not yet")
				}
				p.restart(t)
				b.timeOut(t)
				_ = b.sweeps(p.ctx, id)
			}
			announced, lines := b.told(t, id)
			require.Equal(t, 1, announced)
			require.Equal(t, 1, lines)
			stuck, err := b.store.Unfinished(t.Context(), true, paging.Page{Limit: 100})
			require.NoError(t, err)
			require.Len(t, stuck, 1)
			require.Equal(t, id, stuck[0].OrderID)

			require.NoError(t, b.store.Retry(t.Context(), id, uuid.New()))
			require.NoError(t, b.sweeps(t.Context(), id))
			b.settleRefunds(t, id, b.sweeps)
			b.settle(t, id, b.sweeps)
			require.Zero(t, b.services.Pending())
			o := b.order(t, id)
			require.Equal(t, tt.status, o.Status)
			require.Equal(t, order.Done, o.Step)
			require.False(t, b.services.Holds(o.ReservationID))
			announced, lines = b.told(t, id)
			require.Equal(t, 1, announced)
			require.Equal(t, 1, lines)
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

// A bank that has promised a refund is taking its time, and nobody is alarmed.
func TestPromisedRefund(t *testing.T) {
	b := setup(t)
	id := b.bought(t)
	b.ask(t.Context(), t, id, refund.Refund{Whole: true})
	b.services.Next(sagatest.Refund, slices.Repeat([]sagatest.Fault{sagatest.Answered(map[string]any{"status": "PENDING"})}, 2*order.MaxTries)...)
	b.settleRefunds(t, id, b.sweeps)
	announced, lines := b.told(t, id)
	require.Zero(t, announced)
	require.Zero(t, lines)
	require.Equal(t, order.Refunded, b.order(t, id).Status)
}

package saga_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// newEvent creates an event with a ticket type. The orders that are placed afterwards are for it.
func (b *bundle) newEvent() {
	b.event = uuid.New()
	b.newType(5000)
}

func (b *bundle) cancelEvent(t *testing.T, message uuid.UUID) {
	t.Helper()
	require.NoError(t, b.store.EventCancelled(t.Context(), message, events.EventCancelled{
		EventID: b.event, CancellationReason: "Storm",
	}))
}

// requireRefundedOnce asserts that an order of a cancelled event was refunded exactly once and has no valid tickets.
func (b *bundle) requireRefundedOnce(t *testing.T, id uuid.UUID) {
	t.Helper()
	o := b.order(t, id)
	require.Equal(t, order.Refunded, o.Status)
	charged, refunded := b.services.Money(id)
	require.Equal(t, []money.Decimal{"100.00"}, charged)
	sum := money.Of(0, "USD")
	for _, r := range refunded {
		amount, err := r.In("USD")
		require.NoError(t, err)
		sum = sum.Plus(amount)
	}
	require.Equal(t, o.Total, sum)
	require.Empty(t, b.services.Tickets(id))
	refunds, err := b.store.RefundsOf(t.Context(), id, paging.Page{Limit: 100})
	require.NoError(t, err)
	whole := slices.DeleteFunc(refunds, func(r refund.Refund) bool { return !r.Whole })
	require.Len(t, whole, 1)
}

// settleEvent delivers messages and sweeps until the orders and their refunds are done.
func (b *bundle) settleEvent(t *testing.T, ids ...uuid.UUID) {
	t.Helper()
	for _, id := range ids {
		b.settle(t, id, b.sweep)
	}
	require.NoError(t, b.sweep(t.Context(), uuid.Nil))
	for _, id := range ids {
		b.settleRefunds(t, id, b.sweep)
	}
}

// When an event is cancelled, each of its orders that is or will be paid is refunded once, whatever its step.
func TestOrdersOfACancelledEventAreRefunded(t *testing.T) {
	b := setup(t)
	at := func(call sagatest.Call) func(t *testing.T) uuid.UUID {
		return func(t *testing.T) uuid.UUID { t.Helper(); return b.orderAt(t, call) }
	}
	for _, tt := range []struct {
		name   string
		order  func(t *testing.T) uuid.UUID
		status order.Status
	}{
		{"NotReserved", at(sagatest.Reserve), order.Failed},
		{"PaidLater", at(sagatest.Charge), order.Refunded},
		{"PaymentKnownLater", at(sagatest.Settle), order.Refunded},
		{"Declined", at(sagatest.Release), order.Failed},
		{"FulfilledLater", b.paid, order.Refunded},
		{"RefundAlreadyDue", at(sagatest.Refund), order.Refunded},
		{"Bought", b.bought, order.Refunded},
		{"PartlyRefunded", func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.bought(t)
			_, err := b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, kinds["Ticket"](b, id)))
			require.NoError(t, err)
			return id
		}, order.Refunded},
		{"BeingRefunded", func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.bought(t)
			b.request(t.Context(), t, id, kinds["Whole"](b, id))
			return id
		}, order.Refunded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newEvent()
			id := tt.order(t)
			other := b.event
			b.newEvent()
			untouched := b.bought(t)
			b.event = other
			message := uuid.New()
			b.cancelEvent(t, message)
			b.cancelEvent(t, message)    // delivered twice
			b.cancelEvent(t, uuid.New()) // published twice
			b.settleEvent(t, id)
			b.cancelEvent(t, uuid.New())
			b.settleEvent(t, id)
			require.Equal(t, tt.status, b.order(t, id).Status)
			if tt.status == order.Refunded {
				b.requireRefundedOnce(t, id)
			}
			require.Equal(t, order.Completed, b.order(t, untouched).Status, "the order of another event")
		})
	}
	t.Run("Free", func(t *testing.T) {
		b.event = uuid.New()
		b.newType(0)
		id := b.bought(t)
		b.cancelEvent(t, uuid.New())
		b.settleEvent(t, id)
		require.Equal(t, order.Refunded, b.order(t, id).Status)
		require.Empty(t, b.services.Tickets(id))
	})
	t.Run("ATicketWasUsed", func(t *testing.T) { // the event was cancelled while it went on
		b.newEvent()
		id := b.bought(t)
		b.services.UseTicket(b.services.TicketIDs(id)[0])
		b.cancelEvent(t, uuid.New())
		b.settleEvent(t, id)
		b.requireRefundedOnce(t, id)
		published, _ := b.outbox(t, id)
		require.NotContains(t, published, "COMPENSATION_FAILED")
	})
	// An organizer's refund claimed all that was left, so nothing was left to refund when the event was cancelled. Then
	// the refund failed, because ticket-service had not received the cancellation and refused the used tickets.
	for _, kind := range []string{"Whole", "Ticket"} {
		t.Run("EarlierRefundFails"+kind, func(t *testing.T) {
			b.newEvent()
			id := b.bought(t)
			refundID := b.request(t.Context(), t, id, kinds[kind](b, id))
			for _, ticket := range b.services.TicketIDs(id) {
				b.services.UseTicket(ticket)
			}
			b.cancelEvent(t, uuid.New())
			_, err := b.store.RefundCancelled(t.Context(), 10)
			require.NoError(t, err)
			r, err := b.saga.DriveRefund(t.Context(), refundID)
			require.NoError(t, err)
			require.Equal(t, refund.ErrTicketUsed.Code, r.Failure.Code)
			b.settleEvent(t, id)
			o := b.order(t, id)
			require.Equal(t, order.Refunded, o.Status)
			require.Equal(t, o.Total, o.Refunded)
			require.Empty(t, b.services.Tickets(id))
		})
	}
}

// The orders of a cancelled event are refunded in batches. A process that dies in or between batches, and concurrent
// sweepers, refund each order once.
func TestCancelledEventIsRefundedInBatches(t *testing.T) {
	b := setup(t)
	cancelled := func(t *testing.T) []uuid.UUID {
		t.Helper()
		b.newEvent()
		ids := make([]uuid.UUID, capacity/quantity)
		for i := range ids {
			ids[i] = b.bought(t)
		}
		b.cancelEvent(t, uuid.New())
		return ids
	}
	t.Run("OneByOne", func(t *testing.T) {
		ids := cancelled(t)
		for more := true; more; {
			var err error
			ctx, cancel := context.WithCancel(t.Context())
			more, err = b.store.RefundCancelled(ctx, 1)
			require.NoError(t, err)
			cancel()
			_, err = b.store.RefundCancelled(ctx, 1)
			require.ErrorIs(t, err, context.Canceled)
		}
		b.settleEvent(t, ids...)
		for _, id := range ids {
			b.requireRefundedOnce(t, id)
		}
	})
	t.Run("WhileStoring", func(t *testing.T) {
		ids := cancelled(t)
		for _, table := range []string{"refunds", "saga_events", "event_refunds"} {
			b.exec(t.Context(), t, `ALTER TABLE `+table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
			_, err := b.store.RefundCancelled(t.Context(), 2)
			b.exec(t.Context(), t, `ALTER TABLE `+table+` DROP CONSTRAINT broken`)
			require.Error(t, err)
		}
		for _, id := range ids {
			left, err := b.unfinished(t.Context(), id)
			require.NoError(t, err)
			require.Empty(t, left)
		}
		b.settleEvent(t, ids...)
		for _, id := range ids {
			b.requireRefundedOnce(t, id)
		}
	})
	t.Run("ManySweepers", func(t *testing.T) {
		ids := cancelled(t)
		errs := make([]error, 8)
		var sweepers sync.WaitGroup
		for i := range errs {
			sweepers.Go(func() { _, errs[i] = b.saga.Sweep(t.Context()) })
		}
		sweepers.Wait()
		require.NoError(t, errors.Join(errs...))
		b.settleEvent(t, ids...)
		for _, id := range ids {
			b.requireRefundedOnce(t, id)
		}
	})
	t.Run("WhileTicketsAreIssued", func(t *testing.T) {
		for range 4 {
			b.newEvent()
			id := b.paid(t)
			_, bodies := b.outbox(t, id)
			answer, err := b.services.Deliver(bodies[0])
			require.NoError(t, err)
			errs := make([]error, 3)
			var all sync.WaitGroup
			all.Go(func() { errs[0] = b.store.Fulfilled(t.Context(), answer.ID, *answer.Generated) })
			all.Go(func() {
				errs[1] = b.store.EventCancelled(t.Context(), uuid.New(), events.EventCancelled{EventID: b.event})
				_, errs[2] = b.store.RefundCancelled(t.Context(), 10)
			})
			all.Wait()
			require.NoError(t, errors.Join(errs...))
			b.settleEvent(t, id)
			b.requireRefundedOnce(t, id)
		}
	})
	for _, call := range []sagatest.Call{sagatest.Cancel, sagatest.Refund} {
		t.Run("DiesAt"+string(call), func(t *testing.T) {
			ids := cancelled(t)
			p := b.start(t)
			b.services.Next(call, p.before)
			if _, err := b.saga.Sweep(p.ctx); err != nil {
				require.NotErrorIs(t, err, saga.ErrUnsettled)
			}
			p.restart(t)
			b.services.Next(call, p.after)
			b.timeOut(t)
			if _, err := b.saga.Sweep(p.ctx); err != nil {
				require.NotErrorIs(t, err, saga.ErrUnsettled)
			}
			require.Zero(t, b.services.UnusedFaults(), "every point was reached")
			b.settleEvent(t, ids...)
			for _, id := range ids {
				b.requireRefundedOnce(t, id)
			}
		})
	}
}

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
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// newEvent makes the orders that follow be for another event.
func (b *bundle) newEvent() {
	b.event = uuid.New()
	b.newType(5000)
}

func (b *bundle) cancelEvent(t *testing.T, message uuid.UUID) {
	t.Helper()
	require.NoError(t, b.store.EventCancelled(t.Context(), message, events.EventCancelled{EventID: b.event, CancellationReason: "Storm"}))
}

// requireRefundedOnce asserts that an order of a cancelled event has all its money back, and no tickets.
func (b *bundle) requireRefundedOnce(t *testing.T, id uuid.UUID) {
	t.Helper()
	o := b.order(t, id)
	require.Equal(t, order.Refunded, o.Status)
	charged, refunded := b.services.Money(id)
	require.Equal(t, []money.Decimal{"100.00"}, charged)
	back := money.Of(0, "USD")
	for _, r := range refunded {
		amount, err := r.In("USD")
		require.NoError(t, err)
		back = back.Plus(amount)
	}
	require.Equal(t, o.Total, back)
	require.Empty(t, b.services.Tickets(id))
	refunds, err := b.store.RefundsOf(t.Context(), id, paging.Page{Limit: 100})
	require.NoError(t, err)
	whole := slices.DeleteFunc(refunds, func(r refund.Refund) bool { return !r.Whole })
	require.Len(t, whole, 1)
}

// settleEvent lets messages arrive and the sweeper go on until all is done.
func (b *bundle) settleEvent(t *testing.T, ids ...uuid.UUID) {
	t.Helper()
	for _, id := range ids {
		b.settle(t, id, b.sweeps)
	}
	require.NoError(t, b.sweeps(t.Context(), uuid.Nil))
	for _, id := range ids {
		b.settleRefunds(t, id, b.sweeps)
	}
}

// Wherever its orders stand when an event is cancelled, each that is paid is refunded once.
func TestEventCancelled(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name   string
		order  func(t *testing.T) uuid.UUID
		status order.Status
	}{
		{"NotReserved", func(t *testing.T) uuid.UUID { t.Helper(); return b.to(t, sagatest.Reserve) }, order.Failed},
		{"PaidLater", func(t *testing.T) uuid.UUID { t.Helper(); return b.to(t, sagatest.Charge) }, order.Refunded},
		{"PaymentKnownLater", func(t *testing.T) uuid.UUID { t.Helper(); return b.to(t, sagatest.Ask) }, order.Refunded},
		{"Declined", func(t *testing.T) uuid.UUID { t.Helper(); return b.to(t, sagatest.Release) }, order.Failed},
		{"FulfilledLater", b.paid, order.Refunded},
		{"RefundedAnyway", func(t *testing.T) uuid.UUID { t.Helper(); return b.to(t, sagatest.Refund) }, order.Refunded},
		{"Bought", b.bought, order.Refunded},
		{"PartlyRefunded", func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.bought(t)
			_, err := b.saga.DriveRefund(t.Context(), b.ask(t.Context(), t, id, kinds["Ticket"](b, id)))
			require.NoError(t, err)
			return id
		}, order.Refunded},
		{"BeingRefunded", func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.bought(t)
			b.ask(t.Context(), t, id, kinds["Whole"](b, id))
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
			b.cancelEvent(t, uuid.New()) // and said twice
			b.settleEvent(t, id)
			b.cancelEvent(t, uuid.New())
			b.settleEvent(t, id)
			require.Equal(t, tt.status, b.order(t, id).Status)
			if tt.status == order.Refunded {
				b.requireRefundedOnce(t, id)
			}
			require.Equal(t, order.Completed, b.order(t, untouched).Status, "of another event")
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
	t.Run("SomebodyIsIn", func(t *testing.T) { // of an event that broke off
		b.newEvent()
		id := b.bought(t)
		b.services.Use(b.services.TicketIDs(id)[0])
		b.cancelEvent(t, uuid.New())
		b.settleEvent(t, id)
		b.requireRefundedOnce(t, id)
		announced, _ := b.outbox(t, id)
		require.NotContains(t, announced, "COMPENSATION_FAILED")
	})
	// An organizer's refund took all that was left, so that there was nothing to refund with the event. Then it
	// failed, because ticket-service knew of the used ticket and not of the event's end.
	for kind, makeRefund := range map[string]func(b *bundle, id uuid.UUID) refund.Refund{"Whole": kinds["Whole"], "Ticket": kinds["Ticket"]} {
		t.Run("RefundFailsAfterwards"+kind, func(t *testing.T) {
			b.newEvent()
			id := b.bought(t)
			made := b.ask(t.Context(), t, id, makeRefund(b, id))
			for _, ticket := range b.services.TicketIDs(id) {
				b.services.Use(ticket)
			}
			b.cancelEvent(t, uuid.New())
			_, err := b.store.RefundCancelled(t.Context(), 10)
			require.NoError(t, err)
			r, err := b.saga.DriveRefund(t.Context(), made)
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

// The process dies in the middle of a batch, or between two, and the next one goes on where it was; many
// at once share the work. Each order is refunded once.
func TestEventCancelledInBatches(t *testing.T) {
	b := setup(t)
	many := func(t *testing.T) []uuid.UUID {
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
		ids := many(t)
		for more := true; more; {
			var err error
			ctx, die := context.WithCancel(t.Context())
			more, err = b.store.RefundCancelled(ctx, 1)
			require.NoError(t, err)
			die()
			_, err = b.store.RefundCancelled(ctx, 1)
			require.ErrorIs(t, err, context.Canceled)
		}
		b.settleEvent(t, ids...)
		for _, id := range ids {
			b.requireRefundedOnce(t, id)
		}
	})
	t.Run("WhileStoring", func(t *testing.T) {
		ids := many(t)
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
		ids := many(t)
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
			ids := many(t)
			p := b.start(t)
			b.services.Next(call, p.before)
			if _, err := b.saga.Sweep(p.ctx); err != nil {
				require.NotErrorIs(t, err, sidecar.ErrUnavailable)
			}
			p.restart(t)
			b.services.Next(call, p.after)
			b.timeOut(t)
			if _, err := b.saga.Sweep(p.ctx); err != nil {
				require.NotErrorIs(t, err, sidecar.ErrUnavailable)
			}
			require.Zero(t, b.services.Pending(), "the points were reached")
			b.settleEvent(t, ids...)
			for _, id := range ids {
				b.requireRefundedOnce(t, id)
			}
		})
	}
}

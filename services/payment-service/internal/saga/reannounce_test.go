package saga_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// paid returns an order at FULFIL whose events have not been delivered.
func (b *bundle) paid(t *testing.T) uuid.UUID {
	t.Helper()
	id := b.place(t, sagatest.GoodCard)
	o, err := b.saga.Drive(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, order.Fulfil, o.Step)
	return id
}

// wait makes every order at FULFIL ten minutes older and due.
func (b *bundle) wait(t *testing.T) {
	t.Helper()
	b.exec(t.Context(), t, `
		UPDATE orders SET completed_at = completed_at - interval '10 minutes',
		                  resume_at = now(), leased_until = '-infinity'
		WHERE step = 'FULFIL'`)
}

// overdue returns an order that was announced as often as an order is, while every message was lost.
func (b *bundle) overdue(t *testing.T) uuid.UUID {
	t.Helper()
	id := b.paid(t)
	for range order.Reannouncements {
		b.wait(t)
		require.NoError(t, b.sweep(t.Context(), id))
		require.Equal(t, order.Fulfil, b.order(t, id).Step)
	}
	b.wait(t)
	return id
}

// requireGivenUp asserts what must be true of an order that was refunded because ticket-service reported no outcome: it
// was charged and refunded once, has no valid tickets, and operations were alerted once.
func (b *bundle) requireGivenUp(t *testing.T, id uuid.UUID) {
	t.Helper()
	b.deliver(t, id) // the late messages
	o := b.order(t, id)
	require.Equal(t, order.Refunded, o.Status)
	require.Equal(t, order.Done, o.Step)
	require.Equal(t, order.CodeNotGenerated, o.Failure.Code)
	charged, refunded := b.services.Money(id)
	require.Equal(t, []money.Decimal{"100.00"}, charged)
	require.Equal(t, charged, refunded)
	require.Empty(t, b.services.Tickets(id))
	published, _ := b.outbox(t, id)
	require.Equal(t, append(slices.Repeat([]string{"PAYMENT_COMPLETED"}, 1+order.Reannouncements),
		"COMPENSATION_FAILED", "REFUND_PROCESSED"), published)
}

// If PAYMENT_COMPLETED or the event that answers it was lost, the next announcement leads to the tickets, once.
func TestReannouncementLeadsToTheTickets(t *testing.T) {
	b := setup(t)
	for name, arrived := range map[string]bool{"AnnouncementLost": false, "OutcomeLost": true} {
		t.Run(name, func(t *testing.T) {
			b.newType(5000)
			id := b.paid(t)
			if arrived {
				_, bodies := b.outbox(t, id)
				_, err := b.services.Deliver(bodies[0])
				require.NoError(t, err)
			}
			n, err := b.saga.Sweep(t.Context())
			require.NoError(t, err)
			require.Zero(t, n, "ticket-service has two minutes")
			b.wait(t)
			require.NoError(t, b.sweep(t.Context(), id))
			n, err = b.saga.Sweep(t.Context())
			require.NoError(t, err)
			require.Zero(t, n, "and six after that")

			b.deliver(t, id)
			o := b.order(t, id)
			require.Equal(t, order.Done, o.Step)
			require.Equal(t, order.Completed, o.Status)
			require.Equal(t, map[uuid.UUID]int{b.typeID: quantity}, b.services.Tickets(id))
			require.Equal(t, []string{
				"ORDER_CREATED COMPLETED", "TICKETS_RESERVED COMPLETED", "PAYMENT_STARTED PENDING",
				"PAYMENT_COMPLETED COMPLETED", "REANNOUNCED PENDING", "TICKETS_GENERATED COMPLETED",
			}, b.history(t, id))
			_, bodies := b.outbox(t, id)
			require.Len(t, bodies, 2)
			b.wait(t)
			n, err = b.saga.Sweep(t.Context())
			require.NoError(t, err)
			require.Zero(t, n)
		})
	}
}

// An order without an outcome is finally refunded if ticket-service refuses the tickets, and no late message gives it
// any.
func TestOrderWithoutTicketsIsRefunded(t *testing.T) {
	b := setup(t)
	t.Run("TheRequestIsInvalid", func(t *testing.T) {
		b.newType(5000)
		id := b.overdue(t)
		b.services.Next(sagatest.Confirm, sagatest.Refused(problem.Field("holderName", "holderName is too long")))
		require.NoError(t, b.sweep(t.Context(), id))
		b.settleRefunds(t, id, b.sweep)
		b.requireGivenUp(t, id)
	})
	t.Run("TicketServiceRefuses", func(t *testing.T) {
		b.newType(5000)
		id := b.overdue(t)
		b.services.ExpireAndSellOut(b.typeID)
		require.NoError(t, b.sweep(t.Context(), id))
		b.settleRefunds(t, id, b.sweep)
		b.requireGivenUp(t, id)
		require.Equal(t, []string{
			"PAYMENT_COMPLETED COMPLETED", "REANNOUNCED PENDING", "REANNOUNCED PENDING", "REANNOUNCED PENDING",
			"TICKETS_NOT_GENERATED FAILED", "REFUND_REQUESTED PENDING", "TICKETS_CANCELLED COMPENSATED",
			"PAYMENT_REFUNDED COMPENSATED",
		}, b.history(t, id)[3:])
	})
	// Only the queue of this service is lost: the tickets may have been issued, and mailed.
	for name, arrived := range map[string]bool{"AnnouncementsLost": false, "OutcomesLost": true} {
		t.Run(name, func(t *testing.T) {
			b.newType(5000)
			id := b.overdue(t)
			if arrived {
				_, bodies := b.outbox(t, id)
				_, err := b.services.Deliver(bodies[0])
				require.NoError(t, err)
			}
			b.services.Next(sagatest.Confirm, sagatest.CallLost)
			require.NoError(t, b.sweep(t.Context(), id))
			require.Equal(t, order.Fulfil, b.order(t, id).Step, "nothing is undone while ticket-service does not respond")
			b.wait(t)
			require.NoError(t, b.sweep(t.Context(), id))
			b.deliver(t, id)
			o := b.order(t, id)
			require.Equal(t, order.Completed, o.Status)
			require.Equal(t, order.Done, o.Step)
			charged, refunded := b.services.Money(id)
			require.Equal(t, []money.Decimal{"100.00"}, charged)
			require.Empty(t, refunded)
			require.Equal(t, map[uuid.UUID]int{b.typeID: quantity}, b.services.Tickets(id))
		})
	}
	t.Run("NotBeforeTheWindowHasPassed", func(t *testing.T) {
		b.newType(5000)
		id := b.paid(t)
		for range order.Reannouncements + 2 { // within the window, however often it is announced
			b.exec(t.Context(), t, `UPDATE orders SET resume_at = now() WHERE id = $1`, id)
			require.NoError(t, b.sweep(t.Context(), id))
			require.Equal(t, order.Fulfil, b.order(t, id).Step)
		}
		published, _ := b.outbox(t, id)
		require.Len(t, published, 1+order.Reannouncements, "a long outage does not lengthen the backlog any further")
	})
	t.Run("ATicketWasUsed", func(t *testing.T) {
		b.newType(5000)
		id := b.overdue(t)
		_, bodies := b.outbox(t, id)
		_, err := b.services.Deliver(bodies[0])
		require.NoError(t, err)
		b.services.UseTicket(b.services.TicketIDs(id)[0])
		require.NoError(t, b.sweep(t.Context(), id))
		b.settleRefunds(t, id, b.sweep)
		o := b.order(t, id)
		require.Equal(t, order.Completed, o.Status)
		require.Equal(t, order.Done, o.Step)
		require.Equal(t, quantity, b.services.Tickets(id)[b.typeID])
		r, err := b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, refund.Refund{Whole: true}))
		require.NoError(t, err)
		require.Equal(t, refund.ErrTicketUsed.Code, r.Failure.Code, "a used ticket is not refunded")
	})
}

// A reannouncement, and giving up, are committed whole or not at all.
func TestCrashDuringReannouncement(t *testing.T) {
	b := setup(t)
	for name, newOrder := range map[string]func(*testing.T) uuid.UUID{
		"Reannounced": func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.paid(t)
			b.wait(t)
			return id
		},
		"GivenUp": func(t *testing.T) uuid.UUID {
			t.Helper()
			id := b.overdue(t)
			b.services.ExpireAndSellOut(b.typeID)
			return id
		},
	} {
		for _, table := range []string{"saga_events", "outbox", "refunds"} {
			if name == "Reannounced" && table == "refunds" {
				continue
			}
			t.Run(name+"Without_"+table, func(t *testing.T) {
				b.newType(5000)
				id := newOrder(t)
				history := b.history(t, id)
				published, _ := b.outbox(t, id)
				b.exec(t.Context(), t, `ALTER TABLE `+table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
				require.NoError(t, b.sweep(t.Context(), id), "other sagas are not affected")
				b.exec(t.Context(), t, `ALTER TABLE `+table+` DROP CONSTRAINT broken`)
				require.Equal(t, history, b.history(t, id))
				after, _ := b.outbox(t, id)
				require.Equal(t, published, after)
				require.Equal(t, order.Fulfil, b.order(t, id).Step)

				b.wait(t)
				require.NoError(t, b.sweep(t.Context(), id))
				require.NotEqual(t, history, b.history(t, id))
			})
		}
	}
	for _, call := range []sagatest.Call{sagatest.Cancel, sagatest.Refund} {
		t.Run("RefundDiesAt"+string(call), func(t *testing.T) {
			b.newType(5000)
			id := b.overdue(t)
			b.services.ExpireAndSellOut(b.typeID)
			p := b.start(t)
			b.services.Next(call, p.before, p.after)
			_ = b.sweep(p.ctx, id)
			b.settleRefunds(t, id, func(context.Context, uuid.UUID) error {
				if p.ctx.Err() != nil {
					p.restart(t)
				}
				_ = b.sweep(p.ctx, id) // a process that dies reports no error
				return nil
			})
			require.Zero(t, b.services.UnusedFaults(), "every point was reached")
			b.requireGivenUp(t, id)
		})
	}
}

// Of concurrent sweepers, or a sweeper and the arriving outcome, only one has an effect.
func TestOneOfConcurrentReannouncementsHasAnEffect(t *testing.T) {
	b := setup(t)
	const sweepers = 8
	race := func(t *testing.T, id uuid.UUID, also func()) (gaveUp int) {
		t.Helper()
		o := b.order(t, id)
		errs, given := make([]error, sweepers), make([]bool, sweepers)
		var all sync.WaitGroup
		for i := range sweepers {
			all.Go(func() { given[i], errs[i] = b.store.Reannounce(t.Context(), o) })
		}
		all.Go(also)
		all.Wait()
		for i := range sweepers {
			require.NoError(t, errs[i])
			if given[i] {
				gaveUp++
			}
		}
		return gaveUp
	}
	alone := func() {}
	t.Run("Reannounced", func(t *testing.T) {
		id := b.paid(t)
		b.wait(t)
		require.Zero(t, race(t, id, alone))
		published, _ := b.outbox(t, id)
		require.Len(t, published, 2)
	})
	t.Run("GivenUp", func(t *testing.T) {
		id := b.overdue(t)
		require.Equal(t, 1, race(t, id, alone))
		b.settleRefunds(t, id, b.sweep)
		b.requireGivenUp(t, id)
	})
	t.Run("WhileTheOutcomeArrives", func(t *testing.T) {
		for range 4 {
			b.newType(5000)
			id := b.overdue(t)
			_, bodies := b.outbox(t, id)
			answer, err := b.services.Deliver(bodies[0])
			require.NoError(t, err)
			var late error
			gaveUp := race(t, id, func() { late = b.store.Fulfilled(t.Context(), answer.ID, *answer.Generated) })
			require.NoError(t, late)
			b.settleRefunds(t, id, b.sweep)
			if gaveUp == 1 {
				b.requireGivenUp(t, id)
				continue
			}
			require.Equal(t, order.Completed, b.order(t, id).Status)
			require.Equal(t, quantity, b.services.Tickets(id)[b.typeID])
		}
	})
}

// A buyer who repeats the request does not keep the sweeper from the order.
func TestOrderAtFulfilIsNotLeasedToItsBuyer(t *testing.T) {
	b := setup(t)
	id := b.paid(t)
	b.wait(t)
	leased, err := b.store.Lease(t.Context(), id)
	require.NoError(t, err)
	require.False(t, leased)
	if err := b.clientsRetry(t.Context(), id); err != nil {
		require.ErrorIs(t, err, saga.ErrUnsettled)
	}
	n, err := b.saga.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

package saga_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// refundAt requests a refund and drives it to the step that makes the call.
func (b *bundle) refundAt(t *testing.T, call sagatest.Call) (id, refundID uuid.UUID) {
	t.Helper()
	b.newType(5000)
	id = b.bought(t)
	refundID = b.request(t.Context(), t, id, refund.Refund{Whole: true})
	if call == sagatest.Refund {
		b.services.Next(sagatest.Refund, sagatest.CallLost)
		_, err := b.saga.DriveRefund(t.Context(), refundID)
		require.ErrorIs(t, err, saga.ErrUnsettled)
	}
	b.timeOut(t)
	return id, refundID
}

func TestOnlyOutcomesMoveARefund(t *testing.T) {
	b := setup(t)
	refused := func(kind problem.Kind, code string) sagatest.Fault {
		return sagatest.Refused(problem.New(kind, code, "Refused"))
	}
	for call, notDone := range map[sagatest.Call]sagatest.Fault{
		sagatest.Cancel: sagatest.Answered(calls.CancelTicketsAnswer{Cancelled: false}),
		sagatest.Refund: sagatest.Answered(calls.RefundAnswer{Status: calls.GatewayPending}),
	} {
		for name, fault := range map[string]sagatest.Fault{
			"CallLost":        sagatest.CallLost,
			"ResponseLost":    sagatest.ResponseLost,
			"Unauthenticated": refused(problem.Unauthenticated, "SERVICE_TOKEN_INVALID"),
			"Forbidden":       refused(problem.Forbidden, "SERVICE_FORBIDDEN"),
			"RouteNotFound":   refused(problem.NotFound, "NOT_FOUND"),
			"EmptyResponse":   sagatest.Answered(struct{}{}),
			"NotDone":         notDone,
		} {
			t.Run(string(call)+"/"+name, func(t *testing.T) {
				id, refundID := b.refundAt(t, call)
				before, history := b.refund(t, refundID), b.history(t, id)
				b.services.Next(call, fault)
				_, err := b.saga.DriveRefund(t.Context(), refundID)
				require.ErrorIs(t, err, saga.ErrUnsettled)
				require.Equal(t, problem.Unavailable, problem.KindOf(err))
				require.Equal(t, before, b.refund(t, refundID))
				require.Equal(t, history, b.history(t, id))
				b.settleRefunds(t, id, b.clientsRetry)
				require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
			})
		}
	}
}

// A process dies at every point of the refund saga, once and twice, and the sweeper or the organizer's retry resumes
// it.
func TestRefundCrashAtEveryPoint(t *testing.T) {
	b := setup(t)
	for kind, made := range map[string][]sagatest.Call{
		"Whole": {sagatest.Cancel, sagatest.Refund}, "Ticket": {sagatest.Cancel, sagatest.Refund},
		"Amount": {sagatest.Refund},
	} {
		for rescuer, resume := range map[string]func(context.Context, uuid.UUID) error{
			"Sweeper": b.sweep, "Organizer": b.clientsRetry,
		} {
			run := func(t *testing.T, plan map[sagatest.Call][]func(*process) sagatest.Fault) {
				t.Helper()
				b.newType(5000)
				p := b.start(t)
				id := b.bought(t)
				refundID := b.request(t.Context(), t, id, kinds[kind](b, id))
				for call, deaths := range plan {
					for _, death := range deaths {
						b.services.Next(call, death(p))
					}
				}
				_, _ = b.saga.DriveRefund(p.ctx, refundID)
				b.settleRefunds(t, id, func(context.Context, uuid.UUID) error {
					if p.ctx.Err() != nil {
						p.restart(t)
					}
					_ = resume(p.ctx, id) // a process that dies reports no error
					return nil
				})
				require.Zero(t, b.services.UnusedFaults(), "every point was reached")
				require.Equal(t, kind == "Whole", b.requireBooks(t, id).Status == order.Refunded)
				require.Equal(t, refund.Succeeded, b.refund(t, refundID).Status)
			}
			before := func(p *process) sagatest.Fault { return p.before }
			after := func(p *process) sagatest.Fault { return p.after }
			everyCall := map[sagatest.Call][]func(*process) sagatest.Fault{}
			for _, call := range made {
				everyCall[call] = []func(*process) sagatest.Fault{before, after}
				t.Run(kind+"/Before"+string(call)+"/"+rescuer, func(t *testing.T) {
					run(t, map[sagatest.Call][]func(*process) sagatest.Fault{call: {before}})
				})
				t.Run(kind+"/After"+string(call)+"/"+rescuer, func(t *testing.T) {
					run(t, map[sagatest.Call][]func(*process) sagatest.Fault{call: {after}})
				})
			}
			t.Run(kind+"/EveryCallTwice/"+rescuer, func(t *testing.T) { run(t, everyCall) })
		}
	}
}

func TestRefundCrashWhileStoringAnOutcome(t *testing.T) {
	b := setup(t)
	for name, tt := range map[string]struct {
		call  sagatest.Call
		table string
		fault sagatest.Fault
	}{
		"Cancelled":  {sagatest.Cancel, "saga_events", nil},
		"TicketUsed": {sagatest.Cancel, "saga_events", sagatest.Refused(refund.ErrTicketUsed)},
		"Refunded":   {sagatest.Refund, "outbox", nil},
		"Refused":    {sagatest.Refund, "saga_events", sagatest.Answered(calls.RefundAnswer{Status: calls.GatewayFailed})},
	} {
		t.Run(name, func(t *testing.T) {
			id, refundID := b.refundAt(t, tt.call)
			before, history, o := b.refund(t, refundID), b.history(t, id), b.order(t, id)
			if tt.fault != nil {
				b.services.Next(tt.call, tt.fault)
			}
			b.exec(t.Context(), t, `ALTER TABLE `+tt.table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
			_, err := b.saga.DriveRefund(t.Context(), refundID)
			b.exec(t.Context(), t, `ALTER TABLE `+tt.table+` DROP CONSTRAINT broken`)
			require.Error(t, err)
			require.NotErrorIs(t, err, saga.ErrUnsettled)
			after := b.order(t, id)
			after.ChargeAge = o.ChargeAge
			require.Equal(t, o, after)
			require.Equal(t, before, b.refund(t, refundID))
			require.Equal(t, history, b.history(t, id))
			b.settleRefunds(t, id, b.clientsRetry)
			require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
		})
	}
}

// Two drivers of one refund, each believing to hold the lease, refund once.
func TestTwoConcurrentDriversRefundOnce(t *testing.T) {
	b := setup(t)
	for _, call := range []sagatest.Call{sagatest.Cancel, sagatest.Refund} {
		t.Run(string(call), func(t *testing.T) {
			id, refundID := b.refundAt(t, call)
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			var arrived atomic.Int32
			both := make(chan struct{})
			meet := func(ctx context.Context, act func() (any, error)) (any, error) {
				if arrived.Add(1) == 2 {
					close(both)
				}
				select {
				case <-both:
					return act()
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			b.services.Next(call, meet, meet)
			var drivers sync.WaitGroup
			errs := make([]error, 2)
			for i := range errs {
				drivers.Go(func() { _, errs[i] = b.saga.DriveRefund(ctx, refundID) })
			}
			drivers.Wait()
			require.NoError(t, errors.Join(errs...))
			require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
		})
	}
}

// A driver's call takes so long that its lease expires, and the sweeper completes the refund.
func TestRefundDriverWhoseLeaseExpiredHasNoSecondEffect(t *testing.T) {
	b := setup(t)
	for _, call := range []sagatest.Call{sagatest.Cancel, sagatest.Refund} {
		for name, actFirst := range map[string]bool{"BeforeTheCall": false, "BeforeTheResponse": true} {
			t.Run(string(call)+"/"+name, func(t *testing.T) {
				id, refundID := b.refundAt(t, call)
				b.services.Next(call, func(_ context.Context, act func() (any, error)) (any, error) {
					if actFirst {
						_, _ = act()
					}
					b.timeOut(t)
					require.NoError(t, b.sweep(t.Context(), id))
					require.Equal(t, refund.Done, b.refund(t, refundID).Step)
					return act()
				})
				_, err := b.saga.DriveRefund(t.Context(), refundID)
				require.NoError(t, err)
				require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
			})
		}
	}
}

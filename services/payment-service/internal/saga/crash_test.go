package saga_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// process is a process of this service that can die: afterwards it makes no calls and stores nothing.
type process struct {
	b   *bundle
	ctx context.Context // in a struct, because it is the lifetime of the process
	die context.CancelFunc
}

func (b *bundle) start(t *testing.T) *process {
	t.Helper()
	p := &process{b: b}
	p.restart(t)
	return p
}

func (p *process) restart(t *testing.T) {
	t.Helper()
	p.ctx, p.die = context.WithCancel(t.Context())
	t.Cleanup(p.die)
}

// before is a Fault: the process dies when its step is committed and before its call is made.
func (p *process) before(context.Context, func() (any, error)) (any, error) {
	p.die()
	return nil, sidecar.ErrUnavailable.Because(context.Canceled)
}

// after is a Fault: the process dies when the callee has acted and before the outcome is committed.
func (p *process) after(_ context.Context, act func() (any, error)) (any, error) {
	answer, err := act()
	p.die()
	return answer, err
}

// A process dies at every point of the purchase saga, once and twice, and the sweeper or the buyer's retry resumes the
// saga. The promises hold in every case.
func TestCrashAtEveryPoint(t *testing.T) {
	b := setup(t)
	type rescuer struct {
		name   string
		resume func(context.Context, uuid.UUID) error
	}
	sweeper, buyer := rescuer{"Sweeper", b.sweep}, rescuer{"Buyer", b.clientsRetry}

	for _, tt := range []struct {
		name    string
		card    string
		first   map[sagatest.Call]sagatest.Fault // of the first driver, which does not die
		between func(t *testing.T)               // what happens after the first driver has stopped
		calls   []sagatest.Call                  // the calls at which a process dies
		status  order.Status
	}{
		{
			name: "Purchase", card: sagatest.GoodCard, status: order.Completed,
			calls: []sagatest.Call{sagatest.Reserve, sagatest.Charge},
		},
		{
			name: "Declined", card: sagatest.DeclinedCard, status: order.Failed,
			calls: []sagatest.Call{sagatest.Reserve, sagatest.Charge, sagatest.Release},
		},
		{
			name: "SoldOut", card: sagatest.GoodCard, status: order.Refunded, calls: []sagatest.Call{sagatest.Refund},
			between: func(*testing.T) { b.services.ExpireAndSellOut(b.typeID) },
		},
		{
			name: "ChargeSettled", card: sagatest.GoodCard, status: order.Completed,
			calls:   []sagatest.Call{sagatest.Settle},
			first:   map[sagatest.Call]sagatest.Fault{sagatest.Charge: sagatest.ResponseLost},
			between: func(t *testing.T) { t.Helper(); b.age(t, order.ChargeWindow) },
		},
		{
			name: "HoldExtended", card: sagatest.GoodCard, status: order.Completed,
			calls:   []sagatest.Call{sagatest.Extend, sagatest.Charge},
			first:   map[sagatest.Call]sagatest.Fault{sagatest.Charge: sagatest.CallLost},
			between: func(t *testing.T) { t.Helper(); b.age(t, 2*order.HoldExtendAfter) },
		},
		{
			name: "NotCharged", card: sagatest.GoodCard, status: order.Failed,
			calls:   []sagatest.Call{sagatest.Settle, sagatest.Release},
			first:   map[sagatest.Call]sagatest.Fault{sagatest.Charge: sagatest.CallLost},
			between: func(t *testing.T) { t.Helper(); b.age(t, order.ChargeWindow) },
		},
		{
			name: "ChargeSettledAndSoldOut", card: sagatest.GoodCard, status: order.Refunded,
			calls: []sagatest.Call{sagatest.Settle, sagatest.Refund},
			first: map[sagatest.Call]sagatest.Fault{sagatest.Charge: sagatest.ResponseLost},
			between: func(t *testing.T) {
				t.Helper()
				b.age(t, order.ChargeWindow)
				b.services.ExpireAndSellOut(b.typeID)
			},
		},
		{
			name: "Abandoned", card: sagatest.GoodCard, status: order.Failed, calls: []sagatest.Call{sagatest.Release},
			first: map[sagatest.Call]sagatest.Fault{sagatest.Reserve: sagatest.ResponseLost},
			between: func(t *testing.T) {
				t.Helper()
				b.services.Next(sagatest.Release, sagatest.CallLost)
				b.timeOut(t)
				require.NoError(t, b.sweep(t.Context(), uuid.Nil))
			},
		},
	} {
		// run runs the case with processes that die at the planned points.
		run := func(t *testing.T, rescuer rescuer, plan map[sagatest.Call][]func(*process) sagatest.Fault) order.Order {
			t.Helper()
			b.newType(5000)
			p := b.start(t)
			for call, fault := range tt.first {
				b.services.Next(call, fault)
			}
			id := b.place(t, tt.card)
			planned := func() {
				for call, deaths := range plan {
					for _, death := range deaths {
						b.services.Next(call, death(p))
					}
				}
			}
			if tt.between == nil {
				planned()
			}
			_, _ = p.b.saga.Drive(p.ctx, id)
			if tt.between != nil {
				tt.between(t)
				planned()
			}
			b.settle(t, id, func(context.Context, uuid.UUID) error {
				if p.ctx.Err() != nil {
					p.restart(t)
				}
				_ = rescuer.resume(p.ctx, id) // a process that dies reports no error
				return nil
			})
			return b.requirePromises(t, id)
		}

		before := func(p *process) sagatest.Fault { return p.before }
		after := func(p *process) sagatest.Fault { return p.after }
		for _, call := range tt.calls {
			for name, death := range map[string]func(*process) sagatest.Fault{"Before": before, "After": after} {
				for _, rescuer := range []rescuer{sweeper, buyer} {
					t.Run(tt.name+"/"+name+string(call)+"/"+rescuer.name, func(t *testing.T) {
						o := run(t, rescuer, map[sagatest.Call][]func(*process) sagatest.Fault{call: {death}})
						require.Zero(t, b.services.UnusedFaults(), "the point was not reached")
						if call == sagatest.Reserve && rescuer.name == sweeper.name {
							require.Equal(t, order.Failed, o.Status)
							require.Equal(t, order.CodeAbandoned, o.Failure.Code)
							return
						}
						require.Equal(t, tt.status, o.Status)
					})
				}
			}
		}
		for _, rescuer := range []rescuer{sweeper, buyer} {
			t.Run(tt.name+"/EveryCallTwice/"+rescuer.name, func(t *testing.T) {
				plan := map[sagatest.Call][]func(*process) sagatest.Fault{}
				for _, call := range tt.calls {
					plan[call] = []func(*process) sagatest.Fault{before, after}
				}
				run(t, rescuer, plan)
				b.services.UnusedFaults() // an order that is compensated at RESERVE does not reach the later calls
			})
		}
	}
}

// An outcome is committed whole or not at all. If that fails, the step is repeated.
func TestCrashWhileStoringAnOutcome(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name   string
		call   sagatest.Call
		table  string // of the last row of the transaction
		status order.Status
	}{
		{"Reserved", sagatest.Reserve, "saga_events", order.Completed},
		{"Paid", sagatest.Charge, "outbox", order.Completed},
		{"PaidAfterSettling", sagatest.Settle, "outbox", order.Completed},
		{"Released", sagatest.Release, "saga_events", order.Failed},
		{"Refunded", sagatest.Refund, "outbox", order.Refunded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			id := b.orderAt(t, tt.call)
			before, history := b.order(t, id), b.history(t, id)
			b.exec(t.Context(), t, `ALTER TABLE `+tt.table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
			err := b.drive(t.Context(), id)
			b.exec(t.Context(), t, `ALTER TABLE `+tt.table+` DROP CONSTRAINT broken`)
			require.Error(t, err)
			require.NotErrorIs(t, err, saga.ErrUnsettled)
			after := b.order(t, id)
			after.ChargeAge, after.Settling = before.ChargeAge, before.Settling
			require.Equal(t, before, after)
			require.Equal(t, history, b.history(t, id))

			b.settle(t, id, b.clientsRetry)
			require.Equal(t, tt.status, b.requirePromises(t, id).Status)
		})
	}
}

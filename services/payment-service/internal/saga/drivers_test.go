package saga_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// Two drivers of one saga, each believing to hold the lease, have no effect twice.
func TestTwoConcurrentDriversHaveEachEffectOnce(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		call   sagatest.Call
		status order.Status
	}{
		{sagatest.Reserve, order.Completed},
		{sagatest.Charge, order.Completed},
		{sagatest.Settle, order.Completed},
		{sagatest.Release, order.Failed},
		{sagatest.Refund, order.Refunded},
	} {
		t.Run(string(tt.call), func(t *testing.T) {
			b.newType(5000)
			id := b.orderAt(t, tt.call)
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
			b.services.Next(tt.call, meet, meet)

			var drivers sync.WaitGroup
			errs := make([]error, 2)
			for i := range errs {
				drivers.Go(func() { errs[i] = b.drive(ctx, id) })
			}
			drivers.Wait()
			require.NoError(t, errors.Join(errs...))
			b.deliver(t, id)
			require.Equal(t, tt.status, b.requirePromises(t, id).Status)
		})
	}
}

// A driver's call takes so long that its lease expires. The sweeper completes the saga before the call arrives, or
// before its response does.
func TestDriverWhoseLeaseExpiredHasNoSecondEffect(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		call   sagatest.Call
		status order.Status
	}{
		{sagatest.Reserve, order.Failed}, // compensated by the sweeper
		{sagatest.Charge, order.Completed},
		{sagatest.Settle, order.Completed},
		{sagatest.Release, order.Failed},
		{sagatest.Refund, order.Refunded},
	} {
		overtake := func(t *testing.T, id uuid.UUID) {
			t.Helper()
			b.timeOut(t)
			require.NoError(t, b.sweep(t.Context(), id))
			b.deliver(t, id)
			require.Equal(t, order.Done, b.order(t, id).Step)
		}
		for name, fault := range map[string]func(t *testing.T, id uuid.UUID) sagatest.Fault{
			"BeforeTheCall": func(t *testing.T, id uuid.UUID) sagatest.Fault {
				t.Helper()
				return func(_ context.Context, act func() (any, error)) (any, error) {
					overtake(t, id)
					return act()
				}
			},
			"BeforeTheResponse": func(t *testing.T, id uuid.UUID) sagatest.Fault {
				t.Helper()
				return func(_ context.Context, act func() (any, error)) (any, error) {
					answer, err := act()
					overtake(t, id)
					return answer, err
				}
			},
			"ResponseLost": func(t *testing.T, id uuid.UUID) sagatest.Fault {
				t.Helper()
				return func(ctx context.Context, act func() (any, error)) (any, error) {
					overtake(t, id)
					return sagatest.ResponseLost(ctx, act)
				}
			},
		} {
			t.Run(string(tt.call)+"/"+name, func(t *testing.T) {
				b.newType(5000)
				id := b.orderAt(t, tt.call)
				b.services.Next(tt.call, fault(t, id))
				if err := b.drive(t.Context(), id); err != nil {
					require.ErrorIs(t, err, saga.ErrUnsettled)
				}
				require.Equal(t, tt.status, b.requirePromises(t, id).Status)
			})
		}
	}
}

// One sweep resumes all due sagas, and one that fails does not delay the others.
func TestSweepResumesAllDueSagas(t *testing.T) {
	b := setup(t)
	const sagas = 5
	ids := make([]uuid.UUID, sagas)
	for i := range ids {
		ids[i] = b.orderAt(t, sagatest.Charge)
	}
	b.services.Next(sagatest.Charge, sagatest.CallLost)
	n, err := b.saga.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, sagas, n)
	paid := 0
	for _, id := range ids {
		if b.order(t, id).Status == order.Completed {
			paid++
		}
	}
	require.Equal(t, sagas-1, paid)

	n, err = b.saga.Sweep(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "the failed one backs off")
	for _, id := range ids {
		b.settle(t, id, b.sweep)
		require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
	}
}

// Replicas that sweep concurrently share the work. No call is made twice.
func TestConcurrentSweepsMakeEachCallOnce(t *testing.T) {
	b := setup(t)
	// Settle comes first, because it ages the charges of all orders.
	calls := []sagatest.Call{sagatest.Settle, sagatest.Charge, sagatest.Release, sagatest.Refund}
	const each = 4
	outcomes := map[sagatest.Call]order.Status{
		sagatest.Charge: order.Completed, sagatest.Settle: order.Completed,
		sagatest.Release: order.Failed, sagatest.Refund: order.Refunded,
	}
	ids := map[sagatest.Call][]uuid.UUID{}
	for _, call := range calls {
		for range each {
			b.newType(5000)
			ids[call] = append(ids[call], b.orderAt(t, call))
		}
	}
	made := map[sagatest.Call]*atomic.Int32{}
	for _, call := range calls {
		made[call] = &atomic.Int32{}
		for range 2 * each {
			b.services.Next(call, func(_ context.Context, act func() (any, error)) (any, error) {
				made[call].Add(1)
				return act()
			})
		}
	}
	b.timeOut(t)
	errs, taken := make([]error, 4), make([]int, 4)
	var replicas sync.WaitGroup
	for i := range errs {
		replicas.Go(func() { taken[i], errs[i] = b.saga.Sweep(t.Context()) })
	}
	replicas.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, each*len(calls), taken[0]+taken[1]+taken[2]+taken[3])
	for _, call := range calls {
		require.EqualValues(t, each, made[call].Load(), call)
		for _, id := range ids[call] {
			b.settle(t, id, b.sweep)
			require.Equal(t, outcomes[call], b.requirePromises(t, id).Status, call)
		}
	}
}

// A sweep with slow calls holds no leases except those of the sagas that it is driving.
func TestSlowSweepLeavesDueSagasToOthers(t *testing.T) {
	b := setup(t)
	const busy = 8
	ids := make([]uuid.UUID, busy+1)
	for i := range ids {
		b.newType(5000)
		ids[i] = b.orderAt(t, sagatest.Charge)
	}
	arrived, proceed := make(chan struct{}, busy), make(chan struct{})
	for range busy {
		b.services.Next(sagatest.Charge, func(ctx context.Context, act func() (any, error)) (any, error) {
			arrived <- struct{}{}
			select {
			case <-proceed:
				return act()
			case <-ctx.Done():
				return nil, sidecar.ErrUnavailable.Because(ctx.Err())
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	swept := make(chan error, 1)
	go func() { swept <- b.sweep(ctx, uuid.Nil) }()
	for range busy {
		select {
		case <-arrived:
		case <-ctx.Done():
			require.Fail(t, "the sweep drives fewer sagas concurrently than it should")
		}
	}
	n, err := b.saga.Sweep(t.Context()) // of another replica
	require.NoError(t, err)
	require.Equal(t, 1, n)
	close(proceed)
	require.NoError(t, <-swept)
	for _, id := range ids {
		require.Equal(t, order.Fulfil, b.order(t, id).Step)
	}
}

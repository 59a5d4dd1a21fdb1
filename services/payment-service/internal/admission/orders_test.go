package admission_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
)

func TestOrdersWaitInTurnAndAreRejectedBeyondTheLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := admission.NewOrderQueue(admission.Limits{Concurrency: 2, QueueSize: 3, MaxWait: time.Minute})
		type result struct {
			order int
			leave func()
			err   error
		}
		results := make(chan result, 10)
		enter := func(ctx context.Context, order int) {
			go func() {
				leave, err := queue.Enter(ctx)
				results <- result{order, leave, err}
			}()
			synctest.Wait()
		}
		next := func() result {
			synctest.Wait()
			select {
			case r := <-results:
				return r
			default:
				return result{order: -1}
			}
		}
		requireBusy := func(r result) {
			require.ErrorIs(t, r.err, admission.ErrBusy)
			require.Nil(t, r.leave)
		}

		for order := range 5 {
			enter(t.Context(), order)
		}
		first, second := next(), next()
		require.Equal(t, []int{0, 1}, []int{first.order, second.order})
		require.Equal(t, -1, next().order, "the others wait")
		enter(t.Context(), 5)
		requireBusy(next())

		second.leave()
		third := next()
		require.Equal(t, 2, third.order)
		require.NoError(t, third.err)
		ctx, cancel := context.WithCancel(t.Context())
		enter(ctx, 6)
		cancel()
		require.ErrorIs(t, next().err, context.Canceled)

		time.Sleep(time.Minute) // the maximum wait of the two that are queued
		synctest.Wait()
		requireBusy(next())
		requireBusy(next())
		first.leave()
		third.leave()
		for order := range 2 { // every place is free again
			enter(t.Context(), order)
			require.NoError(t, next().err)
		}
	})
}

func TestPacerSpacesCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		next := start
		pacer := admission.NewPacer(25*time.Millisecond,
			func(_ context.Context, n int, interval time.Duration) (time.Duration, error) {
				if now := time.Now(); next.Before(now) {
					next = now
				}
				wait := time.Until(next)
				next = next.Add(time.Duration(n) * interval)
				return wait, nil
			})
		for range 41 {
			require.NoError(t, pacer.Wait(t.Context()))
		}
		require.InDelta(t, time.Second, time.Since(start), float64(time.Millisecond))

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.Error(t, pacer.Wait(ctx), "the wait would outlast the context")
	})
}

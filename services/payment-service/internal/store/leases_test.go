package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

func TestLeaseIsGrantedOnce(t *testing.T) {
	b := setup(t)
	o := b.create(t)
	b.timeOut(t)
	const callers = 16
	leased, errs := make([]bool, callers), make([]error, callers)
	race(callers, func(i int) { leased[i], errs[i] = b.store.Lease(t.Context(), o.ID) })
	won := 0
	for i := range callers {
		require.NoError(t, errs[i])
		if leased[i] {
			won++
		}
	}
	require.Equal(t, 1, won)

	t.Run("UnknownOrder", func(t *testing.T) {
		leased, err := b.store.Lease(t.Context(), uuid.New())
		require.NoError(t, err)
		require.False(t, leased)
	})
	t.Run("LeasedOrderIsNotDue", func(t *testing.T) {
		ids, err := b.store.LeaseDue(t.Context(), 10)
		require.NoError(t, err)
		require.Empty(t, ids)
	})
	t.Run("LastsAMinute", func(t *testing.T) {
		var left time.Duration
		b.query(t, &left, `SELECT leased_until - now() FROM orders`)
		require.InDelta(t, time.Minute, left, float64(10*time.Second))
	})
}

// Concurrent sweepers lease each due saga once, and all of them.
func TestConcurrentSweepersShareTheDueSagas(t *testing.T) {
	b := setup(t)
	const orders, sweepers = 40, 8
	want := map[uuid.UUID]bool{}
	for range orders {
		want[b.create(t).ID] = true
	}
	b.timeOut(t)
	taken, errs := make([][]uuid.UUID, sweepers), make([]error, sweepers)
	race(sweepers, func(i int) { taken[i], errs[i] = b.store.LeaseDue(t.Context(), 7) })
	got := map[uuid.UUID]bool{}
	collect := func(ids []uuid.UUID) {
		require.LessOrEqual(t, len(ids), 7)
		for _, id := range ids {
			require.False(t, got[id], "leased twice")
			got[id] = true
		}
	}
	for i := range sweepers {
		require.NoError(t, errs[i])
		collect(taken[i])
	}
	for len(got) < orders { // those that every sweeper skipped because another had locked them
		ids, err := b.store.LeaseDue(t.Context(), 7)
		require.NoError(t, err)
		require.NotEmpty(t, ids)
		collect(ids)
	}
	require.Equal(t, want, got)
}

func TestLeaseDueSkipsALockedOrder(t *testing.T) {
	b := setup(t)
	busy, free := b.create(t), b.create(t)
	b.timeOut(t)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
	_, err = tx.Exec(t.Context(), `SELECT FROM orders WHERE id = $1 FOR UPDATE`, busy.ID)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	ids, err := b.store.LeaseDue(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{free.ID}, ids)
}

func TestLeaseDueFindsUnfinishedOrders(t *testing.T) {
	b := setup(t)
	due := func(t *testing.T) []uuid.UUID {
		t.Helper()
		ids, err := b.store.LeaseDue(t.Context(), 100)
		require.NoError(t, err)
		return ids
	}
	for step, path := range paths {
		t.Run(string(step), func(t *testing.T) {
			o := b.move(t, b.create(t), path...)
			require.Empty(t, due(t), "a driver holds the lease, or none is needed")
			b.exec(t, `UPDATE orders SET leased_until = now() - interval '1 second' WHERE id = $1`, o.ID)
			switch step {
			case order.Done, order.Fulfil, order.Refund:
				require.Empty(t, due(t))
			case order.Reserve, order.Charge, order.Release:
				require.Equal(t, []uuid.UUID{o.ID}, due(t))
			}
			b.exec(t, `
				UPDATE orders SET leased_until = now() - interval '1 second', resume_at = now() + interval '1 minute'
				WHERE id = $1`, o.ID)
			require.Empty(t, due(t), "it is not due yet")
		})
	}
}

// The wait doubles up to a limit that grows with the order's age. A RESERVE is left to the buyer for a minute.
func TestBackOffDoublesUpToALimit(t *testing.T) {
	b := setup(t)
	wait := func(t *testing.T, id uuid.UUID) time.Duration {
		t.Helper()
		_, err := b.store.BackOff(t.Context(), b.order(t, id))
		require.NoError(t, err)
		var wait time.Duration
		b.query(t, &wait, `SELECT resume_at - now() FROM orders WHERE id = $1`, id)
		leased, err := b.store.Lease(t.Context(), id)
		require.NoError(t, err)
		require.True(t, leased, "BackOff ends the lease")
		return wait
	}
	about := func(t *testing.T, want, got time.Duration) {
		t.Helper()
		require.InDelta(t, want, got, float64(2*time.Second))
	}
	for _, step := range []order.Step{order.Charge, order.Release} {
		t.Run(string(step), func(t *testing.T) {
			o := b.move(t, b.create(t), paths[step]...)
			for _, seconds := range []int{5, 10, 20, 30, 30, 30} {
				about(t, time.Duration(seconds)*time.Second, wait(t, o.ID))
			}
			b.exec(t, `UPDATE orders SET tries = 1000000 WHERE id = $1`, o.ID)
			about(t, 30*time.Second, wait(t, o.ID))
			b.exec(t, `UPDATE orders SET created_at = created_at - interval '20 minutes' WHERE id = $1`, o.ID)
			about(t, 2*time.Minute, wait(t, o.ID))
			b.exec(t, `UPDATE orders SET created_at = created_at - interval '1 day' WHERE id = $1`, o.ID)
			about(t, 5*time.Minute, wait(t, o.ID))
			b.exec(t, `UPDATE orders SET tries = 0 WHERE id = $1`, o.ID)
			about(t, 5*time.Second, wait(t, o.ID))
		})
	}
	t.Run("RESERVE", func(t *testing.T) {
		o := b.create(t)
		for range 3 {
			about(t, time.Minute, wait(t, o.ID))
		}
		b.move(t, o, "Reserved")
		about(t, 5*time.Second, wait(t, o.ID)) // the next step begins with the shortest wait
	})
}

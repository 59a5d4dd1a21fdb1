package inbox_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
)

func TestFirstTxIsTrueOnce(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	id := uuid.New()
	var mu sync.Mutex
	effects := 0
	var deliveries errgroup.Group
	for range 20 {
		deliveries.Go(func() error {
			return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				first, err := inbox.FirstTx(t.Context(), tx, id, "SEAT_SOLD")
				if first {
					mu.Lock()
					effects++
					mu.Unlock()
				}
				return err
			})
		})
	}
	require.NoError(t, deliveries.Wait())
	require.Equal(t, 1, effects)
}

func TestFirstTxIsTrueAgainAfterRollback(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	id := uuid.New()
	errEffect := errors.New("effect failed")
	for _, want := range []error{errEffect, nil} {
		require.ErrorIs(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			first, err := inbox.FirstTx(t.Context(), tx, id, "SEAT_SOLD")
			require.NoError(t, err)
			require.True(t, first)
			return want
		}), want)
	}
}

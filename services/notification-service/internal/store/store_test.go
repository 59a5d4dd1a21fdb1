package store_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

func setup(t *testing.T) (store.Store, notification.Notification) {
	t.Helper()
	t.Parallel()
	return store.Store{Pool: postgrestest.New(t, store.Migrations())}, notification.Notification{
		MessageID: uuid.New(), UserID: uuid.New(), OrderID: uuid.New(), Kind: notification.OrderConfirmation,
	}
}

func TestBegin(t *testing.T) {
	s, n := setup(t)
	first, err := s.Begin(t.Context(), n)
	require.NoError(t, err)
	require.Equal(t, notification.Pending, first.Status)
	require.Equal(t, 1, first.Attempts)

	again, err := s.Begin(t.Context(), n)
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	require.Equal(t, 2, again.Attempts)

	n.UserID = uuid.New()
	another, err := s.Begin(t.Context(), n)
	require.NoError(t, err)
	require.NotEqual(t, first.ID, another.ID, "another person is told the same fact apart")
}

func TestBeginAtOnce(t *testing.T) {
	s, n := setup(t)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			_, err := s.Begin(t.Context(), n)
			return err
		})
	}
	require.NoError(t, g.Wait())
	n, err := s.Begin(t.Context(), n)
	require.NoError(t, err)
	require.Equal(t, 9, n.Attempts)
}

func TestSettle(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status notification.Status
		code   string
	}{
		{"Sent", notification.Sent, ""},
		{"Failed", notification.Failed, "EMAIL_REJECTED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, n := setup(t)
			n, err := s.Begin(t.Context(), n)
			require.NoError(t, err)
			n.Status, n.ErrorCode = tt.status, tt.code
			require.NoError(t, s.Settle(t.Context(), n))

			again, err := s.Begin(t.Context(), n)
			require.NoError(t, err)
			require.Equal(t, n, again, "nothing more is attempted or counted")
			again.Status = notification.Pending
			require.ErrorIs(t, s.Settle(t.Context(), again), store.ErrSettled)
		})
	}
}

func TestSettleAsStillPending(t *testing.T) {
	s, n := setup(t)
	n.OrderID = uuid.Nil
	n, err := s.Begin(t.Context(), n)
	require.NoError(t, err)
	n.ErrorCode = "SERVICE_UNAVAILABLE"
	require.NoError(t, s.Settle(t.Context(), n))
	again, err := s.Begin(t.Context(), n)
	require.NoError(t, err)
	require.Equal(t, 2, again.Attempts)
	require.Equal(t, "SERVICE_UNAVAILABLE", again.ErrorCode)
}

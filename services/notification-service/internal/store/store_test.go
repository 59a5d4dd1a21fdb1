package store_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

func setup(t *testing.T) (store.Store, notification.Notification) {
	t.Helper()
	t.Parallel()
	return store.Store{Pool: postgrestest.New(t, store.Migrations())}, notification.Notification{
		MessageID: uuid.New(), EventID: uuid.New(), UserID: uuid.New(), OrderID: uuid.New(),
		Kind: notification.OrderConfirmation, Facts: json.RawMessage(`{"totalAmount": 150.00}`),
	}
}

// tell makes an attempt at n that ends in err.
func tell(t *testing.T, s store.Store, n notification.Notification, err error) notification.Notification {
	t.Helper()
	n, beginErr := s.Begin(t.Context(), n)
	require.NoError(t, beginErr)
	n = n.After(err)
	require.NoError(t, s.Settle(t.Context(), n))
	return n
}

// due gives what is due, whatever attempt came before.
func due(t *testing.T, s store.Store) []notification.Notification {
	t.Helper()
	_, err := s.Pool.Exec(t.Context(), `UPDATE notifications SET due_at = now() WHERE due_at IS NOT NULL`)
	require.NoError(t, err)
	found, err := s.Due(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	return found
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

func TestQueue(t *testing.T) {
	s, n := setup(t)
	for range 2 {
		require.NoError(t, s.Queue(t.Context(), n))
	}
	found := due(t, s)
	require.Len(t, found, 1)
	queued := found[0]
	require.JSONEq(t, string(n.Facts), string(queued.Facts))
	n.ID, n.Facts, n.Queued, n.Status = queued.ID, queued.Facts, true, notification.Pending
	require.Equal(t, n, queued)

	none, err := s.Due(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Empty(t, none, "it is leased")
	tell(t, s, queued, nil)
	require.NoError(t, s.Queue(t.Context(), n))
	require.Empty(t, due(t, s), "it is told")
}

// Each page of an announcement is queued once, and each person is in it once, whoever else is at it.
func TestQueuePage(t *testing.T) {
	s, n := setup(t)
	a := notification.Announcement{ID: uuid.New(), About: uuid.New(), Kind: notification.EventPostponed, Facts: n.Facts}
	for range 2 {
		require.NoError(t, s.Announce(t.Context(), a))
	}
	first, found, err := s.DueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, a.ID, first.ID)
	_, found, err = s.DueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.False(t, found, "it is leased")

	ann, bob := uuid.New(), uuid.New()
	page := []notification.Holder{{UserID: ann, OrderID: uuid.New()}, {UserID: ann, OrderID: uuid.New()}}
	require.NoError(t, s.QueuePage(t.Context(), first, page, "p2"))
	late := []notification.Holder{{UserID: bob, OrderID: uuid.New()}}
	require.NoError(t, s.QueuePage(t.Context(), first, late, ""), "whose lease has ended meanwhile")
	require.Len(t, due(t, s), 1)

	second, found, err := s.DueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "p2", second.Cursor)
	require.NoError(t, s.QueuePage(t.Context(), second, append(late, page...), ""))
	require.Len(t, due(t, s), 2)

	require.NoError(t, s.Announce(t.Context(), a))
	_, found, err = s.DueAnnouncement(t.Context(), 0)
	require.NoError(t, err)
	require.False(t, found, "it is finished")
}

// What is attempted in vain waits longer each time, and never so long that it is forgotten.
func TestDueLater(t *testing.T) {
	s, n := setup(t)
	require.NoError(t, s.Queue(t.Context(), n))
	for _, minutes := range []float64{1, 2, 4, 8, 16, 32, 32} {
		found := due(t, s)
		require.Len(t, found, 1)
		var wait float64
		require.NoError(t, s.Pool.QueryRow(t.Context(), `SELECT extract(epoch FROM due_at - now()) / 60 FROM notifications`).Scan(&wait))
		require.InDelta(t, minutes, wait, 0.5)
		tell(t, s, found[0], problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "Down"))
	}
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

func TestList(t *testing.T) {
	s, n := setup(t)
	n.Kind = notification.RefundProcessed // an order may have several
	var told []uuid.UUID                  // the latest first
	for i := range 5 {
		n.MessageID = uuid.New()
		n.OrderID = uuid.Nil
		if i == 4 {
			n.OrderID = uuid.New()
		}
		told = slices.Insert(told, 0, tell(t, s, n, nil).ID)
	}
	n.MessageID = uuid.New()
	pending, err := s.Begin(t.Context(), n)
	require.NoError(t, err)
	told = slices.Insert(told, 0, pending.ID)
	another := n
	another.UserID = uuid.New()
	tell(t, s, another, nil)

	var listed []notification.Summary
	page := web.Page{Limit: 4}
	for range 2 {
		found, err := s.List(t.Context(), n.UserID, page)
		require.NoError(t, err)
		require.LessOrEqual(t, len(found), 5, "a page and whether there is another")
		listed = append(listed, found[:min(4, len(found))]...)
		last := listed[len(listed)-1]
		page.After, page.AfterID = &last.CreatedAt, last.ID
	}
	for i, summary := range listed {
		require.Equal(t, told[i], summary.ID)
	}
	require.Len(t, listed, len(told))
	require.Equal(t, notification.Pending, listed[0].Status)
	require.Nil(t, listed[0].SentAt)
	require.Equal(t, notification.Sent, listed[1].Status)
	require.NotNil(t, listed[1].SentAt)
	require.Equal(t, n.OrderID, *listed[1].OrderID)
	require.Nil(t, listed[2].OrderID)
}

func TestResend(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"Sent", nil},
		{"Failed", notification.ErrRejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, n := setup(t)
			n = tell(t, s, n, tt.err)
			require.NoError(t, s.Resend(t.Context(), n.UserID, n.ID))

			found := due(t, s)
			require.Len(t, found, 1)
			again := found[0]
			require.NotEqual(t, n.ID, again.ID)
			require.NotEqual(t, n.MessageID, again.MessageID)
			require.True(t, again.Resend)
			require.JSONEq(t, string(n.Facts), string(again.Facts))
			n.ID, n.MessageID, n.Facts, n.Resend, n.Queued = again.ID, again.MessageID, again.Facts, true, true
			n.Status, n.Attempts, n.ErrorCode = notification.Pending, 0, ""
			require.Equal(t, n, again, "of the same facts")

			none, err := s.Due(t.Context(), 10, time.Minute)
			require.NoError(t, err)
			require.Empty(t, none, "it is leased")
			again, err = s.Begin(t.Context(), again)
			require.NoError(t, err)
			require.Equal(t, 1, again.Attempts)
			require.NoError(t, s.Settle(t.Context(), again.After(nil)))
			require.Empty(t, due(t, s), "it is sent")
		})
	}
}

func TestResendThatIsNone(t *testing.T) {
	s, n := setup(t)
	n, err := s.Begin(t.Context(), n)
	require.NoError(t, err)
	require.ErrorIs(t, s.Resend(t.Context(), n.UserID, n.ID), notification.ErrNotResendable, "not sent yet")
	require.NoError(t, s.Settle(t.Context(), n.After(nil)))
	require.ErrorIs(t, s.Resend(t.Context(), uuid.New(), n.ID), notification.ErrNotFound, "somebody else's")
	require.ErrorIs(t, s.Resend(t.Context(), n.UserID, uuid.New()), notification.ErrNotFound)
	_, err = s.Get(t.Context(), uuid.New(), n.ID)
	require.ErrorIs(t, err, notification.ErrNotFound)

	_, err = s.Pool.Exec(t.Context(), `UPDATE notifications SET facts = NULL`)
	require.NoError(t, err)
	require.ErrorIs(t, s.Resend(t.Context(), n.UserID, n.ID), notification.ErrNotResendable, "from before facts were kept")
	require.Empty(t, due(t, s))
}

func TestResendAtOnce(t *testing.T) {
	s, n := setup(t)
	n = tell(t, s, n, nil)
	var g errgroup.Group
	for range 12 {
		g.Go(func() error { return s.Resend(t.Context(), n.UserID, n.ID) })
	}
	require.NoError(t, g.Wait())
	require.Len(t, due(t, s), 1)
}

// However it is asked for: a resend of a resend is one of the first.
func TestResendTooOften(t *testing.T) {
	s, n := setup(t)
	n = tell(t, s, n, nil)
	asked := n.ID
	for range notification.MaxResends {
		require.NoError(t, s.Resend(t.Context(), n.UserID, asked))
		found := due(t, s)
		require.Len(t, found, 1)
		require.NoError(t, s.Resend(t.Context(), n.UserID, found[0].ID), "while it is under way")
		asked = tell(t, s, found[0], notification.ErrRejected).ID
	}
	for _, id := range []uuid.UUID{n.ID, asked} {
		require.ErrorIs(t, s.Resend(t.Context(), n.UserID, id), notification.ErrTooManyResends)
	}
	require.Empty(t, due(t, s))
}

func TestDueAtOnce(t *testing.T) {
	s, n := setup(t)
	const resends = 20
	for range resends {
		n.MessageID, n.OrderID = uuid.New(), uuid.New()
		told := tell(t, s, n, nil)
		require.NoError(t, s.Resend(t.Context(), told.UserID, told.ID))
	}
	found := make(chan uuid.UUID, 2*resends)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for {
				leased, err := s.Due(t.Context(), 3, time.Minute)
				if err != nil || len(leased) == 0 {
					return err
				}
				for _, n := range leased {
					found <- n.ID
				}
			}
		})
	}
	require.NoError(t, g.Wait())
	close(found)
	seen := map[uuid.UUID]bool{}
	for id := range found {
		require.False(t, seen[id], "each has one worker")
		seen[id] = true
	}
	require.Len(t, seen, resends)
}

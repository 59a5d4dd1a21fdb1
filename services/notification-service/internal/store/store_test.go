package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

func setup(t *testing.T) (store.Store, notification.Notification) {
	t.Helper()
	t.Parallel()
	eventID := uuid.New()
	return store.Store{Pool: postgrestest.New(t, messaging.Migrations(), store.Migrations())}, notification.Notification{
		MessageID: eventID, EventID: eventID, UserID: uuid.New(), OrderID: uuid.New(),
		Kind: notification.OrderConfirmation, Facts: json.RawMessage(`{"totalAmount": 150.00}`),
	}
}

var (
	errDown    = problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "Down")
	errRefused = fmt.Errorf("%w: %w", notification.ErrRefused, problem.New(problem.Unprocessable, "EMAIL_REJECTED", "No such mailbox"))
)

// traced is what an event came with.
var traced = telemetry.Trace{CorrelationID: "corr-1", Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

// begin gives all that is pending, whatever attempt came before.
func begin(t *testing.T, s store.Store) []notification.Notification {
	t.Helper()
	_, err := s.Pool.Exec(t.Context(), `UPDATE notifications SET due_at = now()`)
	require.NoError(t, err)
	var begun []notification.Notification
	for {
		n, found, err := s.Begin(t.Context(), time.Minute)
		require.NoError(t, err)
		if !found {
			return begun
		}
		begun = append(begun, n)
	}
}

// told writes n down as of an event of its own, and makes an attempt that ends in err.
func told(t *testing.T, s store.Store, n notification.Notification, err error) notification.Notification {
	t.Helper()
	n.MessageID = uuid.New()
	require.NoError(t, s.Tell(t.Context(), n.MessageID, "TEST", n))
	begun := begin(t, s)
	require.Len(t, begun, 1)
	n = begun[0].After(err)
	require.NoError(t, s.Settle(t.Context(), n))
	return n
}

func TestTell(t *testing.T) {
	s, n := setup(t)
	another := n
	another.UserID = uuid.New()
	for range 2 {
		require.NoError(t, s.Tell(telemetry.With(t.Context(), traced), n.EventID, "TICKETS_GENERATED", n))
	}
	require.NoError(t, s.Tell(t.Context(), n.EventID, "TICKETS_GENERATED", another), "the event was heard")
	begun, found, err := s.Begin(t.Context(), time.Minute)
	require.NoError(t, err)
	require.True(t, found, "it is due at once")
	require.JSONEq(t, string(n.Facts), string(begun.Facts))
	n.ID, n.Facts, n.Status, n.Attempts, n.Trace = begun.ID, begun.Facts, notification.Pending, 1, traced
	require.Equal(t, n, begun)
	_, found, err = s.Begin(t.Context(), time.Minute)
	require.NoError(t, err)
	require.False(t, found, "it is leased, and the only one")

	n.MessageID, n.EventID = uuid.New(), uuid.New()
	require.NoError(t, s.Tell(t.Context(), n.EventID, "TICKETS_GENERATED", n))
	n.Kind, n.MessageID = notification.EventCancelled, begun.MessageID
	require.NoError(t, s.Tell(t.Context(), uuid.New(), "TICKET_CANCELLED", n))
	require.Len(t, begin(t, s), 1, "their order is confirmed, and they have this message")
}

func TestTellEverybodyOrNobody(t *testing.T) {
	s, n := setup(t)
	another := n
	another.Kind, another.UserID = "NONSENSE", uuid.New()
	require.Error(t, s.Tell(t.Context(), n.EventID, "TEST", n, another))
	require.Empty(t, begin(t, s))
	another.Kind = notification.TicketReceived
	require.NoError(t, s.Tell(t.Context(), n.EventID, "TEST", n, another), "the event was not heard")
	require.Len(t, begin(t, s), 2)
}

// Each page of an announcement is queued once, and each person is in it once, whoever else is at it.
func TestQueuePage(t *testing.T) {
	s, n := setup(t)
	a := notification.Announcement{ID: uuid.New(), About: uuid.New(), Kind: notification.EventPostponed, Facts: n.Facts}
	for range 2 {
		require.NoError(t, s.Announce(telemetry.With(t.Context(), traced), "EVENT_UPDATED", a))
	}
	first, found, err := s.DueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, a.ID, first.ID)
	require.Equal(t, traced, first.Trace)
	_, found, err = s.DueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.False(t, found, "it is leased")

	ann, bob := uuid.New(), uuid.New()
	page := []notification.Holder{{UserID: ann, OrderID: uuid.New()}, {UserID: ann, OrderID: uuid.New()}}
	require.NoError(t, s.QueuePage(t.Context(), first, page, "p2"))
	late := []notification.Holder{{UserID: bob, OrderID: uuid.New()}}
	require.NoError(t, s.QueuePage(t.Context(), first, late, ""), "whose lease has ended meanwhile")
	require.Len(t, begin(t, s), 1)

	second, found, err := s.DueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "p2", second.Cursor)
	require.NoError(t, s.QueuePage(t.Context(), second, append(late, page...), ""))
	require.Len(t, begin(t, s), 2)

	require.NoError(t, s.Announce(t.Context(), "EVENT_UPDATED", a))
	_, found, err = s.DueAnnouncement(t.Context(), 0)
	require.NoError(t, err)
	require.False(t, found, "it is finished")
}

// What is attempted in vain waits longer each time, and is not forgotten.
func TestSettleAsStillPending(t *testing.T) {
	s, n := setup(t)
	require.NoError(t, s.Tell(t.Context(), n.EventID, "TEST", n))
	for attempt := 1; attempt <= 12; attempt++ {
		begun := begin(t, s)
		require.Len(t, begun, 1)
		require.Equal(t, attempt, begun[0].Attempts)
		require.NoError(t, s.Settle(t.Context(), begun[0].After(errDown)))
		var code string
		var wait time.Duration
		require.NoError(t, s.Pool.QueryRow(t.Context(), `SELECT error_code, due_at - now() FROM notifications`).Scan(&code, &wait))
		require.Equal(t, "SERVICE_UNAVAILABLE", code)
		require.InDelta(t, begun[0].Pause(), wait, float64(time.Second))
	}
}

func TestSettle(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		status string
		code   string
	}{
		{"Sent", nil, "SENT", ""},
		{"Failed", errRefused, "FAILED", "EMAIL_REJECTED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, n := setup(t)
			n = told(t, s, n, tt.err)
			require.Empty(t, begin(t, s), "nothing more is attempted")
			require.NoError(t, s.Settle(t.Context(), n.After(errDown)))
			var status, code string
			require.NoError(t, s.Pool.QueryRow(t.Context(), `SELECT status, coalesce(error_code, '') FROM notifications`).Scan(&status, &code))
			require.Equal(t, tt.status, status)
			require.Equal(t, tt.code, code)
		})
	}
}

// An attempt that outlasted its lease says nothing of the next one, unless the mail is out.
func TestSettleTooLate(t *testing.T) {
	s, n := setup(t)
	require.NoError(t, s.Tell(t.Context(), n.EventID, "TEST", n))
	late, next := begin(t, s)[0], begin(t, s)[0]
	require.NoError(t, s.Settle(t.Context(), late.After(errRefused)))
	require.NoError(t, s.Settle(t.Context(), late.After(errDown)))
	var wait time.Duration
	require.NoError(t, s.Pool.QueryRow(t.Context(), `SELECT due_at - now() FROM notifications WHERE status = 'PENDING'`).Scan(&wait))
	require.Greater(t, wait, 30*time.Second, "it is still leased to the next one")
	require.NoError(t, s.Settle(t.Context(), late.After(nil)))
	require.NoError(t, s.Settle(t.Context(), next.After(errRefused)))
	var status string
	require.NoError(t, s.Pool.QueryRow(t.Context(), `SELECT status FROM notifications`).Scan(&status))
	require.Equal(t, "SENT", status)
}

func TestList(t *testing.T) {
	s, n := setup(t)
	n.Kind = notification.RefundProcessed // an order may have several
	var ids []uuid.UUID                   // the latest first
	for i := range 5 {
		n.OrderID = uuid.Nil
		if i == 4 {
			n.OrderID = uuid.New()
		}
		ids = slices.Insert(ids, 0, told(t, s, n, nil).ID)
	}
	another := n
	another.UserID = uuid.New()
	told(t, s, another, nil)
	ids = slices.Insert(ids, 0, told(t, s, n, errDown).ID)

	var listed []notification.Summary
	page := paging.Page{Limit: 4}
	for range 2 {
		found, err := s.List(t.Context(), n.UserID, page)
		require.NoError(t, err)
		require.LessOrEqual(t, len(found), 5, "a page and whether there is another")
		listed = append(listed, found[:min(4, len(found))]...)
		last := listed[len(listed)-1]
		page.After, page.AfterID = &last.CreatedAt, last.ID
	}
	for i, summary := range listed {
		require.Equal(t, ids[i], summary.ID)
	}
	require.Len(t, listed, len(ids))
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
		{"Failed", errRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, n := setup(t)
			n = told(t, s, n, tt.err)
			require.NoError(t, s.Resend(t.Context(), n.UserID, n.ID))

			again, found, err := s.Begin(t.Context(), time.Minute)
			require.NoError(t, err)
			require.True(t, found, "it is due at once")
			require.NotEqual(t, n.ID, again.ID)
			require.NotEqual(t, n.MessageID, again.MessageID)
			n.ID, n.MessageID, n.Status, n.ErrorCode = again.ID, again.MessageID, notification.Pending, ""
			require.Equal(t, n, again, "of the same facts")
			require.NoError(t, s.Settle(t.Context(), again.After(nil)))
			require.Empty(t, begin(t, s), "it is sent")
		})
	}
}

func TestResendThatIsNone(t *testing.T) {
	s, n := setup(t)
	pending := told(t, s, n, errDown)
	require.ErrorIs(t, s.Resend(t.Context(), n.UserID, pending.ID), notification.ErrNotResendable, "not sent yet")
	require.NoError(t, s.Settle(t.Context(), pending.After(nil)))
	require.ErrorIs(t, s.Resend(t.Context(), uuid.New(), pending.ID), notification.ErrNotFound, "somebody else's")
	require.ErrorIs(t, s.Resend(t.Context(), n.UserID, uuid.New()), notification.ErrNotFound)
	_, err := s.Get(t.Context(), uuid.New(), pending.ID)
	require.ErrorIs(t, err, notification.ErrNotFound)

	_, err = s.Pool.Exec(t.Context(), `UPDATE notifications SET facts = NULL`)
	require.NoError(t, err)
	require.ErrorIs(t, s.Resend(t.Context(), n.UserID, pending.ID), notification.ErrNotResendable, "from before facts were kept")
	require.Empty(t, begin(t, s))
}

func TestResendAtOnce(t *testing.T) {
	s, n := setup(t)
	n = told(t, s, n, nil)
	var g errgroup.Group
	for range 12 {
		g.Go(func() error { return s.Resend(t.Context(), n.UserID, n.ID) })
	}
	require.NoError(t, g.Wait())
	require.Len(t, begin(t, s), 1)
}

// However it is asked for: a resend of a resend is one of the first.
func TestResendTooOften(t *testing.T) {
	s, n := setup(t)
	n = told(t, s, n, nil)
	asked := n.ID
	for range notification.MaxResends {
		require.NoError(t, s.Resend(t.Context(), n.UserID, asked))
		again := begin(t, s)
		require.Len(t, again, 1)
		require.NoError(t, s.Resend(t.Context(), n.UserID, again[0].ID), "while it is under way")
		require.NoError(t, s.Settle(t.Context(), again[0].After(errRefused)))
		asked = again[0].ID
	}
	for _, id := range []uuid.UUID{n.ID, asked} {
		require.ErrorIs(t, s.Resend(t.Context(), n.UserID, id), notification.ErrTooManyResends)
	}
	require.Empty(t, begin(t, s))
}

func TestBeginAtOnce(t *testing.T) {
	s, n := setup(t)
	const notifications = 20
	n.Kind = notification.RefundProcessed // an order may have several
	for range notifications {
		n.MessageID = uuid.New()
		require.NoError(t, s.Tell(t.Context(), n.MessageID, "TEST", n))
	}
	found := make(chan uuid.UUID, 2*notifications)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for {
				n, ok, err := s.Begin(t.Context(), time.Minute)
				if err != nil || !ok {
					return err
				}
				found <- n.ID
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
	require.Len(t, seen, notifications)
}

// A row that is due never would be pending for ever.
func TestPendingIsDue(t *testing.T) {
	s, n := setup(t)
	require.NoError(t, s.Tell(t.Context(), n.EventID, "TEST", n))
	_, err := s.Pool.Exec(t.Context(), `UPDATE notifications SET due_at = NULL`)
	require.Error(t, err, "what is pending is due")
}

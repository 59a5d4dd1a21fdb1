package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
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

// bundle is a store with a database of its own, and a notification that is not stored yet.
type bundle struct {
	pool         *pgxpool.Pool
	store        *store.Store
	notification notification.Notification
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	eventID := uuid.New()
	return &bundle{pool: pool, store: store.New(pool), notification: notification.Notification{
		MessageID: eventID, EventID: eventID, UserID: uuid.New(), OrderID: uuid.New(),
		Kind: notification.OrderConfirmation, Facts: json.RawMessage(`{"totalAmount": 150.00}`),
	}}
}

var (
	errDown    = problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "Down")
	errRefused = fmt.Errorf("%w: %w",
		notification.ErrRefused, problem.New(problem.Unprocessable, "EMAIL_REJECTED", "No such mailbox"))
)

// traced is the trace of an event.
var traced = telemetry.Trace{
	CorrelationID: "corr-1", Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}

// exec executes a statement.
func (b *bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// lease makes all pending notifications due, leases them and returns them.
func (b *bundle) lease(t *testing.T) []notification.Notification {
	t.Helper()
	b.exec(t, `UPDATE notifications SET due_at = now()`)
	var leased []notification.Notification
	for {
		n, found, err := b.store.LeaseDue(t.Context(), time.Minute)
		require.NoError(t, err)
		if !found {
			return leased
		}
		leased = append(leased, n)
	}
}

// attempt queues n as the notification of a new event, settles an attempt that ends with err and returns n.
func (b *bundle) attempt(t *testing.T, n notification.Notification, err error) notification.Notification {
	t.Helper()
	n.MessageID = uuid.New()
	require.NoError(t, b.store.Queue(t.Context(), n.MessageID, "TEST", n))
	leased := b.lease(t)
	require.Len(t, leased, 1)
	n = leased[0].After(err)
	require.NoError(t, b.store.Settle(t.Context(), n))
	return n
}

func TestQueueStoresEachNotificationOnce(t *testing.T) {
	b := setup(t)
	n := b.notification
	otherUsers := n
	otherUsers.UserID = uuid.New()
	for range 2 {
		require.NoError(t, b.store.Queue(telemetry.With(t.Context(), traced), n.EventID, "TICKETS_GENERATED", n))
	}
	require.NoError(t, b.store.Queue(t.Context(), n.EventID, "TICKETS_GENERATED", otherUsers), "a processed event")
	leased, found, err := b.store.LeaseDue(t.Context(), time.Minute)
	require.NoError(t, err)
	require.True(t, found, "a new notification is due at once")
	require.JSONEq(t, string(n.Facts), string(leased.Facts))
	n.ID, n.Facts, n.Status, n.Attempts, n.Trace = leased.ID, leased.Facts, notification.Pending, 1, traced
	n.Class = notification.Orders
	require.Equal(t, n, leased)
	_, found, err = b.store.LeaseDue(t.Context(), time.Minute)
	require.NoError(t, err)
	require.False(t, found, "the only notification is leased")

	n.MessageID, n.EventID = uuid.New(), uuid.New()
	require.NoError(t, b.store.Queue(t.Context(), n.EventID, "TICKETS_GENERATED", n))
	n.Kind, n.MessageID = notification.EventCancelled, leased.MessageID
	require.NoError(t, b.store.Queue(t.Context(), uuid.New(), "TICKET_CANCELLED", n))
	require.Len(t, b.lease(t), 1, "the order is confirmed already, and the user has this message already")
}

func TestQueueStoresAllNotificationsOrNone(t *testing.T) {
	b := setup(t)
	n := b.notification
	second := n
	second.Kind, second.UserID = "INVALID", uuid.New()
	require.Error(t, b.store.Queue(t.Context(), n.EventID, "TEST", n, second))
	require.Empty(t, b.lease(t))
	second.Kind = notification.TicketReceived
	require.NoError(t, b.store.Queue(t.Context(), n.EventID, "TEST", n, second), "the event is not processed yet")
	require.Len(t, b.lease(t), 2)
}

// A class is leased before the next one, for any age and number of the others' notifications.
func TestLeaseDueTakesClassesInOrder(t *testing.T) {
	b := setup(t)
	b.exec(t, `
		INSERT INTO notifications (message_id, event_id, user_id, kind, class, facts, status, attempts, due_at)
		SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'EVENT_POSTPONED', 'BULK', '{}', 'PENDING', 0,
		       now() - interval '1 hour' FROM generate_series(1, 1000)`)
	n := b.notification
	n.OrderID = uuid.Nil
	for _, kind := range []notification.Kind{
		notification.DeadLetterArchived, notification.PaymentFailed, notification.PasswordReset,
	} {
		n.Kind, n.MessageID = kind, uuid.New()
		require.NoError(t, b.store.Queue(t.Context(), n.MessageID, "TEST", n))
	}
	lease := func(classes ...notification.Class) notification.Kind {
		n, found, err := b.store.LeaseDue(t.Context(), time.Minute, classes...)
		require.NoError(t, err)
		require.True(t, found)
		return n.Kind
	}
	require.Equal(t, notification.PasswordReset, lease())
	require.Equal(t, notification.DeadLetterArchived, lease(notification.Alert, notification.Orders))
	require.Equal(t, notification.PaymentFailed, lease())
	require.Equal(t, notification.EventPostponed, lease())
	_, found, err := b.store.LeaseDue(t.Context(), time.Minute, notification.Account, notification.Orders)
	require.NoError(t, err)
	require.False(t, found)
}

// A user who requests a mail about an event again does not wait for those to all other holders.
func TestResendOfBulkMailIsNotBulk(t *testing.T) {
	b := setup(t)
	n := b.notification
	n.Kind = notification.EventPostponed
	n = b.attempt(t, n, nil)
	require.Equal(t, notification.Bulk, n.Class)
	require.NoError(t, b.store.Resend(t.Context(), n.UserID, n.ID))
	require.Equal(t, notification.Orders, b.lease(t)[0].Class)
}

// Each page of an announcement is queued once, and each holder gets one notification, also if two workers queue pages.
func TestQueuePageQueuesEachHolderOnce(t *testing.T) {
	b := setup(t)
	a := notification.Announcement{
		ID: uuid.New(), About: uuid.New(), Kind: notification.EventPostponed, Facts: b.notification.Facts,
	}
	for range 2 {
		require.NoError(t, b.store.Announce(telemetry.With(t.Context(), traced), "EVENT_UPDATED", a))
	}
	first, found, err := b.store.LeaseDueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, a.ID, first.ID)
	require.Equal(t, traced, first.Trace)
	_, found, err = b.store.LeaseDueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.False(t, found, "the announcement is leased")

	ann, bob := uuid.New(), uuid.New()
	page := []notification.Holder{{UserID: ann, OrderID: uuid.New()}, {UserID: ann, OrderID: uuid.New()}}
	require.NoError(t, b.store.QueuePage(t.Context(), first, page, "p2"))
	late := []notification.Holder{{UserID: bob, OrderID: uuid.New()}}
	require.NoError(t, b.store.QueuePage(t.Context(), first, late, ""), "by a worker whose lease has expired")
	require.Len(t, b.lease(t), 1)

	second, found, err := b.store.LeaseDueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "p2", second.Cursor)
	require.NoError(t, b.store.QueuePage(t.Context(), second, append(late, page...), ""))
	queued := b.lease(t)
	require.Len(t, queued, 2)
	require.Equal(t, notification.Bulk, queued[0].Class)

	require.NoError(t, b.store.Announce(t.Context(), "EVENT_UPDATED", a))
	_, found, err = b.store.LeaseDueAnnouncement(t.Context(), 0)
	require.NoError(t, err)
	require.False(t, found, "the announcement is finished")
}

func TestFailedAttemptsAreRetriedAfterLongerPauses(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Queue(t.Context(), b.notification.EventID, "TEST", b.notification))
	for attempt := 1; attempt <= 12; attempt++ {
		leased := b.lease(t)
		require.Len(t, leased, 1)
		require.Equal(t, attempt, leased[0].Attempts)
		require.NoError(t, b.store.Settle(t.Context(), leased[0].After(errDown)))
		var code string
		var pause time.Duration
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT error_code, due_at - now() FROM notifications`).
			Scan(&code, &pause))
		require.Equal(t, "SERVICE_UNAVAILABLE", code)
		require.InDelta(t, leased[0].Pause(), pause, float64(time.Second))
	}
}

func TestSettledNotificationIsFinal(t *testing.T) {
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
			b := setup(t)
			n := b.attempt(t, b.notification, tt.err)
			require.Empty(t, b.lease(t), "there is no further attempt")
			require.NoError(t, b.store.Settle(t.Context(), n.After(errDown)))
			var status, code string
			require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT status, coalesce(error_code, '') FROM notifications`).
				Scan(&status, &code))
			require.Equal(t, tt.status, status)
			require.Equal(t, tt.code, code)
		})
	}
}

// The outcome of an attempt whose lease expired is ignored, unless the mail was sent.
func TestSettleAfterTheLeaseExpiredRecordsOnlySuccess(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Queue(t.Context(), b.notification.EventID, "TEST", b.notification))
	late, next := b.lease(t)[0], b.lease(t)[0]
	require.NoError(t, b.store.Settle(t.Context(), late.After(errRefused)))
	require.NoError(t, b.store.Settle(t.Context(), late.After(errDown)))
	var remaining time.Duration
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT due_at - now() FROM notifications WHERE status = 'PENDING'`).Scan(&remaining))
	require.Greater(t, remaining, 30*time.Second, "the next attempt still has its lease")
	require.NoError(t, b.store.Settle(t.Context(), late.After(nil)))
	require.NoError(t, b.store.Settle(t.Context(), next.After(errRefused)))
	var status string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT status FROM notifications`).Scan(&status))
	require.Equal(t, "SENT", status)
}

func TestListReturnsTheUsersNotificationsByPage(t *testing.T) {
	b := setup(t)
	n := b.notification
	n.Kind = notification.RefundProcessed // an order can have several refunds
	var ids []uuid.UUID                   // the newest first
	for i := range 5 {
		n.OrderID = uuid.Nil
		if i == 4 {
			n.OrderID = uuid.New()
		}
		ids = slices.Insert(ids, 0, b.attempt(t, n, nil).ID)
	}
	otherUsers := n
	otherUsers.UserID = uuid.New()
	b.attempt(t, otherUsers, nil)
	ids = slices.Insert(ids, 0, b.attempt(t, n, errDown).ID)

	var listed []notification.Summary
	page := paging.Page{Limit: 4}
	for range 2 {
		found, err := b.store.List(t.Context(), n.UserID, page)
		require.NoError(t, err)
		require.LessOrEqual(t, len(found), 5, "the page and the first entry of the next one")
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

func TestResendQueuesTheSameFactsAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"Sent", nil},
		{"Failed", errRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			n := b.attempt(t, b.notification, tt.err)
			require.NoError(t, b.store.Resend(t.Context(), n.UserID, n.ID))

			again, found, err := b.store.LeaseDue(t.Context(), time.Minute)
			require.NoError(t, err)
			require.True(t, found, "a resend is due at once")
			require.NotEqual(t, n.ID, again.ID)
			require.NotEqual(t, n.MessageID, again.MessageID)
			n.ID, n.MessageID, n.Status, n.ErrorCode = again.ID, again.MessageID, notification.Pending, ""
			require.Equal(t, n, again, "a resend has the same facts")
			require.NoError(t, b.store.Settle(t.Context(), again.After(nil)))
			require.Empty(t, b.lease(t), "the resend is sent")
		})
	}
}

func TestResendRejectsNotificationsThatCannotBeResent(t *testing.T) {
	b := setup(t)
	userID := b.notification.UserID
	pending := b.attempt(t, b.notification, errDown)
	require.ErrorIs(t, b.store.Resend(t.Context(), userID, pending.ID), notification.ErrNotResendable, "not sent yet")
	require.NoError(t, b.store.Settle(t.Context(), pending.After(nil)))
	require.ErrorIs(t, b.store.Resend(t.Context(), uuid.New(), pending.ID), notification.ErrNotFound, "another user's")
	require.ErrorIs(t, b.store.Resend(t.Context(), userID, uuid.New()), notification.ErrNotFound)
	_, err := b.store.Get(t.Context(), uuid.New(), pending.ID)
	require.ErrorIs(t, err, notification.ErrNotFound)

	b.exec(t, `UPDATE notifications SET facts = NULL`) // as rows from before migration 002
	require.ErrorIs(t, b.store.Resend(t.Context(), userID, pending.ID), notification.ErrNotResendable)
	require.Empty(t, b.lease(t))
}

func TestConcurrentResendsQueueOne(t *testing.T) {
	b := setup(t)
	n := b.attempt(t, b.notification, nil)
	var g errgroup.Group
	for range 12 {
		g.Go(func() error { return b.store.Resend(t.Context(), n.UserID, n.ID) })
	}
	require.NoError(t, g.Wait())
	require.Len(t, b.lease(t), 1)
}

// A resend of a resend counts as a resend of the first notification.
func TestResendLimitIncludesResendsOfResends(t *testing.T) {
	b := setup(t)
	n := b.attempt(t, b.notification, nil)
	last := n.ID
	for range notification.MaxResends {
		require.NoError(t, b.store.Resend(t.Context(), n.UserID, last))
		again := b.lease(t)
		require.Len(t, again, 1)
		require.NoError(t, b.store.Resend(t.Context(), n.UserID, again[0].ID), "while it is pending")
		require.NoError(t, b.store.Settle(t.Context(), again[0].After(errRefused)))
		last = again[0].ID
	}
	for _, id := range []uuid.UUID{n.ID, last} {
		require.ErrorIs(t, b.store.Resend(t.Context(), n.UserID, id), notification.ErrTooManyResends)
	}
	require.Empty(t, b.lease(t))
}

func TestConcurrentWorkersLeaseDifferentNotifications(t *testing.T) {
	b := setup(t)
	n := b.notification
	const notifications = 20
	n.Kind = notification.RefundProcessed // an order can have several refunds
	for range notifications {
		n.MessageID = uuid.New()
		require.NoError(t, b.store.Queue(t.Context(), n.MessageID, "TEST", n))
	}
	leased := make(chan uuid.UUID, 2*notifications)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for {
				n, found, err := b.store.LeaseDue(t.Context(), time.Minute)
				if err != nil || !found {
					return err
				}
				leased <- n.ID
			}
		})
	}
	require.NoError(t, g.Wait())
	close(leased)
	seen := map[uuid.UUID]bool{}
	for id := range leased {
		require.False(t, seen[id], "a notification is leased once")
		seen[id] = true
	}
	require.Len(t, seen, notifications)
}

// A pending row without a due_at would never be sent.
func TestPendingRowsNeedDueAt(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.store.Queue(t.Context(), b.notification.EventID, "TEST", b.notification))
	_, err := b.pool.Exec(t.Context(), `UPDATE notifications SET due_at = NULL`)
	require.Error(t, err)
}

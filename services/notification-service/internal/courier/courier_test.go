package courier_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// deadline is the maximum time that a test waits for a condition.
const deadline = 20 * time.Second

// The recipients of the test data.
const (
	userAddress      = "user@example.com"
	otherUserAddress = "jane@example.com"
)

// bundle adds queries to a couriertest.Bundle.
type bundle struct{ *couriertest.Bundle }

func setup(t *testing.T) bundle {
	t.Helper()
	t.Parallel()
	return bundle{couriertest.New(t)}
}

// row is the stored state of a notification.
type row struct {
	Kind, Status, ErrorCode string
	Attempts                int
}

// row returns the notification of the buyer with this message id.
func (b bundle) row(t *testing.T, messageID uuid.UUID) row {
	t.Helper()
	var r row
	require.NoError(t, b.Pool.QueryRow(t.Context(), `
		SELECT kind, status, coalesce(error_code, ''), attempts FROM notifications
		WHERE message_id = $1 AND user_id = $2 AND order_id = $3`,
		messageID, couriertest.UserID, couriertest.OrderID,
	).Scan(&r.Kind, &r.Status, &r.ErrorCode, &r.Attempts))
	return r
}

// list returns the notifications of the buyer, the newest first.
func (b bundle) list(t *testing.T) []notification.Summary {
	t.Helper()
	found, err := b.Store.List(t.Context(), uuid.MustParse(couriertest.UserID), paging.Page{Limit: 100})
	require.NoError(t, err)
	return found
}

// resend queues a notification of the buyer again.
func (b bundle) resend(t *testing.T, id uuid.UUID) {
	t.Helper()
	require.NoError(t, b.Courier.Resend(t.Context(), uuid.MustParse(couriertest.UserID), id))
}

// process processes an event and sends nothing.
func (b bundle) process(t *testing.T, id uuid.UUID, eventType, payload string) {
	t.Helper()
	require.NoError(t, b.Process(t.Context(), id, eventType, payload))
}

// onlyMail returns the mail that was sent. It fails if there was another number of mails.
func (b bundle) onlyMail(t *testing.T) couriertest.Mail {
	t.Helper()
	require.Len(t, b.Services.Sent(), 1)
	return b.Services.Sent()[0]
}

// byAddress returns the sent mails by recipient. It fails if a recipient got several.
func (b bundle) byAddress(t *testing.T) map[string]couriertest.Mail {
	t.Helper()
	mails := map[string]couriertest.Mail{}
	for _, m := range b.Services.Sent() {
		mails[m.To.Address] = m
	}
	require.Len(t, mails, len(b.Services.Sent()))
	return mails
}

// requireBoth asserts that the text and the HTML of a mail contain the facts.
func requireBoth(t *testing.T, m couriertest.Mail, facts ...string) {
	t.Helper()
	for _, fact := range facts {
		require.Contains(t, m.Text, fact)
		require.Contains(t, m.HTML, fact)
	}
}

func TestHandlersAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	handlers := courier.New(nil, nil, courier.Config{}).Handlers()
	contracttest.Handlers(t, handlers, "notification-service")
}

func TestRunSendsNotifications(t *testing.T) {
	b := setup(t)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- b.Courier.Run(ctx) }()
	b.process(t, uuid.New(), "PAYMENT_FAILED", couriertest.PaymentFailed)
	require.Eventually(t, func() bool { return len(b.Services.Sent()) == 1 }, deadline, deadline/400)
	stop()
	require.ErrorIs(t, <-stopped, context.Canceled)
}

func TestEventWakesWorkers(t *testing.T) {
	b := setup(t)
	b.process(t, uuid.New(), "PAYMENT_FAILED", couriertest.PaymentFailed)
	require.True(t, b.Courier.TakeWakeup(notification.Orders))
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
	require.True(t, b.Courier.TakeWakeup(notification.Orders), "another worker looks for more")
}

// Each mail is slow, so every worker has one while the others lease theirs.
func TestConcurrentWorkersSendDifferentNotifications(t *testing.T) {
	b := setup(t)
	const mails = 6
	for range mails {
		refund := strings.Replace(couriertest.RefundProcessed, "re_1", uuid.NewString(), 1)
		b.process(t, uuid.New(), "REFUND_PROCESSED", refund)
	}
	var sending atomic.Int32
	all := make(chan struct{})
	b.Services.OnSend(func(context.Context) error {
		if sending.Add(1) == mails {
			close(all)
		}
		<-all
		return nil
	})
	var g errgroup.Group
	for range mails {
		g.Go(func() error { return b.Courier.DeliverDue(t.Context()) })
	}
	require.NoError(t, g.Wait())
	ids := map[string]bool{}
	for _, m := range b.Services.Sent() {
		ids[m.MessageID] = true
	}
	require.Len(t, ids, mails)
	require.Len(t, b.Services.Sent(), mails)
}

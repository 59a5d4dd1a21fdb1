package courier_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

func TestFailedCallIsRetried(t *testing.T) {
	down := sidecar.ErrUnavailable.Because(errors.New("connection refused"))
	noRoute := problem.New(problem.NotFound, "NOT_FOUND", "No such resource")
	unauthenticated := problem.New(problem.Unauthenticated, "SERVICE_TOKEN_INVALID", "Invalid")
	for _, tt := range []struct {
		name, path string
		err        error
		code       string
	}{
		{"AuthServiceDown", couriertest.UserPath, down, "SERVICE_UNAVAILABLE"},
		{"EventServiceDown", couriertest.EventPath, down, "SERVICE_UNAVAILABLE"},
		{"PaymentServiceDown", couriertest.OrderPath, down, "SERVICE_UNAVAILABLE"},
		{"TicketServiceDown", couriertest.PDFPath, down, "SERVICE_UNAVAILABLE"},
		{"EmailServiceDown", couriertest.EmailPath, down, "SERVICE_UNAVAILABLE"},
		{"RouteNotFound", couriertest.UserPath, noRoute, "SERVICE_UNAVAILABLE"},
		{"NotAuthenticated", couriertest.EmailPath, unauthenticated, "SERVICE_UNAVAILABLE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			b.Services.Fail(tt.path, tt.err)
			b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
			require.Empty(t, b.Services.Sent())
			require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", tt.code, 1}, b.row(t, id))

			b.Services.Fail(tt.path, nil)
			b.Retry(t)
			require.Len(t, b.Services.Sent(), 1)
			require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 2}, b.row(t, id))
		})
	}
}

// A refusal is final: the mail about something that does not exist cannot be composed later either.
func TestNotificationAboutNothingFailsAtOnce(t *testing.T) {
	for _, tt := range []struct{ name, path, code string }{
		{"User", couriertest.UserPath, "USER_NOT_FOUND"},
		{"Event", couriertest.EventPath, "EVENT_NOT_FOUND"},
		{"Order", couriertest.OrderPath, "ORDER_NOT_FOUND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			b.Services.Fail(tt.path, problem.New(problem.NotFound, tt.code, "No such thing"))
			b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
			require.Equal(t, row{"ORDER_CONFIRMATION", "FAILED", tt.code, 1}, b.row(t, id))
		})
	}
}

// The next attempt asks for the outcome of the first one.
func TestMailInProgressIsPending(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.Services.Fail(couriertest.EmailPath, notification.ErrInProgress)
	b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
	require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", "EMAIL_IN_PROGRESS", 1}, b.row(t, id))
	b.Services.Fail(couriertest.EmailPath, nil)
	b.Retry(t)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 2}, b.row(t, id))
}

// A cancelled lookup would count as a failure of its callee. A lookup that has not begun is not needed.
func TestFailedLookupDoesNotCancelOthers(t *testing.T) {
	b := setup(t)
	running := make(chan struct{})
	var cancelled atomic.Bool
	var others atomic.Int32
	b.Services.OnLookup(func(ctx context.Context, path string) error {
		switch path {
		case couriertest.UserPath:
			close(running)
			select {
			case <-ctx.Done():
				cancelled.Store(true)
			case <-time.After(100 * time.Millisecond): // longer than the failing lookup
			}
		case couriertest.EventPath:
			<-running
			return sidecar.ErrUnavailable
		default:
			others.Add(1)
			<-time.After(10 * time.Millisecond)
		}
		return nil
	})
	b.Deliver(t, uuid.New(), "TICKETS_GENERATED", generated(notification.MaxFiles))
	require.Empty(t, b.Services.Sent())
	require.False(t, cancelled.Load())
	require.Less(t, others.Load(), int32(notification.MaxFiles))
}

// What a mail needs was deleted, or a service refuses to return it. The recipient can request the mail again.
func TestRefusedLookupFailsPermanently(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		err        *problem.Error
	}{
		{"UserDeleted", couriertest.UserPath, problem.New(problem.NotFound, "USER_NOT_FOUND", "No such user")},
		{"EventDeleted", couriertest.EventPath, problem.New(problem.NotFound, "EVENT_NOT_FOUND", "No such event")},
		{"OrderDeleted", couriertest.OrderPath, problem.New(problem.NotFound, "ORDER_NOT_FOUND", "No such order")},
		{"TicketRefused", couriertest.PDFPath, problem.New(problem.Conflict, "TICKET_LOCKED", "Not now")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			b.Services.Fail(tt.path, tt.err)
			b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
			require.Equal(t, row{"ORDER_CONFIRMATION", "FAILED", tt.err.Code, 1}, b.row(t, id))
			b.Services.Fail(tt.path, nil)
			b.Retry(t)
			require.Empty(t, b.Services.Sent(), "there is no further attempt")
			b.resend(t, b.list(t)[0].ID)
			b.Retry(t)
			require.Len(t, b.Services.Sent(), 1)
		})
	}
}

func TestMailThatCannotBeComposedFailsPermanently(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.Services.Answer(couriertest.OrderPath,
		strings.ReplaceAll(couriertest.Order, `"totalAmount": 100.00`, `"totalAmount": 100.001`))
	b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
	require.Empty(t, b.Services.Sent())
	require.Equal(t, row{"ORDER_CONFIRMATION", "FAILED", "MAIL_NOT_COMPOSABLE", 1}, b.row(t, id))
	b.Services.Answer(couriertest.OrderPath, couriertest.Order)
	b.resend(t, b.list(t)[0].ID)
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 1)
}

func TestRefusedMailFailsPermanently(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  *problem.Error
	}{
		{"ByMailServer", problem.New(problem.Unprocessable, "EMAIL_REJECTED", "No such mailbox")},
		{"InvalidAddress", problem.Field("to.address", "No address")},
		{"Unconfirmed", problem.New(problem.Unprocessable, "EMAIL_UNCONFIRMED", "Sent three times without an answer")},
		{"TooLarge", problem.New(problem.TooLarge, "MESSAGE_TOO_LARGE", "Too large")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			b.Services.Fail(couriertest.EmailPath, tt.err)
			b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
			b.Services.Fail(couriertest.EmailPath, nil)
			b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
			b.Retry(t)
			require.Empty(t, b.Services.Sent())
			require.Equal(t, row{"ORDER_CONFIRMATION", "FAILED", tt.err.Code, 1}, b.row(t, id))
		})
	}
}

func TestOutageOfHoursDelaysMail(t *testing.T) {
	b := setup(t)
	b.Services.Fail(couriertest.EmailPath, sidecar.ErrUnavailable)
	id := uuid.New()
	b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
	for range 30 {
		b.Retry(t)
	}
	require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", "SERVICE_UNAVAILABLE", 31}, b.row(t, id))
	b.Services.Fail(couriertest.EmailPath, nil)
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
	require.Empty(t, b.Services.Sent(), "the pause has not passed")
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 1)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 32}, b.row(t, id))
}

func TestNotificationFailsAfterLastAttempt(t *testing.T) {
	b := setup(t)
	b.Services.Fail(couriertest.EmailPath, sidecar.ErrUnavailable)
	id := uuid.New()
	b.Deliver(t, id, "PAYMENT_FAILED", couriertest.PaymentFailed)
	b.Exec(t, `UPDATE notifications SET attempts = $1`, notification.MaxAttempts-1) // a day later
	b.Retry(t)
	require.Equal(t, row{"PAYMENT_FAILED", "FAILED", "SERVICE_UNAVAILABLE", notification.MaxAttempts}, b.row(t, id))

	b.Services.Fail(couriertest.EmailPath, nil)
	b.Retry(t)
	require.Empty(t, b.Services.Sent(), "there is no further attempt")
	b.resend(t, b.list(t)[0].ID)
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 1)
}

// Each attempt is counted but not settled, as if the notification crashed the process.
func TestNotificationFailsAfterInterruptedAttempts(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.process(t, id, "PAYMENT_FAILED", couriertest.PaymentFailed)
	b.Exec(t, `UPDATE notifications SET attempts = $1`, notification.MaxAttempts)
	b.Retry(t)
	require.Empty(t, b.Services.Sent(), "there is no further attempt")
	require.Equal(t, row{"PAYMENT_FAILED", "FAILED", "INTERNAL_ERROR", notification.MaxAttempts + 1}, b.row(t, id))
}

// The process dies, or loses its database, after email-service accepted the mail. The next attempt has the same message
// id, so email-service does not send the mail again.
func TestUnsettledAttemptIsRepeatedWithSameMessageID(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.Services.OnSend(func(ctx context.Context) error {
		_, err := b.Pool.Exec(ctx, `ALTER TABLE notifications RENAME TO unavailable`)
		return err
	})
	b.process(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
	require.Error(t, b.Courier.DeliverDue(t.Context()), "of the lease after the attempt")
	b.Exec(t, `ALTER TABLE unavailable RENAME TO notifications`)
	require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", "", 1}, b.row(t, id))
	b.Services.OnSend(nil)
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
	require.Len(t, b.Services.Sent(), 1, "the lease has not expired")

	b.Retry(t)
	require.Len(t, b.Services.Sent(), 2)
	require.Equal(t, b.Services.Sent()[0].MessageID, b.Services.Sent()[1].MessageID)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 2}, b.row(t, id))
}

func TestStoppingProcessSettlesAttempt(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.process(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
	ctx, stop := context.WithCancel(t.Context())
	b.Services.OnSend(func(ctx context.Context) error {
		stop()
		<-ctx.Done()
		return sidecar.ErrUnavailable.Because(ctx.Err())
	})
	require.ErrorIs(t, b.Courier.DeliverDue(ctx), context.Canceled)
	require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", "SERVICE_UNAVAILABLE", 1}, b.row(t, id))
}

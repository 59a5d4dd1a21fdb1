package courier_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// postponedEvent is the answer of event-service after the event was postponed.
var postponedEvent = strings.Replace(couriertest.Event, "2024-07-15", "2024-07-20", 1)

// postponed queues the notifications of a postponed event to n holders, an hour ago.
func (b bundle) postponed(t *testing.T, n int) {
	t.Helper()
	facts := strings.Replace(couriertest.EventUpdated, "}", `, "postponedFrom": "2024-07-15T18:00:00Z"}`, 1)
	b.Services.Answer(couriertest.EventPath, postponedEvent)
	b.Exec(t, `
		INSERT INTO notifications (message_id, event_id, user_id, kind, class, facts, status, attempts, due_at, created_at)
		SELECT gen_random_uuid(), gen_random_uuid(), $1, 'EVENT_POSTPONED', 'BULK', $2, 'PENDING', 0,
		       now() - interval '1 hour', now() - interval '1 hour' FROM generate_series(1, $3)`,
		couriertest.UserID, facts, n)
}

// run runs the courier until the test ends.
func (b bundle) run(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = b.Courier.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
	})
}

// subjects returns how many mails with each subject were sent.
func (b bundle) subjects() map[string]int {
	counts := map[string]int{}
	for _, m := range b.Services.Sent() {
		counts[m.Subject]++
	}
	return counts
}

const (
	resetSubject     = "Set a new password"
	postponedSubject = "Summer Music Festival 2024 has a new date"
)

// Each mail about the postponed event takes a while, and thousands are due for longer than the password reset.
func TestBacklogOfPostponementsDoesNotDelayPasswordReset(t *testing.T) {
	b := setup(t)
	b.postponed(t, 5000)
	b.Services.OnLookup(func(ctx context.Context, path string) error {
		if path == couriertest.UserPath {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
		return nil
	})
	b.run(t)
	require.Eventually(t, func() bool { return b.subjects()[postponedSubject] > 20 }, deadline, deadline/400)
	b.process(t, uuid.New(), "PASSWORD_RESET_REQUESTED", couriertest.AccountMailRequested)
	require.Eventually(t, func() bool { return b.subjects()[resetSubject] == 1 }, deadline, deadline/400)
	require.Less(t, b.subjects()[postponedSubject], 2500)
}

// All workers that may send mails about the postponed event are stuck with one.
func TestStuckBulkMailsDoNotDelayOtherClasses(t *testing.T) {
	b := setup(t)
	b.postponed(t, 100)
	stuck := make(chan struct{}, 100)
	b.Services.OnLookup(func(ctx context.Context, path string) error {
		if path == couriertest.UserPath {
			stuck <- struct{}{}
			<-ctx.Done()
		}
		return ctx.Err()
	})
	b.run(t)
	for range 5 { // the shared workers and that of the class
		<-stuck
	}
	b.process(t, uuid.New(), "PASSWORD_RESET_REQUESTED", couriertest.AccountMailRequested)
	b.process(t, uuid.New(), "COMPENSATION_FAILED", couriertest.CompensationFailed)
	require.Eventually(t, func() bool { return len(b.Services.Sent()) == 2 }, deadline, deadline/400)
	require.Empty(t, b.subjects()[postponedSubject])
}

// The most urgent class does not starve the others.
func TestEachClassHasItsShare(t *testing.T) {
	b := setup(t)
	b.postponed(t, 100)
	for range 100 {
		b.process(t, uuid.New(), "EMAIL_VERIFICATION_REQUESTED", couriertest.AccountMailRequested)
	}
	ctx, stop := context.WithCancel(t.Context())
	b.Services.OnSend(func(context.Context) error {
		if len(b.Services.Sent()) == 79 {
			stop()
		}
		return nil
	})
	require.Error(t, b.Courier.DeliverDue(ctx))
	require.Equal(t, 10, b.subjects()[postponedSubject], "a share of one in eight")
}

func TestMailOfManyIsMarkedAsBulk(t *testing.T) {
	b := setup(t)
	b.postponed(t, 1)
	b.process(t, uuid.New(), "EMAIL_VERIFICATION_REQUESTED", couriertest.AccountMailRequested)
	require.NoError(t, b.Courier.DeliverDue(t.Context(), notification.Classes()...))
	require.Len(t, b.Services.Sent(), 2)
	require.False(t, b.Services.Sent()[0].Bulk)
	require.True(t, b.Services.Sent()[1].Bulk)
}

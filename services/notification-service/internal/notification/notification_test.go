package notification_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

func TestAfterRetriesTemporaryFailuresUntilTheLastAttempt(t *testing.T) {
	t.Parallel()
	down := problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "Down")
	unknownUser := problem.New(problem.NotFound, "USER_NOT_FOUND", "No such user")
	rejected := problem.New(problem.Unprocessable, "EMAIL_REJECTED", "No such mailbox")
	for _, tt := range []struct {
		name     string
		attempts int
		err      error
		status   notification.Status
		code     string
	}{
		{"Success", 1, nil, notification.Sent, ""},
		{"Refused", 1, fmt.Errorf("%w: %w", notification.ErrRefused, rejected), notification.Failed, "EMAIL_REJECTED"},
		{"OtherRefusal", 1, unknownUser, notification.Pending, "USER_NOT_FOUND"},
		{"Unavailable", 1, down, notification.Pending, "SERVICE_UNAVAILABLE"},
		{"AccountMailGone", 1, notification.ErrAccountMailGone, notification.Failed, "ACCOUNT_MAIL_NOT_FOUND"},
		{"OtherError", 1, errors.New("bug"), notification.Pending, "INTERNAL_ERROR"},
		{"LastButOneAttempt", notification.MaxAttempts - 1, down, notification.Pending, "SERVICE_UNAVAILABLE"},
		{"LastAttempt", notification.MaxAttempts, down, notification.Failed, "SERVICE_UNAVAILABLE"},
		{"LastAttemptSucceeds", notification.MaxAttempts, nil, notification.Sent, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pending := notification.Notification{Status: notification.Pending, Attempts: tt.attempts, ErrorCode: "OLD"}
			n := pending.After(tt.err)
			require.Equal(t, tt.status, n.Status)
			require.Equal(t, tt.code, n.ErrorCode)
		})
	}
}

func TestAttemptsLastADay(t *testing.T) {
	t.Parallel()
	var n notification.Notification
	var total time.Duration
	for n.Attempts = 1; n.Attempts < notification.MaxAttempts; n.Attempts++ {
		total += n.Pause()
	}
	require.InDelta(t, 24*time.Hour, total, float64(time.Hour))
	require.Equal(t, 2*time.Second, notification.Notification{Attempts: 1}.Pause(), "a restart hardly delays a mail")
}

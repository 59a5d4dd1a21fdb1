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

var down = problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "Down")

func TestAfter(t *testing.T) {
	t.Parallel()
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
		{"AnotherRefusal", 1, problem.New(problem.NotFound, "USER_NOT_FOUND", "No user"), notification.Pending, "USER_NOT_FOUND"},
		{"Unavailable", 1, down, notification.Pending, "SERVICE_UNAVAILABLE"},
		{"AccountMailGone", 1, notification.ErrAccountMailGone, notification.Failed, "ACCOUNT_MAIL_NOT_FOUND"},
		{"AnythingElse", 1, errors.New("bug"), notification.Pending, "INTERNAL_ERROR"},
		{"TheLastButOne", notification.MaxAttempts - 1, down, notification.Pending, "SERVICE_UNAVAILABLE"},
		{"TheLast", notification.MaxAttempts, down, notification.Failed, "SERVICE_UNAVAILABLE"},
		{"TheLastSucceeds", notification.MaxAttempts, nil, notification.Sent, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := notification.Notification{Status: notification.Pending, Attempts: tt.attempts, ErrorCode: "OLD"}.After(tt.err)
			require.Equal(t, tt.status, n.Status)
			require.Equal(t, tt.code, n.ErrorCode)
		})
	}
}

func TestPausesLastADay(t *testing.T) {
	t.Parallel()
	var n notification.Notification
	var all time.Duration
	for n.Attempts = 1; n.Attempts < notification.MaxAttempts; n.Attempts++ {
		all += n.Pause()
	}
	require.InDelta(t, 24*time.Hour, all, float64(time.Hour))
	require.Equal(t, 2*time.Second, notification.Notification{Attempts: 1}.Pause(), "a mail that met a restart is not late")
}

package notification_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		err     error
		status  notification.Status
		code    string
		settled bool
	}{
		{"Success", nil, notification.Sent, "", true},
		{"Rejected", notification.ErrRejected, notification.Failed, "EMAIL_REJECTED", true},
		{"RejectedInAWrapping", fmt.Errorf("send: %w", notification.ErrRejected), notification.Failed, "EMAIL_REJECTED", true},
		{"AnotherRefusal", problem.New(problem.NotFound, "USER_NOT_FOUND", "No user"), notification.Pending, "USER_NOT_FOUND", false},
		{"Unavailable", problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "Down"), notification.Pending, "SERVICE_UNAVAILABLE", false},
		{"AccountMailGone", notification.ErrAccountMailGone, notification.Failed, "ACCOUNT_MAIL_NOT_FOUND", true},
		{"AnythingElse", errors.New("bug"), notification.Pending, "INTERNAL_ERROR", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := notification.Notification{Status: notification.Pending, ErrorCode: "OLD"}.After(tt.err)
			require.Equal(t, tt.status, n.Status)
			require.Equal(t, tt.code, n.ErrorCode)
			require.Equal(t, tt.settled, n.Settled())
		})
	}
}

func TestAfterTheLastAttempt(t *testing.T) {
	t.Parallel()
	down := problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "Down")
	n := notification.Notification{Resend: true, Attempts: notification.MaxResendAttempts - 1}
	require.Equal(t, notification.Pending, n.After(down).Status)
	n.Attempts++
	require.Equal(t, notification.Failed, n.After(down).Status)
	require.Equal(t, notification.Sent, n.After(nil).Status)
	n.Resend, n.Queued, n.Attempts = false, true, notification.MaxQueuedAttempts-1
	require.Equal(t, notification.Pending, n.After(down).Status)
	n.Attempts++
	require.Equal(t, notification.Failed, n.After(down).Status)
	n.Queued = false
	require.Equal(t, notification.Pending, n.After(down).Status, "its event decides how often it comes")
}

package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

func TestResendComposesTheMailAgain(t *testing.T) {
	b := setup(t)
	b.Deliver(t, uuid.New(), "TICKETS_GENERATED", couriertest.TicketsGenerated)
	id := b.list(t, couriertest.UserID, "").Notifications[0].NotificationID

	b.Services.Answer(couriertest.EventPath,
		strings.Replace(couriertest.Event, "Central Park Amphitheater", "Town Hall", 1))
	for range 2 { // the second request changes nothing
		b.requireResend(t, couriertest.UserID, id)
	}
	require.Equal(t, "PENDING", b.list(t, couriertest.UserID, "").Notifications[0].Status)
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
	sent := b.Services.Sent()
	require.Len(t, sent, 2)
	require.NotEqual(t, sent[0].MessageID, sent[1].MessageID)
	require.Equal(t, sent[0].Attachments, sent[1].Attachments)
	require.Contains(t, sent[0].Text, "Central Park Amphitheater")
	require.Contains(t, sent[1].Text, "Town Hall", "the mail is composed again")
	listed := b.list(t, couriertest.UserID, "").Notifications
	require.Len(t, listed, 2)
	require.Equal(t, "SENT", listed[0].Status)

	for range notification.MaxResends - 1 {
		b.requireResend(t, couriertest.UserID, id)
		require.NoError(t, b.Courier.DeliverDue(t.Context()))
	}
	b.requireResendRefused(t, couriertest.UserID, id, http.StatusTooManyRequests, "TOO_MANY_RESENDS")
	require.Len(t, b.Services.Sent(), 1+notification.MaxResends)
}

func TestResendRejectsNotificationsThatCannotBeResent(t *testing.T) {
	b := setup(t)
	b.Services.Fail(couriertest.EmailPath, sidecar.ErrUnavailable)
	b.Deliver(t, uuid.New(), "PAYMENT_FAILED", couriertest.PaymentFailed)
	pending := b.list(t, couriertest.UserID, "").Notifications[0].NotificationID
	for _, tt := range []struct {
		name, userID, id string
		status           int
		code             string
	}{
		{"NotSentYet", couriertest.UserID, pending, http.StatusConflict, "NOT_RESENDABLE"},
		{"OtherUsers", couriertest.OtherUserID, pending, http.StatusNotFound, "NOTIFICATION_NOT_FOUND"},
		{"Unknown", couriertest.UserID, uuid.NewString(), http.StatusNotFound, "NOTIFICATION_NOT_FOUND"},
		{"InvalidID", couriertest.UserID, "1", http.StatusBadRequest, "VALIDATION_ERROR"},
		{"NoToken", "", pending, http.StatusUnauthorized, "TOKEN_MISSING"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.requireResendRefused(t, tt.userID, tt.id, tt.status, tt.code)
		})
	}
}

func TestResendOfAccountMail(t *testing.T) {
	b := setup(t)
	b.Deliver(t, uuid.New(), "EMAIL_VERIFICATION_REQUESTED", couriertest.AccountMailRequested)
	id := b.list(t, couriertest.UserID, "").Notifications[0].NotificationID

	b.Services.Fail(couriertest.RequestPath, sidecar.ErrUnavailable)
	b.requireResendRefused(t, couriertest.UserID, id, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE")
	b.Services.Fail(couriertest.RequestPath, problem.New(problem.Forbidden, "SERVICE_FORBIDDEN", "Not allowed"))
	status, _ := b.resend(t, couriertest.UserID, id)
	require.Equal(t, http.StatusServiceUnavailable, status, "auth-service refused this service, not the user")

	b.Services.Fail(couriertest.RequestPath, nil)
	b.requireResend(t, couriertest.UserID, id)
	// The token is used before the mail is sent.
	b.Services.Fail(couriertest.RequestPath, problem.New(problem.NotFound, "ACCOUNT_MAIL_NOT_FOUND", "Used or expired"))
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
	require.Len(t, b.Services.Sent(), 1)
	require.Equal(t, "FAILED", b.list(t, couriertest.UserID, "").Notifications[0].Status)

	b.requireResendRefused(t, couriertest.UserID, id, http.StatusConflict, "NOT_RESENDABLE")
}

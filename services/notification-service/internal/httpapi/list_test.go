package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
)

func TestListReturnsTheUsersNotificationsByPage(t *testing.T) {
	b := setup(t)
	b.Deliver(t, uuid.New(), "PAYMENT_FAILED", couriertest.PaymentFailed)
	b.Deliver(t, uuid.New(), "TICKETS_GENERATED", couriertest.TicketsGenerated)
	b.Deliver(t, uuid.New(), "TICKET_TRANSFERRED", couriertest.TicketTransferred)

	first := b.list(t, couriertest.UserID, "?limit=2")
	require.Len(t, first.Notifications, 2)
	require.Equal(t, "TICKET_TRANSFERRED", first.Notifications[0].Kind, "the newest first")
	n := first.Notifications[1]
	require.Equal(t, "ORDER_CONFIRMATION", n.Kind)
	require.Equal(t, "SENT", n.Status)
	require.Equal(t, couriertest.OrderID, n.OrderID)
	require.False(t, n.SentAt.Before(n.CreatedAt))
	last := b.list(t, couriertest.UserID, "?limit=2&cursor="+first.NextCursor)
	require.Len(t, last.Notifications, 1)
	require.Equal(t, "PAYMENT_FAILED", last.Notifications[0].Kind)
	require.Empty(t, last.NextCursor)

	otherUsers := b.list(t, couriertest.OtherUserID, "")
	require.Len(t, otherUsers.Notifications, 1)
	require.Equal(t, "TICKET_RECEIVED", otherUsers.Notifications[0].Kind)
	require.Empty(t, otherUsers.Notifications[0].OrderID, "the order is another user's")
}

func TestListOfUserWithoutNotificationsIsEmpty(t *testing.T) {
	b := setup(t)
	status, body := b.send(t, http.MethodGet, "/api/notifications", uuid.NewString())
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"notifications": []}`, body)
}

func TestListNamesTheInvalidParameter(t *testing.T) {
	b := setup(t)
	for query, field := range map[string]string{"?limit=0": "limit", "?limit=101": "limit", "?cursor=x": "cursor"} {
		status, body := b.send(t, http.MethodGet, "/api/notifications"+query, couriertest.UserID)
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, body, `"field":"`+field+`"`)
	}
	status, _ := b.send(t, http.MethodGet, "/api/notifications", "")
	require.Equal(t, http.StatusUnauthorized, status)
}

package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
)

// The notification is stored before the event is acknowledged. An event that is not acknowledged is delivered again.
func TestEventIsRefusedWithoutDatabase(t *testing.T) {
	b := setup(t)
	const path = "/events/tickets-generated"
	event := couriertest.CloudEvent(uuid.New(), "TICKETS_GENERATED", couriertest.TicketsGenerated)
	b.Exec(t, `ALTER TABLE notifications RENAME TO unavailable`)
	require.Equal(t, http.StatusInternalServerError, b.sendEvent(t, path, appAPIToken, event))
	b.Exec(t, `ALTER TABLE unavailable RENAME TO notifications`)
	require.Equal(t, http.StatusOK, b.sendEvent(t, path, appAPIToken, event))
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
	require.Len(t, b.Services.Sent(), 1)
}

func TestMalformedEventIsRefused(t *testing.T) {
	b := setup(t)
	for _, body := range []string{
		``, `[]`, `{"id": "not a uuid", "type": "TICKETS_GENERATED", "data": {}}`,
		`{"id": "` + couriertest.OrderID + `", "type": "TICKETS_GENERATED",
			"data": {"eventType": "TICKETS_GENERATED", "version": "1.0", "payload": {"orderId": 7}}}`,
	} {
		status := b.sendEvent(t, "/events/tickets-generated", appAPIToken, body)
		require.Equal(t, http.StatusUnprocessableEntity, status, body)
	}
	require.Empty(t, b.Services.Sent())
}

// An event of an unknown type is stored, also if an earlier version of the subscription has a route for it.
func TestUnknownEventIsRecorded(t *testing.T) {
	b := setup(t)
	for _, path := range []string{"/events/unknown", "/events/seats-renumbered"} {
		id := uuid.New()
		event := couriertest.CloudEvent(id, "SEATS_RENUMBERED", `{}`)
		require.Equal(t, http.StatusOK, b.sendEvent(t, path, appAPIToken, event))
		var recorded int
		require.NoError(t, b.Pool.QueryRow(t.Context(), `
			SELECT count(*) FROM unknown_events WHERE event_id = $1`, id.String()).Scan(&recorded))
		require.Equal(t, 1, recorded, path)
	}
}

func TestOnlyTheSidecarDeliversEvents(t *testing.T) {
	b := setup(t)
	for _, path := range []string{
		"/events/tickets-generated", "/events/ticket-transferred", "/events/ticket-cancelled",
		"/events/payment-completed", "/events/payment-failed", "/events/refund-processed",
		"/events/event-updated", "/events/event-cancelled",
		"/events/compensation-failed", "/events/dead-letter-archived",
		"/events/email-verification-requested", "/events/password-reset-requested", "/events/unknown",
	} {
		for _, token := range []string{"", "wrong token"} {
			require.Equal(t, http.StatusUnauthorized, b.sendEvent(t, path, token, `{}`), path)
		}
	}
}

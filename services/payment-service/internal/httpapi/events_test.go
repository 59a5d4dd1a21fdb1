package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// deliver delivers an event as the sidecar does.
func (b *bundle) deliver(t *testing.T, path string, id any, eventType, payload string) answer {
	t.Helper()
	return b.send(t, http.MethodPost, path, fmt.Sprintf(`{"specversion": "1.0", "id": "%s", "source": "ticket-service",
		"type": %q, "data": {"eventType": %q, "version": "1.0", "timestamp": "2024-01-15T10:31:00Z",
		"correlationId": "corr-123456", "payload": %s}}`, id, eventType, eventType, payload), sidecarHeader)
}

func TestTicketsGeneratedCompletesTheOrderOnce(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	message := uuid.New()
	payload := fmt.Sprintf(`{"orderId": %q, "userId": %q, "eventId": %q, "tickets": [{"ticketId": %q,
		"ticketNumber": "TKT-2024-001234", "qrCode": "https://cdn.example.com/qr/dd0e8400.png"}]}`,
		id, b.buyer.ID, b.event, uuid.New())
	for range 2 {
		a := b.deliver(t, "/events/tickets-generated", message, "TICKETS_GENERATED", payload)
		require.Equal(t, http.StatusOK, a.status)
		require.JSONEq(t, `{"status": "SUCCESS"}`, a.body)
	}
	history := b.get(t, orders+"/"+id+"/history", b.as(t, b.buyer))
	require.Equal(t, 1, strings.Count(history.body, "TICKETS_GENERATED"))
	require.Equal(t, http.StatusCreated, b.buy(t, "key", nil).status)
}

func TestTicketGenerationFailedRefundsWithTheNextSweep(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	a := b.deliver(t, "/events/ticket-generation-failed", uuid.New(), "TICKET_GENERATION_FAILED", fmt.Sprintf(
		`{"orderId": %q, "userId": %q, "eventId": %q, "reservationId": %q, "reason": "INSUFFICIENT_INVENTORY"}`,
		id, b.buyer.ID, b.event, uuid.New(),
	))
	require.Equal(t, http.StatusOK, a.status)

	for _, resumed := range []int{1, 0} {
		a = b.send(t, http.MethodPost, "/bindings/resume-sagas", "", sidecarHeader)
		require.Equal(t, http.StatusOK, a.status)
		require.JSONEq(t, fmt.Sprintf(`{"resumed": %d}`, resumed), a.body)
	}
	charged, refunded := b.services.Money(uuid.MustParse(id))
	require.Equal(t, []money.Decimal{"100.00"}, charged)
	require.Equal(t, charged, refunded)
	o := b.get(t, orders+"/"+id, b.as(t, b.buyer)).order(t)
	require.Equal(t, "REFUNDED", o["paymentStatus"])
	require.Equal(t, "INSUFFICIENT_INVENTORY", o["failureReason"])
	again := b.buy(t, "key", nil)
	require.Equal(t, http.StatusCreated, again.status)
	require.Equal(t, "REFUNDED", again.order(t)["paymentStatus"])
}

func TestMalformedEventsAreRefusedAndUnknownOnesRecorded(t *testing.T) {
	b := setup(t)
	for _, path := range []string{"/events/tickets-generated", "/events/ticket-generation-failed", "/events/unknown"} {
		for _, body := range []string{"", "{", "[]", "{}", `{"id": 7}`} {
			b.send(t, http.MethodPost, path, body, sidecarHeader).
				requireFailure(t, http.StatusUnprocessableEntity, "MALFORMED_EVENT", "")
		}
	}
	b.deliver(t, "/events/tickets-generated", "not a uuid", "TICKETS_GENERATED", `{}`).
		requireFailure(t, http.StatusUnprocessableEntity, "MALFORMED_EVENT", "")
	b.deliver(t, "/events/tickets-generated", uuid.New(), "TICKETS_GENERATED", `{"orderId": "x"}`).
		requireFailure(t, http.StatusUnprocessableEntity, "MALFORMED_EVENT", "")

	message := uuid.New()
	for range 2 {
		require.Equal(t, http.StatusOK, b.deliver(t, "/events/unknown", message, "TICKET_PRINTED", `{}`).status)
	}
	var stored int
	require.NoError(t, b.pool.QueryRow(t.Context(),
		`SELECT count(*) FROM unknown_events WHERE event_id = $1 AND type = 'TICKET_PRINTED'`,
		message.String()).Scan(&stored))
	require.Equal(t, 1, stored)
}

package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
)

// The events of event-service determine what is on sale, without calls.
func TestEventsOfEventServiceUpdateSales(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.services.set(b.event, "DRAFT", nil)
	kind := b.newType(t, b.event, "VIP", "10")
	b.services.set(b.event, "DRAFT", sidecar.ErrUnavailable)
	details := func(name, status, updatedAt string) string {
		return `{"eventId":"` + b.event.String() + `","organizerId":"` + b.organizer.String() + `",
			"eventName":"` + name + `","eventDate":"2030-07-15T18:00:00Z","venueName":"Park","category":"MUSIC",
			"status":"` + status + `","updatedAt":"` + updatedAt + `"}`
	}
	reserve := func() (int, string) {
		return b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), b.event, kind, "1"))
	}
	for _, step := range []struct {
		eventType, payload string
		name               string // of the event afterwards
		status             int    // of a reserve afterwards
	}{
		{"EVENT_CREATED", details("Festival", "DRAFT", "2030-01-01T10:00:01Z"), "Festival", 503},
		{"EVENT_PUBLISHED", details("Festival", "PUBLISHED", "2030-01-01T10:00:02Z"), "Festival", 200},
		{"EVENT_UPDATED", details("Summer Festival", "PUBLISHED", "2030-01-01T10:00:04Z"), "Summer Festival", 200},
		{"EVENT_UPDATED", details("Stale Festival", "DRAFT", "2030-01-01T10:00:03Z"), "Summer Festival", 200},
		{"EVENT_CANCELLED", `{"eventId":"` + b.event.String() + `","eventName":"Summer Festival",
			"organizerId":"` + b.organizer.String() + `","cancellationReason":"Venue unavailable","affectedTicketCount":0,
			"updatedAt":"2030-01-01T10:00:05Z"}`, "Summer Festival", 503},
	} {
		status, body := b.deliver(t, step.eventType, step.payload)
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"status":"SUCCESS"}`, body)
		e, err := b.store.Event(t.Context(), b.event)
		require.NoError(t, err)
		require.Equal(t, step.name, e.Name)
		status, body = reserve()
		require.Equal(t, step.status, status, body)
	}
}

// The end of an event is stored from the first answer of event-service, and from each message.
func TestEndOfEventIsStored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.services.end = time.Date(2030, 7, 15, 23, 0, 0, 0, time.UTC)
	b.newType(t, b.event, "VIP", "10")
	requireEnd := func(end time.Time) {
		t.Helper()
		e, err := b.store.Event(t.Context(), b.event)
		require.NoError(t, err)
		require.NotNil(t, e.EndDate)
		require.True(t, end.Equal(*e.EndDate))
	}
	requireEnd(b.services.end)
	status, body := b.deliver(t, "EVENT_UPDATED", `{"eventId":"`+b.event.String()+`",
		"organizerId":"`+b.organizer.String()+`","eventName":"Festival","eventDate":"2030-07-15T18:00:00Z",
		"endDate":"2030-07-16T02:00:00Z","venueName":"Park","category":"MUSIC","status":"PUBLISHED",
		"updatedAt":"2030-01-01T10:00:04Z"}`)
	require.Equal(t, http.StatusOK, status, body)
	requireEnd(time.Date(2030, 7, 16, 2, 0, 0, 0, time.UTC))
}

// The organizer changes an event after its tickets were sold. Tickets that are fetched later show the change, in
// whatever order its messages arrive.
func TestFetchedTicketsShowChangesOfTheEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	owner := uuid.New()
	k := b.buy(t, owner, b.newType(t, b.event, "VIP", "10"), "1")[0]
	fetch := func(rest string) string {
		t.Helper()
		status, body := b.send(t, http.MethodGet, "/api/tickets/"+rest, "", b.as(t, owner))
		require.Equal(t, http.StatusOK, status, body)
		return body
	}
	pdf := k.TicketID.String() + "/ticket.pdf"
	before := fetch(pdf)
	update := func(name, venue, address, end, updatedAt string) {
		t.Helper()
		status, body := b.deliver(t, "EVENT_UPDATED", `{"eventId":"`+b.event.String()+`",
			"organizerId":"`+b.organizer.String()+`","eventName":"`+name+`","eventDate":"2030-07-15T18:00:00Z",`+end+`
			"venueName":"`+venue+`","venueAddress":"`+address+`","category":"MUSIC","status":"PUBLISHED",
			"updatedAt":"`+updatedAt+`"}`)
		require.Equal(t, http.StatusOK, status, body)
	}
	const end = `"endDate":"2030-07-15T23:00:00Z",`
	update("Autumn Festival", "Town Hall", "1 Market Square", end, "2030-01-01T10:00:04Z")
	update("Summer Festival", "Barn", "1 Farm Road", "", "2030-01-01T10:00:03Z") // late
	const event = `"event":{"name":"Autumn Festival","eventDate":"2030-07-15T18:00:00Z",` +
		`"endDate":"2030-07-15T23:00:00Z","venueName":"Town Hall","venueAddress":"1 Market Square","status":"PUBLISHED"}`
	require.Contains(t, fetch(k.TicketID.String()), event)
	require.Contains(t, fetch("mine"), event)
	after := fetch(pdf)
	require.NotEqual(t, before, after)
	status, mailed := b.send(t, http.MethodGet, "/api/tickets/internal/"+pdf+"?userId="+owner.String(), "",
		from(t, "notification-service"))
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, after, mailed)

	// Without an address, as earlier versions of event-service publish events, the known one stays.
	status, body := b.deliver(t, "EVENT_UPDATED", `{"eventId":"`+b.event.String()+`",
		"organizerId":"`+b.organizer.String()+`","eventName":"Fair","eventDate":"2030-07-15T18:00:00Z",
		"venueName":"Town Hall","category":"MUSIC","status":"PUBLISHED","updatedAt":"2030-01-01T10:00:05Z"}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, fetch(k.TicketID.String()), `"event":{"name":"Fair","eventDate":"2030-07-15T18:00:00Z",`+
		`"venueName":"Town Hall","venueAddress":"1 Market Square","status":"PUBLISHED"}`)
}

// The handler of EVENT_CANCELLED runs the first batch, and the next tick runs the rest.
func TestCancellationContinuesWithNextTick(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, user := b.newType(t, b.event, "VIP", "1000"), uuid.New()
	for range 3 {
		b.buy(t, user, kind, "100")
	}
	status, body := b.internal(t, "reserve", reserveBody(uuid.New(), user, b.event, kind, "5"))
	require.Equal(t, http.StatusOK, status, body)
	status, body = b.deliver(t, "EVENT_CANCELLED", `{"eventId":"`+b.event.String()+`","eventName":"Festival",
		"organizerId":"`+b.organizer.String()+`","cancellationReason":"Venue unavailable","affectedTicketCount":300,
		"updatedAt":"2030-01-01T10:00:05Z"}`)
	require.Equal(t, http.StatusOK, status, body)
	inventory := func() (sold, held int) {
		types, err := b.store.Types(t.Context(), b.event)
		require.NoError(t, err)
		return types[0].Sold, types[0].Held
	}
	sold, held := inventory()
	require.Equal(t, 300-store.CancelBatch, sold)
	require.Zero(t, held)
	for _, cancelled := range []string{"100", "0"} {
		require.JSONEq(t, `{"expired":0,"cancelled":`+cancelled+`}`, b.tick(t))
	}
	sold, _ = inventory()
	require.Zero(t, sold)
}

// The events of payment-service complete or release a reservation if payment-service could not do so by a call.
func TestEventsOfPaymentServiceEndReservations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, user := b.newType(t, b.event, "VIP", "2"), uuid.New()
	paid, failed := uuid.New(), uuid.New()
	for _, id := range []uuid.UUID{paid, failed} {
		status, body := b.internal(t, "reserve", reserveBody(id, user, b.event, kind, "1"))
		require.Equal(t, http.StatusOK, status, body)
	}
	status, body := b.deliver(t, "PAYMENT_COMPLETED", `{"orderId":"`+uuid.NewString()+`",
		"orderNumber":"ORD-2030-000001","userId":"`+user.String()+`","eventId":"`+b.event.String()+`",
		"reservationId":"`+paid.String()+`","holderName":"Ann O'Hara","totalAmount":50.00,"currency":"USD",
		"paymentMethod":"CREDIT_CARD","transactionId":"txn-987654",
		"items":[{"ticketTypeId":"`+kind.String()+`","quantity":1,"unitPrice":50.00}]}`)
	require.Equal(t, http.StatusOK, status, body)
	status, body = b.deliver(t, "PAYMENT_FAILED", `{"orderId":"`+uuid.NewString()+`",
		"userId":"`+user.String()+`","reservationId":"`+failed.String()+`","failureReason":"INSUFFICIENT_FUNDS",
		"errorMessage":"Payment declined by issuing bank","retryable":false}`)
	require.Equal(t, http.StatusOK, status, body)

	tickets, err := b.store.TicketsOfUser(t.Context(), user, paging.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, tickets, 1)
	require.Equal(t, "Ann O'Hara", tickets[0].HolderName)
	types, err := b.store.Types(t.Context(), b.event)
	require.NoError(t, err)
	require.Equal(t, 1, types[0].Sold)
	require.Equal(t, 0, types[0].Held)
}

func TestUnreadableEventsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	header := http.Header{"Dapr-Api-Token": {appAPIToken}}
	for _, tt := range []struct {
		name, body string
		status     int
	}{
		{"MalformedJSON", `{"id":`, 422},
		{"NoID", `{"type":"PAYMENT_FAILED","data":{}}`, 422},
		{"NoData", `{"id":"` + uuid.NewString() + `","type":"PAYMENT_FAILED"}`, 422},
		{"OtherTypeInEnvelope", `{"id":"` + uuid.NewString() + `","type":"PAYMENT_FAILED",
			"data":{"eventType":"PAYMENT_COMPLETED","version":"1.0"}}`, 422},
		{"InvalidPayload", `{"id":"` + uuid.NewString() + `","type":"PAYMENT_FAILED",
			"data":{"eventType":"PAYMENT_FAILED","version":"1.0","payload":{"reservationId":"x"}}}`, 422},
		{"UnknownVersion", `{"specversion":"1.0","source":"test","id":"` + uuid.NewString() + `","type":"PAYMENT_FAILED",
			"data":{"eventType":"PAYMENT_FAILED","version":"2.0"}}`, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/events", tt.body, header)
			require.Equal(t, tt.status, status, body)
		})
	}
	t.Run("UnknownType", func(t *testing.T) {
		t.Parallel()
		status, body := b.deliver(t, "TICKET_UPGRADED", `{}`)
		require.Equal(t, http.StatusOK, status, body)
	})
}

func TestTickEndsDueReservations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, id := b.newType(t, b.event, "VIP", "1"), uuid.New()
	status, body := b.internal(t, "reserve", reserveBody(id, uuid.New(), b.event, kind, "1"))
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"expired":0,"cancelled":0}`, b.tick(t))
	_, err := b.pool.Exec(t.Context(), `UPDATE reservations SET expires_at = $1`, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.JSONEq(t, `{"expired":1,"cancelled":0}`, b.tick(t))
	require.JSONEq(t, `{"expired":0,"cancelled":0}`, b.tick(t))

	status, body = b.send(t, http.MethodGet, "/api/tickets/events/"+b.event.String()+"/availability", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"quantityAvailable":1`)
}

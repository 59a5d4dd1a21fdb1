package httpapi_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/analytics-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const (
	appAPIToken  = "the token of the sidecar"
	organizerID  = "550e8400-e29b-41d4-a716-446655440000"
	buyerID      = "660e8400-e29b-41d4-a716-446655440001"
	eventID      = "770e8400-e29b-41d4-a716-446655440000"
	orderID      = "cc0e8400-e29b-41d4-a716-446655440000"
	ticketTypeID = "990e8400-e29b-41d4-a716-446655440000"
	otherTypeID  = "aa0e8400-e29b-41d4-a716-446655440001"
	salesPath    = "/api/analytics/events/" + eventID + "/sales"
)

// The payloads of events, from the examples of the contract.
const (
	eventDetails = `{"eventId": "` + eventID + `", "organizerId": "` + organizerID + `",
		"eventName": "Summer Music Festival 2024", "eventDate": "2024-07-15T18:00:00Z",
		"venueName": "Central Park Amphitheater", "category": "MUSIC", "status": "%s", "updatedAt": "%s"}`
	eventCancelled = `{"eventId": "` + eventID + `", "eventName": "Summer Music Festival 2024",
		"organizerId": "` + organizerID + `", "cancellationReason": "Venue unavailable", "affectedTicketCount": 150,
		"updatedAt": "2024-01-15T12:00:00Z"}`
	paymentCompleted = `{"orderId": "` + orderID + `", "orderNumber": "ORD-2024-001234", "userId": "` + buyerID + `",
		"eventId": "` + eventID + `", "totalAmount": 150.00, "currency": "USD", "paymentMethod": "CREDIT_CARD",
		"transactionId": "txn-987654", "items": [
			{"ticketTypeId": "` + ticketTypeID + `", "quantity": 2, "unitPrice": 50.00},
			{"ticketTypeId": "` + otherTypeID + `", "quantity": 1, "unitPrice": 50.00}]}`
	paymentFailed = `{"orderId": "cc0e8400-e29b-41d4-a716-446655440001", "userId": "` + buyerID + `",
		"eventId": "` + eventID + `", "reservationId": "bb0e8400-e29b-41d4-a716-446655440000",
		"failureReason": "INSUFFICIENT_FUNDS", "errorMessage": "Payment declined by issuing bank", "retryable": false}`
	ticketsGenerated = `{"orderId": "` + orderID + `", "userId": "` + buyerID + `", "eventId": "` + eventID + `",
		"tickets": [
			{"ticketId": "dd0e8400-e29b-41d4-a716-446655440000", "ticketNumber": "TKT-2024-001234",
				"qrCode": "https://cdn.example.com/qr/1.png"},
			{"ticketId": "ee0e8400-e29b-41d4-a716-446655440001", "ticketNumber": "TKT-2024-001235",
				"qrCode": "https://cdn.example.com/qr/2.png"}]}`
	refundProcessed = `{"orderId": "` + orderID + `", "userId": "` + buyerID + `", "eventId": "` + eventID + `",
		"refundId": "re_1", "amount": 150.00, "refundedTotal": 150.00, "currency": "USD",
		"reason": "INSUFFICIENT_INVENTORY", "orderRefunded": true}`
	refundFailed = `{"orderId": "` + orderID + `", "userId": "` + buyerID + `", "eventId": "` + eventID + `",
		"refundId": "re_1", "amount": 150.00, "refundedTotal": 0.00, "currency": "USD",
		"reason": "EXPIRED_OR_CANCELED_CARD", "reversed": true}`
	ticketCancelled = `{"ticketId": "dd0e8400-e29b-41d4-a716-446655440000", "ticketNumber": "TKT-2024-001234",
		"ticketTypeId": "` + ticketTypeID + `", "orderId": "` + orderID + `", "userId": "` + buyerID + `",
		"eventId": "` + eventID + `", "reason": "Ill", "cancelledBy": "REFUND"}`
	ticketCheckedIn = `{"ticketId": "ee0e8400-e29b-41d4-a716-446655440001", "orderId": "` + orderID + `",
		"eventId": "` + eventID + `", "ticketTypeId": "` + ticketTypeID + `",
		"checkedInAt": "2024-07-15T17:12:34Z", "gate": "North"}`
	ticketCheckInUndone = `{"ticketId": "ee0e8400-e29b-41d4-a716-446655440001", "orderId": "` + orderID + `",
		"eventId": "` + eventID + `", "ticketTypeId": "` + ticketTypeID + `",
		"checkedInAt": "2024-07-15T17:12:34Z", "undoneAt": "2024-07-15T17:15:00Z", "reason": "Scanned by mistake"}`
)

var (
	eventCreated   = fmt.Sprintf(eventDetails, "DRAFT", "2024-01-15T10:00:00Z")
	eventUpdated   = fmt.Sprintf(eventDetails, "DRAFT", "2024-01-15T10:30:00Z")
	eventPublished = fmt.Sprintf(eventDetails, "PUBLISHED", "2024-01-15T11:00:00Z")
)

type bundle struct {
	url  string
	key  ed25519.PrivateKey // signs access tokens
	pool *pgxpool.Pool
}

func setup(t *testing.T) bundle {
	t.Helper()
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	b := bundle{key: private, pool: postgrestest.New(t, messaging.Migrations(), store.Migrations())}
	figures := store.New(b.pool)
	guard := identity.Guard{
		Verifier: identity.Verifier{Keys: func(context.Context) jwt.Keyfunc {
			return func(*jwt.Token) (any, error) { return public, nil }
		}},
		AppAPIToken: appAPIToken,
	}
	router := httpapi.New(httpapi.Deps{
		Store: figures, Guard: guard, Database: web.Check{Name: "database", Probe: b.pool.Ping},
	})
	mountConsumer(router, b.pool, httpapi.Handlers(figures), guard)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// mountConsumer mounts the event consumer as main does.
func mountConsumer(router *mux.Router, pool *pgxpool.Pool, handlers []inbox.Handler, guard identity.Guard) {
	app.Consumer{
		Config: deadletter.Config{
			Service: "analytics-service", API: "/api/analytics", Announce: true,
			Queues: messaging.Queues{Main: "analytics-queue"},
		},
		Pool: pool, Handlers: handlers,
	}.Mount(router, guard)
}

// do sends a request and returns the status and the body of the response.
func (b bundle) do(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	response, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(response)
}

// deliver delivers an event as the sidecar does, and returns the status of the response.
func (b bundle) deliver(t *testing.T, id uuid.UUID, eventType, payload string) int {
	t.Helper()
	status, _ := b.do(t, http.MethodPost, "/events",
		fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": "test", "type": %q,
			"data": {"eventType": %q, "version": "1.0", "timestamp": "2024-01-15T10:31:00Z",
				"correlationId": "corr-123456", "payload": %s}}`, id, eventType, eventType, payload),
		"dapr-api-token", appAPIToken)
	return status
}

// token returns the Authorization header of a user whose access token expires after the given time.
func (b bundle) token(t *testing.T, user string, expiry time.Duration, roles ...identity.Role) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: user,
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(expiry)),
		},
		Roles: roles,
	}).SignedString(b.key)
	require.NoError(t, err)
	return "Bearer " + signed
}

func (b bundle) sales(t *testing.T, authorization string) (int, string) {
	t.Helper()
	return b.do(t, http.MethodGet, salesPath, "", "Authorization", authorization)
}

func TestRefundThatFailsLaterIsNotCounted(t *testing.T) {
	b := setup(t)
	organizer := b.token(t, organizerID, time.Minute, identity.RoleUser, identity.RoleOrganizer)
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "EVENT_CREATED", eventCreated))
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "REFUND_PROCESSED", refundProcessed))
	atOnce := strings.Replace(refundFailed, `"reversed": true`, `"reversed": false`, 1)
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "REFUND_FAILED", atOnce))
	_, body := b.sales(t, organizer)
	require.Contains(t, body, `"refunds":1,"refunded":150.00`)
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "REFUND_FAILED", refundFailed))
	_, body = b.sales(t, organizer)
	require.Contains(t, body, `"refunds":0,"refunded":0.00`)
}

// A dispute counts once, and its money while the bank has it, in whatever order its events arrive.
func TestDisputedMoneyIsCountedWhileTheBankHasIt(t *testing.T) {
	disputed := func(status, previous string, revision int) string {
		if previous != "" {
			previous = `"previousStatus": "` + previous + `",`
		}
		return fmt.Sprintf(`{"disputeId": "dp_1", "orderId": %q, "userId": %q, "eventId": %q, "amount": 150.00,
			"currency": "USD", "reason": "FRAUDULENT", "status": %q, %s "revision": %d}`,
			orderID, buyerID, eventID, status, previous, revision)
	}
	opened, won, lost := disputed("OPEN", "", 1), disputed("WON", "OPEN", 2), disputed("LOST", "OPEN", 2)
	for name, tt := range map[string]struct {
		payloads []string
		want     string
	}{
		"Open":               {[]string{opened}, `"disputes":1,"disputed":150.00`},
		"Won":                {[]string{opened, won}, `"disputes":1,"disputed":0.00`},
		"WonArrivesFirst":    {[]string{won, opened}, `"disputes":1,"disputed":0.00`},
		"Lost":               {[]string{opened, lost}, `"disputes":1,"disputed":150.00`},
		"LostAtOnce":         {[]string{disputed("LOST", "", 1)}, `"disputes":1,"disputed":150.00`},
		"LostAndThenWon":     {[]string{opened, lost, disputed("WON", "LOST", 3)}, `"disputes":1,"disputed":0.00`},
		"WonWithoutOpen":     {[]string{disputed("WON", "", 1)}, `"disputes":1,"disputed":0.00`},
		"WonBeforeItsOpened": {[]string{won}, `"disputes":0,"disputed":0.00`},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "EVENT_CREATED", eventCreated))
			for _, payload := range tt.payloads {
				id := uuid.New()
				for range 2 {
					require.Equal(t, http.StatusOK, b.deliver(t, id, "PAYMENT_DISPUTED", payload))
				}
			}
			_, body := b.sales(t, b.token(t, organizerID, time.Minute, identity.RoleUser, identity.RoleOrganizer))
			require.Contains(t, body, tt.want)
		})
	}
}

func TestSalesSumAllEventsOnce(t *testing.T) {
	b := setup(t)
	organizer := b.token(t, organizerID, time.Minute, identity.RoleUser, identity.RoleOrganizer)
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "EVENT_CREATED", eventCreated))
	status, body := b.sales(t, organizer)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"eventId": "`+eventID+`", "eventName": "Summer Music Festival 2024", "status": "DRAFT",
		"currency": null, "ordersCompleted": 0, "ordersFailed": 0, "ticketsSold": 0, "ticketsGenerated": 0,
		"ticketsCancelled": 0, "checkedIn": 0, "revenue": 0, "refunds": 0, "refunded": 0,
		"disputes": 0, "disputed": 0, "byTicketType": [], "byHour": []}`, body)

	for eventType, payload := range map[string]string{
		"PAYMENT_COMPLETED": paymentCompleted, "PAYMENT_FAILED": paymentFailed, "REFUND_PROCESSED": refundProcessed,
		"TICKETS_GENERATED": ticketsGenerated, "EVENT_PUBLISHED": eventPublished, "EVENT_UPDATED": eventUpdated,
		"TICKET_CANCELLED": ticketCancelled, "TICKET_CHECKED_IN": ticketCheckedIn,
	} {
		id := uuid.New()
		for range 2 { // events are delivered at least once
			require.Equal(t, http.StatusOK, b.deliver(t, id, eventType, payload), eventType)
		}
	}
	status, body = b.sales(t, organizer)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"eventId": "`+eventID+`", "eventName": "Summer Music Festival 2024", "status": "PUBLISHED",
		"currency": "USD", "ordersCompleted": 1, "ordersFailed": 1, "ticketsSold": 3, "ticketsGenerated": 2,
		"ticketsCancelled": 1, "checkedIn": 1, "revenue": 150.00, "refunds": 1, "refunded": 150.00,
		"disputes": 0, "disputed": 0.00,
		"byTicketType": [
			{"ticketTypeId": "`+ticketTypeID+`", "ticketsSold": 2, "revenue": 100.00, "checkedIn": 1, "refunded": 1},
			{"ticketTypeId": "`+otherTypeID+`", "ticketsSold": 1, "revenue": 50.00, "checkedIn": 0, "refunded": 0}],
		"byHour": [{"hour": "2024-01-15T10:00:00Z", "ticketsSold": 3, "revenue": 150.00, "checkedIn": 0},
			{"hour": "2024-07-15T17:00:00Z", "ticketsSold": 0, "revenue": 0, "checkedIn": 1}]}`, body)
	require.Contains(t, body, "150.00", "with all digits of the currency")

	status, body = b.do(t, http.MethodGet, "/api/analytics/events", "", "Authorization", organizer)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"events": [{"eventId": "`+eventID+`", "eventName": "Summer Music Festival 2024",
		"status": "PUBLISHED", "currency": "USD", "ticketsSold": 3, "checkedIn": 1, "revenue": 150.00,
		"refunded": 150.00}]}`, body)
}

// A check-in and its undoing count in whatever order they arrive, and the next check-in of the ticket counts again.
func TestUndoneCheckInsAreNotCounted(t *testing.T) {
	b := setup(t)
	organizer := b.token(t, organizerID, time.Minute, identity.RoleUser, identity.RoleOrganizer)
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "EVENT_CREATED", eventCreated))
	again := strings.Replace(ticketCheckedIn, "17:12:34Z", "18:30:00.123456Z", 1)
	for _, step := range []struct{ eventType, payload, checkedIn, byHour string }{
		{"TICKET_CHECK_IN_UNDONE", ticketCheckInUndone, `"checkedIn":0`, `"byHour":[]`},
		{"TICKET_CHECKED_IN", ticketCheckedIn, `"checkedIn":0`, `"byHour":[]`},
		{"TICKET_CHECKED_IN", again, `"checkedIn":1`, `"byHour":[{"hour":"2024-07-15T18:00:00Z",`},
		{"TICKET_CHECKED_IN", again, `"checkedIn":1`, `"byHour":[{"hour":"2024-07-15T18:00:00Z",`}, // under another event id
	} {
		require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), step.eventType, step.payload))
		status, body := b.sales(t, organizer)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, step.checkedIn)
		require.Contains(t, body, step.byHour)
	}
}

func TestEventsListsOwnEventsByPage(t *testing.T) {
	b := setup(t)
	const events = 3
	for range events {
		id := uuid.NewString()
		created := strings.Replace(eventCreated, eventID, id, 1)
		require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "EVENT_CREATED", created))
	}
	list := func(user, query string) (int, string) {
		return b.do(t, http.MethodGet, "/api/analytics/events"+query, "",
			"Authorization", b.token(t, user, time.Minute, identity.RoleOrganizer))
	}
	var seen []string
	query := "?limit=2"
	for range 2 {
		status, body := list(organizerID, query)
		require.Equal(t, http.StatusOK, status)
		var page struct {
			Events     []struct{ EventID string }
			NextCursor string
		}
		require.NoError(t, json.Unmarshal([]byte(body), &page))
		for _, e := range page.Events {
			require.NotContains(t, seen, e.EventID)
			seen = append(seen, e.EventID)
		}
		query = "?limit=2&cursor=" + page.NextCursor
		require.Equal(t, len(seen) < events, page.NextCursor != "")
	}
	require.Len(t, seen, events)

	status, body := list(uuid.NewString(), "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"events": []}`, body, "no events of other organizers")
	for _, query := range []string{"?limit=0", "?limit=101", "?limit=x", "?cursor=x"} {
		status, _ = list(organizerID, query)
		require.Equal(t, http.StatusBadRequest, status, query)
	}
	status, _ = b.do(t, http.MethodGet, "/api/analytics/events", "")
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestStaleEventIsIgnored(t *testing.T) {
	b := setup(t)
	// The cancellation is newer than the event delivered after it.
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "EVENT_CANCELLED", eventCancelled))
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "EVENT_PUBLISHED", eventPublished))
	_, body := b.sales(t, b.token(t, organizerID, time.Minute))
	require.Contains(t, body, `"status":"CANCELLED"`)
}

func TestSalesAreVisibleToOrganizerAndAdmin(t *testing.T) {
	b := setup(t)
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "EVENT_CREATED", eventCreated))
	other := uuid.NewString()
	_, forger, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	for _, tt := range []struct {
		name, authorization string
		status              int
		code                string
	}{
		{"Organizer", b.token(t, organizerID, time.Minute, identity.RoleOrganizer), http.StatusOK, ""},
		{"Admin", b.token(t, other, time.Minute, identity.RoleAdmin), http.StatusOK, ""},
		{
			"AnotherOrganizer",
			b.token(t, other, time.Minute, identity.RoleOrganizer),
			http.StatusNotFound, "EVENT_NOT_FOUND",
		},
		{"Buyer", b.token(t, other, time.Minute, identity.RoleUser), http.StatusNotFound, "EVENT_NOT_FOUND"},
		{"NoToken", "", http.StatusUnauthorized, "TOKEN_MISSING"},
		{
			"ExpiredToken",
			b.token(t, organizerID, -time.Minute, identity.RoleOrganizer),
			http.StatusUnauthorized, "TOKEN_EXPIRED",
		},
		{
			"ForgedToken",
			bundle{key: forger}.token(t, organizerID, time.Minute, identity.RoleOrganizer),
			http.StatusUnauthorized, "TOKEN_INVALID",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := b.sales(t, tt.authorization)
			require.Equal(t, tt.status, status, body)
			if tt.code != "" {
				var problem struct{ Error string }
				require.NoError(t, json.Unmarshal([]byte(body), &problem))
				require.Equal(t, tt.code, problem.Error)
			}
		})
	}
}

func TestSalesOfUnknownEvent(t *testing.T) {
	b := setup(t)
	admin := b.token(t, organizerID, time.Minute, identity.RoleAdmin)
	status, body := b.sales(t, admin)
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, body, `"EVENT_NOT_FOUND"`)

	status, body = b.do(t, http.MethodGet, "/api/analytics/events/1/sales", "", "Authorization", admin)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, `"field":"eventId"`)
}

// A rejected event reaches the dead-letter queue, where operators see it.
func TestInvalidEventsAreRejected(t *testing.T) {
	b := setup(t)
	replaced := func(payload, old, replacement string) string {
		require.Contains(t, payload, old)
		return strings.Replace(payload, old, replacement, 1)
	}
	for name, event := range map[string][2]string{
		"NegativeQuantity": {"PAYMENT_COMPLETED", replaced(paymentCompleted, `"quantity": 2`, `"quantity": -2`)},
		"TooPrecise":       {"PAYMENT_COMPLETED", replaced(paymentCompleted, `: 50.00`, `: 50.001`)},
		"NoCurrency":       {"PAYMENT_COMPLETED", replaced(paymentCompleted, `"USD"`, `""`)},
		"PriceAsString":    {"PAYMENT_COMPLETED", replaced(paymentCompleted, `: 50.00`, `: "50.00"`)},
		"NegativeRefund":   {"REFUND_PROCESSED", replaced(refundProcessed, `150.00`, `-150.00`)},
		"FailureNoEvent":   {"PAYMENT_FAILED", `{}`},
		"TicketsNoEvent":   {"TICKETS_GENERATED", `{}`},
		"CheckInNoTime":    {"TICKET_CHECKED_IN", replaced(ticketCheckedIn, "checkedInAt", "at")},
		"UndoneNoTime":     {"TICKET_CHECK_IN_UNDONE", replaced(ticketCheckInUndone, "checkedInAt", "at")},
		"RefundNoType":     {"TICKET_CANCELLED", replaced(ticketCancelled, "ticketTypeId", "type")},
		"EventNoTime":      {"EVENT_CREATED", `{"eventId": "` + eventID + `"}`},
	} {
		require.GreaterOrEqual(t, b.deliver(t, uuid.New(), event[0], event[1]), 400, name)
	}
	var rows int
	require.NoError(t, b.pool.QueryRow(t.Context(),
		`SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM event_sales) + (SELECT count(*) FROM events)`,
	).Scan(&rows))
	require.Zero(t, rows)
}

func TestEventsWithoutHandlerAreRecorded(t *testing.T) {
	b := setup(t)
	for _, path := range []string{"/events/unknown", "/events/ticket-transferred"} {
		id := uuid.NewString()
		status, _ := b.do(t, http.MethodPost, path, `{"id": "`+id+`", "type": "TICKET_TRANSFERRED", "data": {}}`,
			"dapr-api-token", appAPIToken)
		require.Equal(t, http.StatusOK, status)
		var recorded int
		require.NoError(t, b.pool.QueryRow(t.Context(),
			`SELECT count(*) FROM unknown_events WHERE event_id = $1`, id).Scan(&recorded))
		require.Equal(t, 1, recorded, path)
	}
}

func TestOnlyTheSidecarMayDeliver(t *testing.T) {
	b := setup(t)
	for _, path := range []string{
		"event-created", "event-updated", "event-published", "event-cancelled",
		"payment-completed", "payment-failed", "refund-processed", "tickets-generated",
		"ticket-cancelled", "ticket-checked-in", "unknown",
	} {
		for _, token := range []string{"", "a guess"} {
			status, _ := b.do(t, http.MethodPost, "/events/"+path, `{}`, "dapr-api-token", token)
			require.Equal(t, http.StatusUnauthorized, status, path)
		}
	}
}

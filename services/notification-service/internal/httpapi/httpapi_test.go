package httpapi_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/claim/claimtest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

const (
	apiToken = "the sidecar's token"
	deadline = 20 * time.Second

	userID   = "550e8400-e29b-41d4-a716-446655440000"
	eventID  = "770e8400-e29b-41d4-a716-446655440000"
	orderID  = "cc0e8400-e29b-41d4-a716-446655440000"
	ticketID = "dd0e8400-e29b-41d4-a716-446655440000"

	emailPath = "/api/email/internal/messages"
	userPath  = "/api/auth/internal/users/" + userID
	eventPath = "/api/events/internal/" + eventID
	orderPath = "/api/payments/internal/orders/" + orderID
	pdfPath   = "/api/tickets/internal/" + ticketID + "/ticket.pdf?userId=" + userID
)

// The contract's own examples.
const (
	ticketsGenerated = `{"orderId": "` + orderID + `", "userId": "` + userID + `", "eventId": "` + eventID + `",
		"tickets": [{"ticketId": "` + ticketID + `", "ticketNumber": "TKT-2024-001234", "qrCode": "https://cdn.example.com/qr/dd0e8400.png"}]}`
	paymentFailed = `{"orderId": "` + orderID + `", "userId": "` + userID + `", "eventId": "` + eventID + `",
		"reservationId": "bb0e8400-e29b-41d4-a716-446655440000", "failureReason": "INSUFFICIENT_FUNDS",
		"errorMessage": "Payment declined by issuing bank", "retryable": false}`
	paymentCompleted = `{"orderId": "` + orderID + `", "orderNumber": "ORD-2024-001234", "userId": "` + userID + `",
		"eventId": "` + eventID + `", "totalAmount": 150.00, "currency": "USD", "paymentMethod": "CREDIT_CARD",
		"transactionId": "txn-987654", "items": [{"ticketTypeId": "990e8400-e29b-41d4-a716-446655440000", "quantity": 2, "unitPrice": 50.00}]}`
	user = `{"userId": "` + userID + `", "email": "user@example.com", "firstName": "John", "lastName": "Doe",
		"emailVerified": true, "createdAt": "2024-01-01T10:00:00Z"}`
	event = `{"eventId": "` + eventID + `", "organizerId": "` + userID + `", "name": "Summer Music Festival 2024",
		"description": "Annual outdoor music festival", "eventDate": "2024-07-15T18:00:00Z", "venueName": "Central Park Amphitheater",
		"venueAddress": "123 Park Ave, New York, NY 10001", "category": "MUSIC", "status": "PUBLISHED", "imageUrl": ""}`
	order = `{"orderId": "` + orderID + `", "orderNumber": "ORD-2024-001234", "userId": "` + userID + `", "eventId": "` + eventID + `",
		"totalAmount": 100.00, "currency": "USD", "paymentStatus": "COMPLETED", "paymentMethod": "CREDIT_CARD",
		"items": [{"ticketTypeId": "990e8400-e29b-41d4-a716-446655440000", "quantity": 2, "unitPrice": 50.00, "totalPrice": 100.00}],
		"createdAt": "2024-01-15T10:30:00Z", "completedAt": "2024-01-15T10:31:00Z"}`
)

// services answers what other services would.
type services struct {
	mu      sync.Mutex
	answers map[string]string // by path
	errs    map[string]error  // by path, before any answer
	sending func(context.Context) error
	mails   []mail
}

type mail struct {
	MessageID   string `json:"messageId"`
	To          struct{ Name, Address string }
	Subject     string
	Text, HTML  string
	Attachments []struct {
		Filename, ContentType string
		Content               []byte
	}
}

func (s *services) Call(ctx context.Context, _, _, path string, in, out any) error {
	if path == emailPath {
		return s.send(ctx, in)
	}
	answer, err := s.Fetch(ctx, "", path)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

func (s *services) Fetch(_ context.Context, _, path string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.errs[path]; err != nil {
		return nil, err
	}
	answer, ok := s.answers[path]
	if !ok {
		return nil, sidecar.ErrUnavailable.Because(fmt.Errorf("nobody is asked for %s", path))
	}
	return []byte(answer), nil
}

func (s *services) send(ctx context.Context, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var m mail
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	s.mu.Lock()
	sending, err := s.sending, s.errs[emailPath]
	s.mu.Unlock()
	if sending != nil {
		err = sending(ctx)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	return nil
}

// fail makes calls of path fail, or work again.
func (s *services) fail(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs[path] = err
}

func (s *services) whileSending(do func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending = do
}

func (s *services) sent() []mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}

type bundle struct {
	pool     *pgxpool.Pool
	store    store.Store
	states   *claimtest.States
	claims   claim.Claims
	services *services
	courier  courier.Courier
	key      ed25519.PrivateKey
	url      string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	b := &bundle{
		pool:   postgrestest.New(t, messaging.Migrations(), store.Migrations()),
		states: &claimtest.States{},
		services: &services{
			answers: map[string]string{userPath: user, eventPath: event, orderPath: order, pdfPath: "%PDF-1.7"},
			errs:    map[string]error{},
		},
	}
	b.store = store.Store{Pool: b.pool}
	b.claims = claim.Claims{
		States: b.states, Store: "statestore", Consumer: "notification-service", Lease: courier.Lease, Keep: 24 * time.Hour,
	}
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	b.key = private
	b.courier = courier.Courier{Claims: b.claims, Store: b.store, Services: b.services, PublicURL: "https://tickets.example.com"}
	server := httptest.NewServer(httpapi.API{Courier: b.courier, Guard: identity.Guard{
		Verifier:    identity.Verifier{Keys: func(context.Context) jwt.Keyfunc { return func(*jwt.Token) (any, error) { return public, nil } }},
		AppAPIToken: apiToken,
	}}.Router())
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// deliver does what the sidecar does with a message, and gives the answer's status.
func (b *bundle) deliver(ctx context.Context, t *testing.T, id uuid.UUID, eventType, payload string) int {
	t.Helper()
	path := "/events/" + strings.ToLower(strings.ReplaceAll(eventType, "_", "-"))
	res, err := b.post(ctx, path, apiToken, fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": "test", "type": %q,
		"data": {"eventType": %q, "version": "1.0", "timestamp": "2024-01-15T10:31:00Z", "correlationId": "corr-123456", "payload": %s}}`,
		id, eventType, eventType, payload))
	assert.NoError(t, err) // and not require: some deliver from another goroutine
	return res
}

func (b *bundle) post(ctx context.Context, path, token, body string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("dapr-api-token", token)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

type row struct {
	Kind, Status, ErrorCode string
	Attempts                int
}

func (b *bundle) row(t *testing.T, messageID uuid.UUID) row {
	t.Helper()
	var r row
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT kind, status, coalesce(error_code, ''), attempts FROM notifications
		WHERE message_id = $1 AND user_id = $2 AND order_id = $3`, messageID, userID, orderID,
	).Scan(&r.Kind, &r.Status, &r.ErrorCode, &r.Attempts))
	return r
}

func TestTicketsGenerated(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Len(t, b.services.sent(), 1)
	m := b.services.sent()[0]
	require.Equal(t, id.String(), m.MessageID)
	require.Equal(t, "John Doe", m.To.Name)
	require.Equal(t, "user@example.com", m.To.Address)
	require.Equal(t, "Your tickets for Summer Music Festival 2024", m.Subject)
	require.Contains(t, m.Text, "100.00 USD")
	require.Contains(t, m.HTML, "ORD-2024-001234")
	require.Len(t, m.Attachments, 1)
	require.Equal(t, "TKT-2024-001234.pdf", m.Attachments[0].Filename)
	require.Equal(t, "application/pdf", m.Attachments[0].ContentType)
	require.Equal(t, "%PDF-1.7", string(m.Attachments[0].Content))
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, id))
}

func TestTicketsGeneratedForALargeOrder(t *testing.T) {
	b := setup(t)
	one := `{"ticketId": "` + ticketID + `", "ticketNumber": "TKT-2024-001234", "qrCode": ""}`
	payload := strings.Replace(ticketsGenerated, `"tickets": [`, `"tickets": [`+strings.Repeat(one+",", notification.MaxAttached), 1)
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, uuid.New(), "TICKETS_GENERATED", payload))
	require.Len(t, b.services.sent(), 1)
	require.Len(t, b.services.sent()[0].Attachments, notification.MaxAttached)
	require.Contains(t, b.services.sent()[0].Text, "The other one is in your account")
}

func TestPaymentFailed(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "PAYMENT_FAILED", paymentFailed))
	require.Len(t, b.services.sent(), 1)
	m := b.services.sent()[0]
	require.Equal(t, id.String(), m.MessageID)
	require.Equal(t, "Your payment for Summer Music Festival 2024 did not go through", m.Subject)
	require.Contains(t, m.Text, "Payment declined by issuing bank")
	require.Empty(t, m.Attachments)
	require.Equal(t, row{"PAYMENT_FAILED", "SENT", "", 1}, b.row(t, id))
}

func TestPaymentCompletedSendsNothingYet(t *testing.T) {
	b := setup(t)
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, uuid.New(), "PAYMENT_COMPLETED", paymentCompleted))
	require.Empty(t, b.services.sent())
}

func TestDuplicate(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	for range 3 {
		require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	}
	require.Len(t, b.services.sent(), 1)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, id))
}

func TestDuplicateWhileTheFirstIsBeingSent(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.services.whileSending(func(ctx context.Context) error {
		assert.Equal(t, http.StatusInternalServerError, b.deliver(ctx, t, id, "TICKETS_GENERATED", ticketsGenerated), "it comes again")
		return nil
	})
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Len(t, b.services.sent(), 1)
}

func TestManyDuplicatesAtOnce(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() { b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated) })
	}
	wg.Wait()
	require.Len(t, b.services.sent(), 1)
}

func TestFailureOfAnotherService(t *testing.T) {
	down := sidecar.ErrUnavailable.Because(errors.New("connection refused"))
	for _, tt := range []struct {
		name, path string
		err        error
		code       string
	}{
		{"AuthServiceDown", userPath, down, "SERVICE_UNAVAILABLE"},
		{"EventServiceDown", eventPath, down, "SERVICE_UNAVAILABLE"},
		{"PaymentServiceDown", orderPath, down, "SERVICE_UNAVAILABLE"},
		{"TicketServiceDown", pdfPath, down, "SERVICE_UNAVAILABLE"},
		{"EmailServiceDown", emailPath, down, "SERVICE_UNAVAILABLE"},
		// A 404 passed on would make the sidecar drop the event.
		{"UserNotFound", userPath, problem.New(problem.NotFound, "USER_NOT_FOUND", "No such user"), "USER_NOT_FOUND"},
		{"AddressRefused", emailPath, problem.Field("to.address", "No address"), "VALIDATION_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			b.services.fail(tt.path, tt.err)
			require.Equal(t, http.StatusInternalServerError, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
			require.Empty(t, b.services.sent())
			require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", tt.code, 1}, b.row(t, id))

			b.services.fail(tt.path, nil)
			require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated), "the claim was given back")
			require.Len(t, b.services.sent(), 1)
			require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 2}, b.row(t, id))
		})
	}
}

func TestAnswerThatCannotBeUsed(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.services.answers[orderPath] = strings.ReplaceAll(order, `"totalAmount": 100.00`, `"totalAmount": 100.001`)
	require.Equal(t, http.StatusInternalServerError, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Empty(t, b.services.sent())
	require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", "INTERNAL_ERROR", 1}, b.row(t, id))
}

func TestRejectedMailIsGivenUp(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.services.fail(emailPath, notification.ErrRejected)
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	b.services.fail(emailPath, nil)
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Empty(t, b.services.sent())
	require.Equal(t, row{"ORDER_CONFIRMATION", "FAILED", "EMAIL_REJECTED", 1}, b.row(t, id))
}

func TestProcessDiedBeforeSending(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	_, err := b.claims.Take(t.Context(), id) // and then nothing
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Empty(t, b.services.sent())

	b.states.Pass(courier.Lease)
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Len(t, b.services.sent(), 1)
}

func TestProcessDiedAfterSending(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	_, err := b.claims.Take(t.Context(), id)
	require.NoError(t, err)
	n, err := b.store.Begin(t.Context(), notification.Notification{
		MessageID: id, UserID: uuid.MustParse(userID), OrderID: uuid.MustParse(orderID), Kind: notification.OrderConfirmation,
	})
	require.NoError(t, err)
	require.NoError(t, b.store.Settle(t.Context(), n.After(nil))) // and then nothing

	b.states.Pass(courier.Lease)
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Empty(t, b.services.sent(), "the mail was sent by the process that died")
	_, err = b.claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrDone)
}

func TestStateStoreDown(t *testing.T) {
	b := setup(t)
	b.states.Break(claimtest.Down)
	require.Equal(t, http.StatusInternalServerError, b.deliver(t.Context(), t, uuid.New(), "TICKETS_GENERATED", ticketsGenerated))
	require.Empty(t, b.services.sent())
}

func TestStateStoreGoesDownWhileSending(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.services.whileSending(func(context.Context) error {
		b.states.Break(claimtest.Down)
		return nil
	})
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))

	b.states.Break(claimtest.None)
	b.states.Pass(courier.Lease)
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Len(t, b.services.sent(), 1, "the database knows that it is out")
}

func TestDatabaseGoesDownWhileSending(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.services.whileSending(func(ctx context.Context) error {
		_, err := b.pool.Exec(ctx, `ALTER TABLE notifications RENAME TO gone`)
		return err
	})
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Equal(t, http.StatusOK, b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Len(t, b.services.sent(), 1, "the claim knows that it is out")
}

// The sidecar gives a delivery up, by its timeout or by dying.
func TestNobodyWaitsForTheEnd(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	ctx, giveUp := context.WithCancel(t.Context())
	b.services.whileSending(func(ctx context.Context) error {
		giveUp()
		<-ctx.Done()
		return sidecar.ErrUnavailable.Because(ctx.Err())
	})
	_, err := b.post(ctx, "/events/tickets-generated", apiToken, fmt.Sprintf(`{"id": %q, "type": "TICKETS_GENERATED",
		"data": {"eventType": "TICKETS_GENERATED", "version": "1.0", "payload": %s}}`, id, ticketsGenerated))
	require.ErrorIs(t, err, context.Canceled)

	b.services.whileSending(nil)
	require.Eventually(t, func() bool {
		return b.deliver(t.Context(), t, id, "TICKETS_GENERATED", ticketsGenerated) == http.StatusOK
	}, deadline, deadline/400, "the claim was given back all the same")
	require.Len(t, b.services.sent(), 1)
}

func TestMalformedEvent(t *testing.T) {
	b := setup(t)
	for _, body := range []string{
		``, `[]`, `{"id": "not a uuid", "type": "TICKETS_GENERATED", "data": {}}`,
		`{"id": "` + orderID + `", "type": "TICKETS_GENERATED", "data": {"eventType": "TICKETS_GENERATED", "version": "1.0", "payload": {"orderId": 7}}}`,
	} {
		status, err := b.post(t.Context(), "/events/tickets-generated", apiToken, body)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnprocessableEntity, status, body)
	}
	require.Empty(t, b.services.sent())
}

// An event that is not for us is kept, also when the subscription has a route for it that we have not.
func TestOtherEventsAreRecorded(t *testing.T) {
	b := setup(t)
	for _, path := range []string{"/events/unknown", "/events/event-cancelled"} {
		id := uuid.NewString()
		status, err := b.post(t.Context(), path, apiToken, `{"id": "`+id+`", "type": "EVENT_CANCELLED", "data": {}}`)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		var recorded int
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM unknown_events WHERE event_id = $1`, id).Scan(&recorded))
		require.Equal(t, 1, recorded, path)
	}
}

func TestOnlyTheSidecarDelivers(t *testing.T) {
	b := setup(t)
	for _, path := range []string{
		"/events/tickets-generated", "/events/payment-completed", "/events/payment-failed", "/events/unknown",
	} {
		for _, token := range []string{"", "a guess"} {
			status, err := b.post(t.Context(), path, token, `{}`)
			require.NoError(t, err)
			require.Equal(t, http.StatusUnauthorized, status, path)
		}
	}
}

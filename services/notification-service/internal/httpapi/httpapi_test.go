package httpapi_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
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

	strangerID = "660e8400-e29b-41d4-a716-446655440001"
	requestID  = "220e8400-e29b-41d4-a716-446655440000"

	emailPath    = "/api/email/internal/messages"
	userPath     = "/api/auth/internal/users/" + userID
	eventPath    = "/api/events/internal/" + eventID
	orderPath    = "/api/payments/internal/orders/" + orderID
	strangerPath = "/api/auth/internal/users/" + strangerID
	requestPath  = "/api/auth/internal/account-mails/" + requestID
	ticketPath   = "/api/tickets/internal/" + ticketID
	pdfPath      = "/api/tickets/internal/" + ticketID + "/ticket.pdf?userId=" + userID
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
	refundProcessed = `{"orderId": "` + orderID + `", "userId": "` + userID + `", "eventId": "` + eventID + `", "refundId": "re_1",
		"amount": 50.00, "refundedTotal": 50.00, "currency": "USD", "reason": "One act less", "orderRefunded": false}`
	ticketTransferred = `{"ticketId": "` + ticketID + `", "orderId": "` + orderID + `", "eventId": "` + eventID + `",
		"fromUserId": "` + userID + `", "toUserId": "` + strangerID + `"}`
	ticketCancelled = `{"ticketId": "` + ticketID + `", "ticketNumber": "TKT-2024-001234",
		"ticketTypeId": "990e8400-e29b-41d4-a716-446655440000", "orderId": "` + orderID + `", "userId": "` + userID + `",
		"eventId": "` + eventID + `", "reason": "Ill", "cancelledBy": "OWNER"}`
	eventCancelled = `{"eventId": "` + eventID + `", "eventName": "Summer Music Festival 2024", "organizerId": "` + userID + `",
		"cancellationReason": "Storm", "affectedTicketCount": 3, "updatedAt": "2024-01-15T10:31:00Z"}`
	eventUpdated = `{"eventId": "` + eventID + `", "organizerId": "` + userID + `", "eventName": "Summer Music Festival 2024",
		"eventDate": "2024-07-20T18:00:00Z", "venueName": "Central Park Amphitheater", "category": "MUSIC", "status": "PUBLISHED",
		"updatedAt": "2024-01-15T10:31:00Z"}`
	compensationFailed = `{"orderId": "` + orderID + `", "reservationId": "bb0e8400-e29b-41d4-a716-446655440000",
		"reason": "SERVICE_UNAVAILABLE", "step": "REFUND", "attempts": 7}`
	deadLetterArchived = `{"service": "ticket-service", "queue": "ticket-processing-queue", "deadLetterId": "m-1",
		"eventId": "` + orderID + `", "eventType": "PAYMENT_COMPLETED", "reason": "no such user: john@example.com",
		"firstSeen": "2024-01-15T10:31:00Z"}`
	accountMailRequested = `{"userId": "` + userID + `", "requestId": "` + requestID + `"}`
	accountMail          = `{"requestId": "` + requestID + `", "userId": "` + userID + `", "email": "user@example.com", "firstName": "John",
		"kind": "EMAIL_VERIFICATION", "token": "a+b/c", "expiresAt": "2024-01-17T10:30:00Z"}`
	stranger = `{"userId": "` + strangerID + `", "email": "jane@example.com", "firstName": "Jane", "lastName": "Smith",
		"emailVerified": true, "createdAt": "2024-01-01T10:00:00Z"}`
	ticket = `{"ticketId": "` + ticketID + `", "ticketNumber": "TKT-2024-001234", "ticketTypeId": "990e8400-e29b-41d4-a716-446655440000",
		"eventId": "` + eventID + `", "orderId": "` + orderID + `", "holderName": "Jane Smith", "qrCode": "https://cdn.example.com/qr/dd0e8400.png",
		"status": "ACTIVE", "createdAt": "2024-01-15T10:30:00Z"}`
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
	answers map[string]string                            // by path
	errs    map[string]error                             // by path, before any answer
	asking  func(ctx context.Context, path string) error // before any answer as well
	sending func(context.Context) error
	mails   []mail
}

type mail struct{ calls.SendMailRequest }

// content returns the content of an attachment.
func (m mail) content(t *testing.T, i int) string {
	t.Helper()
	content, err := base64.StdEncoding.DecodeString(m.Attachments[i].Content)
	require.NoError(t, err)
	return string(content)
}

func (s *services) Send(ctx context.Context, r calls.Request) ([]byte, error) {
	if r.Route.Path == calls.SendMail.Path {
		return s.send(ctx, r.Body)
	}
	path := r.URL()
	if s.asking != nil {
		if err := s.asking(ctx, path); err != nil {
			return nil, err
		}
	}
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

func (s *services) send(ctx context.Context, body []byte) ([]byte, error) {
	var m mail
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	s.mu.Lock()
	sending, err := s.sending, s.errs[emailPath]
	s.mu.Unlock()
	if sending != nil {
		err = sending(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	return json.Marshal(calls.SendMailAnswer{MessageID: m.MessageID, Accepted: true})
}

// fail makes calls of path fail, or work again.
func (s *services) fail(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs[path] = err
}

// set changes the answer to calls of path.
func (s *services) set(path, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = answer
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
	services *services
	courier  courier.Courier
	key      ed25519.PrivateKey
	url      string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	b := &bundle{
		pool: postgrestest.New(t, messaging.Migrations(), store.Migrations()),
		services: &services{
			answers: map[string]string{
				userPath: user, strangerPath: stranger, eventPath: event, orderPath: order, ticketPath: ticket, pdfPath: "%PDF-1.7",
				requestPath: accountMail,
			},
			errs: map[string]error{},
		},
	}
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	b.key = private
	b.courier = courier.Courier{
		Store: store.Store{Pool: b.pool}, Services: b.services, PublicURL: "https://tickets.example.com",
		Operations: "operations@example.com", Woken: make(chan struct{}, 1),
	}
	api := httpapi.API{Courier: b.courier, Guard: identity.Guard{
		Verifier:    identity.Verifier{Keys: func(context.Context) jwt.Keyfunc { return func(*jwt.Token) (any, error) { return public, nil } }},
		AppAPIToken: apiToken,
	}}
	router := api.Router()
	mountConsumer(router, api)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// mountConsumer mounts the consumer as main does.
func mountConsumer(router *mux.Router, api httpapi.API) {
	app.Consumer{
		Config: deadletter.Config{
			Service: "notification-service", API: "/api/notifications",
			Queues: messaging.Queues{Main: "notification-queue"},
		},
		Pool: api.Courier.Store.Pool, Handlers: api.Courier.Handlers(),
	}.Mount(router, api.Guard)
}

// deliver does what the sidecar does with a message, and gives the answer's status.
func (b *bundle) deliver(t *testing.T, id uuid.UUID, eventType, payload string) int {
	t.Helper()
	path := "/events/" + strings.ToLower(strings.ReplaceAll(eventType, "_", "-"))
	res, err := b.post(t.Context(), path, apiToken, fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": "test", "type": %q,
		"data": {"eventType": %q, "version": "1.0", "timestamp": "2024-01-15T10:31:00Z", "correlationId": "corr-123456", "payload": %s}}`,
		id, eventType, eventType, payload))
	assert.NoError(t, err) // and not require: some deliver from another goroutine
	return res
}

// hear delivers a message, and has what is due then sent.
func (b *bundle) hear(t *testing.T, id uuid.UUID, eventType, payload string) {
	t.Helper()
	require.Equal(t, http.StatusOK, b.deliver(t, id, eventType, payload))
	require.NoError(t, b.courier.DeliverDue(t.Context()))
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
	b.hear(t, id, "TICKETS_GENERATED", ticketsGenerated)
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
	require.Equal(t, "%PDF-1.7", m.content(t, 0))
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, id))
}

func TestTicketsGeneratedForALargeOrder(t *testing.T) {
	b := setup(t)
	one := `{"ticketId": "` + ticketID + `", "ticketNumber": "TKT-2024-001234", "qrCode": ""}`
	payload := strings.Replace(ticketsGenerated, `"tickets": [`, `"tickets": [`+strings.Repeat(one+",", notification.MaxAttached), 1)
	b.hear(t, uuid.New(), "TICKETS_GENERATED", payload)
	require.Len(t, b.services.sent(), 1)
	require.Len(t, b.services.sent()[0].Attachments, notification.MaxAttached)
	require.Contains(t, b.services.sent()[0].Text, "The other one is in your account")
}

func TestPaymentFailed(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.hear(t, id, "PAYMENT_FAILED", paymentFailed)
	require.Len(t, b.services.sent(), 1)
	m := b.services.sent()[0]
	require.Equal(t, id.String(), m.MessageID)
	require.Equal(t, "Your payment for Summer Music Festival 2024 did not go through", m.Subject)
	require.Contains(t, m.Text, "Payment declined by issuing bank")
	require.Empty(t, m.Attachments)
	require.Equal(t, row{"PAYMENT_FAILED", "SENT", "", 1}, b.row(t, id))
}

// A ticket that was given away since has a code that is not theirs to see.
func TestTicketsGeneratedOfWhatIsGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"GivenAway", problem.New(problem.NotFound, "TICKET_NOT_FOUND", "No such ticket")},
		{"Cancelled", problem.New(problem.Conflict, "TICKET_NOT_ACTIVE", "Cancelled")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			b.services.fail(pdfPath, tt.err)
			b.hear(t, uuid.New(), "TICKETS_GENERATED", ticketsGenerated)
			require.Len(t, b.services.sent(), 1)
			require.Empty(t, b.services.sent()[0].Attachments)
			require.Contains(t, b.services.sent()[0].Text, "One ticket was given away, cancelled or used since")
		})
	}
}

func TestRefundProcessed(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.hear(t, id, "REFUND_PROCESSED", refundProcessed)
	require.Len(t, b.services.sent(), 1)
	m := b.services.sent()[0]
	require.Equal(t, "user@example.com", m.To.Address)
	require.Contains(t, m.Text, "50.00 USD of order ORD-2024-001234, which was 100.00 USD in all")
	require.Contains(t, m.Text, "One act less")
	require.Contains(t, m.Text, "The rest of the order stays as it is")
	require.Equal(t, row{"REFUND_PROCESSED", "SENT", "", 1}, b.row(t, id))

	whole := strings.ReplaceAll(refundProcessed, "50.00", "100.00")
	b.hear(t, uuid.New(), "REFUND_PROCESSED", whole)
	require.Contains(t, b.services.sent()[1].Text, "With that, the whole order is refunded")
}

func TestTicketTransferred(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	for range 2 { // at least once is twice
		b.hear(t, id, "TICKET_TRANSFERRED", ticketTransferred)
	}
	sent := b.services.sent()
	require.Len(t, sent, 2)
	require.NotEqual(t, sent[0].MessageID, sent[1].MessageID)
	texts := map[string]string{}
	for _, m := range sent {
		require.Empty(t, m.Attachments)
		texts[m.To.Address] = strings.Join(strings.Fields(m.Text), " ")
	}
	require.Contains(t, texts["user@example.com"], "ticket TKT-2024-001234 now belongs to Jane Smith")
	require.Contains(t, texts["jane@example.com"], "John Doe gave you ticket TKT-2024-001234")

	kinds := map[string]string{}
	rows, err := b.pool.Query(t.Context(), `SELECT user_id::text, kind FROM notifications WHERE event_id = $1`, id)
	require.NoError(t, err)
	var person, kind string
	_, err = pgx.ForEachRow(rows, []any{&person, &kind}, func() error {
		kinds[person] = kind
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{userID: "TICKET_TRANSFERRED", strangerID: "TICKET_RECEIVED"}, kinds)
}

func TestTicketTransferredReachesOneAtFirst(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	var calls atomic.Int32
	b.services.whileSending(func(context.Context) error {
		if calls.Add(1) == 1 {
			return sidecar.ErrUnavailable
		}
		return nil
	})
	b.hear(t, id, "TICKET_TRANSFERRED", ticketTransferred)
	require.Len(t, b.services.sent(), 1)
	b.makeDue(t)
	require.Len(t, b.services.sent(), 2)
	require.NotEqual(t, b.services.sent()[0].To.Address, b.services.sent()[1].To.Address)
}

func TestTicketCancelled(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.hear(t, id, "TICKET_CANCELLED", ticketCancelled)
	require.Len(t, b.services.sent(), 1)
	require.Contains(t, b.services.sent()[0].Text, "ticket TKT-2024-001234 is cancelled, as you asked")
	require.Equal(t, row{"TICKET_CANCELLED", "SENT", "", 1}, b.row(t, id))

	refunded := strings.Replace(ticketCancelled, "OWNER", "REFUND", 1)
	b.hear(t, uuid.New(), "TICKET_CANCELLED", refunded)
	b.makeDue(t)
	require.Len(t, b.services.sent(), 1, "they hear of the refund")
}

// Each holder is told of a cancelled event once for an order, however many tickets it has, however often and
// in whatever order their events come.
func TestTicketsCancelledWithTheirEvent(t *testing.T) {
	b := setup(t)
	b.hear(t, uuid.New(), "EVENT_CANCELLED", eventCancelled)
	mine := strings.NewReplacer("OWNER", "EVENT", "Ill", "Storm.").Replace(ticketCancelled)
	theirs := strings.Replace(mine, `"userId": "`+userID, `"userId": "`+strangerID, 1)
	other := strings.Replace(mine, orderID, uuid.NewString(), 1)
	var g errgroup.Group
	for range 3 {
		for _, payload := range []string{mine, theirs} {
			id := uuid.New() // a ticket's event is of one holder
			for range 2 {
				g.Go(func() error {
					assert.Equal(t, http.StatusOK, b.deliver(t, id, "TICKET_CANCELLED", payload))
					return nil
				})
			}
		}
	}
	require.NoError(t, g.Wait())
	require.Empty(t, b.services.sent(), "they wait for their turn")
	require.NoError(t, b.courier.DeliverDue(t.Context()))
	require.Len(t, b.services.sent(), 2)
	to := map[string]mail{}
	for _, m := range b.services.sent() {
		to[m.To.Address] = m
	}
	require.Len(t, to, 2)
	m := to["user@example.com"]
	require.Equal(t, "Summer Music Festival 2024 is cancelled", m.Subject)
	require.Contains(t, m.Text, "The reason given: Storm.")

	b.hear(t, uuid.New(), "TICKET_CANCELLED", mine)
	b.makeDue(t)
	require.Len(t, b.services.sent(), 2, "told is told")
	b.hear(t, uuid.New(), "TICKET_CANCELLED", other)
	b.makeDue(t)
	require.Len(t, b.services.sent(), 3, "another order is another fact")

	kinds := b.mine(t, userID, "").Notifications
	require.Len(t, kinds, 2)
	require.Equal(t, "EVENT_CANCELLED", kinds[0].Kind)
	require.Equal(t, "SENT", kinds[0].Status)
	status, code := b.resend(t, userID, kinds[1].NotificationID)
	require.Equal(t, http.StatusAccepted, status, code)
	b.makeDue(t)
	require.Len(t, b.services.sent(), 4)
}

// An outage of hours delays a mail and loses none.
func TestEmailServiceIsDownForHours(t *testing.T) {
	b := setup(t)
	b.services.fail(emailPath, sidecar.ErrUnavailable)
	id := uuid.New()
	b.hear(t, id, "TICKETS_GENERATED", ticketsGenerated)
	for range 30 {
		b.makeDue(t)
	}
	require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", "SERVICE_UNAVAILABLE", 31}, b.row(t, id))
	b.services.fail(emailPath, nil)
	require.NoError(t, b.courier.DeliverDue(t.Context()))
	require.Empty(t, b.services.sent(), "it waits longer after each attempt")
	b.makeDue(t)
	require.Len(t, b.services.sent(), 1)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 32}, b.row(t, id))
}

func TestNotificationIsGivenUpInTheEnd(t *testing.T) {
	b := setup(t)
	b.services.fail(emailPath, sidecar.ErrUnavailable)
	id := uuid.New()
	b.hear(t, id, "PAYMENT_FAILED", paymentFailed)
	_, err := b.pool.Exec(t.Context(), `UPDATE notifications SET attempts = $1`, notification.MaxAttempts-1) // a day later
	require.NoError(t, err)
	b.makeDue(t)
	require.Equal(t, row{"PAYMENT_FAILED", "FAILED", "SERVICE_UNAVAILABLE", notification.MaxAttempts}, b.row(t, id))

	b.services.fail(emailPath, nil)
	b.makeDue(t)
	require.Empty(t, b.services.sent(), "nothing more is attempted")
	status, code := b.resend(t, userID, b.mine(t, userID, "").Notifications[0].NotificationID)
	require.Equal(t, http.StatusAccepted, status, code)
	b.makeDue(t)
	require.Len(t, b.services.sent(), 1)
}

// Each attempt at it ends in the middle, counted but not settled.
func TestWhatKillsItsProcessIsGivenUpToo(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	require.Equal(t, http.StatusOK, b.deliver(t, id, "PAYMENT_FAILED", paymentFailed))
	_, err := b.pool.Exec(t.Context(), `UPDATE notifications SET attempts = $1`, notification.MaxAttempts)
	require.NoError(t, err)
	b.makeDue(t)
	require.Empty(t, b.services.sent(), "it is not attempted again")
	require.Equal(t, row{"PAYMENT_FAILED", "FAILED", "INTERNAL_ERROR", notification.MaxAttempts + 1}, b.row(t, id))
}

// Every holder of tickets of a postponed event is told once, whoever dies between two pages, and however many
// orders they have.
func TestEventPostponed(t *testing.T) {
	b := setup(t)
	holdersPath := "/api/tickets/internal/events/" + eventID + "/holders?limit=100"
	holder := func(user, order string) string {
		return `{"userId": "` + user + `", "orderId": "` + order + `", "ticketCount": 2}`
	}
	b.services.set(holdersPath, `{"holders": [`+holder(userID, orderID)+`], "nextCursor": "p2"}`)
	b.hear(t, uuid.New(), "EVENT_UPDATED", eventUpdated)
	id := uuid.New()
	postponed := strings.Replace(eventUpdated, "}", `, "postponedFrom": "2024-07-15T18:00:00Z", "reason": "Storm."}`, 1)
	for range 2 {
		b.hear(t, id, "EVENT_UPDATED", postponed)
	}
	require.NoError(t, b.courier.QueueAnnouncements(t.Context()), "the second page cannot be had yet")
	b.services.set(strings.Replace(holdersPath, "?", "?cursor=p2&", 1), `{"holders": [`+holder(userID, uuid.NewString())+`, `+holder(strangerID, orderID)+`]}`)
	for range 2 {
		_, err := b.pool.Exec(t.Context(), `UPDATE announcements SET due_at = now()`)
		require.NoError(t, err)
		require.NoError(t, b.courier.QueueAnnouncements(t.Context()))
		b.makeDue(t)
	}
	require.Len(t, b.services.sent(), 2)
	to := map[string]mail{}
	for _, m := range b.services.sent() {
		to[m.To.Address] = m
	}
	require.Len(t, to, 2)
	m := to["user@example.com"]
	require.Equal(t, "Summer Music Festival 2024 has a new date", m.Subject)
	for _, fact := range []string{
		"Monday, 15 July 2024, 18:00 UTC", "Saturday, 20 July 2024, 18:00 UTC", "The reason given: Storm.", "within 14 days",
	} {
		require.Contains(t, m.Text, fact)
		require.Contains(t, m.HTML, fact)
	}
	require.Equal(t, "EVENT_POSTPONED", b.mine(t, userID, "").Notifications[0].Kind)

	b.hear(t, id, "EVENT_UPDATED", postponed)
	require.NoError(t, b.courier.QueueAnnouncements(t.Context()))
	b.makeDue(t)
	require.Len(t, b.services.sent(), 2, "told is told")
}

func TestOperationsAreTold(t *testing.T) {
	for _, tt := range []struct {
		eventType, payload, subject string
		says                        []string
	}{
		{
			"COMPENSATION_FAILED", compensationFailed, "An order could not be undone: " + orderID,
			[]string{orderID, "the step REFUND", "after 7 attempts", "SERVICE_UNAVAILABLE"},
		},
		{
			"DEAD_LETTER_ARCHIVED", deadLetterArchived, "An event waits for a decision at ticket-service",
			[]string{"ticket-processing-queue", "PAYMENT_COMPLETED", "m-1", "Monday, 15 January 2024, 10:31 UTC"},
		},
	} {
		t.Run(tt.eventType, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			for range 2 {
				b.hear(t, id, tt.eventType, tt.payload)
			}
			require.Len(t, b.services.sent(), 1)
			m := b.services.sent()[0]
			require.Equal(t, "operations@example.com", m.To.Address)
			require.Equal(t, tt.subject, m.Subject)
			for _, fact := range tt.says {
				require.Contains(t, m.Text, fact)
				require.Contains(t, m.HTML, fact)
			}
			require.NotContains(t, m.Text+m.HTML, "john@example.com", "no personal data")
			require.Empty(t, b.mine(t, userID, "").Notifications)
		})
	}
}

func TestAccountMails(t *testing.T) {
	for _, tt := range []struct{ eventType, kind, subject, link string }{
		{
			"EMAIL_VERIFICATION_REQUESTED", "EMAIL_VERIFICATION", "Confirm your e-mail address",
			"https://tickets.example.com/verify-email?token=a%2Bb%2Fc",
		},
		{"PASSWORD_RESET_REQUESTED", "PASSWORD_RESET", "Set a new password", "https://tickets.example.com/reset-password?token=a%2Bb%2Fc"},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			b.hear(t, id, tt.eventType, accountMailRequested)
			require.Len(t, b.services.sent(), 1)
			m := b.services.sent()[0]
			require.Equal(t, id.String(), m.MessageID)
			require.Equal(t, "user@example.com", m.To.Address)
			require.Equal(t, tt.subject, m.Subject)
			require.Contains(t, m.Text, tt.link+"\n")
			require.Contains(t, m.HTML, `href="`+tt.link+`"`)
			told := b.mine(t, userID, "").Notifications
			require.Len(t, told, 1)
			require.Equal(t, tt.kind, told[0].Kind)
			require.Empty(t, told[0].OrderID)

			var stored string
			require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT n::text FROM notifications n`).Scan(&stored))
			require.NotContains(t, stored, "a+b/c", "no token is kept")
			require.NotContains(t, stored, "user@example.com", "and no address")
		})
	}
}

// The token was used, by another mail's link, before this one was sent.
func TestAccountMailThatNobodyNeeds(t *testing.T) {
	b := setup(t)
	b.services.fail(requestPath, problem.New(problem.NotFound, "ACCOUNT_MAIL_NOT_FOUND", "Used or expired"))
	b.hear(t, uuid.New(), "PASSWORD_RESET_REQUESTED", accountMailRequested)
	require.Empty(t, b.services.sent())
	require.Equal(t, "FAILED", b.mine(t, userID, "").Notifications[0].Status)
}

type page struct {
	Notifications []struct {
		NotificationID, Kind, Status, OrderID string
		CreatedAt                             time.Time
		SentAt                                *time.Time
	}
	NextCursor string
}

// ask does what a person's program does.
func (b *bundle) ask(t *testing.T, method, path, person string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, nil)
	require.NoError(t, err)
	if person != "" {
		token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: person,
				ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
			},
		}).SignedString(b.key)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

func (b *bundle) mine(t *testing.T, person, query string) page {
	t.Helper()
	status, body := b.ask(t, http.MethodGet, "/api/notifications"+query, person)
	require.Equal(t, http.StatusOK, status, body)
	var p page
	require.NoError(t, json.Unmarshal([]byte(body), &p))
	return p
}

// resend asks for one, and gives the status and the code.
func (b *bundle) resend(t *testing.T, person, id string) (int, string) {
	t.Helper()
	status, body := b.ask(t, http.MethodPost, "/api/notifications/"+id+"/resend", person)
	var problem struct{ Error string }
	if body != "" {
		require.NoError(t, json.Unmarshal([]byte(body), &problem))
	}
	return status, problem.Error
}

// makeDue lets what waits for its next attempt have it.
func (b *bundle) makeDue(t *testing.T) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `UPDATE notifications SET due_at = now()`)
	require.NoError(t, err)
	require.NoError(t, b.courier.DeliverDue(t.Context()))
}

func TestMine(t *testing.T) {
	b := setup(t)
	b.hear(t, uuid.New(), "PAYMENT_FAILED", paymentFailed)
	b.hear(t, uuid.New(), "TICKETS_GENERATED", ticketsGenerated)
	b.hear(t, uuid.New(), "TICKET_TRANSFERRED", ticketTransferred)

	first := b.mine(t, userID, "?limit=2")
	require.Len(t, first.Notifications, 2)
	require.Equal(t, "TICKET_TRANSFERRED", first.Notifications[0].Kind, "the latest first")
	n := first.Notifications[1]
	require.Equal(t, "ORDER_CONFIRMATION", n.Kind)
	require.Equal(t, "SENT", n.Status)
	require.Equal(t, orderID, n.OrderID)
	require.False(t, n.SentAt.Before(n.CreatedAt))
	last := b.mine(t, userID, "?limit=2&cursor="+first.NextCursor)
	require.Len(t, last.Notifications, 1)
	require.Equal(t, "PAYMENT_FAILED", last.Notifications[0].Kind)
	require.Empty(t, last.NextCursor)

	theirs := b.mine(t, strangerID, "")
	require.Len(t, theirs.Notifications, 1)
	require.Equal(t, "TICKET_RECEIVED", theirs.Notifications[0].Kind)
	require.Empty(t, theirs.Notifications[0].OrderID, "the order is not theirs")

	status, body := b.ask(t, http.MethodGet, "/api/notifications", uuid.NewString())
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"notifications": []}`, body)
	for query, field := range map[string]string{"?limit=0": "limit", "?limit=101": "limit", "?cursor=x": "cursor"} {
		status, body := b.ask(t, http.MethodGet, "/api/notifications"+query, userID)
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, body, `"field":"`+field+`"`)
	}
	status, _ = b.ask(t, http.MethodGet, "/api/notifications", "")
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestResend(t *testing.T) {
	b := setup(t)
	b.hear(t, uuid.New(), "TICKETS_GENERATED", ticketsGenerated)
	id := b.mine(t, userID, "").Notifications[0].NotificationID

	b.services.set(eventPath, strings.Replace(event, "Central Park Amphitheater", "Town Hall", 1))
	for range 2 { // two clicks
		status, code := b.resend(t, userID, id)
		require.Equal(t, http.StatusAccepted, status, code)
	}
	require.Equal(t, "PENDING", b.mine(t, userID, "").Notifications[0].Status)
	require.NoError(t, b.courier.DeliverDue(t.Context()))
	sent := b.services.sent()
	require.Len(t, sent, 2)
	require.NotEqual(t, sent[0].MessageID, sent[1].MessageID)
	require.Equal(t, sent[0].Attachments, sent[1].Attachments)
	require.Contains(t, sent[0].Text, "Central Park Amphitheater")
	require.Contains(t, sent[1].Text, "Town Hall", "it is made anew")
	told := b.mine(t, userID, "").Notifications
	require.Len(t, told, 2)
	require.Equal(t, "SENT", told[0].Status)

	for range notification.MaxResends - 1 {
		status, code := b.resend(t, userID, id)
		require.Equal(t, http.StatusAccepted, status, code)
		require.NoError(t, b.courier.DeliverDue(t.Context()))
	}
	status, code := b.resend(t, userID, id)
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, "TOO_MANY_RESENDS", code)
	require.Len(t, b.services.sent(), 1+notification.MaxResends)
}

func TestResendOfWhatIsNot(t *testing.T) {
	b := setup(t)
	b.services.fail(emailPath, sidecar.ErrUnavailable)
	b.hear(t, uuid.New(), "PAYMENT_FAILED", paymentFailed)
	pending := b.mine(t, userID, "").Notifications[0].NotificationID
	for _, tt := range []struct {
		name, person, id string
		status           int
		code             string
	}{
		{"NotSentYet", userID, pending, http.StatusConflict, "NOT_RESENDABLE"},
		{"SomebodyElses", strangerID, pending, http.StatusNotFound, "NOTIFICATION_NOT_FOUND"},
		{"None", userID, uuid.NewString(), http.StatusNotFound, "NOTIFICATION_NOT_FOUND"},
		{"NoID", userID, "1", http.StatusBadRequest, "VALIDATION_ERROR"},
		{"NoToken", "", pending, http.StatusUnauthorized, "TOKEN_MISSING"},
	} {
		status, code := b.resend(t, tt.person, tt.id)
		require.Equal(t, tt.status, status, tt.name)
		require.Equal(t, tt.code, code, tt.name)
	}
}

func TestResendOfAnAccountMail(t *testing.T) {
	b := setup(t)
	b.hear(t, uuid.New(), "EMAIL_VERIFICATION_REQUESTED", accountMailRequested)
	id := b.mine(t, userID, "").Notifications[0].NotificationID

	b.services.fail(requestPath, sidecar.ErrUnavailable)
	status, code := b.resend(t, userID, id)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "SERVICE_UNAVAILABLE", code)
	b.services.fail(requestPath, problem.New(problem.Forbidden, "SERVICE_FORBIDDEN", "Not you"))
	status, _ = b.resend(t, userID, id)
	require.Equal(t, http.StatusServiceUnavailable, status, "that is between the services")

	b.services.fail(requestPath, nil)
	status, code = b.resend(t, userID, id)
	require.Equal(t, http.StatusAccepted, status, code)
	gone := problem.New(problem.NotFound, "ACCOUNT_MAIL_NOT_FOUND", "Used or expired")
	b.services.fail(requestPath, gone) // before it is sent
	require.NoError(t, b.courier.DeliverDue(t.Context()))
	require.Len(t, b.services.sent(), 1)
	require.Equal(t, "FAILED", b.mine(t, userID, "").Notifications[0].Status)

	status, code = b.resend(t, userID, id)
	require.Equal(t, http.StatusConflict, status)
	require.Equal(t, "NOT_RESENDABLE", code)
}

func TestRun(t *testing.T) {
	b := setup(t)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- b.courier.Run(ctx) }()
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "PAYMENT_FAILED", paymentFailed))
	require.Eventually(t, func() bool { return len(b.services.sent()) == 1 }, deadline, deadline/400)
	stop()
	require.ErrorIs(t, <-stopped, context.Canceled)
}

func TestWhatIsWrittenDownIsSentAtOnce(t *testing.T) {
	b := setup(t)
	require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "PAYMENT_FAILED", paymentFailed))
	require.Len(t, b.courier.Woken, 1)
	<-b.courier.Woken
	require.NoError(t, b.courier.DeliverDue(t.Context()))
	require.Len(t, b.courier.Woken, 1, "another sender looks for more")
}

// Senders of several replicas, each with a slow mail in hand.
func TestEachIsOneSenders(t *testing.T) {
	b := setup(t)
	const mails = 6
	for range mails {
		refund := strings.Replace(refundProcessed, "re_1", uuid.NewString(), 1)
		require.Equal(t, http.StatusOK, b.deliver(t, uuid.New(), "REFUND_PROCESSED", refund))
	}
	var sending atomic.Int32
	all := make(chan struct{})
	b.services.whileSending(func(context.Context) error {
		if sending.Add(1) == mails {
			close(all)
		}
		<-all
		return nil
	})
	var g errgroup.Group
	for range mails {
		g.Go(func() error { return b.courier.DeliverDue(t.Context()) })
	}
	require.NoError(t, g.Wait())
	ids := map[string]bool{}
	for _, m := range b.services.sent() {
		ids[m.MessageID] = true
	}
	require.Len(t, ids, mails)
	require.Len(t, b.services.sent(), mails)
}

func TestPaymentCompletedSendsNothingYet(t *testing.T) {
	b := setup(t)
	b.hear(t, uuid.New(), "PAYMENT_COMPLETED", paymentCompleted)
	require.Empty(t, b.services.sent())
}

func TestDuplicate(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	for range 3 {
		b.hear(t, id, "TICKETS_GENERATED", ticketsGenerated)
	}
	require.Len(t, b.services.sent(), 1)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, id))
}

// payment-service may not have heard of the tickets: they are announced again, by another event.
func TestTicketsAnnouncedAgain(t *testing.T) {
	b := setup(t)
	first := uuid.New()
	b.hear(t, first, "TICKETS_GENERATED", ticketsGenerated)
	b.hear(t, uuid.New(), "TICKETS_GENERATED", ticketsGenerated)
	require.Len(t, b.services.sent(), 1)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, first))
}

func TestManyDuplicatesAtOnce(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	var g errgroup.Group
	for range 12 {
		g.Go(func() error {
			assert.Equal(t, http.StatusOK, b.deliver(t, id, "TICKETS_GENERATED", ticketsGenerated))
			return b.courier.DeliverDue(t.Context())
		})
	}
	require.NoError(t, g.Wait())
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
		{"UserNotFound", userPath, problem.New(problem.NotFound, "USER_NOT_FOUND", "No such user"), "USER_NOT_FOUND"},
		{"NotLetIn", emailPath, problem.New(problem.Unauthenticated, "SERVICE_TOKEN_INVALID", "Invalid"), "SERVICE_UNAVAILABLE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			b.services.fail(tt.path, tt.err)
			b.hear(t, id, "TICKETS_GENERATED", ticketsGenerated)
			require.Empty(t, b.services.sent())
			require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", tt.code, 1}, b.row(t, id))

			b.services.fail(tt.path, nil)
			b.makeDue(t)
			require.Len(t, b.services.sent(), 1)
			require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 2}, b.row(t, id))
		})
	}
}

// What a mail asks of another service at the same time is not called off, which would count against that service; what it
// has not asked yet, it need not.
func TestFailureOfOneServiceDoesNotCallOffTheOthers(t *testing.T) {
	b := setup(t)
	underWay := make(chan struct{})
	var calledOff atomic.Bool
	var pdfs atomic.Int32
	b.services.asking = func(ctx context.Context, path string) error {
		switch path {
		case userPath:
			close(underWay)
			select {
			case <-ctx.Done():
				calledOff.Store(true)
			case <-time.After(100 * time.Millisecond): // the failure is long over
			}
		case eventPath:
			<-underWay
			return sidecar.ErrUnavailable
		default:
			pdfs.Add(1)
			<-time.After(10 * time.Millisecond)
		}
		return nil
	}
	one := `{"ticketId": "` + ticketID + `", "ticketNumber": "TKT-2024-001234", "qrCode": ""}`
	b.hear(t, uuid.New(), "TICKETS_GENERATED",
		strings.Replace(ticketsGenerated, `"tickets": [`, `"tickets": [`+strings.Repeat(one+",", notification.MaxAttached), 1))
	require.Empty(t, b.services.sent())
	require.False(t, calledOff.Load())
	require.Less(t, pdfs.Load(), int32(notification.MaxAttached))
}

func TestAnswerThatCannotBeUsed(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.services.answers[orderPath] = strings.ReplaceAll(order, `"totalAmount": 100.00`, `"totalAmount": 100.001`)
	b.hear(t, id, "TICKETS_GENERATED", ticketsGenerated)
	require.Empty(t, b.services.sent())
	require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", "INTERNAL_ERROR", 1}, b.row(t, id))
}

func TestRefusedMailIsGivenUp(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  *problem.Error
	}{
		{"ByTheMailServer", problem.New(problem.Unprocessable, "EMAIL_REJECTED", "No such mailbox")},
		{"BadAddress", problem.Field("to.address", "No address")},
		{"TooLarge", problem.New(problem.TooLarge, "MESSAGE_TOO_LARGE", "Too large")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			id := uuid.New()
			b.services.fail(emailPath, tt.err)
			b.hear(t, id, "TICKETS_GENERATED", ticketsGenerated)
			b.services.fail(emailPath, nil)
			b.hear(t, id, "TICKETS_GENERATED", ticketsGenerated)
			b.makeDue(t)
			require.Empty(t, b.services.sent())
			require.Equal(t, row{"ORDER_CONFIRMATION", "FAILED", tt.err.Code, 1}, b.row(t, id))
		})
	}
}

// The process dies, or loses its database, with the mail out: email-service knows it by its id.
func TestDatabaseGoesDownWhileSending(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	b.services.whileSending(func(ctx context.Context) error {
		_, err := b.pool.Exec(ctx, `ALTER TABLE notifications RENAME TO gone`)
		return err
	})
	require.Equal(t, http.StatusOK, b.deliver(t, id, "TICKETS_GENERATED", ticketsGenerated))
	require.Error(t, b.courier.DeliverDue(t.Context()), "it looks for more")
	_, err := b.pool.Exec(t.Context(), `ALTER TABLE gone RENAME TO notifications`)
	require.NoError(t, err)
	require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", "", 1}, b.row(t, id))
	b.services.whileSending(nil)
	require.NoError(t, b.courier.DeliverDue(t.Context()))
	require.Len(t, b.services.sent(), 1, "the lease lasts")

	b.makeDue(t)
	require.Len(t, b.services.sent(), 2)
	require.Equal(t, b.services.sent()[0].MessageID, b.services.sent()[1].MessageID)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 2}, b.row(t, id))
}

// What is to be told is written down before the event is acknowledged, or it comes again.
func TestDatabaseIsDown(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	_, err := b.pool.Exec(t.Context(), `ALTER TABLE notifications RENAME TO gone`)
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, b.deliver(t, id, "TICKETS_GENERATED", ticketsGenerated))
	_, err = b.pool.Exec(t.Context(), `ALTER TABLE gone RENAME TO notifications`)
	require.NoError(t, err)
	b.hear(t, id, "TICKETS_GENERATED", ticketsGenerated)
	require.Len(t, b.services.sent(), 1)
}

func TestStoppedWhileSending(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	require.Equal(t, http.StatusOK, b.deliver(t, id, "TICKETS_GENERATED", ticketsGenerated))
	ctx, stop := context.WithCancel(t.Context())
	b.services.whileSending(func(ctx context.Context) error {
		stop()
		<-ctx.Done()
		return sidecar.ErrUnavailable.Because(ctx.Err())
	})
	require.ErrorIs(t, b.courier.DeliverDue(ctx), context.Canceled)
	require.Equal(t, row{"ORDER_CONFIRMATION", "PENDING", "SERVICE_UNAVAILABLE", 1}, b.row(t, id), "it is settled all the same")
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
	for _, path := range []string{"/events/unknown", "/events/seats-renumbered"} {
		id := uuid.NewString()
		status, err := b.post(t.Context(), path, apiToken, `{"id": "`+id+`", "type": "SEATS_RENUMBERED", "data": {}}`)
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
		"/events/tickets-generated", "/events/ticket-transferred", "/events/ticket-cancelled",
		"/events/payment-completed", "/events/payment-failed", "/events/refund-processed",
		"/events/event-updated", "/events/event-cancelled", "/events/compensation-failed", "/events/dead-letter-archived",
		"/events/email-verification-requested", "/events/password-reset-requested", "/events/unknown",
	} {
		for _, token := range []string{"", "a guess"} {
			status, err := b.post(t.Context(), path, token, `{}`)
			require.NoError(t, err)
			require.Equal(t, http.StatusUnauthorized, status, path)
		}
	}
}

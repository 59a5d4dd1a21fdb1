package httpapi_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/messaging/replay"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/batching"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

const (
	serviceSecret = "the secret that services share"
	appAPIToken   = "the token of the sidecar"
	publicURL     = ticket.PublicURL("https://tickets.test")
	queueSize     = 30 // of the batcher
)

// fakeServices stands in for event-service and auth-service.
type fakeServices struct {
	mu        sync.Mutex
	organizer uuid.UUID
	end       time.Time                       // of the known events; zero if it is not set
	statuses  map[uuid.UUID]calls.EventStatus // of the known events
	users     map[uuid.UUID]string            // first names of the known users
	paths     []string                        // of the calls received
	failure   error                           // if set, the result of every call
}

// Send implements sidecar.Sender.
func (f *fakeServices) Send(_ context.Context, r calls.Request) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paths = append(f.paths, r.Path)
	if f.failure != nil {
		return nil, f.failure
	}
	switch r.Route.Path {
	case calls.User.Path:
		name, known := f.users[r.IDs[0]]
		if !known {
			return nil, problem.New(problem.NotFound, "USER_NOT_FOUND", "User with ID %s not found", r.IDs[0])
		}
		return json.Marshal(calls.UserAnswer{UserSummary: calls.UserSummary{
			UserID: r.IDs[0], Email: "b@example.com", FirstName: name, LastName: "Lee",
		}})
	case calls.EventInfo.Path:
		status, known := f.statuses[r.IDs[0]]
		if !known {
			return nil, problem.New(problem.NotFound, "EVENT_NOT_FOUND", "Event with ID %s not found", r.IDs[0])
		}
		return json.Marshal(calls.EventInfoAnswer{
			EventID: r.IDs[0], OrganizerID: f.organizer, Name: "Festival",
			EventDate: time.Now().UTC().Add(2 * time.Hour), // its check-in is open
			EndDate:   f.end, VenueName: "Park", VenueAddress: "1 Park Ave", Category: "MUSIC", Status: status,
		})
	}
	return nil, problem.New(problem.NotFound, "NOT_FOUND", "No such resource")
}

// set sets the status of an event at event-service, and the result of every call if failure is not nil.
func (f *fakeServices) set(event uuid.UUID, status calls.EventStatus, failure error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statuses[event], f.failure = status, failure
}

type bundle struct {
	server    *httptest.Server
	url       string
	apps      contracttest.Apps // whose responses are checked against the OpenAPI document
	pool      *pgxpool.Pool
	store     *store.Store
	signer    *ticket.Signer
	key       ed25519.PrivateKey // signs access tokens
	services  *fakeServices
	organizer uuid.UUID
	event     uuid.UUID // the organizer's, published at event-service and not stored here
}

func setup(t *testing.T) *bundle {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	signer, err := ticket.NewSigner(base64.StdEncoding.EncodeToString(make([]byte, ed25519.SeedSize)))
	require.NoError(t, err)
	b := &bundle{
		pool:   postgrestest.New(t, messaging.Migrations(), store.Migrations()),
		signer: signer, key: private, organizer: uuid.New(), event: uuid.New(),
	}
	b.store = store.New(b.pool, publicURL)
	b.services = &fakeServices{
		organizer: b.organizer, users: map[uuid.UUID]string{},
		statuses: map[uuid.UUID]calls.EventStatus{b.event: "PUBLISHED"},
	}
	selling := sales.New(b.store, batching.New(b.store.Reserve, batching.Limits{
		Concurrency: 2, BatchSize: 10, QueueSize: queueSize, MaxWait: time.Minute,
	}), signer, b.services)
	guard := identity.Guard{
		Verifier: identity.Verifier{Keys: func(context.Context) jwt.Keyfunc {
			return func(*jwt.Token) (any, error) { return public, nil }
		}},
		ServiceSecret: []byte(serviceSecret), AppAPIToken: appAPIToken,
	}
	router := httpapi.New(selling, b.store, publicURL, guard, web.Check{Name: "database", Probe: b.pool.Ping})
	mountConsumer(router, b.pool, selling, guard)
	b.server = httptest.NewServer(router)
	b.url, b.apps = b.server.URL, contracttest.Apps{b.server.Listener.Addr().String(): "ticket-service"}
	t.Cleanup(func() {
		b.server.Close()
		b.requireEvents(t)
	})
	return b
}

// mountConsumer mounts the event consumer as main does.
func mountConsumer(router *mux.Router, pool *pgxpool.Pool, selling *sales.Sales, guard identity.Guard) {
	app.Consumer{
		Config: deadletter.Config{
			Service: "ticket-service", API: "/api/tickets", Announce: true,
			Queues: messaging.Queues{Main: "ticket-processing-queue", Ordered: "event-updates.fifo"},
		},
		Pool: pool, Handlers: selling.Handlers(),
	}.Mount(router, guard)
	replay.New(pool, replay.Config{API: "/api/tickets"}).Mount(router, guard)
}

// requireEvents checks the published events against their schemas. Events that a test caused by calling the store
// directly have no correlation id and are skipped.
func (b *bundle) requireEvents(t *testing.T) {
	t.Helper()
	rows, err := b.pool.Query(context.Background(), `
		SELECT cloud_event FROM outbox WHERE cloud_event->>'correlationid' <> ''`)
	require.NoError(t, err)
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
	require.NoError(t, err)
	for _, body := range bodies {
		contracttest.Event(t, body)
	}
}

// send sends a request and returns the status and the body of the response, which it checks against the OpenAPI
// document.
func (b *bundle) send(t *testing.T, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/events") {
		req.Header.Set("Content-Type", "application/cloudevents+json")
	}
	res, err := contracttest.Client(t, b.apps).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(content)
}

// from returns the headers of a call by a service. Its token expires after a minute.
func from(t *testing.T, service string) http.Header {
	t.Helper()
	token, err := identity.SignServiceToken([]byte(serviceSecret), service)
	require.NoError(t, err)
	return http.Header{"X-Service-Token": {token}, "X-Service-Name": {service}, "Dapr-Api-Token": {appAPIToken}}
}

// as returns the headers of a request by a person.
func (b *bundle) as(t *testing.T, user uuid.UUID, roles ...identity.Role) http.Header {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: user.String(),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(15 * time.Minute)),
		},
		Name: "Ann O'Hara", Roles: roles,
	}).SignedString(b.key)
	require.NoError(t, err)
	return http.Header{"Authorization": {"Bearer " + token}}
}

// asOrganizer returns the headers of a request by the organizer of the bundle's events.
func (b *bundle) asOrganizer(t *testing.T) http.Header {
	t.Helper()
	return b.as(t, b.organizer, identity.RoleUser, identity.RoleOrganizer)
}

// internal calls an internal endpoint as payment-service.
func (b *bundle) internal(t *testing.T, endpoint, body string) (int, string) {
	t.Helper()
	return b.send(t, http.MethodPost, "/api/tickets/internal/"+endpoint, body, from(t, "payment-service"))
}

// newType creates a ticket type at 50.00 USD as the organizer.
func (b *bundle) newType(t *testing.T, event uuid.UUID, name, capacity string) uuid.UUID {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/api/tickets/types", `{"eventId":"`+event.String()+`",
		"name":"`+name+`","price":50.00,"currency":"USD","capacity":`+capacity+`}`, b.asOrganizer(t))
	require.Equal(t, http.StatusCreated, status, body)
	var created struct{ TicketTypeID uuid.UUID }
	require.NoError(t, json.Unmarshal([]byte(body), &created))
	return created.TicketTypeID
}

func reserveBody(id, user, event, kind uuid.UUID, quantity string) string {
	return `{"userId":"` + user.String() + `","eventId":"` + event.String() + `","reservationId":"` + id.String() + `",
		"ticketRequests":[{"ticketTypeId":"` + kind.String() + `","quantity":` + quantity + `}],
		"reservationDurationMinutes":15}`
}

func confirmBody(reservation, order, user uuid.UUID) string {
	return `{"reservationId":"` + reservation.String() + `","orderId":"` + order.String() + `",
		"userId":"` + user.String() + `","holderName":"Ann O'Hara"}`
}

func releaseBody(reservation uuid.UUID) string {
	return `{"reservationId":"` + reservation.String() + `","reason":"PAYMENT_FAILED"}`
}

// confirmedTicket is the part of a ticket in a response that tests read.
type confirmedTicket struct {
	TicketID     uuid.UUID
	TicketNumber string
}

// buy buys a quantity of tickets for a user.
func (b *bundle) buy(t *testing.T, user, kind uuid.UUID, quantity string) []confirmedTicket {
	t.Helper()
	id := uuid.New()
	status, body := b.internal(t, "reserve", reserveBody(id, user, b.event, kind, quantity))
	require.Equal(t, http.StatusOK, status, body)
	status, body = b.internal(t, "confirm-purchase", confirmBody(id, uuid.New(), user))
	require.Equal(t, http.StatusOK, status, body)
	var confirmed struct{ Tickets []confirmedTicket }
	require.NoError(t, json.Unmarshal([]byte(body), &confirmed))
	return confirmed.Tickets
}

// requireFailure asserts the code and the field of an error response.
func requireFailure(t *testing.T, body, code, field string) {
	t.Helper()
	var failure struct{ Error, Message, Field string }
	require.NoError(t, json.Unmarshal([]byte(body), &failure), body)
	require.Equal(t, code, failure.Error, body)
	require.NotEmpty(t, failure.Message)
	require.Equal(t, field, failure.Field)
}

// deliver delivers an event as the sidecar does.
func (b *bundle) deliver(t *testing.T, eventType, payload string) (int, string) {
	t.Helper()
	return b.send(t, http.MethodPost, "/events", `{"specversion":"1.0","id":"`+uuid.NewString()+`","source":"test",
		"type":"`+eventType+`","data":{"eventType":"`+eventType+`","version":"1.0","timestamp":"2030-01-15T10:30:00Z",
		"correlationId":"corr-123456","payload":`+payload+`}}`, http.Header{"Dapr-Api-Token": {appAPIToken}})
}

// tick triggers the sweep as the sidecar's cron binding does, and returns the body of the response.
func (b *bundle) tick(t *testing.T) string {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/bindings/expire-reservations", "",
		http.Header{"Dapr-Api-Token": {appAPIToken}})
	require.Equal(t, http.StatusOK, status, body)
	return body
}

// ticket returns a ticket as stored.
func (b *bundle) ticket(t *testing.T, id uuid.UUID) ticket.Ticket {
	t.Helper()
	k, err := b.store.Ticket(t.Context(), id)
	require.NoError(t, err)
	return k
}

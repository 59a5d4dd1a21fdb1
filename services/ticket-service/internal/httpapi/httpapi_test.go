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

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/batching"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

const (
	serviceSecret = "a secret that services share"
	appAPIToken   = "a token that sidecars show"
)

// others are event-service and auth-service as this service sees them.
type others struct {
	mu        sync.Mutex
	organizer uuid.UUID
	statuses  map[uuid.UUID]string // of the events that are known
	users     map[uuid.UUID]string // their first names
	asked     []string             // paths, in the order of the calls
	failure   error                // what every call gets, if set
}

func (e *others) Call(_ context.Context, app, method, path string, in, out any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, path)
	if id, found := strings.CutPrefix(path, "/api/auth/internal/users/"); found && app == "auth-service" && method == http.MethodGet {
		first, known := e.users[uuid.MustParse(id)]
		switch {
		case e.failure != nil:
			return e.failure
		case !known:
			return problem.New(problem.NotFound, "USER_NOT_FOUND", "User with ID %s not found", id)
		}
		return json.Unmarshal([]byte(`{"userId":"`+id+`","email":"b@example.com","firstName":"`+first+`","lastName":"Lee",
			"emailVerified":true,"createdAt":"2024-01-01T10:00:00Z"}`), out)
	}
	id, found := strings.CutPrefix(path, "/api/events/internal/")
	switch {
	case app != "event-service" || method != http.MethodGet || !found || in != nil:
		return problem.New(problem.NotFound, "NOT_FOUND", "No such resource")
	case e.failure != nil:
		return e.failure
	}
	status, known := e.statuses[uuid.MustParse(id)]
	if !known {
		return problem.New(problem.NotFound, "EVENT_NOT_FOUND", "Event with ID %s not found", id)
	}
	return json.Unmarshal([]byte(`{"eventId":"`+id+`","organizerId":"`+e.organizer.String()+`","name":"Festival",
		"description":"","eventDate":"2030-07-15T18:00:00Z","venueName":"Park","venueAddress":"1 Park Ave",
		"category":"MUSIC","status":"`+status+`","imageUrl":""}`), out)
}

// say sets what event-service says of an event, and after that of everything if failure is set.
func (e *others) say(event uuid.UUID, status string, failure error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.statuses[event], e.failure = status, failure
}

const publicURL = ticket.PublicURL("https://tickets.test")

// lineLimit is how many wait for the same tickets at most.
const lineLimit = 30

type bundle struct {
	server    *httptest.Server
	url       string
	apps      contracttest.Apps // whose answers are held to its document
	pool      *pgxpool.Pool
	store     *store.Store
	signer    *ticket.Signer
	key       ed25519.PrivateKey
	events    *others
	organizer uuid.UUID
	event     uuid.UUID // the organizer's, published, as event-service knows and we do not yet
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
	b.events = &others{
		organizer: b.organizer, statuses: map[uuid.UUID]string{b.event: "PUBLISHED"}, users: map[uuid.UUID]string{},
	}
	api := httpapi.API{
		Pool: b.pool, Store: b.store, PublicURL: publicURL, Batcher: batching.New(b.store.Reserve, batching.Limits{Concurrency: 2, BatchSize: 10, QueueSize: lineLimit, MaxWait: time.Minute}),
		Signer: signer, Services: b.events,
		Guard: identity.Guard{
			Verifier:      identity.Verifier{Keys: func(context.Context) jwt.Keyfunc { return func(*jwt.Token) (any, error) { return public, nil } }},
			ServiceSecret: []byte(serviceSecret), AppAPIToken: appAPIToken,
		},
	}
	router := api.Router()
	mountConsumer(router, api)
	b.server = httptest.NewServer(router)
	b.url, b.apps = b.server.URL, contracttest.Apps{b.server.Listener.Addr().String(): "ticket-service"}
	t.Cleanup(func() {
		b.server.Close()
		b.requireEvents(t)
	})
	return b
}

// mountConsumer mounts the consumer as main does.
func mountConsumer(router *mux.Router, api httpapi.API) {
	app.Consumer{
		Config: deadletter.Config{
			Service: "ticket-service", API: "/api/tickets", Announce: true,
			Queues: messaging.Queues{Main: "ticket-processing-queue", Ordered: "event-updates.fifo"},
		},
		Pool: api.Pool, Handlers: api.Handlers(),
	}.Mount(router, api.Guard)
}

// requireEvents holds what a test made this service publish to the schemas. What it did to the store
// without a request came of nothing that has a correlation id.
func (b *bundle) requireEvents(t *testing.T) {
	t.Helper()
	rows, err := b.pool.Query(context.Background(), `SELECT cloud_event FROM outbox WHERE cloud_event->>'correlationid' <> ''`)
	require.NoError(t, err)
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
	require.NoError(t, err)
	for _, body := range bodies {
		contracttest.Event(t, body)
	}
}

// send makes a request and gives the status and the body of its answer, which is held to the OpenAPI
// document.
func (b *bundle) send(t *testing.T, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/events/") {
		req.Header.Set("Content-Type", "application/cloudevents+json")
	}
	res, err := contracttest.Client(t, b.apps).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(answer)
}

// from gives the headers that a service's call arrives with.
func from(t *testing.T, service string) http.Header {
	t.Helper()
	token, err := identity.SignServiceToken([]byte(serviceSecret), service)
	require.NoError(t, err)
	return http.Header{"X-Service-Token": {token}, "X-Service-Name": {service}, "Dapr-Api-Token": {appAPIToken}}
}

// as gives the headers that a person's request comes with.
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

// internal calls one of the contract's endpoints as payment-service.
func (b *bundle) internal(t *testing.T, endpoint, body string) (int, string) {
	t.Helper()
	return b.send(t, http.MethodPost, "/api/tickets/internal/"+endpoint, body, from(t, "payment-service"))
}

// newType makes a ticket type at 50.00 USD as its organizer does.
func (b *bundle) newType(t *testing.T, event uuid.UUID, name, capacity string) uuid.UUID {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/api/tickets/types",
		`{"eventId":"`+event.String()+`","name":"`+name+`","price":50.00,"currency":"USD","capacity":`+capacity+`}`,
		b.as(t, b.organizer, identity.RoleUser, identity.RoleOrganizer))
	require.Equal(t, http.StatusCreated, status, body)
	var made struct{ TicketTypeID uuid.UUID }
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	return made.TicketTypeID
}

func reserveBody(id, user, event, kind uuid.UUID, quantity string) string {
	return `{"userId":"` + user.String() + `","eventId":"` + event.String() + `","reservationId":"` + id.String() + `",
		"ticketRequests":[{"ticketTypeId":"` + kind.String() + `","quantity":` + quantity + `}],"reservationDurationMinutes":15}`
}

func confirmBody(reservation, order, user uuid.UUID) string {
	return `{"reservationId":"` + reservation.String() + `","orderId":"` + order.String() + `","userId":"` + user.String() + `","holderName":"Ann O'Hara"}`
}

func releaseBody(reservation uuid.UUID) string {
	return `{"reservationId":"` + reservation.String() + `","reason":"PAYMENT_FAILED"}`
}

// confirmedTicket is a ticket in the answer to confirm-purchase.
type confirmedTicket struct {
	TicketID     uuid.UUID
	TicketNumber string
}

// buy gives a user that many tickets.
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

func requireFailure(t *testing.T, body, code, field string) {
	t.Helper()
	var f struct{ Error, Message, Field string }
	require.NoError(t, json.Unmarshal([]byte(body), &f), body)
	require.Equal(t, code, f.Error, body)
	require.NotEmpty(t, f.Message)
	require.Equal(t, field, f.Field)
}

// deliver hands an event to the route as the sidecar does.
func (b *bundle) deliver(t *testing.T, route, eventType, payload string) (int, string) {
	t.Helper()
	return b.send(t, http.MethodPost, "/events/"+route, `{"specversion":"1.0","id":"`+uuid.NewString()+`","source":"test",
		"type":"`+eventType+`","data":{"eventType":"`+eventType+`","version":"1.0","timestamp":"2030-01-15T10:30:00Z",
		"correlationId":"corr-123456","payload":`+payload+`}}`, http.Header{"Dapr-Api-Token": {appAPIToken}})
}

// ticket gives a ticket as it is stored.
func (b *bundle) ticket(t *testing.T, id uuid.UUID) ticket.Ticket {
	t.Helper()
	k, err := b.store.Ticket(t.Context(), id)
	require.NoError(t, err)
	return k
}

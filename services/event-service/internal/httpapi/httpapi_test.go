package httpapi_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/event-service/internal/cancellation"
	"github.com/eventbooking/eventbooking/services/event-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const (
	serviceSecret = "the secret that services share"
	appAPIToken   = "the token of the sidecar"
)

// SQL that sets the status or the end of an event.
const (
	setPublished = `UPDATE events SET status = 'PUBLISHED' WHERE id = $1`
	setCancelled = `UPDATE events SET status = 'CANCELLED' WHERE id = $1`
	setEnd       = `UPDATE events SET end_date = '2099-07-15T23:00:00Z' WHERE id = $1`
)

type bundle struct {
	url                    string
	apps                   contracttest.Apps // whose responses are checked against the OpenAPI document
	pool                   *pgxpool.Pool
	key                    ed25519.PrivateKey // signs access tokens
	tickets                *fakeTicketService
	organizer, user, admin uuid.UUID // user is neither the organizer nor an admin
}

// fakeTicketService returns the same answer to every call.
type fakeTicketService struct {
	answer   string
	err      error
	requests []string // "app method path", in order; calls must not be concurrent
}

// Send implements sidecar.Sender.
func (f *fakeTicketService) Send(_ context.Context, r calls.Request) ([]byte, error) {
	f.requests = append(f.requests, r.Route.App+" "+r.Route.Method+" "+r.URL())
	return []byte(f.answer), f.err
}

func setup(t *testing.T) *bundle {
	t.Helper()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	stored, tickets := store.New(pool), &fakeTicketService{answer: `{"ticketCount":150}`}
	server := httptest.NewServer(httpapi.New(httpapi.Deps{
		Store: stored, Canceller: cancellation.New(stored, tickets),
		Guard: identity.Guard{
			Verifier: identity.Verifier{Keys: func(context.Context) jwt.Keyfunc {
				return func(*jwt.Token) (any, error) { return public, nil }
			}},
			ServiceSecret: []byte(serviceSecret), AppAPIToken: appAPIToken,
		},
		Readers:  []string{"reader-service"},
		Database: web.Check{Name: "database", Probe: pool.Ping},
	}))
	t.Cleanup(server.Close)
	return &bundle{
		url: server.URL, apps: contracttest.Apps{server.Listener.Addr().String(): "event-service"},
		pool: pool, key: private, tickets: tickets,
		organizer: uuid.New(), user: uuid.New(), admin: uuid.New(),
	}
}

// send sends a request and returns the status and the body of the response, which it checks against the OpenAPI
// document.
func (b *bundle) send(t *testing.T, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	return b.sendBy(t, contracttest.Client(t, b.apps), method, path, body, header)
}

// sendUndocumented is send for a request that the document does not permit, so that the response is not checked.
func (b *bundle) sendUndocumented(t *testing.T, method, path string, header http.Header) (int, string) {
	t.Helper()
	return b.sendBy(t, http.DefaultClient, method, path, "", header)
}

func (b *bundle) sendBy(
	t *testing.T, client *http.Client, method, path, body string, header http.Header,
) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(content)
}

// sign returns the headers of a request with the user's access token, with changed claims and signed with key.
func sign(
	t *testing.T, method jwt.SigningMethod, key any, user uuid.UUID, role identity.Role,
	change func(*identity.AccessClaims),
) http.Header {
	t.Helper()
	claims := identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: user.String(),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(15 * time.Minute)),
		},
		Name: "Ann O'Hara", Roles: []identity.Role{role},
	}
	change(&claims)
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	require.NoError(t, err)
	return http.Header{"Authorization": {"Bearer " + token}}
}

// as returns the headers of a request by a person.
func (b *bundle) as(t *testing.T, user uuid.UUID, role identity.Role) http.Header {
	t.Helper()
	return sign(t, jwt.SigningMethodEdDSA, b.key, user, role, func(*identity.AccessClaims) {})
}

// asOrganizer returns the headers of a request by the organizer of the bundle's events.
func (b *bundle) asOrganizer(t *testing.T) http.Header {
	t.Helper()
	return b.as(t, b.organizer, identity.RoleOrganizer)
}

// from returns the headers of a call by a service.
func from(t *testing.T, service string) http.Header {
	t.Helper()
	token, err := identity.SignServiceToken([]byte(serviceSecret), service)
	require.NoError(t, err)
	return http.Header{"X-Service-Token": {token}, "X-Service-Name": {service}, "Dapr-Api-Token": {appAPIToken}}
}

// newEvent returns the body of a request that creates an event, with changed fields.
func newEvent(change map[string]any) string {
	fields := map[string]any{
		"name": "Summer Music Festival", "description": "Annual outdoor festival",
		"eventDate": "2099-07-15T20:00:00+02:00", "venueName": "Central Park Amphitheater",
		"venueAddress": "123 Park Ave, New York, NY 10001", "category": "MUSIC",
	}
	maps.Copy(fields, change)
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err) // cannot happen with strings and numbers
	}
	return string(body)
}

// create creates a draft as the bundle's organizer.
func (b *bundle) create(t *testing.T) string {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/api/events", newEvent(nil), b.asOrganizer(t))
	require.Equal(t, http.StatusCreated, status, body)
	var e struct{ EventID string }
	require.NoError(t, json.Unmarshal([]byte(body), &e))
	return e.EventID
}

// createWith creates a draft and runs sql, unless it is empty, with the event's id as $1.
func (b *bundle) createWith(t *testing.T, sql string) string {
	t.Helper()
	id := b.create(t)
	if sql != "" {
		_, err := b.pool.Exec(t.Context(), sql, id)
		require.NoError(t, err)
	}
	return id
}

func (b *bundle) publish(t *testing.T, id string) {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/api/events/"+id+"/publish", "", b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
}

// details returns an event that newEvent creates in the form of the contract's "Get Event Details".
func (b *bundle) details(id, status string) string {
	return `{"eventId":"` + id + `","organizerId":"` + b.organizer.String() + `","name":"Summer Music Festival",
		"description":"Annual outdoor festival","eventDate":"2099-07-15T18:00:00Z",
		"venueName":"Central Park Amphitheater","venueAddress":"123 Park Ave, New York, NY 10001",
		"category":"MUSIC","status":"` + status + `"}`
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

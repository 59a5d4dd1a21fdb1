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
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/messaging/replay"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

const (
	serviceSecret = "service secret of this test"
	appAPIToken   = "app API token of this test"
	orders        = "/api/payments/orders"
	capacity      = 10

	// deadline is the maximum time that a test waits for a condition.
	deadline = 20 * time.Second
)

// bundle is the service over HTTP, with a database of its own and stand-ins for the services that it calls.
type bundle struct {
	url      string
	pool     *pgxpool.Pool
	deps     httpapi.Deps
	services *sagatest.Services
	key      ed25519.PrivateKey
	event    uuid.UUID
	typeID   uuid.UUID
	buyer    identity.User
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	b := &bundle{
		pool:     postgrestest.New(t, messaging.Migrations(), store.Migrations()),
		services: sagatest.New(),
		key:      private,
		event:    uuid.New(),
		buyer:    identity.User{ID: uuid.New(), Name: "Ann O'Hara", Roles: []identity.Role{identity.RoleUser}},
	}
	b.typeID = b.services.AddType(b.event, money.Of(5000, "USD"), capacity)
	db := store.New(b.pool)
	b.deps = httpapi.Deps{
		Store: db,
		Saga:  saga.Saga{Store: db, Services: b.services, Charges: admission.NewPacer(0, nil)},
		Queue: admission.NewOrderQueue(admission.Limits{Concurrency: 2, QueueSize: 100, MaxWait: time.Hour}),
		Guard: identity.Guard{
			Verifier: identity.Verifier{Keys: func(context.Context) jwt.Keyfunc {
				return func(*jwt.Token) (any, error) { return public, nil }
			}},
			ServiceSecret: []byte(serviceSecret), AppAPIToken: appAPIToken,
		},
		Database: web.Check{Name: "database", Probe: b.pool.Ping},
	}
	server := httptest.NewServer(b.router())
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// router returns the routes of the service, with the consumer's.
func (b *bundle) router() *mux.Router {
	router := httpapi.New(b.deps)
	mountConsumer(router, b.pool, b.deps)
	return router
}

// mountConsumer mounts the consumer and the replays as main does.
func mountConsumer(router *mux.Router, pool *pgxpool.Pool, deps httpapi.Deps) {
	app.Consumer{
		Config: deadletter.Config{
			Service: "payment-service", API: "/api/payments", Announce: true,
			Queues: messaging.Queues{Main: "payment-processing-queue"},
		},
		Pool: pool, Handlers: deps.Saga.Handlers(),
	}.Mount(router, deps.Guard)
	replay.New(pool, replay.Config{API: "/api/payments"}).Mount(router, deps.Guard)
}

// as returns the headers of a request of the user.
func (b *bundle) as(t *testing.T, user identity.User) http.Header {
	t.Helper()
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: user.ID.String(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute)),
		},
		Name: user.Name, Roles: user.Roles,
	}).SignedString(b.key)
	require.NoError(t, err)
	return http.Header{"Authorization": {"Bearer " + token}}
}

// from returns the headers of a call of the service.
func from(t *testing.T, service string) http.Header {
	t.Helper()
	token, err := identity.SignServiceToken([]byte(serviceSecret), service)
	require.NoError(t, err)
	return http.Header{"X-Service-Token": {token}, "X-Service-Name": {service}, "Dapr-Api-Token": {appAPIToken}}
}

// sidecarHeader is the header of a request of the service's own sidecar.
var sidecarHeader = http.Header{"Dapr-Api-Token": {appAPIToken}}

// answer is a response.
type answer struct {
	status int
	header http.Header
	body   string
}

// order returns the order in the response.
func (a answer) order(t *testing.T) map[string]any {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &fields), a.body)
	if inner, failed := fields["order"].(map[string]any); failed {
		return inner
	}
	return fields
}

// id returns the id of the order in the response.
func (a answer) id(t *testing.T) string {
	t.Helper()
	id, ok := a.order(t)["orderId"].(string)
	require.True(t, ok, a.body)
	require.Equal(t, orders+"/"+id, a.header.Get("Location"))
	return id
}

// requireFailure asserts that the response is an error in the contract's form.
func (a answer) requireFailure(t *testing.T, status int, code, field string) {
	t.Helper()
	require.Equal(t, status, a.status, a.body)
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	var f struct{ Error, Message, Field string }
	require.NoError(t, json.Unmarshal([]byte(a.body), &f), a.body)
	require.Equal(t, code, f.Error, a.body)
	require.NotEmpty(t, f.Message)
	require.Equal(t, field, f.Field, a.body)
}

// requireInvalid asserts that the response rejects a field.
func (a answer) requireInvalid(t *testing.T, field string) {
	t.Helper()
	a.requireFailure(t, http.StatusBadRequest, "VALIDATION_ERROR", field)
}

// try sends a request. It may be called from any goroutine.
func (b *bundle) try(ctx context.Context, method, path, body string, header http.Header) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(content)}, err
}

// send sends a request.
func (b *bundle) send(t *testing.T, method, path, body string, header http.Header) answer {
	t.Helper()
	a, err := b.try(t.Context(), method, path, body, header)
	require.NoError(t, err)
	return a
}

func (b *bundle) get(t *testing.T, path string, header http.Header) answer {
	t.Helper()
	return b.send(t, http.MethodGet, path, "", header)
}

// request returns the body of an order of two tickets, with the given fields changed. A nil value removes the field.
func (b *bundle) request(change map[string]any) string {
	fields := map[string]any{
		"eventId": b.event, "paymentMethod": "CREDIT_CARD", "paymentToken": sagatest.GoodCard,
		"ticketRequests": []map[string]any{{"ticketTypeId": b.typeID, "quantity": 2}},
	}
	maps.Copy(fields, change)
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(body)
}

// withKey returns the headers of a request of the buyer with an Idempotency-Key.
func (b *bundle) withKey(t *testing.T, key string) http.Header {
	t.Helper()
	header := b.as(t, b.buyer)
	header.Set("Idempotency-Key", key)
	return header
}

// buy places an order as the buyer.
func (b *bundle) buy(t *testing.T, key string, change map[string]any) answer {
	t.Helper()
	return b.send(t, http.MethodPost, orders, b.request(change), b.withKey(t, key))
}

// requireMoney asserts what was charged for the order, and that nothing was refunded.
func (b *bundle) requireMoney(t *testing.T, id string, charged ...money.Decimal) {
	t.Helper()
	got, refunded := b.services.Money(uuid.MustParse(id))
	require.Equal(t, charged, got)
	require.Empty(t, refunded)
}

package httpapi_test

import (
	"crypto/ed25519"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// Only the buyer and admins see an order. To others it does not exist.
func TestOrdersAreVisibleToTheirBuyerAndAdmins(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	unknown := uuid.NewString()
	for _, suffix := range []string{"", "/history"} {
		buyers := b.get(t, orders+"/"+id+suffix, b.as(t, b.buyer))
		require.Equal(t, http.StatusOK, buyers.status)
		admins := b.get(t, orders+"/"+id+suffix, b.as(t, person(identity.RoleAdmin)))
		require.Equal(t, http.StatusOK, admins.status)
		require.Equal(t, buyers.body, admins.body)

		for _, other := range []identity.User{person(), person(identity.RoleUser), person(identity.RoleOrganizer)} {
			theirs := b.get(t, orders+"/"+id+suffix, b.as(t, other))
			missing := b.get(t, orders+"/"+unknown+suffix, b.as(t, other))
			theirs.requireFailure(t, http.StatusNotFound, "ORDER_NOT_FOUND", "")
			require.Equal(t, missing.status, theirs.status)
			require.Equal(t, strings.ReplaceAll(missing.body, unknown, id), theirs.body,
				"the response reveals that the order exists")
		}
	}
	t.Run("SameKey", func(t *testing.T) {
		header := b.as(t, person(identity.RoleUser))
		header.Set("Idempotency-Key", "key")
		a := b.send(t, http.MethodPost, orders, b.request(nil), header)
		require.Equal(t, http.StatusCreated, a.status)
		require.NotEqual(t, id, a.id(t))
	})
	t.Run("Internal", func(t *testing.T) {
		a := b.get(t, "/api/payments/internal/orders/"+unknown, from(t, "notification-service"))
		require.Equal(t, http.StatusNotFound, a.status)
		require.JSONEq(t, `{"error": "ORDER_NOT_FOUND", "message": "Order with ID `+unknown+` not found"}`, a.body)
	})
}

// Every route except health and documentation authenticates its caller.
func TestEveryRouteIsGuarded(t *testing.T) {
	b := setup(t)
	id := b.buy(t, "key", nil).id(t)
	expired := b.as(t, b.buyer)
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: b.buyer.ID.String(),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(-time.Minute)),
		},
	}).SignedString(b.key)
	require.NoError(t, err)
	expired.Set("Authorization", "Bearer "+token)
	_, foreign, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	forged := (&bundle{key: foreign}).as(t, b.buyer)
	without := func(name string) http.Header {
		header := from(t, "notification-service")
		header.Del(name)
		return header
	}
	otherName := from(t, "notification-service")
	otherName.Set("X-Service-Name", "auth-service")
	wrongAPIToken := from(t, "notification-service")
	wrongAPIToken.Set("Dapr-Api-Token", "guess")

	type attempt struct {
		name   string
		header http.Header
		status int
		code   string
	}
	persons := []attempt{
		{"Anonymous", nil, 401, "TOKEN_MISSING"},
		{"BasicAuth", http.Header{"Authorization": {"Basic YTpi"}}, 401, "TOKEN_MISSING"},
		{"Garbage", http.Header{"Authorization": {"Bearer x.y.z"}}, 401, "TOKEN_INVALID"},
		{"Forged", forged, 401, "TOKEN_INVALID"},
		{"Expired", expired, 401, "TOKEN_EXPIRED"},
		{"Service", from(t, "notification-service"), 401, "TOKEN_MISSING"},
	}
	services := []attempt{
		{"Anonymous", nil, 401, "SIDECAR_ONLY"},
		{"Person", b.as(t, b.buyer), 401, "SIDECAR_ONLY"},
		{"NotThroughTheSidecar", without("Dapr-Api-Token"), 401, "SIDECAR_ONLY"},
		{"WrongAPIToken", wrongAPIToken, 401, "SIDECAR_ONLY"},
		{"NoServiceToken", without("X-Service-Token"), 401, "SERVICE_TOKEN_INVALID"},
		{"OtherName", otherName, 401, "SERVICE_TOKEN_INVALID"},
		{"OtherService", from(t, "ticket-service"), 403, "SERVICE_FORBIDDEN"},
	}
	sidecars := services[:4]
	admins := append(slices.Clone(persons), attempt{"Buyer", b.as(t, b.buyer), 403, "FORBIDDEN"})
	attempts := map[string][]attempt{
		"POST /api/payments/orders":                   persons,
		"GET /api/payments/orders":                    persons,
		"GET /api/payments/orders/{orderId}":          persons,
		"GET /api/payments/orders/{orderId}/history":  persons,
		"GET /api/payments/orders/{orderId}/refunds":  persons,
		"POST /api/payments/orders/{orderId}/refunds": admins,
		"POST /api/payments/webhooks/stripe":          {{"Unsigned", nil, 400, "INVALID_SIGNATURE"}},
		"GET /api/payments/internal/orders/{orderId}": services,
		"POST /events": sidecars,
		"POST /api/payments/orders/{orderId}/postponement-refund": persons,
		"POST /events/":                                                sidecars,
		"POST /bindings/dead-letters":                                  sidecars,
		"POST /bindings/monitor-dead-letters":                          sidecars,
		"GET /api/payments/admin/dead-letters":                         admins,
		"POST /api/payments/admin/dead-letters/redrive":                admins,
		"GET /api/payments/admin/dead-letters/{deadLetterId}":          admins,
		"POST /api/payments/admin/dead-letters/{deadLetterId}/redrive": admins,
		"POST /api/payments/admin/dead-letters/{deadLetterId}/discard": admins,
		"POST /api/payments/admin/replays":                             admins,
		"GET /api/payments/admin/replays/{replayId}":                   admins,
		"GET /api/payments/admin/sagas":                                admins,
		"POST /api/payments/admin/sagas/retry":                         admins,
		"POST /api/payments/admin/orders/{orderId}/retry":              admins,
		"POST /bindings/resume-sagas":                                  sidecars,
	}
	require.NoError(t, b.router().Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		template, err := route.GetPathTemplate()
		require.NoError(t, err)
		if strings.HasPrefix(template, "/actuator/health") || strings.HasPrefix(template, "/docs") {
			return nil
		}
		methods, err := route.GetMethods()
		require.NoError(t, err)
		for _, method := range methods {
			path := strings.ReplaceAll(template, "{orderId}", url.PathEscape(id))
			require.Contains(t, attempts, method+" "+template, "a route without attempts")
			for _, a := range attempts[method+" "+template] {
				t.Run(method+template+"/"+a.name, func(t *testing.T) {
					header := a.header.Clone()
					if header == nil {
						header = http.Header{}
					}
					header.Set("Idempotency-Key", "key")
					got := b.send(t, method, path, b.request(nil), header)
					got.requireFailure(t, a.status, a.code, "")
				})
			}
		}
		return nil
	}))
}

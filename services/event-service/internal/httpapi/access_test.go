package httpapi_test

import (
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
)

func TestInvalidAccessTokensAreRejected(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t)
	unchanged := func(*identity.AccessClaims) {}
	_, otherKey, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	signed := func(method jwt.SigningMethod, key any, change func(*identity.AccessClaims)) http.Header {
		return sign(t, method, key, b.organizer, identity.RoleOrganizer, change)
	}
	claiming := func(change func(*identity.AccessClaims)) http.Header {
		return signed(jwt.SigningMethodEdDSA, b.key, change)
	}
	public, ok := b.key.Public().(ed25519.PublicKey)
	require.True(t, ok)
	service, err := identity.SignServiceToken([]byte(serviceSecret), "ticket-service")
	require.NoError(t, err)
	for _, route := range []struct{ method, path, body string }{
		{http.MethodPost, "/api/events", newEvent(nil)},
		{http.MethodPost, "/api/events/" + id + "/publish", ""},
		{http.MethodPost, "/api/events/" + id + "/postpone", `{"eventDate":"2099-07-16T18:00:00Z","reason":"Storm"}`},
		{http.MethodPost, "/api/events/" + id + "/cancel", `{"reason":"Storm"}`},
		{http.MethodPatch, "/api/events/" + id, `{"name":"Winter Festival"}`},
		{http.MethodGet, "/api/events/mine", ""},
		{http.MethodGet, "/api/events/" + id, ""},
	} {
		for _, tt := range []struct {
			name   string
			header http.Header
			code   string
		}{
			{"Expired", claiming(func(c *identity.AccessClaims) {
				c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute))
			}), "TOKEN_EXPIRED"},
			{"NeverExpires", claiming(func(c *identity.AccessClaims) { c.ExpiresAt = nil }), "TOKEN_INVALID"},
			{"OtherIssuer", claiming(func(c *identity.AccessClaims) { c.Issuer = "other" }), "TOKEN_INVALID"},
			{"OtherAudience", claiming(func(c *identity.AccessClaims) { c.Audience = nil }), "TOKEN_INVALID"},
			{"SubjectIsNoUserID", claiming(func(c *identity.AccessClaims) { c.Subject = "ann" }), "TOKEN_INVALID"},
			{"OtherKey", signed(jwt.SigningMethodEdDSA, otherKey, unchanged), "TOKEN_INVALID"},
			{"AlgNone", signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, unchanged), "TOKEN_INVALID"},
			{"HS256WithThePublicKey", signed(jwt.SigningMethodHS256, []byte(public), unchanged), "TOKEN_INVALID"},
			{"ServiceToken", http.Header{"Authorization": {"Bearer " + service}}, "TOKEN_INVALID"},
			{"BasicAuth", http.Header{"Authorization": {"Basic YW5uOmFubg=="}}, "TOKEN_MISSING"},
			{"NotAJWT", http.Header{"Authorization": {"Bearer a.b.c"}}, "TOKEN_INVALID"},
		} {
			t.Run(route.method+route.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, route.method, route.path, route.body, tt.header)
				require.Equal(t, http.StatusUnauthorized, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
	}
}

func TestRoutesForPeopleRequireAToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t)
	for _, route := range []struct{ method, path string }{
		{http.MethodPost, "/api/events"},
		{http.MethodPost, "/api/events/" + id + "/publish"},
		{http.MethodPost, "/api/events/" + id + "/postpone"},
		{http.MethodPost, "/api/events/" + id + "/cancel"},
		{http.MethodPatch, "/api/events/" + id},
		{http.MethodGet, "/api/events/mine"},
	} {
		t.Run(route.method+route.path, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, route.method, route.path, newEvent(nil), nil)
			require.Equal(t, http.StatusUnauthorized, status)
			requireFailure(t, body, "TOKEN_MISSING", "")
		})
	}
}

func TestCreateRequiresTheRoleOrganizer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, role := range []identity.Role{identity.RoleUser, identity.RoleAdmin} {
		t.Run(string(role), func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/events", newEvent(nil), b.as(t, b.user, role))
			require.Equal(t, http.StatusForbidden, status)
			requireFailure(t, body, "FORBIDDEN", "")
		})
	}
}

func TestInternalRoutesAreGuarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t)
	for _, route := range []struct {
		method, path, body string
		others             []string // services that may not call the route
	}{
		{http.MethodGet, "/api/events/internal/" + id, "", []string{"analytics-service", "auth-service"}},
		{
			http.MethodGet, "/api/events/internal/" + id + "/validate-organizer/" + b.organizer.String(), "",
			[]string{"notification-service", "analytics-service", "reader-service"},
		},
		{
			http.MethodPost, "/api/events/internal/batch", `{"eventIds":[]}`,
			[]string{"analytics-service", "email-service", "reader-service"},
		},
	} {
		headers := func(change func(h http.Header)) http.Header {
			h := from(t, "ticket-service")
			change(h)
			return h
		}
		signed := func(method jwt.SigningMethod, key any, kind string, life time.Duration) http.Header {
			token, err := jwt.NewWithClaims(method, jwt.MapClaims{
				"sub": "ticket-service", "type": kind, "exp": time.Now().Add(life).Unix(),
			}).SignedString(key)
			require.NoError(t, err)
			return headers(func(h http.Header) { h.Set("X-Service-Token", token) })
		}
		hs256 := func(secret, kind string, life time.Duration) http.Header {
			return signed(jwt.SigningMethodHS256, []byte(secret), kind, life)
		}
		person := b.as(t, b.admin, identity.RoleAdmin)
		for _, tt := range []struct {
			name   string
			header http.Header
			code   string
		}{
			{"NoToken", headers(func(h http.Header) { h.Del("X-Service-Token") }), "SERVICE_TOKEN_INVALID"},
			{"NotThroughTheSidecar", headers(func(h http.Header) { h.Del("Dapr-Api-Token") }), "SIDECAR_ONLY"},
			{"OtherName", headers(func(h http.Header) {
				h.Set("X-Service-Name", "payment-service")
			}), "SERVICE_TOKEN_INVALID"},
			{"UserToken", headers(func(h http.Header) {
				h.Set("X-Service-Token", strings.TrimPrefix(person.Get("Authorization"), "Bearer "))
			}), "SERVICE_TOKEN_INVALID"},
			{"UserTokenAsBearer", http.Header{
				"Authorization": person["Authorization"], "Dapr-Api-Token": {appAPIToken},
			}, "SERVICE_TOKEN_INVALID"},
			{"WrongSecret", hs256("a guess", "SERVICE", time.Minute), "SERVICE_TOKEN_INVALID"},
			{
				"AlgNone", signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "SERVICE", time.Minute),
				"SERVICE_TOKEN_INVALID",
			},
			{"Expired", hs256(serviceSecret, "SERVICE", -time.Minute), "SERVICE_TOKEN_INVALID"},
			{"OtherType", hs256(serviceSecret, "USER", time.Minute), "SERVICE_TOKEN_INVALID"},
		} {
			t.Run(route.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, route.method, route.path, route.body, tt.header)
				require.Equal(t, http.StatusUnauthorized, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
		for _, service := range route.others {
			t.Run(route.path+"/By"+service, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, route.method, route.path, route.body, from(t, service))
				require.Equal(t, http.StatusForbidden, status, body)
				requireFailure(t, body, "SERVICE_FORBIDDEN", "")
			})
		}
		t.Run(route.path+"/AuthorizationHeader", func(t *testing.T) {
			t.Parallel()
			token, err := identity.SignServiceToken([]byte(serviceSecret), "ticket-service")
			require.NoError(t, err)
			status, body := b.send(t, route.method, route.path, route.body,
				http.Header{"Authorization": {"Service-Token " + token}, "Dapr-Api-Token": {appAPIToken}})
			require.Equal(t, http.StatusOK, status, body)
		})
	}
}

// The configuration EVENT_READERS admits services that the table of calls does not know.
func TestReadersMayReadAnEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, body := b.send(t, http.MethodGet, "/api/events/internal/"+b.create(t), "", from(t, "reader-service"))
	require.Equal(t, http.StatusOK, status, body)
	status, _ = b.send(t, http.MethodGet, "/api/events/internal/"+uuid.NewString(), "", from(t, "reader-service"))
	require.Equal(t, http.StatusNotFound, status)
}

package identity_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// internalPath is a path of calls.EventInfo, which payment-service may call.
const internalPath = "/api/events/internal/1"

const appToken = "the sidecar's"

var serviceSecret = []byte("the secret of all services")

// guarded serves a route of each kind with a guard.
func guarded(t *testing.T, appAPIToken string) (*httptest.Server, issuer) {
	t.Helper()
	issuer := newIssuer(t)
	guard := identity.Guard{Verifier: issuer.verifier(t), ServiceSecret: serviceSecret, AppAPIToken: appAPIToken}
	ok := func(w http.ResponseWriter, r *http.Request) error {
		return web.WriteJSON(w, http.StatusOK, identity.CurrentUser(r.Context()))
	}
	router := web.NewRouter()
	router.Handle("/mine", guard.Person(ok))
	router.Handle("/admin", guard.Person(ok, identity.RoleAdmin))
	router.Handle("/organizer", guard.Person(ok, identity.RoleOrganizer, identity.RoleAdmin))
	guard.Service(router, calls.EventInfo.Route, ok, "guest-service")
	guard.Service(router, calls.Route{Method: http.MethodGet, Path: "/unlisted"}, ok)
	router.Handle("/events", guard.Sidecar(ok))
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server, issuer
}

func TestGuardAdmitsOnlyTheNamedCallers(t *testing.T) {
	t.Parallel()
	server, issuer := guarded(t, appToken)
	user := sign(t, jwt.SigningMethodEdDSA, issuer.private, kid, claims(nil))
	expired := sign(t, jwt.SigningMethodEdDSA, issuer.private, kid, claims(func(c *identity.AccessClaims) {
		c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Hour))
	}))
	payment, err := identity.SignServiceToken(serviceSecret, "payment-service")
	require.NoError(t, err)
	email, err := identity.SignServiceToken(serviceSecret, "email-service")
	require.NoError(t, err)
	guest, err := identity.SignServiceToken(serviceSecret, "guest-service")
	require.NoError(t, err)
	type header map[string]string
	bearer := func(token string) header { return header{"Authorization": "Bearer " + token} }
	serviceToken := func(token string) header { return header{"Authorization": "Service-Token " + token} }
	named := func(token, name string) header { return header{"X-Service-Token": token, "X-Service-Name": name} }
	bySidecar := func(h header, invocation ...string) header {
		h["dapr-api-token"] = appToken
		for _, name := range invocation {
			h[name] = "some-service"
		}
		return h
	}

	for _, tt := range []struct {
		name, path string
		header     header
		status     int
		code       string
	}{
		{"User", "/mine", bearer(user), 200, ""},
		{"UserWithARole", "/organizer", bearer(user), 200, ""},
		{"UserWithoutTheRole", "/admin", bearer(user), 403, "FORBIDDEN"},
		{"NoToken", "/mine", nil, 401, "TOKEN_MISSING"},
		{"TokenWithoutScheme", "/mine", header{"Authorization": user}, 401, "TOKEN_MISSING"},
		{"OtherScheme", "/mine", header{"Authorization": "Basic " + user}, 401, "TOKEN_MISSING"},
		{"ExpiredToken", "/mine", bearer(expired), 401, "TOKEN_EXPIRED"},
		{"ServiceTokenAsUserToken", "/mine", bearer(payment), 401, "TOKEN_INVALID"},
		{"ServiceTokenSchemeForAUserRoute", "/mine", serviceToken(payment), 401, "TOKEN_MISSING"},

		{"Service", internalPath, bySidecar(named(payment, "payment-service")), 200, ""},
		{"ServiceInAuthorization", internalPath, bySidecar(serviceToken(payment), "dapr-caller-app-id"), 200, ""},
		{"ServiceNamedByTheRoute", internalPath, bySidecar(serviceToken(guest)), 200, ""},
		{"RouteThatIsNotInTheTable", "/unlisted", bySidecar(serviceToken(payment)), 403, "SERVICE_FORBIDDEN"},
		{"NoServiceToken", internalPath, bySidecar(header{}), 401, "SERVICE_TOKEN_INVALID"},
		{"UserTokenAsServiceToken", internalPath, bySidecar(named(user, "payment-service")), 401, "SERVICE_TOKEN_INVALID"},
		{"UserTokenInAuthorization", internalPath, bySidecar(bearer(user)), 401, "SERVICE_TOKEN_INVALID"},
		{"OtherName", internalPath, bySidecar(named(payment, "notification-service")), 401, "SERVICE_TOKEN_INVALID"},
		{"NoName", internalPath, bySidecar(header{"X-Service-Token": payment}), 401, "SERVICE_TOKEN_INVALID"},
		{"ServiceNotOnTheList", internalPath, bySidecar(named(email, "email-service")), 403, "SERVICE_FORBIDDEN"},
		{"ServiceAroundTheSidecar", internalPath, named(payment, "payment-service"), 401, "SIDECAR_ONLY"},

		{"Sidecar", "/events", bySidecar(header{}), 200, ""},
		{"InvokedThroughTheSidecar", "/events", bySidecar(header{}, "dapr-caller-app-id"), 401, "SIDECAR_ONLY"},
		{"InvokedByAnUnnamedApp", "/events", bySidecar(header{}, "dapr-callee-app-id"), 401, "SIDECAR_ONLY"},
		{"AnyoneElse", "/events", nil, 401, "SIDECAR_ONLY"},
		{"WrongAppToken", "/events", header{"dapr-api-token": appToken + "x"}, 401, "SIDECAR_ONLY"},
		{"ServiceAsTheSidecar", "/events", named(payment, "payment-service"), 401, "SIDECAR_ONLY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+tt.path, nil)
			require.NoError(t, err)
			for name, value := range tt.header {
				req.Header.Set(name, value)
			}
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			var got struct{ Error string }
			require.NoError(t, json.NewDecoder(res.Body).Decode(&got))
			require.Equal(t, tt.status, res.StatusCode)
			require.Equal(t, tt.code, got.Error)
		})
	}
}

func TestGuardWithoutAnAppAPITokenRejectsRequestsWithoutOne(t *testing.T) {
	t.Parallel()
	server, _ := guarded(t, "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/events", nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
}

func TestCurrentUserWithoutPersonIsTheZeroUser(t *testing.T) {
	t.Parallel()
	require.Zero(t, identity.CurrentUser(t.Context()))
}

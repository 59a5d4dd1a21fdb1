package identity_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// A route of package callers that payment-service may call.
const internalRoute, internalPath = "/api/events/internal/{eventId}", "/api/events/internal/1"

const appToken = "the sidecar's"

var serviceSecret = []byte("the secret of all services")

// guarded serves one route of each kind behind a guard.
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
	router.Handle(internalRoute, guard.Service(ok, "guest-service")).Methods(http.MethodGet)
	router.Handle("/unlisted", guard.Service(ok))
	router.Handle("/events", guard.Sidecar(ok))
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server, issuer
}

func TestGuard(t *testing.T) {
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

	for _, tt := range []struct {
		name, path string
		header     header
		status     int
		code       string
	}{
		{"Person", "/mine", header{"Authorization": "Bearer " + user}, 200, ""},
		{"PersonWithARole", "/organizer", header{"Authorization": "Bearer " + user}, 200, ""},
		{"PersonWithoutTheRole", "/admin", header{"Authorization": "Bearer " + user}, 403, "FORBIDDEN"},
		{"NoToken", "/mine", nil, 401, "TOKEN_MISSING"},
		{"TokenWithoutScheme", "/mine", header{"Authorization": user}, 401, "TOKEN_MISSING"},
		{"OtherScheme", "/mine", header{"Authorization": "Basic " + user}, 401, "TOKEN_MISSING"},
		{"ExpiredToken", "/mine", header{"Authorization": "Bearer " + expired}, 401, "TOKEN_EXPIRED"},
		{"ServiceTokenAsAPersons", "/mine", header{"Authorization": "Bearer " + payment}, 401, "TOKEN_INVALID"},
		{"ServiceTokenSchemeForAPerson", "/mine", header{"Authorization": "Service-Token " + payment}, 401, "TOKEN_MISSING"},

		{"Service", internalPath, header{"X-Service-Token": payment, "X-Service-Name": "payment-service", "dapr-api-token": appToken}, 200, ""},
		{"ServiceInAuthorization", internalPath, header{"Authorization": "Service-Token " + payment, "dapr-api-token": appToken, "dapr-caller-app-id": "payment-service"}, 200, ""},
		{"ServiceNamedBesides", internalPath, header{"Authorization": "Service-Token " + guest, "dapr-api-token": appToken}, 200, ""},
		{"RouteThatIsNotInTheTable", "/unlisted", header{"Authorization": "Service-Token " + payment, "dapr-api-token": appToken}, 403, "SERVICE_FORBIDDEN"},
		{"NoServiceToken", internalPath, header{"dapr-api-token": appToken}, 401, "SERVICE_TOKEN_INVALID"},
		{"PersonsTokenAsAServices", internalPath, header{"X-Service-Token": user, "X-Service-Name": "payment-service", "dapr-api-token": appToken}, 401, "SERVICE_TOKEN_INVALID"},
		{"PersonsTokenInAuthorization", internalPath, header{"Authorization": "Bearer " + user, "dapr-api-token": appToken}, 401, "SERVICE_TOKEN_INVALID"},
		{"OtherName", internalPath, header{"X-Service-Token": payment, "X-Service-Name": "notification-service", "dapr-api-token": appToken}, 401, "SERVICE_TOKEN_INVALID"},
		{"NoName", internalPath, header{"X-Service-Token": payment, "dapr-api-token": appToken}, 401, "SERVICE_TOKEN_INVALID"},
		{"ServiceNotOnTheList", internalPath, header{"X-Service-Token": email, "X-Service-Name": "email-service", "dapr-api-token": appToken}, 403, "SERVICE_FORBIDDEN"},
		{"ServiceAroundTheSidecar", internalPath, header{"X-Service-Token": payment, "X-Service-Name": "payment-service"}, 401, "SIDECAR_ONLY"},

		{"Sidecar", "/events", header{"dapr-api-token": appToken}, 200, ""},
		{"InvokedThroughTheSidecar", "/events", header{"dapr-api-token": appToken, "dapr-caller-app-id": "email-service"}, 401, "SIDECAR_ONLY"},
		{"InvokedByNobodyKnown", "/events", header{"dapr-api-token": appToken, "dapr-callee-app-id": "ticket-service"}, 401, "SIDECAR_ONLY"},
		{"AnyoneElse", "/events", nil, 401, "SIDECAR_ONLY"},
		{"WrongAppToken", "/events", header{"dapr-api-token": appToken + "x"}, 401, "SIDECAR_ONLY"},
		{"ServiceAsTheSidecar", "/events", header{"X-Service-Token": payment, "X-Service-Name": "payment-service"}, 401, "SIDECAR_ONLY"},
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

func TestGuardWithoutATokenLetsNobodyIn(t *testing.T) {
	t.Parallel()
	server, _ := guarded(t, "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/events", nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
}

func TestCurrentUserBehindNoGuardIsNobody(t *testing.T) {
	t.Parallel()
	require.Zero(t, identity.CurrentUser(t.Context()))
}

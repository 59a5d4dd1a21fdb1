package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
)

func TestRoutesForPeopleRequireATokenOfAnOpenSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	ended := b.login(t, "ann@example.com")
	b.logout(t, ended.RefreshToken)
	service, err := identity.SignServiceToken([]byte(serviceSecret), "ticket-service")
	require.NoError(t, err)
	for _, route := range []struct{ method, path string }{
		{http.MethodGet, "/api/auth/me"},
		{http.MethodPatch, "/api/auth/me"},
		{http.MethodPost, "/api/auth/me/password"},
		{http.MethodPost, "/api/auth/me/organizer"},
		{http.MethodPost, "/api/auth/verify-email/resend"},
		{http.MethodPut, "/api/auth/users/" + uuid.NewString() + "/roles"},
	} {
		for _, tt := range []struct {
			name   string
			header http.Header
			code   string
		}{
			{"NoToken", nil, "TOKEN_MISSING"},
			{"BasicAuth", http.Header{"Authorization": {"Basic YW5uOmFubg=="}}, "TOKEN_MISSING"},
			{"NotAJWT", bearer("a.b.c"), "TOKEN_INVALID"},
			{"RefreshToken", bearer(ended.RefreshToken), "TOKEN_INVALID"},
			{"ServiceToken", bearer(service), "TOKEN_INVALID"},
			{"SessionEnded", bearer(ended.AccessToken), "TOKEN_REVOKED"},
		} {
			t.Run(route.method+route.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, route.method, route.path, `{}`, tt.header)
				require.Equal(t, http.StatusUnauthorized, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
	}
}

func TestInternalRoutesAreGuarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	userToken := b.login(t, "ann@example.com").AccessToken
	request := b.requested(t, "EMAIL_VERIFICATION_REQUESTED")[0].RequestID.String()
	headers := func(change func(h http.Header)) http.Header {
		h := from(t, "notification-service")
		change(h)
		return h
	}
	set := func(name, value string) http.Header { return headers(func(h http.Header) { h.Set(name, value) }) }
	remove := func(name string) http.Header { return headers(func(h http.Header) { h.Del(name) }) }
	signed := func(method jwt.SigningMethod, key any, kind string, life time.Duration) http.Header {
		token, err := jwt.NewWithClaims(method, jwt.MapClaims{
			"sub": "notification-service", "type": kind, "exp": time.Now().Add(life).Unix(),
		}).SignedString(key)
		require.NoError(t, err)
		return set("X-Service-Token", token)
	}
	hs256 := func(secret, kind string, life time.Duration) http.Header {
		return signed(jwt.SigningMethodHS256, []byte(secret), kind, life)
	}
	for _, route := range []struct{ method, path, body string }{
		{http.MethodPost, "/api/auth/internal/validate-token", `{"token":"` + userToken + `"}`},
		{http.MethodPost, "/api/auth/internal/users/batch", `{"userIds":[]}`},
		{http.MethodGet, "/api/auth/internal/users/" + ann.UserID.String(), ""},
		{http.MethodGet, "/api/auth/internal/account-mails/" + request, ""},
	} {
		for _, tt := range []struct {
			name   string
			header http.Header
			code   string
		}{
			{"NoToken", remove("X-Service-Token"), "SERVICE_TOKEN_INVALID"},
			{"NotThroughTheSidecar", remove("Dapr-Api-Token"), "SIDECAR_ONLY"},
			{"OtherName", set("X-Service-Name", "ticket-service"), "SERVICE_TOKEN_INVALID"},
			{"UserToken", set("X-Service-Token", userToken), "SERVICE_TOKEN_INVALID"},
			{"UserTokenAsBearer", http.Header{
				"Authorization": {"Bearer " + userToken}, "Dapr-Api-Token": {appAPIToken},
			}, "SERVICE_TOKEN_INVALID"},
			{"WrongSecret", hs256("a guess", "SERVICE", time.Minute), "SERVICE_TOKEN_INVALID"},
			{
				"AlgNone", signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "SERVICE", time.Minute),
				"SERVICE_TOKEN_INVALID",
			},
			{"Expired", hs256(serviceSecret, "SERVICE", -time.Hour), "SERVICE_TOKEN_INVALID"},
			{"OtherType", hs256(serviceSecret, "USER", time.Minute), "SERVICE_TOKEN_INVALID"},
		} {
			t.Run(route.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, route.method, route.path, route.body, tt.header)
				require.Equal(t, http.StatusUnauthorized, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
		t.Run(route.path+"/OtherService", func(t *testing.T) {
			t.Parallel()
			// Signed here, because a service token expires after a minute and a subtest may wait that long.
			status, body := b.send(t, route.method, route.path, route.body, from(t, "email-service"))
			require.Equal(t, http.StatusForbidden, status, body)
			requireFailure(t, body, "SERVICE_FORBIDDEN", "")
		})
		t.Run(route.path+"/AuthorizationHeader", func(t *testing.T) {
			t.Parallel()
			token, err := identity.SignServiceToken([]byte(serviceSecret), "notification-service")
			require.NoError(t, err)
			status, body := b.send(t, route.method, route.path, route.body,
				http.Header{"Authorization": {"Service-Token " + token}, "Dapr-Api-Token": {appAPIToken}})
			require.Equal(t, http.StatusOK, status, body)
		})
	}
	for _, route := range []struct{ service, method, path string }{
		{"payment-service", http.MethodPost, "/api/auth/internal/users/batch"},
		{"ticket-service", http.MethodGet, "/api/auth/internal/account-mails/" + uuid.NewString()},
	} {
		t.Run(route.path+"/By"+route.service, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, route.method, route.path, `{"userIds":[]}`, from(t, route.service))
			require.Equal(t, http.StatusForbidden, status)
			requireFailure(t, body, "SERVICE_FORBIDDEN", "")
		})
	}
}

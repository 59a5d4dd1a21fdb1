package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestReuseOfARefreshTokenRevokesTheSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	first := b.login(t, "ann@example.com")
	status, body := b.refresh(t, first.RefreshToken)
	require.Equal(t, http.StatusOK, status, body)
	var second tokens
	require.NoError(t, json.Unmarshal([]byte(body), &second))
	require.NotEqual(t, first.RefreshToken, second.RefreshToken)
	require.Equal(t, b.session(t, first.AccessToken), b.session(t, second.AccessToken))
	status, body = b.me(t, second.AccessToken)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, ann.UserID.String())

	status, body = b.refresh(t, first.RefreshToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "REFRESH_TOKEN_REUSED", "")
	status, body = b.refresh(t, second.RefreshToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "REFRESH_TOKEN_INVALID", "")
	status, body = b.me(t, second.AccessToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "TOKEN_REVOKED", "")
}

func TestLogoutEndsOneSessionAndIsIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	session, other := b.login(t, "ann@example.com"), b.login(t, "ann@example.com")
	for range 2 {
		status, body := b.logout(t, session.RefreshToken)
		require.Equal(t, http.StatusNoContent, status)
		require.Empty(t, body)
	}
	status, body := b.refresh(t, session.RefreshToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "REFRESH_TOKEN_INVALID", "")
	status, _ = b.me(t, other.AccessToken)
	require.Equal(t, http.StatusOK, status)
}

func TestRefreshRejectsOtherTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	accessToken := b.login(t, "ann@example.com").AccessToken
	for _, tt := range []struct {
		name, body  string
		status      int // of a refresh; a logout without a session is no error
		code, field string
	}{
		{"Unknown", `{"refreshToken":"AAAAAAAAAAAAAAAAAAAAAAAAAA"}`, 401, "REFRESH_TOKEN_INVALID", ""},
		{"AccessToken", `{"refreshToken":"` + accessToken + `"}`, 401, "REFRESH_TOKEN_INVALID", ""},
		{"NUL", `{"refreshToken":"\u0000"}`, 401, "REFRESH_TOKEN_INVALID", ""},
		{"Huge", `{"refreshToken":"` + strings.Repeat("a", 500_000) + `"}`, 401, "REFRESH_TOKEN_INVALID", ""},
		{"Missing", `{}`, 400, "VALIDATION_ERROR", "refreshToken"},
		{"WrongType", `{"refreshToken":7}`, 400, "VALIDATION_ERROR", "refreshToken"},
		{"UnknownField", `{"token":"a"}`, 400, "VALIDATION_ERROR", "token"},
		{"Empty", ``, 400, "MALFORMED_JSON", ""},
		{"TooLarge", `{"refreshToken":"` + strings.Repeat("a", web.MaxBody) + `"}`, 413, "BODY_TOO_LARGE", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/auth/refresh", tt.body, nil)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
			status, body = b.send(t, http.MethodPost, "/api/auth/logout", tt.body, nil)
			if tt.status == http.StatusUnauthorized {
				require.Equal(t, http.StatusNoContent, status, body)
				return
			}
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestRotateKeysKeepsIssuedTokensValid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	before := b.login(t, "ann@example.com").AccessToken
	_, err := b.pool.Exec(t.Context(), `UPDATE signing_keys SET not_before = not_before - interval '30 days'`)
	require.NoError(t, err)

	status, body := b.send(t, http.MethodPost, "/bindings/rotate-keys", "", nil)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "SIDECAR_ONLY", "")
	for range 2 {
		tick := http.Header{"Dapr-Api-Token": {appAPIToken}}
		res := b.doUnchecked(t, http.MethodPost, "/bindings/rotate-keys", "", tick)
		require.Equal(t, http.StatusOK, res.status)
	}
	keys, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, keys, 2)

	// Let the time pass after which the new key signs.
	_, err = b.pool.Exec(t.Context(), `
		UPDATE signing_keys SET
			not_before = not_before - interval '16 minutes', retired_at = retired_at - interval '16 minutes'`)
	require.NoError(t, err)
	verifier, err := identity.FetchKeys(t.Context(), http.DefaultClient, b.url+"/api/auth/.well-known/jwks.json")
	require.NoError(t, err)
	after := b.login(t, "ann@example.com").AccessToken
	for _, token := range []string{before, after} {
		_, _, err := verifier.Claims(t.Context(), token)
		require.NoError(t, err)
		status, body := b.me(t, token)
		require.Equal(t, http.StatusOK, status, body)
	}
	require.NotEqual(t, strings.Split(before, ".")[0], strings.Split(after, ".")[0], "the header has the id of the key")
}

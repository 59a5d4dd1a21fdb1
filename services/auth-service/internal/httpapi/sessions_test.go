package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func (b *bundle) refresh(t *testing.T, token string) (int, string) {
	t.Helper()
	return b.send(t, http.MethodPost, "/api/auth/refresh", `{"refreshToken":"`+token+`"}`, nil)
}

func (b *bundle) me(t *testing.T, accessToken string) (int, string) {
	t.Helper()
	return b.send(t, http.MethodGet, "/api/auth/me", "", bearer(accessToken))
}

func TestRefresh(t *testing.T) {
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

func TestLogout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	session, other := b.login(t, "ann@example.com"), b.login(t, "ann@example.com")
	for range 2 {
		status, body := b.send(t, http.MethodPost, "/api/auth/logout", `{"refreshToken":"`+session.RefreshToken+`"}`, nil)
		require.Equal(t, http.StatusNoContent, status)
		require.Empty(t, body)
	}
	status, body := b.refresh(t, session.RefreshToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "REFRESH_TOKEN_INVALID", "")
	status, _ = b.me(t, other.AccessToken)
	require.Equal(t, http.StatusOK, status)
}

func TestRefreshTokensAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	accessToken := b.login(t, "ann@example.com").AccessToken
	for _, tt := range []struct {
		name, body  string
		status      int // of a refresh; logging out of what is no session is no error
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

// tryPassword logs in with headers and gives the status, the body and Retry-After.
func (b *bundle) tryPassword(t *testing.T, email, password string, header http.Header) (int, string, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/api/auth/login",
		strings.NewReader(`{"email":"`+email+`","password":"`+password+`"}`))
	require.NoError(t, err)
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body), res.Header.Get("Retry-After")
}

// Somebody and nobody get the same answers, and leave the same behind.
func TestThrottleByAccount(t *testing.T) {
	t.Parallel()
	answers := map[string][]string{}
	for _, email := range []string{"ann@example.com", "nobody@example.com"} {
		b := setup(t)
		b.register(t, "ann@example.com")
		for range 7 {
			status, body, _ := b.tryPassword(t, email, "wrong", nil)
			answers[email] = append(answers[email], strconv.Itoa(status)+body)
		}
		status, body, wait := b.tryPassword(t, email, password, nil)
		require.Equal(t, http.StatusTooManyRequests, status, "the right one does not help")
		requireFailure(t, body, "TOO_MANY_ATTEMPTS", "")
		seconds, err := strconv.Atoi(wait)
		require.NoError(t, err)
		require.InDelta(t, 15*60, seconds, 30)
		var failures int
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM login_failures`).Scan(&failures))
		require.Equal(t, 5, failures)

		_, err = b.pool.Exec(t.Context(), `UPDATE login_failures SET failed_at = failed_at - interval '15 minutes'`)
		require.NoError(t, err)
		status, _, _ = b.tryPassword(t, email, "wrong", nil)
		require.Equal(t, http.StatusUnauthorized, status)
	}
	require.Equal(t, answers["ann@example.com"], answers["nobody@example.com"])
	require.True(t, strings.HasPrefix(answers["ann@example.com"][4], "401"))
	require.True(t, strings.HasPrefix(answers["ann@example.com"][5], "429"))
}

// Of many guesses at once no more are answered than of guesses one after another.
func TestThrottleRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	statuses := make([]int, 10)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() { statuses[i], _, _ = b.tryPassword(t, "ann@example.com", fmt.Sprint("guess ", i), nil) })
	}
	wg.Wait()
	counts := map[int]int{}
	for _, status := range statuses {
		counts[status]++
	}
	require.Equal(t, map[int]int{401: 5, 429: 5}, counts)
}

// The limit of an address is failuresPerAddress. Each case uses it up under some headers, and then tries
// others; the trusted network is 10.0.0.0/8.
func TestThrottleByAddress(t *testing.T) {
	t.Parallel()
	sidecar := func(forwarded ...string) http.Header {
		return http.Header{"Dapr-Api-Token": {appAPIToken}, "X-Forwarded-For": forwarded}
	}
	around := func(forwarded ...string) http.Header { return http.Header{"X-Forwarded-For": forwarded} }
	for _, tt := range []struct {
		name        string
		used, other func(i int) http.Header
		same        bool // whether they count as one address
	}{
		{
			"Direct", func(int) http.Header { return nil },
			func(int) http.Header { return nil }, true,
		},
		{
			"DirectHeaderIsNotBelieved", func(i int) http.Header { return around(fmt.Sprintf("192.0.2.%d", i)) },
			func(int) http.Header { return nil }, true,
		},
		{
			"WrongTokenIsNotBelieved",
			func(i int) http.Header {
				return http.Header{"Dapr-Api-Token": {"a guess"}, "X-Forwarded-For": {fmt.Sprintf("192.0.2.%d", i)}}
			},
			func(int) http.Header { return nil }, true,
		},
		{
			"OtherSidecar", func(int) http.Header { return sidecar("192.0.2.1") },
			func(int) http.Header { return sidecar("192.0.2.2") }, false,
		},
		{
			"BeforeASidecarAnybodyWrites", func(i int) http.Header { return sidecar(fmt.Sprintf("198.51.100.%d", i), "192.0.2.1") },
			func(int) http.Header { return sidecar("192.0.2.1") }, true,
		},
		{
			"BeforeATrustedProxy", func(int) http.Header { return sidecar("198.51.100.1", "10.1.2.3") },
			func(int) http.Header { return sidecar("198.51.100.2", "10.1.2.3") }, false,
		},
		{
			"InOneLine", func(i int) http.Header { return sidecar(fmt.Sprintf("spoofed-%d, 198.51.100.1 , 10.1.2.3", i)) },
			func(int) http.Header { return sidecar("198.51.100.1", "10.1.2.3") }, true,
		},
		{
			"Nonsense", func(i int) http.Header { return sidecar("192.0.2.1", strings.Repeat("x", i)) },
			func(int) http.Header { return sidecar() }, true,
		},
		{
			"OneIPv6Site", func(i int) http.Header { return sidecar(fmt.Sprintf("2001:db8:1:2::%d", i)) },
			func(int) http.Header { return sidecar("2001:db8:1:2:ffff::1") }, true,
		},
		{
			"OtherIPv6Site", func(int) http.Header { return sidecar("2001:db8:1:2::1") },
			func(int) http.Header { return sidecar("2001:db8:1:3::1") }, false,
		},
		{
			"IPv4InIPv6", func(int) http.Header { return sidecar("::ffff:192.0.2.1") },
			func(int) http.Header { return sidecar("192.0.2.1") }, true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			for i := range failuresPerAddress {
				status, body, _ := b.tryPassword(t, fmt.Sprintf("%d@example.com", i), "wrong", tt.used(i))
				require.Equal(t, http.StatusUnauthorized, status, body)
			}
			status, body, _ := b.tryPassword(t, "ann@example.com", "wrong", tt.other(0))
			if tt.same {
				require.Equal(t, http.StatusTooManyRequests, status)
				requireFailure(t, body, "TOO_MANY_ATTEMPTS", "")
				return
			}
			require.Equal(t, http.StatusUnauthorized, status)
		})
	}
}

func TestPersonsAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	ended := b.login(t, "ann@example.com")
	b.send(t, http.MethodPost, "/api/auth/logout", `{"refreshToken":"`+ended.RefreshToken+`"}`, nil)
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
			{"NoBearer", http.Header{"Authorization": {"Basic YW5uOmFubg=="}}, "TOKEN_MISSING"},
			{"NoJWT", bearer("a.b.c"), "TOKEN_INVALID"},
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

func TestRotateKeys(t *testing.T) {
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
		status, _ = b.send(t, http.MethodPost, "/bindings/rotate-keys", "", http.Header{"Dapr-Api-Token": {appAPIToken}})
		require.Equal(t, http.StatusOK, status)
	}
	keys, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, keys, 2)

	// The time comes at which the new one signs, and tokens of the old one are good until they expire.
	_, err = b.pool.Exec(t.Context(), `
		UPDATE signing_keys SET not_before = not_before - interval '16 minutes', retired_at = retired_at - interval '16 minutes'`)
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
	require.NotEqual(t, strings.Split(before, ".")[0], strings.Split(after, ".")[0], "the header names the key")
}

// A test server's requests have an address, and one that has none is counted as what it says.
func TestAddressOfNoPeer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/api/auth/login", strings.NewReader(`{"email":"a@example.com","password":"wrong"}`))
		r.RemoteAddr = "@"
		w := httptest.NewRecorder()
		b.router.ServeHTTP(w, r)
		require.Equal(t, http.StatusUnauthorized, w.Code)
	}
}

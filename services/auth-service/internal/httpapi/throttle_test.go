package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Addresses with and without an account get the same responses and leave the same rows.
func TestLoginIsThrottledByAccount(t *testing.T) {
	t.Parallel()
	responses := map[string][]string{}
	for _, email := range []string{"ann@example.com", "unknown@example.com"} {
		b := setup(t)
		b.register(t, "ann@example.com")
		for range 7 {
			res := b.tryPassword(t, email, "wrong", nil)
			responses[email] = append(responses[email], strconv.Itoa(res.status)+res.body)
		}
		res := b.tryPassword(t, email, password, nil)
		require.Equal(t, http.StatusTooManyRequests, res.status, "even with the right password")
		requireFailure(t, res.body, "TOO_MANY_ATTEMPTS", "")
		seconds, err := strconv.Atoi(res.header.Get("Retry-After"))
		require.NoError(t, err)
		require.InDelta(t, 15*60, seconds, 30)
		var failures int
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM login_failures`).Scan(&failures))
		require.Equal(t, 5, failures)

		_, err = b.pool.Exec(t.Context(), `UPDATE login_failures SET failed_at = failed_at - interval '15 minutes'`)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, b.tryPassword(t, email, "wrong", nil).status)
	}
	require.Equal(t, responses["ann@example.com"], responses["unknown@example.com"])
	require.True(t, strings.HasPrefix(responses["ann@example.com"][4], "401"))
	require.True(t, strings.HasPrefix(responses["ann@example.com"][5], "429"))
}

// Concurrent guesses get no more answers than consecutive ones.
func TestConcurrentLoginsAreThrottled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	statuses := make([]int, 10)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() {
			// A busy machine rejects a login with account.ErrBusy, which answers no guess.
			for statuses[i] == 0 || statuses[i] == http.StatusServiceUnavailable {
				statuses[i] = b.tryPassword(t, "ann@example.com", fmt.Sprint("guess ", i), nil).status
			}
		})
	}
	wg.Wait()
	counts := map[int]int{}
	for _, status := range statuses {
		counts[status]++
	}
	require.Equal(t, map[int]int{401: 5, 429: 5}, counts)
}

// Each case reaches the limit of failuresPerAddress with some headers, and then tries others.
func TestLoginIsThrottledByNetworkAddress(t *testing.T) {
	t.Parallel()
	none := func(int) http.Header { return nil }
	direct := func(forwarded ...string) http.Header { return http.Header{"X-Forwarded-For": forwarded} }
	sidecar := func(forwarded ...string) http.Header {
		return http.Header{"Dapr-Api-Token": {appAPIToken}, "X-Forwarded-For": forwarded}
	}
	for _, tt := range []struct {
		name        string
		used, other func(i int) http.Header
		same        bool // whether they count as one address
	}{
		{"Direct", none, none, true},
		{
			"HeaderOfADirectRequestIsIgnored",
			func(i int) http.Header { return direct(fmt.Sprintf("192.0.2.%d", i)) },
			none, true,
		},
		{
			"HeaderWithAWrongTokenIsIgnored",
			func(i int) http.Header {
				return http.Header{"Dapr-Api-Token": {"a guess"}, "X-Forwarded-For": {fmt.Sprintf("192.0.2.%d", i)}}
			},
			none, true,
		},
		{
			"DifferentCallingSidecars",
			func(int) http.Header { return sidecar("192.0.2.1") },
			func(int) http.Header { return sidecar("192.0.2.2") }, false,
		},
		{
			"EntriesBeforeAnUntrustedAddressAreIgnored",
			func(i int) http.Header { return sidecar(fmt.Sprintf("198.51.100.%d", i), "192.0.2.1") },
			func(int) http.Header { return sidecar("192.0.2.1") }, true,
		},
		{
			"EntryBeforeATrustedProxyCounts",
			func(int) http.Header { return sidecar("198.51.100.1", "10.1.2.3") },
			func(int) http.Header { return sidecar("198.51.100.2", "10.1.2.3") }, false,
		},
		{
			"EntriesInOneHeaderLine",
			func(i int) http.Header {
				return sidecar(fmt.Sprintf("spoofed-%d, 198.51.100.1 , 10.1.2.3", i))
			},
			func(int) http.Header { return sidecar("198.51.100.1", "10.1.2.3") }, true,
		},
		{
			"InvalidEntry",
			func(i int) http.Header { return sidecar("192.0.2.1", strings.Repeat("x", i)) },
			func(int) http.Header { return sidecar() }, true,
		},
		{
			"OneIPv6Site",
			func(i int) http.Header { return sidecar(fmt.Sprintf("2001:db8:1:2::%d", i)) },
			func(int) http.Header { return sidecar("2001:db8:1:2:ffff::1") }, true,
		},
		{
			"DifferentIPv6Sites",
			func(int) http.Header { return sidecar("2001:db8:1:2::1") },
			func(int) http.Header { return sidecar("2001:db8:1:3::1") }, false,
		},
		{
			"IPv4InIPv6",
			func(int) http.Header { return sidecar("::ffff:192.0.2.1") },
			func(int) http.Header { return sidecar("192.0.2.1") }, true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			for i := range failuresPerAddress {
				res := b.tryPassword(t, fmt.Sprintf("%d@example.com", i), "wrong", tt.used(i))
				require.Equal(t, http.StatusUnauthorized, res.status, res.body)
			}
			res := b.tryPassword(t, "ann@example.com", "wrong", tt.other(0))
			if tt.same {
				require.Equal(t, http.StatusTooManyRequests, res.status)
				requireFailure(t, res.body, "TOO_MANY_ATTEMPTS", "")
				return
			}
			require.Equal(t, http.StatusUnauthorized, res.status)
		})
	}
}

func TestLoginAcceptsAPeerWithoutAnIPAddress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/api/auth/login",
			strings.NewReader(`{"email":"a@example.com","password":"wrong"}`))
		r.RemoteAddr = "@"
		w := httptest.NewRecorder()
		b.router.ServeHTTP(w, r)
		require.Equal(t, http.StatusUnauthorized, w.Code)
	}
}

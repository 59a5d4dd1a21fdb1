package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProxyForwardsCallsWithTheSidecarToken(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, strings.Join([]string{
			r.Method, r.RequestURI, r.Header.Get("dapr-api-token"), r.Header.Get("Authorization"), string(body),
		}, " "))
	}))
	t.Cleanup(app.Close)
	address, err := url.Parse(app.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(address.Port())
	require.NoError(t, err)
	cfg := config{AppAPIToken: "secret", Apps: map[string]int{"ticket-service": port}}
	proxy := httptest.NewServer(cfg.handler())
	t.Cleanup(proxy.Close)

	call := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, proxy.URL+path, strings.NewReader("an order"))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer token")
		req.Header.Set("dapr-api-token", "forged")
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(body)
	}
	status, got := call("/v1.0/invoke/ticket-service/method/api/tickets/a%2Fb?limit=3")
	require.Equal(t, http.StatusTeapot, status)
	require.Equal(t, "POST /api/tickets/a%2Fb?limit=3 secret Bearer token an order", got)
	status, _ = call("/v1.0/invoke/other-service/method/api")
	require.Equal(t, http.StatusNotFound, status)
}

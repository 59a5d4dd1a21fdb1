package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestRequestsAreMeasuredByRoute(t *testing.T) {
	t.Parallel()
	router := web.NewRouter()
	measured := router.Methods(http.MethodGet).Path("/measured/{id:[0-9]+}")
	measured.Handler(web.Handler(func(_ http.ResponseWriter, r *http.Request) error {
		if mux.Vars(r)["id"] == "2" {
			return problem.New(problem.Conflict, "TAKEN", "It is taken")
		}
		return nil
	}))
	server := httptest.NewServer(web.WithMetrics(router))
	t.Cleanup(server.Close)
	request := func(method, path, callee string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		require.NoError(t, err)
		if callee != "" {
			req.Header.Set("Dapr-Callee-App-Id", callee)
		}
		if path == "/measured/2" {
			req.Header.Set("Prefer", web.PreferStatusInHeader)
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(body)
	}

	request(http.MethodGet, "/measured/1", "")
	request(http.MethodGet, "/measured/3", "")
	request(http.MethodGet, "/measured/2", "")
	request("PURGE", "/who/knows", "")
	status, page := request(http.MethodGet, "/metrics", "")
	require.Equal(t, http.StatusOK, status)
	for _, line := range []string{
		`http_server_request_seconds_count{method="GET",route="/measured/{id}",status="2xx"} 2`,
		// Counted by its own status, not by the 200 that carries the refusal.
		`http_server_request_seconds_count{method="GET",route="/measured/{id}",status="4xx"} 1`,
		`http_server_request_seconds_bucket{method="",route="unmatched",status="4xx"`,
		"process_open_fds", "go_goroutines", "go_build_info",
	} {
		require.Contains(t, page, line)
	}
	require.NotContains(t, page, "PURGE")
	require.NotContains(t, page, "/who", "the path of an unknown route")

	status, _ = request(http.MethodGet, "/metrics", "this-service")
	require.Equal(t, http.StatusNotFound, status, "metrics are not served through sidecars")
}

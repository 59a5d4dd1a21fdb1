package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/sidecar/sidecartest"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
)

// A rejected order is not stored, so the client can repeat the request under the same key.
func TestRejectedOrderIsNotStored(t *testing.T) {
	b := setup(t)

	b.deps.Queue = admission.NewOrderQueue(admission.Limits{Concurrency: 0, QueueSize: 1, MaxWait: time.Millisecond})
	busy := httptest.NewServer(b.router())
	t.Cleanup(busy.Close)
	url := b.url
	b.url = busy.URL
	a := b.buy(t, "key", nil)
	a.requireFailure(t, http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "")
	require.Equal(t, "5", a.header.Get("Retry-After"))
	var n int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&n))
	require.Zero(t, n)

	b.url = url
	require.Equal(t, http.StatusCreated, b.buy(t, "key", nil).status)
}

// The Retry-After of a callee reaches the client, through the sidecar's API. Without one, the service sends its own.
func TestRetryAfterOfACalleeReachesTheClient(t *testing.T) {
	b := setup(t)
	const tooMany = `{"error": "TOO_MANY_REQUESTS", "message": "Too many people want these tickets at this moment"}`
	const unavailable = `{"error": "SERVICE_UNAVAILABLE", "message": "The database does not answer"}`
	type response struct {
		status           int
		retryAfter, body string
	}
	var callee atomic.Pointer[response] // of every call
	b.deps.Saga.Services = sidecartest.Connect(t, "payment-service", nil, func(w http.ResponseWriter, _ *http.Request) {
		r := callee.Load()
		if r.retryAfter != "" {
			w.Header().Set("Retry-After", r.retryAfter)
		}
		if r.status == http.StatusTooManyRequests { // services send a 4xx in a header
			w.Header().Set("X-Status", "429")
		} else {
			w.WriteHeader(r.status)
		}
		_, _ = io.WriteString(w, r.body)
	})
	bought, _ := b.bought(t)
	organizer := b.organizer()
	server := httptest.NewServer(b.router())
	t.Cleanup(server.Close)
	b.url = server.URL

	for _, tt := range []struct {
		name   string
		callee response
		order  int // the status of the response to the buyer
		want   string
	}{
		{"TooManyRequests", response{429, "17", tooMany}, http.StatusTooManyRequests, "17"},
		{"Unavailable", response{503, "17", unavailable}, http.StatusServiceUnavailable, "17"},
		{"TooManyRequestsWithoutTime", response{429, "", tooMany}, http.StatusTooManyRequests, "5"},
		{"UnavailableWithoutTime", response{503, "", unavailable}, http.StatusServiceUnavailable, "5"},
		{"NoService", response{502, "", "<html>"}, http.StatusServiceUnavailable, "5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			callee.Store(&tt.callee)
			for name, requested := range map[string]struct {
				answer answer
				status int
			}{
				"order": {b.buy(t, tt.name, nil), tt.order},
				"refund": {
					b.requestRefundAs(t, organizer, bought, tt.name, `{"reason": "x"}`),
					http.StatusServiceUnavailable,
				},
				"webhook": {
					b.send(t, http.MethodPost, webhookPath, report(bought, "SUCCEEDED"), signed),
					http.StatusServiceUnavailable,
				},
			} {
				require.Equal(t, requested.status, requested.answer.status, "%s: %s", name, requested.answer.body)
				require.Equal(t, tt.want, requested.answer.header.Get("Retry-After"), name)
				require.NotContains(t, requested.answer.body, "database", "the message of the callee is not shown")
			}
		})
	}
}

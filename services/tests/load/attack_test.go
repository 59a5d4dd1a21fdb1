package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// requestsTo returns a targeter that requests the root of a server.
func requestsTo(server *httptest.Server) vegeta.Targeter {
	return func(t *vegeta.Target) error {
		t.Method, t.URL = http.MethodGet, server.URL
		return nil
	}
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

func TestAttackKeepsAllClientsBusy(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(5 * time.Millisecond)
		w.WriteHeader(http.StatusCreated)
	})
	o, err := attack(t.Context(), load{clients: 8, requests: 100}, requestsTo(server))
	require.NoError(t, err)
	require.Equal(t, map[int]int{http.StatusCreated: 100}, o.answers)
	require.Equal(t, int64(8), most.Load(), "there are as many concurrent requests as clients")
	require.InDelta(t, 100/o.took.Seconds(), o.perSecond(http.StatusCreated), 0.001)
	require.LessOrEqual(t, o.last[http.StatusCreated], o.took)
	require.GreaterOrEqual(t, o.percentile(50), 5.0)
}

// The server stalls once, while twenty requests become due. The latency of each of them includes its wait.
func TestOpenLoadCountsTheWaitsDuringAStall(t *testing.T) {
	t.Parallel()
	const stall = 200 * time.Millisecond
	var requests atomic.Int64
	stalled := make(chan struct{})
	server := serve(t, func(http.ResponseWriter, *http.Request) {
		if requests.Add(1) == 1 {
			time.AfterFunc(stall, func() { close(stalled) })
		}
		<-stalled
	})
	o, err := attack(t.Context(), load{perSecond: 100, requests: 40}, requestsTo(server))
	require.NoError(t, err)
	require.Equal(t, 40, o.answers[http.StatusOK])
	require.GreaterOrEqual(t, o.percentile(75), 80.0, "a quarter of the requests wait for at least half of the stall")
	require.GreaterOrEqual(t, o.percentile(100), 195.0)
}

func TestLatenessCountsFromTheDueTime(t *testing.T) {
	t.Parallel()
	require.Zero(t, lateness(10*time.Millisecond, 0, 100))
	require.Zero(t, lateness(9*time.Millisecond, 0, 100), "a request that is sent early is not late")
	require.Equal(t, 30*time.Millisecond, lateness(60*time.Millisecond, 2, 100))
}

func TestAttackReportsFailures(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "it broke")
	})
	o, err := attack(t.Context(), load{clients: 1, requests: 3}, requestsTo(server))
	require.NoError(t, err)
	require.NoError(t, o.expect(http.StatusInternalServerError))
	require.ErrorContains(t, o.expect(http.StatusOK), "it broke")

	server.Close()
	o, err = attack(t.Context(), load{clients: 1, requests: 2}, requestsTo(server))
	require.NoError(t, err)
	require.Equal(t, map[int]int{0: 2}, o.answers)
	require.Error(t, o.expect(http.StatusOK))
}

func TestAttackStopsWhenItsContextIsDone(t *testing.T) {
	t.Parallel()
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := attack(ctx, load{clients: 1, during: time.Hour}, requestsTo(server))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestMergeAddsAnswersAndLatencies(t *testing.T) {
	t.Parallel()
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	var all outcome
	for range 3 {
		o, err := attack(t.Context(), load{clients: 1, requests: 2}, requestsTo(server))
		require.NoError(t, err)
		all.merge(o)
	}
	require.Equal(t, 6, all.answers[http.StatusOK])
	require.Equal(t, int64(6), all.latency.TotalCount())
}

func TestRetrierRetriesRejectionsWithRetryAfter(t *testing.T) {
	t.Parallel()
	var requests []string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests = append(requests, r.Header.Get("Idempotency-Key")+" "+string(body))
		switch len(requests) {
		case 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 3:
			w.WriteHeader(http.StatusCreated)
		default: // no Retry-After
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	transport := &retrier{next: &http.Transport{}}
	order := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("an order"))
		require.NoError(t, err)
		req.Header.Set("Idempotency-Key", "key")
		res, err := (&http.Client{Transport: transport}).Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	require.Equal(t, http.StatusCreated, order())
	require.Equal(t, []string{"key an order", "key an order", "key an order"}, requests)
	require.Equal(t, int64(2), transport.rejected.Load())
	require.Equal(t, http.StatusServiceUnavailable, order())
}

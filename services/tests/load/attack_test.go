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

// at gets a server's root.
func at(server *httptest.Server) vegeta.Targeter {
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

func TestFireKeepsItsClientsBusy(t *testing.T) {
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
	s, err := fire(t.Context(), load{clients: 8, requests: 100}, at(server))
	require.NoError(t, err)
	require.Equal(t, map[int]int{http.StatusCreated: 100}, s.answers)
	require.Equal(t, int64(8), most.Load(), "as many at once as there are clients")
	require.InDelta(t, 100/s.took.Seconds(), s.perSecond(http.StatusCreated), 0.001)
	require.LessOrEqual(t, s.last[http.StatusCreated], s.took)
	require.GreaterOrEqual(t, s.percentile(50), 5.0)
}

// The server stalls once, for as long as twenty requests are due in. An open load feels that with each of them.
func TestFireCountsTheWaitsThatAStallMakes(t *testing.T) {
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
	s, err := fire(t.Context(), load{perSecond: 100, requests: 40}, at(server))
	require.NoError(t, err)
	require.Equal(t, 40, s.answers[http.StatusOK])
	require.GreaterOrEqual(t, s.percentile(75), 80.0, "a quarter of them waited for half of the stall and more")
	require.GreaterOrEqual(t, s.percentile(100), 195.0)
}

func TestLateCountsFromWhenItWasDue(t *testing.T) {
	t.Parallel()
	require.Zero(t, late(10*time.Millisecond, 0, 100))
	require.Zero(t, late(9*time.Millisecond, 0, 100), "what is early waits for nobody")
	require.Equal(t, 30*time.Millisecond, late(60*time.Millisecond, 2, 100))
}

func TestFireTellsOfTrouble(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "it broke")
	})
	s, err := fire(t.Context(), load{clients: 1, requests: 3}, at(server))
	require.NoError(t, err)
	require.NoError(t, s.only(http.StatusInternalServerError))
	require.ErrorContains(t, s.only(http.StatusOK), "it broke")

	server.Close()
	s, err = fire(t.Context(), load{clients: 1, requests: 2}, at(server))
	require.NoError(t, err)
	require.Equal(t, map[int]int{0: 2}, s.answers)
	require.Error(t, s.only(http.StatusOK))
}

func TestFireEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := fire(ctx, load{clients: 1, during: time.Hour}, at(server))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestMerge(t *testing.T) {
	t.Parallel()
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	var all shots
	for range 3 {
		s, err := fire(t.Context(), load{clients: 1, requests: 2}, at(server))
		require.NoError(t, err)
		all.merge(s)
	}
	require.Equal(t, 6, all.answers[http.StatusOK])
	require.Equal(t, int64(6), all.latency.TotalCount())
}

func TestInsistentComesAgainAsItIsToldTo(t *testing.T) {
	t.Parallel()
	var came []string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		came = append(came, r.Header.Get("Idempotency-Key")+" "+string(body))
		switch len(came) {
		case 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 3:
			w.WriteHeader(http.StatusCreated)
		default: // it does not say when to come again
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	queue := &insistent{next: &http.Transport{}}
	order := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("an order"))
		require.NoError(t, err)
		req.Header.Set("Idempotency-Key", "key")
		res, err := (&http.Client{Transport: queue}).Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	require.Equal(t, http.StatusCreated, order())
	require.Equal(t, []string{"key an order", "key an order", "key an order"}, came)
	require.Equal(t, int64(2), queue.refused.Load())
	require.Equal(t, http.StatusServiceUnavailable, order())
}

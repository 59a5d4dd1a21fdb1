package resiliency_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// switchable is a path of a stand-in whose answers a test controls.
type switchable struct {
	status atomic.Int32 // to answer with
	hits   atomic.Int32
	held   atomic.Pointer[chan struct{}] // if set, answers wait until it is closed
}

func newSwitchable(app, path string) *switchable {
	s := &switchable{}
	s.status.Store(http.StatusOK)
	apps.on(app, path, func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		if held := s.held.Load(); held != nil {
			select {
			case <-*held:
			case <-r.Context().Done():
			}
		}
		w.WriteHeader(int(s.status.Load()))
	})
	return s
}

// To a breaker any status but 2xx and 3xx is a failure. No hop retries this one, so that a call is one attempt.
const failure = http.StatusBadRequest

// failures makes calls that fail until the breaker rejects one. It returns the number of calls that passed, and the
// time at which the last of them began.
func (s *switchable) failures(t *testing.T, h hop, path string) (n int, last time.Time) {
	t.Helper()
	s.status.Store(failure)
	before := s.hits.Load()
	for range 100 {
		start := time.Now()
		a := call(t, h, path)
		if a.byBreaker() {
			return int(s.hits.Load() - before), last
		}
		require.Equal(t, failure, a.status, a.body)
		last = start
	}
	t.Fatal("the breaker did not open")
	return 0, last
}

// awaitHalfOpen waits until the breaker lets a call pass, and returns the time of that call.
func (s *switchable) awaitHalfOpen(t *testing.T, h hop, path string) time.Time {
	t.Helper()
	before := s.hits.Load()
	var passed time.Time
	eventually(t, func() bool {
		call(t, h, path)
		passed = time.Now()
		return s.hits.Load() > before
	}, "the breaker does not half-open")
	return passed
}

func TestBreakerOpensAndCloses(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		t.Helper()
		s := newSwitchable(h.callee, path)
		wait, err := time.ParseDuration(h.breaker.Timeout)
		require.NoError(t, err)

		n, last := s.failures(t, h, path)
		require.Equal(t, h.trip.after(0), n, "number of failures that open the breaker")
		for range 5 {
			a := call(t, h, path)
			require.True(t, a.byBreaker(), "the breaker is not open: %s", a.body)
			require.Contains(t, a.body, "ERR_DIRECT_INVOKE")
		}

		passed := s.awaitHalfOpen(t, h, path)
		require.GreaterOrEqual(t, passed.Sub(last), wait, "the breaker half-opened too early")
		require.Less(t, passed.Sub(last), wait+5*time.Second)
		require.True(t, call(t, h, path).byBreaker(), "a failure in the half-open state does not open the breaker")

		// While half-open, the breaker lets MaxRequests calls pass and rejects all others until these are answered.
		s.status.Store(http.StatusOK)
		release := make(chan struct{})
		s.held.Store(&release)
		before := s.hits.Load()
		var calls sync.WaitGroup
		var good atomic.Int32
		trial := func() {
			calls.Go(func() {
				if a, err := post(t.Context(), h.caller, h.callee, path); err == nil && a.status == http.StatusOK {
					good.Add(1)
				}
			})
		}
		eventually(t, func() bool {
			trial()
			return int(s.hits.Load()-before) >= h.breaker.MaxRequests
		}, "the breaker does not half-open again")
		for range 3 {
			a := call(t, h, path)
			require.True(t, a.byBreaker(), a.body)
		}
		require.EqualValues(t, h.breaker.MaxRequests, s.hits.Load()-before, "number of concurrent trial calls")
		close(release)
		calls.Wait()
		s.held.Store(nil)
		require.EqualValues(t, h.breaker.MaxRequests, good.Load(), "number of successful trial calls")

		for range h.breaker.MaxRequests + 1 {
			require.Equal(t, http.StatusOK, call(t, h, path).status, "the breaker is not closed")
		}
		n, _ = s.failures(t, h, path)
		require.Equal(t, h.trip.after(h.breaker.MaxRequests+1), n, "failures from before the breaker opened still count")
	})
}

// After many successful calls the breaker opens as soon as the contract's sliding window would.
func TestBreakerOpensAfterSuccessfulCalls(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		t.Helper()
		s := newSwitchable(h.callee, path)
		good := 5 * h.trip.requests
		for range good {
			require.Equal(t, http.StatusOK, call(t, h, path).status)
		}
		n, _ := s.failures(t, h, path)
		require.Equal(t, h.trip.after(good), n)
		require.Equal(t, h.trip.run, n, "consecutive failures must open the breaker long before the failure rate")
	})
}

func TestBreakerToleratesALowFailureRate(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		t.Helper()
		s := newSwitchable(h.callee, path)
		every := 100/h.trip.rate + 1
		for i := range 6 * h.trip.requests {
			want := http.StatusOK
			if i%every == every-1 {
				want = failure
			}
			s.status.Store(int32(want))
			require.Equal(t, want, call(t, h, path).status, "call %d", i)
		}
	})
}

// Failures of the previous interval do not count.
func TestBreakerResetsAfterItsInterval(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		t.Helper()
		s := newSwitchable(h.callee, path)
		s.status.Store(failure)
		interval, err := time.ParseDuration(h.breaker.Interval)
		require.NoError(t, err)
		almost := func() {
			for range h.trip.after(0) - 1 {
				require.Equal(t, failure, call(t, h, path).status)
			}
		}
		almost()
		select {
		case <-time.After(interval):
		case <-t.Context().Done():
		}
		almost()
		n, _ := s.failures(t, h, path)
		require.Equal(t, 1, n)
	})
}

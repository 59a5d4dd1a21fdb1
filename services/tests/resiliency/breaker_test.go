package resiliency_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// switchable is a path of a stand-in that does what it is told.
type switchable struct {
	status atomic.Int32 // to answer with
	hits   atomic.Int32
	held   atomic.Pointer[chan struct{}] // what answers wait for
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

// To a breaker any status but a 2xx or 3xx is a failure. This one is not retried on any hop, so that a call is one attempt.
const failure = http.StatusBadRequest

// failures makes calls that fail until the breaker refuses one, and tells how many got through and when the last did.
func (s *switchable) failures(t *testing.T, h hop, path string) (n int, last time.Time) {
	t.Helper()
	s.status.Store(failure)
	before := s.hits.Load()
	for range 100 {
		began := time.Now()
		a := call(t, h, path)
		if a.byBreaker() {
			return int(s.hits.Load() - before), last
		}
		require.Equal(t, failure, a.status, a.body)
		last = began
	}
	t.Fatal("the breaker never opened")
	return 0, last
}

// opened waits until the breaker lets a call through, and tells when.
func (s *switchable) opened(t *testing.T, h hop, path string) time.Time {
	t.Helper()
	before := s.hits.Load()
	var through time.Time
	eventually(t, func() bool {
		call(t, h, path)
		through = time.Now()
		return s.hits.Load() > before
	}, "it half-opens")
	return through
}

func TestBreakerOpensAndCloses(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		s := newSwitchable(h.callee, path)
		wait, err := time.ParseDuration(h.breaker.Timeout)
		require.NoError(t, err)

		n, last := s.failures(t, h, path)
		require.Equal(t, h.trip.after(0), n, "failures that open it")
		for range 5 {
			a := call(t, h, path)
			require.True(t, a.byBreaker(), "it stays open: %s", a.body)
			require.Contains(t, a.body, "ERR_DIRECT_INVOKE")
		}

		through := s.opened(t, h, path)
		require.GreaterOrEqual(t, through.Sub(last), wait, "it stays open for so long")
		require.Less(t, through.Sub(last), wait+5*time.Second)
		require.True(t, call(t, h, path).byBreaker(), "one failure opens it again")

		// Half open it lets so many through, and the others wait for what comes of them.
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
		}, "it half-opens again")
		for range 3 {
			a := call(t, h, path)
			require.True(t, a.byBreaker(), a.body)
		}
		require.EqualValues(t, h.breaker.MaxRequests, s.hits.Load()-before, "trials at once")
		close(release)
		calls.Wait()
		s.held.Store(nil)
		require.EqualValues(t, h.breaker.MaxRequests, good.Load(), "trials that went well")

		for range h.breaker.MaxRequests + 1 {
			require.Equal(t, http.StatusOK, call(t, h, path).status, "it is closed")
		}
		n, _ = s.failures(t, h, path)
		require.Equal(t, h.trip.after(h.breaker.MaxRequests+1), n, "what was before it opened no longer counts")
	})
}

// After many calls that went well it opens as soon as the contract's sliding count would.
func TestBreakerOpensInTheMiddleOfTraffic(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		s := newSwitchable(h.callee, path)
		good := 5 * h.trip.requests
		for range good {
			require.Equal(t, http.StatusOK, call(t, h, path).status)
		}
		n, _ := s.failures(t, h, path)
		require.Equal(t, h.trip.after(good), n)
		require.Equal(t, h.trip.run, n, "the run, long before the rate")
	})
}

func TestBreakerBearsFewerFailures(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
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

// Failures of the window before do not count.
func TestBreakerForgets(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
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

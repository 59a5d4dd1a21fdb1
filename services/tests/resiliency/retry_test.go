package resiliency_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// attempt is the time during which the app handled one attempt of a call.
type attempt struct{ start, end time.Time }

// recordAttempts registers a handler for a path of an app. It returns a function that returns the attempts so far.
func recordAttempts(app, path string, answer http.HandlerFunc) func() []attempt {
	var mu sync.Mutex
	var all []attempt
	apps.on(app, path, func(w http.ResponseWriter, r *http.Request) {
		a := attempt{start: time.Now()}
		defer func() {
			a.end = time.Now()
			mu.Lock()
			defer mu.Unlock()
			all = append(all, a)
		}()
		answer(w, r)
	})
	return func() []attempt {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// minWait returns the shortest wait of a sidecar between two attempts. An exponential wait begins at half a second,
// plus or minus one half of that, which no configuration can change.
func (r retry) minWait(t *testing.T) time.Duration {
	t.Helper()
	if r.Policy == "exponential" {
		return 250 * time.Millisecond
	}
	d, err := time.ParseDuration(r.Duration)
	require.NoError(t, err)
	return d
}

func TestFailedCallsAreRetriedAsThePolicySays(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		t.Helper()
		for _, status := range []int{
			200, 201, 304, 400, 401, 402, 403, 404, 405, 409, 413, 422, 429, 500, 501, 502, 503, 504,
		} {
			t.Run(strconv.Itoa(status), func(t *testing.T) {
				t.Parallel()
				path := path + "/" + strconv.Itoa(status)
				attempts := recordAttempts(h.callee, path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
				require.Equal(t, status, call(t, h, path).status, "the caller does not receive the app's status")
				want := 1
				if h.retry.retries(status) {
					want = h.attempts()
				}
				all := attempts()
				require.Len(t, all, want)
				for i := range all[1:] {
					require.GreaterOrEqual(t, all[i+1].start.Sub(all[i].end), h.retry.minWait(t))
				}
			})
		}
		t.Run("ConnectionLost", func(t *testing.T) {
			t.Parallel()
			path := path + "/lost"
			attempts := recordAttempts(h.callee, path, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			a := call(t, h, path)
			require.Equal(t, http.StatusInternalServerError, a.status)
			require.Contains(t, a.body, "ERR_DIRECT_INVOKE")
			require.Len(t, attempts(), h.attempts())
		})
		t.Run("SecondAttemptSucceeds", func(t *testing.T) {
			t.Parallel()
			path := path + "/second"
			var first sync.Once
			attempts := recordAttempts(h.callee, path, func(w http.ResponseWriter, _ *http.Request) {
				first.Do(func() { w.WriteHeader(http.StatusServiceUnavailable) })
			})
			require.Equal(t, http.StatusOK, call(t, h, path).status)
			require.Len(t, attempts(), 2)
		})
	})
}

// The sidecar ends each attempt that hangs at the timeout. After the last one the caller receives an error.
func TestTimeoutEndsEachAttempt(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		t.Helper()
		attempts := recordAttempts(h.callee, path, hang)
		a := call(t, h, path)
		require.Equal(t, http.StatusInternalServerError, a.status)
		require.Contains(t, a.body, "ERR_DIRECT_INVOKE")
		requireTimeout(t, attempts, h.attempts(), h.timeout)
	})
}

// hang answers only once the caller has disconnected.
func hang(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(2 * deadline):
	}
}

// requireTimeout waits for n attempts, and requires that each of them ended at the limit.
func requireTimeout(t *testing.T, attempts func() []attempt, n int, limit string) {
	t.Helper()
	eventually(t, func() bool { return len(attempts()) == n }, "not all attempts have ended")
	d, err := time.ParseDuration(limit)
	require.NoError(t, err)
	for _, a := range attempts() {
		took := a.end.Sub(a.start)
		require.Greater(t, took, d/2) // the sidecar's timeout begins a little before the app receives the call
		require.Less(t, took, d+2*time.Second)
	}
}

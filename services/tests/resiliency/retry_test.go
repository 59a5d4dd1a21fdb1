package resiliency_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// attempt is when the app saw a call come and go.
type attempt struct{ came, went time.Time }

// attempts has an app keep those of a path.
func attempts(app, path string, answer http.HandlerFunc) func() []attempt {
	var mu sync.Mutex
	var all []attempt
	apps.on(app, path, func(w http.ResponseWriter, r *http.Request) {
		a := attempt{came: time.Now()}
		defer func() {
			a.went = time.Now()
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

// shortest is how long a sidecar waits at least between two attempts: exponential waits begin at half a second, give or
// take one half, which no file can change.
func (r retry) shortest(t *testing.T) time.Duration {
	t.Helper()
	if r.Policy == "exponential" {
		return 250 * time.Millisecond
	}
	d, err := time.ParseDuration(r.Duration)
	require.NoError(t, err)
	return d
}

func TestRetries(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		for _, status := range []int{200, 201, 304, 400, 401, 402, 403, 404, 405, 409, 413, 422, 429, 500, 501, 502, 503, 504} {
			t.Run(strconv.Itoa(status), func(t *testing.T) {
				t.Parallel()
				path := path + "/" + strconv.Itoa(status)
				seen := attempts(h.callee, path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
				require.Equal(t, status, call(t, h, path).status, "who calls gets the app's own answer")
				want := 1
				if h.retry.retried(status) {
					want = h.attempts()
				}
				all := seen()
				require.Len(t, all, want)
				for i := range all[1:] {
					require.GreaterOrEqual(t, all[i+1].came.Sub(all[i].went), h.retry.shortest(t))
				}
			})
		}
		t.Run("ConnectionLost", func(t *testing.T) {
			t.Parallel()
			path := path + "/lost"
			seen := attempts(h.callee, path, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			a := call(t, h, path)
			require.Equal(t, http.StatusInternalServerError, a.status)
			require.Contains(t, a.body, "ERR_DIRECT_INVOKE")
			require.Len(t, seen(), h.attempts())
		})
		t.Run("BetterTheSecondTime", func(t *testing.T) {
			t.Parallel()
			path := path + "/better"
			var first sync.Once
			seen := attempts(h.callee, path, func(w http.ResponseWriter, _ *http.Request) {
				first.Do(func() { w.WriteHeader(http.StatusServiceUnavailable) })
			})
			require.Equal(t, http.StatusOK, call(t, h, path).status)
			require.Len(t, seen(), 2)
		})
	})
}

// A call that hangs is cut off at the timeout, each attempt by itself, and its caller hears of it in time.
func TestTimeouts(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		seen := attempts(h.callee, path, hang)
		a := call(t, h, path)
		require.Equal(t, http.StatusInternalServerError, a.status)
		require.Contains(t, a.body, "ERR_DIRECT_INVOKE")
		cutOff(t, seen, h.attempts(), h.timeout)
	})
}

func hang(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(2 * deadline):
	}
}

// cutOff waits for so many attempts, each of which must have been ended at the limit.
func cutOff(t *testing.T, seen func() []attempt, n int, limit string) {
	t.Helper()
	eventually(t, func() bool { return len(seen()) == n }, "each attempt is cut off")
	d, err := time.ParseDuration(limit)
	require.NoError(t, err)
	for _, a := range seen() {
		took := a.went.Sub(a.came)
		require.Greater(t, took, d/2) // the sidecar begins to count a little earlier
		require.Less(t, took, d+2*time.Second)
	}
}

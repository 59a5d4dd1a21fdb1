package resiliency_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// blockingPath is a path of a stand-in that answers only after release. It counts the calls.
type blockingPath struct {
	now, most, all atomic.Int32
	release        func()
}

func newBlockingPath(t *testing.T, app, path string) *blockingPath {
	t.Helper()
	released := make(chan struct{})
	c := &blockingPath{release: sync.OnceFunc(func() { close(released) })}
	t.Cleanup(c.release)
	apps.on(app, path, func(_ http.ResponseWriter, r *http.Request) {
		c.all.Add(1)
		n := c.now.Add(1)
		defer c.now.Add(-1)
		for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
		}
		select {
		case <-released:
		case <-r.Context().Done():
		}
	})
	return c
}

// flood sends calls concurrent requests to an app through its own sidecar, which applies no timeout to them.
func flood(t *testing.T, app, path string, calls int) *errgroup.Group {
	t.Helper()
	var g errgroup.Group
	for range calls {
		g.Go(func() error {
			a, err := post(t.Context(), app, app, path)
			if err == nil && a.status != http.StatusOK {
				t.Errorf("%d: %s", a.status, a.body)
			}
			return err
		})
	}
	return &g
}

// The tests of this file and of events_test.go keep apps busy. They are not parallel, so they run before the others.

// A sidecar sends its app no more concurrent calls than appMaxConcurrency. Further calls wait.
func TestBulkheadsLimitConcurrentCalls(t *testing.T) {
	limited := 0
	for app, limit := range maxConcurrency(t) {
		if limit == 0 {
			continue
		}
		limited++
		t.Run(app, func(t *testing.T) {
			path := "/" + t.Name()
			c := newBlockingPath(t, app, path)
			more := limit / 4
			calls := flood(t, app, path, limit+more)
			eventually(t, func() bool { return int(c.now.Load()) == limit }, "the bulkhead is not full")
			require.Never(t, func() bool { return int(c.all.Load()) > limit }, 300*time.Millisecond, 10*time.Millisecond)
			c.release()
			require.NoError(t, calls.Wait(), "a waiting call was rejected")
			require.EqualValues(t, limit, c.most.Load())
			require.EqualValues(t, limit+more, c.all.Load())
		})
	}
	require.NotZero(t, limited)
}

func TestRateLimitsRejectCallsAboveTheirRate(t *testing.T) {
	limits := rateLimits(t)
	used := map[string]bool{}
	for app, places := range pipelines(t) {
		for place, names := range places {
			for _, name := range names {
				used[name] = true
				t.Run(app+"/"+place, func(t *testing.T) {
					// A limiter before an app counts all calls of the app. A limiter before a sidecar's API counts the calls of
					// the service that it is named after.
					to := strings.TrimPrefix(name, "rate-limit-")
					path := "/" + t.Name()
					apps.on(to, path, func(http.ResponseWriter, *http.Request) {})
					apps.on(to, path+"/other", func(http.ResponseWriter, *http.Request) {})
					limit := limits[name]
					var passed, rejected atomic.Int32
					start := time.Now()
					var g errgroup.Group
					for range 8 {
						g.Go(func() error {
							for rejected.Load() < 20 {
								a, err := post(t.Context(), app, to, path)
								switch {
								case err != nil:
									return err
								case a.status == http.StatusOK:
									passed.Add(1)
								case a.status == http.StatusTooManyRequests:
									rejected.Add(1)
								default:
									t.Errorf("%d: %s", a.status, a.body)
									return nil
								}
							}
							return nil
						})
					}
					require.NoError(t, g.Wait())
					most := float64(limit) * (1 + time.Since(start).Seconds())
					t.Logf("%d passed in %s", passed.Load(), time.Since(start))
					require.GreaterOrEqual(t, int(passed.Load()), limit, "the limiter lets less than its rate pass")
					require.LessOrEqual(t, float64(passed.Load()), most+1, "the limiter lets more than its rate pass")

					a, err := post(t.Context(), app, to, path+"/other")
					require.NoError(t, err)
					require.Equal(t, http.StatusOK, a.status, "the limit applies to another path as well")
					eventually(t, func() bool {
						a, err := post(t.Context(), app, to, path)
						return err == nil && a.status == http.StatusOK
					}, "the limiter still rejects calls")
				})
			}
		}
	}
	for name := range limits {
		require.True(t, used[name], "%s is not used by any sidecar", name)
	}
}

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

// crowded is a path of a stand-in whose calls stay until they are released, and which counts how many are there.
type crowded struct {
	now, most, all atomic.Int32
	release        func()
}

func newCrowded(t *testing.T, app, path string) *crowded {
	t.Helper()
	released := make(chan struct{})
	c := &crowded{release: sync.OnceFunc(func() { close(released) })}
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

// flood makes so many calls of an app's path at once, by its own sidecar, where no timeout cuts them off.
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

// The tests of this file and the next keep apps busy, and so are not parallel: they run before the others.

// An app gets no more calls at once than it is to, and the others wait for their turn.
func TestBulkheads(t *testing.T) {
	limited := 0
	for app, limit := range maxConcurrency(t) {
		if limit == 0 {
			continue
		}
		limited++
		t.Run(app, func(t *testing.T) {
			path := "/" + t.Name()
			c := newCrowded(t, app, path)
			more := limit / 4
			calls := flood(t, app, path, limit+more)
			eventually(t, func() bool { return int(c.now.Load()) == limit }, "as many as may")
			require.Never(t, func() bool { return int(c.all.Load()) > limit }, 300*time.Millisecond, 10*time.Millisecond)
			c.release()
			require.NoError(t, calls.Wait(), "nobody is turned away")
			require.EqualValues(t, limit, c.most.Load())
			require.EqualValues(t, limit+more, c.all.Load())
		})
	}
	require.NotZero(t, limited)
}

func TestRateLimits(t *testing.T) {
	limits := rateLimits(t)
	used := map[string]bool{}
	for app, places := range pipelines(t) {
		for place, names := range places {
			for _, name := range names {
				used[name] = true
				t.Run(app+"/"+place, func(t *testing.T) {
					// Before its own app a limiter counts every call, before its sidecar's API those of the service it is named after.
					to := strings.TrimPrefix(name, "rate-limit-")
					path := "/" + t.Name()
					apps.on(to, path, func(http.ResponseWriter, *http.Request) {})
					apps.on(to, path+"/other", func(http.ResponseWriter, *http.Request) {})
					limit := limits[name]
					var passed, refused atomic.Int32
					began := time.Now()
					var g errgroup.Group
					for range 8 {
						g.Go(func() error {
							for refused.Load() < 20 {
								a, err := post(t.Context(), app, to, path)
								switch {
								case err != nil:
									return err
								case a.status == http.StatusOK:
									passed.Add(1)
								case a.status == http.StatusTooManyRequests:
									refused.Add(1)
								default:
									t.Errorf("%d: %s", a.status, a.body)
									return nil
								}
							}
							return nil
						})
					}
					require.NoError(t, g.Wait())
					most := float64(limit) * (1 + time.Since(began).Seconds())
					t.Logf("%d passed in %s", passed.Load(), time.Since(began))
					require.GreaterOrEqual(t, int(passed.Load()), limit, "its rate gets through")
					require.LessOrEqual(t, float64(passed.Load()), most+1, "and nothing beyond")

					a, err := post(t.Context(), app, to, path+"/other")
					require.NoError(t, err)
					require.Equal(t, http.StatusOK, a.status, "another path has a limit of its own")
					eventually(t, func() bool {
						a, err := post(t.Context(), app, to, path)
						return err == nil && a.status == http.StatusOK
					}, "it lets calls through again")
				})
			}
		}
	}
	for name := range limits {
		require.True(t, used[name], "%s limits nothing", name)
	}
}

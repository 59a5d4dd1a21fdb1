package web

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"
)

const healthPath = "/actuator/health"

// Check probes one dependency of the service.
type Check struct {
	Name  string // of the component in the response, such as "database"
	Probe func(ctx context.Context) error
	// Degrades reports a failure as DEGRADED instead of DOWN, as the contract requires for the state store.
	Degrades bool
}

// checkTimeout bounds a probe. It is shorter than the sidecar's timeout for health checks, 2 s.
const checkTimeout = 1500 * time.Millisecond

// Statuses that the contract defines.
const (
	up       = "UP"
	degraded = "DEGRADED"
	down     = "DOWN"
)

// Health adds the contract's three endpoints:
//
//   - /actuator/health reports the result of each check.
//   - /actuator/health/ready returns 200 only if all checks pass. A sidecar forwards nothing to a service that is not
//     ready.
//   - /actuator/health/live always returns 200.
//
// A service checks only what every request needs. If something that only some requests need is unavailable, those
// requests get a 503.
func Health(r *mux.Router, checks ...Check) {
	type status struct {
		Status     string            `json:"status"`
		Timestamp  time.Time         `json:"timestamp"`
		Components map[string]string `json:"components"`
	}
	// Concurrent requests share a probe, so that probes that hang do not accumulate.
	var running singleflight.Group
	passes := func(ctx context.Context, c Check) bool {
		result := running.DoChan(c.Name, func() (any, error) {
			ctx, cancel := context.WithTimeout(untraced(ctx), checkTimeout)
			defer cancel()
			err := c.Probe(ctx)
			if err != nil {
				slog.WarnContext(ctx, "health check failed", "component", c.Name, "error", err.Error())
			}
			return nil, err
		})
		select {
		case r := <-result:
			return r.Err == nil
		case <-ctx.Done():
			return false
		}
	}
	check := func(ctx context.Context) status {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		ok := make([]bool, len(checks))
		var probes sync.WaitGroup
		for i, c := range checks {
			probes.Go(func() { ok[i] = passes(ctx, c) })
		}
		probes.Wait()
		s := status{Status: up, Timestamp: time.Now().UTC(), Components: map[string]string{}}
		for i, c := range checks {
			switch {
			case ok[i]:
				s.Components[c.Name] = up
			case c.Degrades && s.Status != down:
				s.Components[c.Name], s.Status = down, degraded
			default:
				s.Components[c.Name], s.Status = down, down
			}
		}
		return s
	}
	code := func(s status) int {
		if s.Status == up {
			return http.StatusOK
		}
		return http.StatusServiceUnavailable
	}
	writeText := func(w http.ResponseWriter, status int, text string) error {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		_, err := w.Write([]byte(text))
		return err
	}
	get := func(path string, h Handler) { r.Methods(http.MethodGet).Path(path).Handler(h) }
	get(healthPath, func(w http.ResponseWriter, r *http.Request) error {
		s := check(r.Context())
		return WriteJSON(w, code(s), s)
	})
	get(healthPath+"/ready", func(w http.ResponseWriter, r *http.Request) error {
		if s := check(r.Context()); s.Status != up {
			return writeText(w, code(s), "NOT_READY")
		}
		return writeText(w, http.StatusOK, "READY")
	})
	get(healthPath+"/live", func(w http.ResponseWriter, _ *http.Request) error {
		return writeText(w, http.StatusOK, "ALIVE")
	})
}

// untraced returns a context that outlives the request, in a trace that is not sampled. The sidecar sends a health
// check every 2 s, and their spans would outnumber all others.
func untraced(ctx context.Context) context.Context {
	return trace.ContextWithSpanContext(context.WithoutCancel(ctx), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1},
	}))
}

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

// Check reports whether one thing that the service needs answers.
type Check struct {
	Name  string // as the contract's components: "database"
	Probe func(ctx context.Context) error
	// Degrades has the contract's word for a service without its state store: DEGRADED instead of DOWN.
	Degrades bool
}

// checkTimeout bounds a probe, so that a health answer comes before a sidecar gives up on it, after two seconds.
const checkTimeout = 1500 * time.Millisecond

// Words of the contract.
const (
	up       = "UP"
	degraded = "DEGRADED"
	down     = "DOWN"
)

// Health adds the contract's three endpoints: /actuator/health, which reports each check;
// /actuator/health/ready, 200 only while all checks pass, which is what gates traffic: a sidecar hands on
// nothing to a service that is not ready; and /actuator/health/live, which depends on nothing.
//
// A service checks what it can do nothing without, and only that. Of what it shares with others, or needs for some
// requests only, it reports the lack to whoever needs it, with a 503.
func Health(r *mux.Router, checks ...Check) {
	type status struct {
		Status     string            `json:"status"`
		Timestamp  time.Time         `json:"timestamp"`
		Components map[string]string `json:"components"`
	}
	// However many ask, a thing is probed once at a time: what hangs must not be waited for by more and more.
	var running singleflight.Group
	answers := func(ctx context.Context, c Check) bool {
		probed := running.DoChan(c.Name, func() (any, error) {
			ctx, cancel := context.WithTimeout(untraced(ctx), checkTimeout)
			defer cancel()
			err := c.Probe(ctx)
			if err != nil {
				slog.WarnContext(ctx, "health check failed", "component", c.Name, "error", err.Error())
			}
			return nil, err
		})
		select {
		case p := <-probed:
			return p.Err == nil
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
			probes.Go(func() { ok[i] = answers(ctx, c) })
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
	text := func(w http.ResponseWriter, status int, word string) error {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		_, err := w.Write([]byte(word))
		return err
	}
	r.Methods(http.MethodGet).Path(healthPath).Handler(Handler(func(w http.ResponseWriter, r *http.Request) error {
		s := check(r.Context())
		return WriteJSON(w, code(s), s)
	}))
	r.Methods(http.MethodGet).Path(healthPath + "/ready").Handler(Handler(func(w http.ResponseWriter, r *http.Request) error {
		if s := check(r.Context()); s.Status != up {
			return text(w, code(s), "NOT_READY")
		}
		return text(w, http.StatusOK, "READY")
	}))
	r.Methods(http.MethodGet).Path(healthPath + "/live").Handler(Handler(func(w http.ResponseWriter, _ *http.Request) error {
		return text(w, http.StatusOK, "ALIVE")
	}))
}

// untraced goes on when the request is over, in a trace that nobody, sidecars included, keeps spans of: one every other
// second would drown the others.
func untraced(ctx context.Context) context.Context {
	return trace.ContextWithSpanContext(context.WithoutCancel(ctx), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1},
	}))
}

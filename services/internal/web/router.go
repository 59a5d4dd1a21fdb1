package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// CorrelationHeader names the header that carries the correlation id in and out of a service.
const CorrelationHeader = "X-Correlation-Id"

// NewRouter gives a router whose every answer, unknown paths and panics included, is in the
// contract's form, whose every request carries its trace, and is logged once.
func NewRouter() *mux.Router {
	r := mux.NewRouter()
	r.Use(statusInHeader, withTrace, logged, recovered)
	// mux runs no middleware for these two.
	outside := func(p *problem.Error) http.Handler {
		return statusInHeader(withTrace(logged(Handler(func(http.ResponseWriter, *http.Request) error { return p }))))
	}
	r.NotFoundHandler = outside(problem.New(problem.NotFound, "NOT_FOUND", "No such resource"))
	r.MethodNotAllowedHandler = outside(problem.New(problem.MethodNotAllowed, "METHOD_NOT_ALLOWED",
		"This resource does not take that method"))
	return r
}

// Handler is an http.Handler that returns its error instead of writing it.
type Handler func(http.ResponseWriter, *http.Request) error

// ServeHTTP calls h and renders the error it returns.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		WriteError(w, r, err)
	}
}

// Ids from outside are taken only in a form that can do no harm in a log, a header or an event.
var (
	correlationID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	traceParent   = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

func withTrace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trace := telemetry.Trace{}
		if parent := r.Header.Get("Traceparent"); traceParent.MatchString(parent) {
			trace.Parent, trace.State = parent, r.Header.Get("Tracestate")
		}
		if id := r.Header.Get(CorrelationHeader); correlationID.MatchString(id) {
			trace.CorrelationID = id
		}
		ctx := telemetry.With(r.Context(), trace)
		w.Header().Set(CorrelationHeader, telemetry.From(ctx).CorrelationID)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// statusRecorder remembers the status for the access log.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// unmatched is the route of what has none.
const unmatched = "unmatched"

func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)

		route := unmatched // the template and not the path: ids stay out, lines can be grouped
		if current := mux.CurrentRoute(r); current != nil {
			if template, err := current.GetPathTemplate(); err == nil {
				route = template
			}
		}
		level := slog.LevelInfo
		if route == healthPath || route == healthPath+"/ready" || route == healthPath+"/live" {
			level = slog.LevelDebug
		}
		slog.Log(r.Context(), level, "request", "method", r.Method, "route", route,
			"status", rec.status, "durationMs", time.Since(start).Milliseconds())
		observe(r.Method, route, rec.status, start)
	})
}

func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so too
					panic(v)
				}
				WriteError(w, r, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

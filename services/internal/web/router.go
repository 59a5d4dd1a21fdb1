package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// CorrelationHeader names the header that carries the correlation id in and out of a service.
const CorrelationHeader = "X-Correlation-Id"

// NewRouter gives a router whose every answer, unknown paths and panics included, is in the
// contract's form, whose every request carries its trace, and is logged once.
func NewRouter() *mux.Router {
	r, traced := mux.NewRouter(), tracing()
	r.Use(bounded, statusInHeader, traced, logged, recovered)
	// mux runs no middleware for these two.
	outside := func(p *problem.Error) http.Handler {
		return statusInHeader(traced(logged(Handler(func(http.ResponseWriter, *http.Request) error { return p }))))
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

// An id from outside is taken only in a form that can do no harm in a log, a header or an event.
var correlationID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// tracing has a request go on in the trace that its sidecar names, under a span of its own, and with the correlation id of
// whoever began it.
func tracing() mux.MiddlewareFunc {
	// Once, since mux wraps its handlers anew for each request.
	spans := otelhttp.NewMiddleware("request", otelhttp.WithFilter(func(r *http.Request) bool {
		return !strings.HasPrefix(r.URL.Path, healthPath) // which is asked for every other second
	}))
	return func(next http.Handler) http.Handler {
		span := spans(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id := r.Header.Get(CorrelationHeader)
			if !correlationID.MatchString(id) {
				id = ""
			}
			ctx := telemetry.Correlate(r.Context(), id)
			id = telemetry.From(ctx).CorrelationID
			trace.SpanFromContext(ctx).SetAttributes(attribute.String("correlation.id", id))
			w.Header().Set(CorrelationHeader, id)
			next.ServeHTTP(w, r.WithContext(ctx))
		}))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Pattern = r.Method + " " + route(r) // as net/http's own router does it; the span is named so
			span.ServeHTTP(w, r)
		})
	}
}

// unmatched is the route of what has none.
const unmatched = "unmatched"

// route is the template of the path and not the path: ids stay out, and requests can be grouped.
func route(r *http.Request) string {
	if current := mux.CurrentRoute(r); current != nil {
		if template, err := current.GetPathTemplate(); err == nil {
			return template
		}
	}
	return unmatched
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

func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)

		route := route(r)
		level := slog.LevelInfo
		if strings.HasPrefix(route, healthPath) {
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

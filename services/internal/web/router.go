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

// ErrNoRoute is the response to a request for a path that the service does not have.
var ErrNoRoute = problem.New(problem.NotFound, "NOT_FOUND", "No such resource")

// NewRouter returns a router with the middleware of every API. All errors have the contract's form, including those for
// unknown paths and panics. Every request has a deadline (RequestTimeout), continues its caller's trace, and is logged
// once.
func NewRouter() *mux.Router {
	r, traced := mux.NewRouter(), tracing()
	r.Use(bounded, statusInHeader, traced, logged, recovered)
	// mux runs no middleware for these two handlers.
	outside := func(p *problem.Error) http.Handler {
		return statusInHeader(traced(logged(Handler(func(http.ResponseWriter, *http.Request) error { return p }))))
	}
	r.NotFoundHandler = outside(ErrNoRoute)
	r.MethodNotAllowedHandler = outside(problem.New(problem.MethodNotAllowed, "METHOD_NOT_ALLOWED",
		"This resource does not take that method"))
	return r
}

// Handler is an http.Handler that returns its error instead of writing it.
type Handler func(http.ResponseWriter, *http.Request) error

// ServeHTTP calls h and writes the error that it returns.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		WriteError(w, r, err)
	}
}

// correlationID matches the ids that are accepted from callers. They are safe in logs, headers and events.
var correlationID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// tracing returns middleware that continues the trace of the caller in a new span, with the caller's correlation id or
// a new one.
func tracing() mux.MiddlewareFunc {
	// Created once, because mux wraps its handlers again for each request.
	spans := otelhttp.NewMiddleware("request", otelhttp.WithFilter(func(r *http.Request) bool {
		return !strings.HasPrefix(r.URL.Path, healthPath) // the sidecar requests it every 2 s
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
			r.Pattern = r.Method + " " + route(r) // as net/http's router sets it; the name of the span
			span.ServeHTTP(w, r)
		})
	}
}

// unmatched is the route of requests that match none.
const unmatched = "unmatched"

// route returns the template of the path. Unlike the path it contains no ids, so that requests can be grouped.
func route(r *http.Request) string {
	if current := mux.CurrentRoute(r); current != nil {
		if template, err := current.GetPathTemplate(); err == nil {
			return template
		}
	}
	return unmatched
}

// statusRecorder records the status of a response.
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
		slog.Log(r.Context(), level, "request answered", "method", r.Method, "route", route,
			"status", rec.status, "durationMs", time.Since(start).Milliseconds())
		observe(r.Method, route, rec.status, start)
	})
}

func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it the same way
					panic(v)
				}
				WriteError(w, r, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// Package telemetry carries the ids by which one request is followed through logs, calls and events.
//
// Two ids travel: the contract's correlation id, which names what a person did, and the W3C trace
// context, which names where in the system it is. Sidecars create and forward the trace context; a
// service hands on what it was given, stores it with the events it writes, and puts both ids into
// every log line.
package telemetry

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/term"
)

// Trace is what one request carries.
type Trace struct {
	CorrelationID string
	Parent        string // W3C traceparent header, empty when there is none
	State         string // W3C tracestate header
}

type contextKey struct{}

// With returns a context that carries t. An empty correlation id is replaced by a new one.
func With(ctx context.Context, t Trace) context.Context {
	if t.CorrelationID == "" {
		t.CorrelationID = "corr-" + uuid.NewString()
	}
	return context.WithValue(ctx, contextKey{}, t)
}

// From gives what ctx carries, the zero Trace when nothing was put there.
func From(ctx context.Context) Trace {
	t, _ := ctx.Value(contextKey{}).(Trace)
	return t
}

// NewLogger makes a service's logger: JSON on standard output, or text when that is a terminal. Each
// line has the service's name and the ids of the context it was logged with.
func NewLogger(service string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(os.Stdout, options)
	if term.IsTerminal(int(os.Stdout.Fd())) {
		h = slog.NewTextHandler(os.Stdout, options)
	}
	return slog.New(idHandler{h}).With("service", service)
}

// idHandler adds the context's ids to each record.
type idHandler struct{ slog.Handler }

func (h idHandler) Handle(ctx context.Context, r slog.Record) error {
	t := From(ctx)
	if t.CorrelationID != "" {
		r.AddAttrs(slog.String("correlationId", t.CorrelationID))
	}
	// traceparent is version-traceid-parentid-flags (W3C Trace Context, section 3.2).
	if parts := strings.Split(t.Parent, "-"); len(parts) == 4 {
		r.AddAttrs(slog.String("traceId", parts[1]))
	}
	return h.Handler.Handle(ctx, r)
}

func (h idHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return idHandler{h.Handler.WithAttrs(attrs)}
}

func (h idHandler) WithGroup(name string) slog.Handler {
	return idHandler{h.Handler.WithGroup(name)}
}

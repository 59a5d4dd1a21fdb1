// Package telemetry lets one request be followed through logs, calls, events and whatever else it sets in motion,
// and measures what services do.
//
// Two ids travel: the contract's correlation id, which names what a person did, and the W3C trace context, which
// names where in the system that has got to. Both are in every log line, in every call and in every event; what
// goes on later, in another process maybe, is stored with them and resumed under them. The trace context is handed
// on in any case; spans are made and sent only where somebody collects them (Export).
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/term"
)

// Trace is what one request carries, in the form in which it is stored.
type Trace struct {
	CorrelationID string
	Parent        string // W3C traceparent, empty when there is none
	State         string // W3C tracestate
}

// The names that W3C gives them.
const (
	parentField = "traceparent"
	stateField  = "tracestate"
)

func init() { otel.SetTextMapPropagator(propagation.TraceContext{}) }

type contextKey struct{}

// Correlate returns a context with that correlation id, or a new one if it is empty.
func Correlate(ctx context.Context, correlationID string) context.Context {
	if correlationID == "" {
		correlationID = "corr-" + uuid.NewString()
	}
	return context.WithValue(ctx, contextKey{}, correlationID)
}

// With returns a context that carries t. An empty correlation id is replaced by a new one; without a parent, the
// context's own trace goes on.
func With(ctx context.Context, t Trace) context.Context {
	return otel.GetTextMapPropagator().Extract(Correlate(ctx, t.CorrelationID),
		propagation.MapCarrier{parentField: t.Parent, stateField: t.State})
}

// From gives what ctx carries, the zero Trace when that is nothing.
func From(ctx context.Context) Trace {
	correlationID, _ := ctx.Value(contextKey{}).(string)
	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	return Trace{correlationID, carrier[parentField], carrier[stateField]}
}

// Start begins a span. The name has no ids in it, and nothing about a span tells of persons or secrets.
func Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	return otel.Tracer("github.com/eventbooking/eventbooking").Start(ctx, name, options...)
}

// End ends a span of something that failed if err is not nil.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Resume goes on with what was stored, under a span in its trace. What ctx was about so far, such as a sweep that
// found it, is linked.
func Resume(ctx context.Context, t Trace, name string) (context.Context, trace.Span) {
	finder := trace.LinkFromContext(ctx)
	return Start(With(ctx, t), name, trace.WithLinks(finder))
}

// Export has the service's spans made from now on, and sends them as the environment says: to
// OTEL_EXPORTER_OTLP_ENDPOINT, and with whatever else OpenTelemetry's variables ask for. Whoever collects them may
// come and go; nothing waits for that. The function that it returns sends what is left.
func Export(ctx context.Context, service string) (stop func(context.Context) error, err error) {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("export spans: %w", err)
	}
	// The service's name comes last: a variable that is set for a whole system cannot know it.
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithAttributes(attribute.String("service.name", service)))
	if err != nil {
		return nil, fmt.Errorf("export spans: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		slog.WarnContext(ctx, "spans not exported", "error", err.Error())
	}))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
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
	if correlationID, ok := ctx.Value(contextKey{}).(string); ok {
		r.AddAttrs(slog.String("correlationId", correlationID))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("traceId", span.TraceID().String()), slog.String("spanId", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h idHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return idHandler{h.Handler.WithAttrs(attrs)}
}

func (h idHandler) WithGroup(name string) slog.Handler {
	return idHandler{h.Handler.WithGroup(name)}
}

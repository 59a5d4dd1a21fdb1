// Package telemetry connects the logs, calls and events of one request, and measures calls.
//
// Two ids travel with a request: the contract's correlation id, which identifies the action of a user, and the W3C
// trace context, which identifies the current span. Both are in every log line, call and event. Work that continues
// later, perhaps in another process, is stored with them and resumed under them. The trace context is always
// propagated; spans are created and exported only if a collector is configured ([Export]).
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

// Trace holds the ids of a request in the form in which they are stored.
type Trace struct {
	CorrelationID string
	Parent        string // W3C traceparent, empty when there is none
	State         string // W3C tracestate
}

// Header names of the W3C trace context.
const (
	parentField = "traceparent"
	stateField  = "tracestate"
)

func init() { otel.SetTextMapPropagator(propagation.TraceContext{}) }

type contextKey struct{}

// Correlate returns a context with the correlation id, or with a new one if it is empty.
func Correlate(ctx context.Context, correlationID string) context.Context {
	if correlationID == "" {
		correlationID = "corr-" + uuid.NewString()
	}
	return context.WithValue(ctx, contextKey{}, correlationID)
}

// With returns a context that carries t. An empty correlation id is replaced by a new one. If t has no parent, the
// context keeps its own trace.
func With(ctx context.Context, t Trace) context.Context {
	return otel.GetTextMapPropagator().Extract(Correlate(ctx, t.CorrelationID),
		propagation.MapCarrier{parentField: t.Parent, stateField: t.State})
}

// From returns the Trace that ctx carries, or the zero Trace.
func From(ctx context.Context) Trace {
	correlationID, _ := ctx.Value(contextKey{}).(string)
	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	return Trace{correlationID, carrier[parentField], carrier[stateField]}
}

// Start starts a span, which the caller has to end. The name must not contain ids, and no attribute may contain
// personal data or secrets.
func Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	//nolint:spancheck // the caller ends the span
	return otel.Tracer("github.com/eventbooking/eventbooking").Start(ctx, name, options...)
}

// End ends a span. If err is not nil, the span has the status Error.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Resume starts a span in the stored trace t and returns a context that carries t. The span has a link to the current
// span of ctx, such as that of the sweep that found the work.
func Resume(ctx context.Context, t Trace, name string) (context.Context, trace.Span) {
	current := trace.LinkFromContext(ctx)
	return Start(With(ctx, t), name, trace.WithLinks(current))
}

// Export starts to create spans and to export them to OTEL_EXPORTER_OTLP_ENDPOINT, in the background. OpenTelemetry's
// other variables apply too. While the collector is not available, spans are lost; nothing waits for it. The returned
// function exports the remaining spans and stops.
func Export(ctx context.Context, service string) (stop func(context.Context) error, err error) {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("export spans: %w", err)
	}
	// The attribute comes last, so that a variable that is set for the whole system does not override it.
	attributes, err := resource.New(ctx, resource.WithFromEnv(),
		resource.WithAttributes(attribute.String("service.name", service)))
	if err != nil {
		return nil, fmt.Errorf("export spans: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		slog.WarnContext(ctx, "export spans failed", "error", err.Error())
	}))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(attributes))
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}

// NewLogger returns a logger that writes JSON to standard output, or text if that is a terminal. Each line has the
// service's name and the ids of the context that it was logged with.
func NewLogger(service string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(os.Stdout, options)
	if term.IsTerminal(int(os.Stdout.Fd())) {
		h = slog.NewTextHandler(os.Stdout, options)
	}
	return slog.New(idHandler{h}).With("service", service)
}

// idHandler adds the ids of the context to each record.
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

package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// Not parallel: it replaces the standard output of the process.
func TestLogLinesHaveTheIDsOfTheirContext(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = w
	log := telemetry.NewLogger("ticket-service", slog.LevelInfo)
	os.Stdout = stdout

	traced := telemetry.With(t.Context(), telemetry.Trace{CorrelationID: "corr-1", Parent: parent})
	log.InfoContext(traced, "traced")
	log.With("a", 1).InfoContext(traced, "with attributes")
	log.InfoContext(telemetry.With(t.Context(), telemetry.Trace{CorrelationID: "corr-2"}), "no trace")
	log.InfoContext(context.Background(), "outside of a request")
	log.DebugContext(traced, "below the level")
	require.NoError(t, w.Close())

	type line struct{ Service, Msg, CorrelationID, TraceID, SpanID string }
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	lines := json.NewDecoder(r)
	for _, want := range []line{
		{"ticket-service", "traced", "corr-1", trace, span},
		{"ticket-service", "with attributes", "corr-1", trace, span},
		{"ticket-service", "no trace", "corr-2", "", ""},
		{"ticket-service", "outside of a request", "", "", ""},
	} {
		var got line
		require.NoError(t, lines.Decode(&got))
		require.Equal(t, want, got)
	}
	require.False(t, lines.More())
}

func TestContextCarriesTheTrace(t *testing.T) {
	t.Parallel()
	require.Zero(t, telemetry.From(t.Context()))
	given := telemetry.Trace{CorrelationID: "corr-1", Parent: parent, State: "a=b"}
	ctx := telemetry.With(t.Context(), given)
	require.Equal(t, given, telemetry.From(ctx))

	spanned, span := telemetry.Start(ctx, "not exported")
	defer span.End()
	require.Equal(t, given, telemetry.From(spanned), "a span that is not exported is not a parent")

	given.CorrelationID = "corr-2"
	require.Equal(t, given, telemetry.From(telemetry.Correlate(ctx, "corr-2")))
	renamed := telemetry.With(ctx, telemetry.Trace{CorrelationID: "corr-2"})
	require.Equal(t, given, telemetry.From(renamed), "without a parent, the trace of the context is kept")
	require.Empty(t, telemetry.From(telemetry.With(t.Context(), telemetry.Trace{Parent: "00-junk-01"})).Parent)

	a, b := telemetry.From(telemetry.Correlate(ctx, "")), telemetry.From(telemetry.With(ctx, telemetry.Trace{}))
	require.Regexp(t, `^corr-[0-9a-f-]{36}$`, a.CorrelationID)
	require.Regexp(t, `^corr-[0-9a-f-]{36}$`, b.CorrelationID)
	require.NotEqual(t, a.CorrelationID, b.CorrelationID)
}

// Not parallel: it sets the tracer provider of the process.
func TestExportSendsSpansWithTheirLinks(t *testing.T) {
	var got collector.ExportTraceServiceRequest
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.Equal(t, "/v1/traces", r.URL.Path)
		assert.NoError(t, proto.Unmarshal(body, &got))
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_SERVICE_NAME", "the whole system")
	before := otel.GetTracerProvider()
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	stop, err := telemetry.Export(t.Context(), "ticket-service")
	require.NoError(t, err)

	sweeping, sweep := telemetry.Start(t.Context(), "sweep")
	resumed, span := telemetry.Resume(sweeping, telemetry.Trace{CorrelationID: "corr-1", Parent: parent}, "resume")
	require.Equal(t, "corr-1", telemetry.From(resumed).CorrelationID)
	id := span.SpanContext().SpanID().String()
	require.Contains(t, telemetry.From(resumed).Parent, id, "the span is the parent of later spans")
	telemetry.End(span, errors.New("lost again"))
	telemetry.End(sweep, nil)
	require.NoError(t, stop(t.Context()))

	require.Len(t, got.GetResourceSpans(), 1)
	exported := got.GetResourceSpans()[0]
	require.Contains(t, exported.GetResource().String(), "ticket-service")
	require.NotContains(t, exported.GetResource().String(), "the whole system")
	spans := exported.GetScopeSpans()[0].GetSpans()
	require.Len(t, spans, 2)
	require.Equal(t, "resume", spans[0].GetName())
	require.Equal(t, parent, fmt.Sprintf("00-%x-%x-01", spans[0].GetTraceId(), spans[0].GetParentSpanId()))
	require.Equal(t, "lost again", spans[0].GetStatus().GetMessage())
	require.Equal(t, "sweep", spans[1].GetName())
	require.Len(t, spans[0].GetLinks(), 1, "the span links to the sweep")
	require.Equal(t, spans[1].GetSpanId(), spans[0].GetLinks()[0].GetSpanId())
	require.Empty(t, spans[1].GetStatus().GetMessage())
}

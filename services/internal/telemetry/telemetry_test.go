package telemetry_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Not parallel: it stands in for the process's standard output.
func TestEveryLineCarriesTheIDs(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = w
	log := telemetry.NewLogger("ticket-service", slog.LevelInfo)
	os.Stdout = stdout

	traced := telemetry.With(t.Context(), telemetry.Trace{
		CorrelationID: "corr-1", Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	log.InfoContext(traced, "traced")
	log.With("a", 1).InfoContext(traced, "with attributes")
	log.InfoContext(telemetry.With(t.Context(), telemetry.Trace{CorrelationID: "corr-2"}), "no trace")
	log.InfoContext(context.Background(), "outside of a request")
	log.DebugContext(traced, "below the level")
	require.NoError(t, w.Close())

	type line struct{ Service, Msg, CorrelationID, TraceID string }
	const trace = "0af7651916cd43dd8448eb211c80319c"
	lines := json.NewDecoder(r)
	for _, want := range []line{
		{"ticket-service", "traced", "corr-1", trace},
		{"ticket-service", "with attributes", "corr-1", trace},
		{"ticket-service", "no trace", "corr-2", ""},
		{"ticket-service", "outside of a request", "", ""},
	} {
		var got line
		require.NoError(t, lines.Decode(&got))
		require.Equal(t, want, got)
	}
	require.False(t, lines.More())
}

func TestWithMakesAMissingCorrelationID(t *testing.T) {
	t.Parallel()
	a := telemetry.From(telemetry.With(t.Context(), telemetry.Trace{}))
	b := telemetry.From(telemetry.With(t.Context(), telemetry.Trace{}))
	require.NotEmpty(t, a.CorrelationID)
	require.NotEqual(t, a.CorrelationID, b.CorrelationID)
	require.Zero(t, telemetry.From(t.Context()))
}

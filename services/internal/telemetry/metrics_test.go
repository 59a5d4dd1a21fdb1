package telemetry_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

func TestCallsAreCountedByTemplate(t *testing.T) {
	t.Parallel()
	began, target := time.Now(), uuid.NewString() // nobody else's, also when the test runs twice
	for _, operation := range []string{
		"GET /api/events/internal/0192f0c1-7a00-7000-8000-000000000001/validate-organizer/a7e2c9f0-1111-4aaa-8bbb-cccccccccccc",
		"GET /api/events/internal/b7e2c9f0-1111-4aaa-8bbb-cccccccccccc/validate-organizer/c7e2c9f0-1111-4aaa-8bbb-cccccccccccc?q=1",
	} {
		telemetry.ObserveCall(target, operation, true, began)
	}
	telemetry.ObserveCall(target, "POST /charges", false, began)
	telemetry.ObserveCall(target, "send", true, began)

	families, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	counted := map[string]uint64{}
	for _, family := range families {
		if family.GetName() != "service_call_seconds" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["target"] == target {
				counted[labels["operation"]+" "+labels["success"]] = m.GetHistogram().GetSampleCount()
			}
		}
	}
	require.Equal(t, map[string]uint64{
		"GET /api/events/internal/{id}/validate-organizer/{id} true": 2,
		"POST /charges false": 1,
		"send true":           1,
	}, counted)
}

// What the linter of Prometheus' own says of every metric that a process has from the start.
func TestMetricsAreWellNamed(t *testing.T) {
	t.Parallel()
	problems, err := testutil.GatherAndLint(prometheus.DefaultGatherer, "service_call_seconds")
	require.NoError(t, err)
	require.Empty(t, problems)
}

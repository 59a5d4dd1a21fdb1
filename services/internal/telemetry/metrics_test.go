package telemetry_test

import (
	"fmt"
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
	began, target := time.Now(), uuid.NewString() // unique, also when the test runs twice
	const validate = "GET /api/events/internal/%s/validate-organizer/%s"
	telemetry.ObserveCall(target, fmt.Sprintf(validate, uuid.New(), uuid.New()), true, began)
	telemetry.ObserveCall(target, fmt.Sprintf(validate+"?q=1", uuid.New(), uuid.New()), true, began)
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

func TestMetricsPassThePrometheusLinter(t *testing.T) {
	t.Parallel()
	problems, err := testutil.GatherAndLint(prometheus.DefaultGatherer, "service_call_seconds")
	require.NoError(t, err)
	require.Empty(t, problems)
}

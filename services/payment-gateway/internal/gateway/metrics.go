package gateway

import (
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// instrumented is a RoundTripper that records a span and a call metric for each request. It sends Stripe no trace
// headers.
type instrumented struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (i instrumented) RoundTrip(req *http.Request) (*http.Response, error) {
	_, span := telemetry.Start(req.Context(), req.Method+" Stripe", trace.WithSpanKind(trace.SpanKindClient))
	start := time.Now()
	res, err := i.RoundTripper.RoundTrip(req)
	telemetry.End(span, err)
	ok := err == nil && res.StatusCode < http.StatusInternalServerError && res.StatusCode != http.StatusTooManyRequests
	telemetry.ObserveCall("stripe", req.Method+" "+strings.TrimPrefix(req.URL.Path, "/v1"), ok, start)
	return res, err
}

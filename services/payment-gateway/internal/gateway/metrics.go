package gateway

import (
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// measured observes each request to Stripe as the call that it is, under a span that Stripe is not told of.
type measured struct{ http.RoundTripper }

// RoundTrip is http.RoundTripper's.
func (m measured) RoundTrip(req *http.Request) (*http.Response, error) {
	_, span := telemetry.Start(req.Context(), req.Method+" Stripe", trace.WithSpanKind(trace.SpanKindClient))
	began := time.Now()
	res, err := m.RoundTripper.RoundTrip(req)
	telemetry.End(span, err)
	answered := err == nil && res.StatusCode < http.StatusInternalServerError && res.StatusCode != http.StatusTooManyRequests
	telemetry.ObserveCall("stripe", req.Method+" "+strings.TrimPrefix(req.URL.Path, "/v1"), answered, began)
	return res, err
}

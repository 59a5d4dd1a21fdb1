package web

import (
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

var requests = promauto.NewHistogramVec(prometheus.HistogramOpts{
	Name:    "http_server_request_seconds",
	Help:    "Duration of requests, by the template of the route and the class of the status.",
	Buckets: telemetry.Buckets,
}, []string{"method", "route", "status"})

// pattern matches the pattern of a variable in a template, such as :a|b in {file:a|b}.
var pattern = regexp.MustCompile(`:[^}]*`)

// observe records a request whose response has been written.
func observe(method, route string, status int, began time.Time) {
	if route == unmatched {
		method = "" // a client can send any word
	}
	requests.WithLabelValues(method, pattern.ReplaceAllString(route, ""), strconv.Itoa(status/100)+"xx").
		Observe(time.Since(began).Seconds())
}

const metricsPath = "/metrics"

// WithMetrics returns a handler that serves Prometheus' metrics at /metrics and everything else with api. The page is
// not part of the API and is served only to callers that reach the process itself: requests through another app's
// sidecar get the API's answer for an unknown path.
func WithMetrics(api http.Handler) http.Handler {
	page := promhttp.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Dapr sets this header on every invocation, whatever the caller sends by that name.
		if invoked := len(r.Header.Values("Dapr-Callee-App-Id")) > 0; r.URL.Path == metricsPath && !invoked {
			page.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

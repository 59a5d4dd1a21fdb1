package telemetry

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Buckets are the bounds of every histogram of durations, in seconds. They range from an instant response to one that
// comes after its caller has timed out. They are few, because each is a time series for every combination of labels.
var Buckets = []float64{.005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// calls is the contract's timer service.call.
var calls = promauto.NewHistogramVec(prometheus.HistogramOpts{
	Name: "service_call_seconds",
	Help: "Calls of other services, of Stripe and of the mail server. A call that was refused is a success, because " +
		"the callee answered. A call without an answer, or with an answer that is a failure, is not.",
	Buckets: Buckets,
}, []string{"target", "operation", "success"})

func init() { prometheus.MustRegister(collectors.NewBuildInfoCollector()) }

// id matches a path segment that is an id. In the paths of this system, every id has a digit and no other
// segment has one.
var id = regexp.MustCompile(`/[^/]*[0-9][^/]*`)

// ObserveCall records a call that started at began and ends now. The operation is a word, or a method and a path; ids
// and the query are removed from the path.
func ObserveCall(target, operation string, success bool, began time.Time) {
	operation, _, _ = strings.Cut(operation, "?")
	calls.WithLabelValues(target, id.ReplaceAllString(operation, "/{id}"), strconv.FormatBool(success)).
		Observe(time.Since(began).Seconds())
}

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

// Buckets are the bounds of every histogram of durations, in seconds: from an answer that nobody has to wait for
// to one that came long after the asker had gone. Few, since each is a series for every combination of labels.
var Buckets = []float64{.005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// calls is the contract's timer service.call.
var calls = promauto.NewHistogramVec(prometheus.HistogramOpts{
	Name: "service_call_seconds",
	Help: "Calls of other services, of Stripe and of the mail server. One that was refused was successful: " +
		"there was an answer. One that got none, or that of something broken, was not.",
	Buckets: Buckets,
}, []string{"target", "operation", "success"})

func init() { prometheus.MustRegister(collectors.NewBuildInfoCollector()) }

// id is a segment of a path that tells one thing from others of its kind. No word of our paths has a digit, and every
// id of ours has one.
var id = regexp.MustCompile(`/[^/]*[0-9][^/]*`)

// ObserveCall measures a call that began then and has ended now. The operation is a word, or a method and a path, of
// which only the template is kept.
func ObserveCall(target, operation string, success bool, began time.Time) {
	operation, _, _ = strings.Cut(operation, "?")
	calls.WithLabelValues(target, id.ReplaceAllString(operation, "/{id}"), strconv.FormatBool(success)).
		Observe(time.Since(began).Seconds())
}

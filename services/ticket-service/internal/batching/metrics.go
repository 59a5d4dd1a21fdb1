package batching

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

var (
	batchSizes = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "reserve_batch_requests",
		Help:    "Number of reserve requests in each completed transaction.",
		Buckets: []float64{1, 2, 5, 10, 20, 50, 100},
	})
	queueTimes = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "reserve_wait_seconds",
		Help:    "Time that reserve requests were queued before their transaction began.",
		Buckets: telemetry.Buckets,
	})
	rejections = promauto.NewCounter(prometheus.CounterOpts{
		Name: "reserve_refused_total",
		Help: "Reserve requests that were rejected with 429 because their queue was full or their expected wait too long.",
	})
	failedBatches = promauto.NewCounter(prometheus.CounterOpts{
		Name: "reserve_batches_failed_total",
		Help: "Transactions that failed, after which each of their reserve requests was repeated alone.",
	})
)

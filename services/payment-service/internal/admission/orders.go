package admission

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/semaphore"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

var (
	queueTimes = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "order_wait_seconds",
		Help:    "Time that orders waited in the queue before their processing began, or before they were rejected.",
		Buckets: telemetry.Buckets,
	})
	rejections = promauto.NewCounter(prometheus.CounterOpts{
		Name: "order_refused_total",
		Help: "Orders that were rejected with 429 because the queue was full or the wait too long.",
	})
)

// ErrBusy rejects an order because the queue is full or the order has waited for Limits.MaxWait.
var ErrBusy = &problem.Error{
	Kind: problem.Throttled, Code: "TOO_MANY_REQUESTS", Message: "Too many orders are being placed at this moment",
	RetryAfter: 5 * time.Second,
}

// Limits are the limits of an OrderQueue.
type Limits struct {
	Concurrency int           // orders that are processed at the same time
	QueueSize   int           // orders that wait
	MaxWait     time.Duration // of an order in the queue
}

// OrderQueue admits orders in the order of their arrival. Its methods may be called concurrently.
type OrderQueue struct {
	processing, queue *semaphore.Weighted
	maxWait           time.Duration
}

// NewOrderQueue returns an OrderQueue with these limits.
func NewOrderQueue(limits Limits) *OrderQueue {
	return &OrderQueue{
		processing: semaphore.NewWeighted(int64(limits.Concurrency)),
		queue:      semaphore.NewWeighted(int64(limits.QueueSize)),
		maxWait:    limits.MaxWait,
	}
}

// Enter waits until an order may be processed. The caller must call leave when the order has been processed. Enter
// returns ErrBusy, or the error of ctx if that ends first.
func (q *OrderQueue) Enter(ctx context.Context) (leave func(), err error) {
	if !q.queue.TryAcquire(1) {
		rejections.Inc()
		return nil, ErrBusy
	}
	defer q.queue.Release(1)
	defer func(start time.Time) { queueTimes.Observe(time.Since(start).Seconds()) }(time.Now())
	waiting, cancel := context.WithTimeout(ctx, q.maxWait)
	defer cancel()
	switch {
	case q.processing.Acquire(waiting, 1) == nil:
		return func() { q.processing.Release(1) }, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("wait in the order queue: %w", ctx.Err())
	default:
		rejections.Inc()
		return nil, ErrBusy
	}
}

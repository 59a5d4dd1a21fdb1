package httpapi

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
	waits = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "order_wait_seconds",
		Help:    "For how long orders waited for their turn.",
		Buckets: telemetry.Buckets,
	})
	refused = promauto.NewCounter(prometheus.CounterOpts{
		Name: "order_refused_total",
		Help: "Orders that were told to come again because too many were being placed.",
	})
)

// errManyOrders is the answer to an order that would have to wait too long for its turn.
var errManyOrders = &problem.Error{
	Kind: problem.Throttled, Code: "TOO_MANY_REQUESTS", Message: "Too many orders are being placed at this moment",
	RetryAfter: retryAfter,
}

// Bulkhead lets so many orders be driven at once, and the others wait, in the order in which they came.
//
// An order takes several calls of other services, each of which may take seconds and no more. Were a crowd let in at once, it
// would share the processors until these calls run into their timeouts, which opens the circuit breakers, and then nobody buys
// anything. So the crowd waits where waiting costs nothing and nothing has been done yet.
type Bulkhead struct {
	inside, line *semaphore.Weighted
	wait         time.Duration
}

// NewBulkhead lets atOnce orders in, and line others wait, each for so long at most.
func NewBulkhead(atOnce, line int, wait time.Duration) Bulkhead {
	return Bulkhead{semaphore.NewWeighted(int64(atOnce)), semaphore.NewWeighted(int64(line)), wait}
}

// Enter waits for an order's turn. Who is let in leaves when the order is done. The error is errManyOrders, or ctx's.
func (b Bulkhead) Enter(ctx context.Context) (leave func(), err error) {
	if !b.line.TryAcquire(1) {
		refused.Inc()
		return nil, errManyOrders
	}
	defer b.line.Release(1)
	defer func(came time.Time) { waits.Observe(time.Since(came).Seconds()) }(time.Now())
	waiting, cancel := context.WithTimeout(ctx, b.wait)
	defer cancel()
	switch {
	case b.inside.Acquire(waiting, 1) == nil:
		return func() { b.inside.Release(1) }, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("wait for an order's turn: %w", ctx.Err())
	default:
		refused.Inc()
		return nil, errManyOrders
	}
}

package httpapi

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

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
		Name: "orders_refused_total",
		Help: "Orders that were told to come again because too many were being placed.",
	})
)

// errManyOrders is the answer to an order that would have to wait too long for its turn.
var errManyOrders = &problem.Error{
	Kind: problem.Throttled, Code: "TOO_MANY_REQUESTS", Message: "Too many orders are being placed at this moment",
	RetryAfter: retryAfter,
}

// Limits bound which orders a Bulkhead lets in.
type Limits struct {
	AtOnce    int           // that are driven
	PerSecond int           // that begin; a quarter of them may do so in one moment
	Line      int           // that wait for their turn
	Wait      time.Duration // for how long one does
}

// Bulkhead lets so many orders be driven at once, and the others wait, in the order in which they came.
//
// An order takes several calls of other services, each of which may take seconds and no more. Were a crowd let in at once, it
// would share the processors until these calls run into their timeouts, or payment-gateway's limit of charges refuses them,
// which opens the circuit breakers, and then nobody buys anything. So the crowd waits where waiting costs nothing and nothing
// has been done yet.
type Bulkhead struct {
	inside, line *semaphore.Weighted
	pace         *rate.Limiter
	wait         time.Duration
}

// NewBulkhead makes an empty one.
func NewBulkhead(l Limits) Bulkhead {
	return Bulkhead{
		inside: semaphore.NewWeighted(int64(l.AtOnce)), line: semaphore.NewWeighted(int64(l.Line)),
		pace: rate.NewLimiter(rate.Limit(l.PerSecond), max(1, l.PerSecond/4)), wait: l.Wait,
	}
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
	if b.inside.Acquire(waiting, 1) == nil {
		if b.pace.Wait(waiting) == nil {
			return func() { b.inside.Release(1) }, nil
		}
		b.inside.Release(1)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("wait for an order's turn: %w", ctx.Err())
	}
	refused.Inc()
	return nil, errManyOrders
}

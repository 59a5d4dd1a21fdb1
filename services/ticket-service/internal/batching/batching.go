package batching

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// ErrBusy rejects a request that would have to wait too long. Its RetryAfter is the expected wait. Its kind does not
// open a caller's circuit breaker: a popular sale is not an outage.
var ErrBusy = problem.New(problem.Throttled, "TOO_MANY_REQUESTS",
	"Too many requests for these tickets, please try again shortly")

// batchTimeout bounds a batch, including the repetitions of its requests. Callers time out well before it.
const batchTimeout = 5 * time.Second

// Limits are the settings of a Batcher; see the package comment.
type Limits struct {
	Concurrency int           // transactions that reserve, and as many that issue, at the same time
	BatchSize   int           // requests per transaction
	QueueSize   int           // queued requests for the same ticket types
	MaxWait     time.Duration // expected wait beyond which requests are rejected
}

// ReserveFunc reserves tickets for requests in one transaction and returns a result for each of them, in the same
// order. After an error, the requests may be repeated together or one by one.
type ReserveFunc func(ctx context.Context, requests []ticket.Request) ([]ticket.Result, error)

// Batcher runs reserve requests in batches. Its methods may be called concurrently.
type Batcher struct {
	reserve ReserveFunc
	limits  Limits
	issuing *semaphore.Weighted

	mu sync.Mutex
	// queues has every queue that is ready or that a worker serves, by its key. No queue is both.
	queues  map[string]*queue
	ready   []*queue // have queued requests and no worker, longest ready first
	queued  int      // requests in all queues
	workers int      // running
}

// New returns a Batcher that reserves tickets with reserve.
func New(reserve ReserveFunc, limits Limits) *Batcher {
	return &Batcher{
		reserve: reserve, limits: limits, issuing: semaphore.NewWeighted(int64(limits.Concurrency)),
		queues: map[string]*queue{},
	}
}

// Issue calls issue, a transaction that issues tickets, once fewer than Limits.Concurrency such calls are running. It
// returns the error of issue, or that of ctx if it ends before.
func (b *Batcher) Issue(ctx context.Context, issue func(context.Context) error) error {
	if err := b.issuing.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait to issue tickets: %w", err)
	}
	defer b.issuing.Release(1)
	return issue(ctx)
}

// queue is the queued requests for one set of ticket types.
type queue struct {
	key        string // the ids of the types
	requests   []*queuedRequest
	readySince time.Time
	batchStart time.Time     // start of the latest batch; before the first one, when the queue was created
	pace       time.Duration // time between the starts of the latest two batches
}

// queuedRequest is a request in a queue or in a running batch. As in http.Request, the context belongs to the request.
type queuedRequest struct {
	ctx        context.Context
	request    ticket.Request
	enqueuedAt time.Time
	result     chan ticket.Result // has capacity 1, so that sending never blocks
}

// Reserve queues q and returns its result after the commit of its batch. The errors are those of
// ticket.Inventory.Reserve, ErrBusy, and the database's. If ctx ends, Reserve returns its error, but the tickets may
// be reserved nevertheless.
func (b *Batcher) Reserve(ctx context.Context, q ticket.Request) (ticket.Reservation, error) {
	r := &queuedRequest{ctx: ctx, request: q, enqueuedAt: time.Now(), result: make(chan ticket.Result, 1)}
	in, err := b.enqueue(r) //nolint:contextcheck // a batch outlives the context of each of its requests
	if err != nil {
		rejections.Inc()
		return ticket.Reservation{}, err
	}
	select {
	case result := <-r.result:
		return result.Reservation, result.Err
	case <-ctx.Done():
		b.remove(in, r)
		return ticket.Reservation{}, fmt.Errorf("wait for a batch: %w", context.Cause(ctx))
	}
}

// enqueue adds r to its queue, starts a worker if one is free, and returns the queue. It returns ErrBusy.
func (b *Batcher) enqueue(r *queuedRequest) (*queue, error) {
	var key []byte
	for _, item := range ticket.SortedByType(r.request.Items) {
		key = append(key, item.TypeID[:]...)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	in, known := b.queues[string(key)]
	if !known {
		in = &queue{key: string(key), readySince: r.enqueuedAt, batchStart: r.enqueuedAt}
	}
	wait := b.expectedWait(in)
	if len(in.requests) >= b.limits.QueueSize || b.queued >= b.limits.BatchSize && wait > b.limits.MaxWait {
		busy := *ErrBusy
		busy.RetryAfter = max(wait, time.Second)
		return nil, &busy
	}
	in.requests = append(in.requests, r)
	b.queued++
	if !known {
		b.queues[in.key] = in
		b.ready = append(b.ready, in)
	}
	if b.workers < b.limits.Concurrency && len(b.ready) > 0 {
		b.workers++
		go b.work()
	}
	return in, nil
}

// expectedWait estimates how long a request that joins the queue now will wait. The caller holds b.mu.
func (b *Batcher) expectedWait(in *queue) time.Duration {
	// The running batch may already have taken longer than the one before it.
	wait := max(in.pace, time.Since(in.batchStart)) * time.Duration(1+len(in.requests)/b.limits.BatchSize)
	if len(b.ready) > 0 { // no queue is served before the first ready one
		wait = max(wait, time.Since(b.ready[0].readySince))
	}
	return wait
}

// remove takes r out of the queue, unless a worker already has.
func (b *Batcher) remove(in *queue, r *queuedRequest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(in.requests, r); i >= 0 {
		in.requests = slices.Delete(in.requests, i, i+1)
		b.queued--
	}
}

// work is a worker: it runs batches until no queue is ready.
func (b *Batcher) work() {
	var served []*queue
	for {
		var batch []*queuedRequest
		if batch, served = b.nextBatch(served); len(batch) == 0 {
			return
		}
		b.run(batch)
	}
}

// nextBatch returns the queues that the worker has served to the ready ones, and returns its next batch with the
// queues from which it is taken. If the batch is empty, the worker has to stop.
func (b *Batcher) nextBatch(served []*queue) (batch []*queuedRequest, from []*queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, in := range served {
		if len(in.requests) > 0 {
			in.readySince = time.Now()
			b.ready = append(b.ready, in)
		} else {
			delete(b.queues, in.key)
		}
	}
	for len(b.ready) > 0 {
		in := b.ready[0]
		// Only the first queue of a batch may be split, so that a long queue is served in full batches.
		if room := b.limits.BatchSize - len(batch); len(batch) > 0 && len(in.requests) > room {
			break
		}
		b.ready = b.ready[1:]
		n := min(len(in.requests), b.limits.BatchSize)
		batch = append(batch, in.requests[:n]...)
		in.requests = slices.Delete(in.requests, 0, n)
		b.queued -= n
		in.pace, in.batchStart = time.Since(in.batchStart), time.Now()
		from = append(from, in)
	}
	if len(batch) == 0 {
		for _, in := range from { // all their requests were removed
			delete(b.queues, in.key)
		}
		b.workers--
	}
	return batch, from
}

// run reserves for a batch and sends each request its result. If the batch fails, it repeats each request alone.
func (b *Batcher) run(batch []*queuedRequest) {
	requests := make([]ticket.Request, len(batch))
	for i, r := range batch {
		requests[i] = r.request
		queueTimes.Observe(time.Since(r.enqueuedAt).Seconds())
	}
	// The batch is part of the first request's trace, but continues if that request is cancelled.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), batchTimeout)
	defer cancel()
	results, err := b.transact(ctx, requests)
	if err == nil {
		for i, r := range batch {
			r.result <- results[i]
		}
		return
	}
	failedBatches.Inc()
	slog.WarnContext(ctx, "reserve batch failed, repeating its requests one by one",
		"requests", len(batch), "error", err.Error())
	for i, r := range batch {
		results, err := b.transact(ctx, requests[i:i+1])
		if err != nil {
			results = []ticket.Result{{Err: err}}
		}
		r.result <- results[0]
	}
}

// transact reserves in one transaction. It returns a panic as an error: outside of an HTTP handler, a panic would end
// the process.
func (b *Batcher) transact(ctx context.Context, requests []ticket.Request) (results []ticket.Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	if results, err = b.reserve(ctx, requests); err != nil {
		return nil, err
	}
	batchSizes.Observe(float64(len(requests)))
	return results, nil
}

// Package boxoffice has requests that want the same tickets share a transaction.
//
// When sales open, everybody wants the tickets of one type, whose row only one transaction at a time can change. Were each
// request a transaction of its own, each would wait for the disk while all others wait for the row. So they stand in line:
//
//   - Requests for the same ticket types stand in one line, in the order in which they came. A line lives from the first
//     request that finds none until nobody waits in it any more. Lines do not wait for each other.
//   - Whoever finds nobody there goes at once. Those who come while a batch is under way are the next batch, as many as one may
//     have. So nobody waits for company, and batches grow with the crowd.
//   - A process has one batch of a line under way, and so no more than one connection that waits for its types' rows.
//     Other processes, and requests for these types among others, meet it at the rows' locks, which all take in one order.
//   - In a batch each request is judged in its turn against what those before it left, and gets an answer of its own: see
//     ticket.Inventory. An answer is given when it is committed, and nothing is kept here that a crash could lose.
//   - A batch that fails is taken apart, and each request repeated alone, so that one that can do nothing but fail does so
//     alone. It does not matter whether the batch failed or only its answer was lost: a request that is repeated under its
//     reservation's id finds what it has got.
//   - A line has an end. Who finds it too long, or can expect to wait too long by the time that the batches take, is told so
//     at once, and when to come again.
//   - Who goes away while waiting leaves the line. Whose batch is under way gets what it commits.
package boxoffice

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// ErrBusy refuses who would have to wait too long; its RetryAfter says when to come again. It is of a kind that opens no
// circuit breaker: a crowd is no outage, and shall not become one.
var ErrBusy = problem.New(problem.Throttled, "TOO_MANY_REQUESTS", "Too many people want these tickets at this moment")

var (
	batchSizes = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "reserve_batch_requests",
		Help:    "Requests to reserve tickets that shared a transaction, for each of these transactions.",
		Buckets: []float64{1, 2, 5, 10, 20, 50, 100},
	})
	waits = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "reserve_wait_seconds",
		Help:    "For how long requests to reserve tickets stood in line before their transaction began.",
		Buckets: telemetry.Buckets,
	})
	refused = promauto.NewCounter(prometheus.CounterOpts{
		Name: "reserve_refused_total",
		Help: "Requests to reserve tickets that were told to come again because the line was too long.",
	})
	takenApart = promauto.NewCounter(prometheus.CounterOpts{
		Name: "reserve_batches_failed_total",
		Help: "Transactions of requests to reserve tickets that failed, after which each request was repeated alone.",
	})
)

// batchTimeout is how long a batch may take, its requests' repetitions included. Callers have given up long before.
const batchTimeout = 5 * time.Second

// Limits bound what an Office takes on.
type Limits struct {
	Batch int           // requests that share a transaction
	Line  int           // requests that wait for the same tickets
	Wait  time.Duration // for how long one may expect to wait
}

// Office lets requests for the same tickets share a transaction. See the package comment.
type Office struct {
	reserve func(context.Context, []ticket.Request) ([]ticket.Answer, error)
	limits  Limits

	mu    sync.Mutex
	lines map[string]*line // by the types that are wanted
}

// New makes an Office over store.Store's Reserve, or what does the same.
func New(reserve func(context.Context, []ticket.Request) ([]ticket.Answer, error), limits Limits) *Office {
	return &Office{reserve: reserve, limits: limits, lines: map[string]*line{}}
}

// line is those who wait for the same tickets, behind a batch that is under way.
type line struct {
	waiting []*turn
	began   time.Time     // the batch that is under way
	took    time.Duration // the one before it
}

// turn is a request that stands in line.
type turn struct {
	ctx     context.Context //nolint:containedctx // it is the request's, as in http.Request
	request ticket.Request
	came    time.Time
	answer  chan ticket.Answer // has room for it, whether or not somebody still listens
}

// Reserve gives a request its answer when its turn has come: the errors are ticket.Inventory.Reserve's and ErrBusy.
func (o *Office) Reserve(ctx context.Context, q ticket.Request) (ticket.Reservation, error) {
	t := &turn{ctx: ctx, request: q, came: time.Now(), answer: make(chan ticket.Answer, 1)}
	l, err := o.join(t)
	if err != nil {
		refused.Inc()
		return ticket.Reservation{}, err
	}
	select {
	case a := <-t.answer:
		return a.Reservation, a.Err
	case <-ctx.Done():
		o.leave(l, t)
		return ticket.Reservation{}, fmt.Errorf("wait in line for tickets: %w", context.Cause(ctx))
	}
}

func (o *Office) join(t *turn) (*line, error) {
	var key []byte
	for _, l := range ticket.InOrder(t.request.Lines) {
		key = append(key, l.TypeID[:]...)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	l, open := o.lines[string(key)]
	if !open {
		l = &line{waiting: []*turn{t}, began: t.came}
		o.lines[string(key)] = l
		go o.serve(string(key), l)
		return l, nil
	}
	// The batch that is under way may be slower than the one before it was.
	wait := max(l.took, time.Since(l.began)) * time.Duration(1+len(l.waiting)/o.limits.Batch)
	if len(l.waiting) >= o.limits.Line || wait > o.limits.Wait {
		busy := *ErrBusy
		busy.RetryAfter = max(wait, time.Second)
		return nil, &busy
	}
	l.waiting = append(l.waiting, t)
	return l, nil
}

func (o *Office) leave(l *line, t *turn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(other *turn) bool { return other == t })
}

// serve sees to a line until nobody waits in it.
func (o *Office) serve(key string, l *line) {
	for batch := o.next(key, l); len(batch) > 0; batch = o.next(key, l) {
		o.commit(batch)
	}
}

// next takes a batch from a line, which it ends if there is none.
func (o *Office) next(key string, l *line) []*turn {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch := slices.Clone(l.waiting[:min(len(l.waiting), o.limits.Batch)])
	l.waiting = slices.Delete(l.waiting, 0, len(batch))
	if len(batch) == 0 {
		delete(o.lines, key)
	}
	l.took, l.began = time.Since(l.began), time.Now()
	return batch
}

// commit gives each request of a batch its answer.
func (o *Office) commit(batch []*turn) {
	batchSizes.Observe(float64(len(batch)))
	requests := make([]ticket.Request, len(batch))
	for i, t := range batch {
		requests[i] = t.request
		waits.Observe(time.Since(t.came).Seconds())
	}
	// In the first one's trace. It may go away: the others stay.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), batchTimeout)
	defer cancel()
	answers, err := o.try(ctx, requests)
	if err == nil {
		for i, t := range batch {
			t.answer <- answers[i]
		}
		return
	}
	takenApart.Inc()
	slog.WarnContext(ctx, "reservations failed together, and are repeated one by one", "requests", len(batch), "error", err.Error())
	for i, t := range batch {
		answers, err := o.try(ctx, requests[i:i+1])
		if err != nil {
			answers = []ticket.Answer{{Err: err}}
		}
		t.answer <- answers[0]
	}
}

// try reserves, and makes an error of a panic, which here would end the process and not only a request.
func (o *Office) try(ctx context.Context, requests []ticket.Request) (answers []ticket.Answer, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return o.reserve(ctx, requests)
}

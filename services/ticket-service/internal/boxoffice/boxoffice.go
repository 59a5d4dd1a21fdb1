// Package boxoffice has requests to reserve tickets share transactions.
//
// When sales open, everybody wants the tickets of one type, whose row only one transaction at a time can change. Were each
// request a transaction of its own, each would wait for the disk while all others wait for the row. So they stand in line:
//
//   - Requests for the same ticket types stand in one line, in the order in which they came. A few windows serve the lines,
//     each a batch of requests at a time, which is one transaction.
//   - Whoever finds nobody in line and a window free goes at once. Those who come meanwhile wait, and are the next batch: nobody
//     waits for company, and batches grow with the crowd.
//   - One window at a time serves a line, so that a process has no more than one connection that waits for the row of a type
//     that everybody wants. Other processes, and requests for this type among others, meet it at the row's lock. All take
//     these locks in one order.
//   - While all windows are busy, short lines share the next batch: a thousand types that sell at once need no thousand commits.
//   - In a batch each request is judged in its turn against what those before it left, and gets an answer of its own: see
//     ticket.Inventory. It is given when it is committed, and nothing is kept here that a crash could lose.
//   - A batch that fails is taken apart and each request repeated alone, so that one that can do nothing but fail does so
//     alone. It does not matter whether the batch failed or only its answer was lost: a request that is repeated under its
//     reservation's id finds what it has got.
//   - A line has an end. Who finds it too long, or must expect to wait too long at the pace at which it moves, is told so at once,
//     and when to come again. But where all who wait would fit into one batch there is no crowd: then it is the disk or a lock
//     that is slow, and everybody may wait for it.
//   - Who goes away while waiting leaves the line. Whose batch is under way gets what it commits.
//
// What makes tickets of paid reservations wants the same rows, one transaction for each. At an on-sale a crowd of these would
// stand at the row's lock, and every batch behind all of them, so there are only as many at once as windows.
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
	"golang.org/x/sync/semaphore"

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
	Windows int           // transactions that are under way, of those that reserve and of those that issue
	Batch   int           // requests that share one
	Line    int           // requests that wait for the same tickets
	Wait    time.Duration // for how long one may expect to wait
}

// Office lets requests to reserve tickets share transactions. See the package comment.
type Office struct {
	reserve func(context.Context, []ticket.Request) ([]ticket.Result, error)
	limits  Limits
	issuing *semaphore.Weighted

	mu      sync.Mutex
	lines   map[string]*line // by the types that are wanted: all in which somebody waits or is served
	next    []*line          // those in which somebody waits and nobody is served, in their order
	waiting int              // requests that wait in all lines
	busy    int              // windows
}

// New makes an Office over store.Store's Reserve, or what does the same.
func New(reserve func(context.Context, []ticket.Request) ([]ticket.Result, error), limits Limits) *Office {
	return &Office{reserve: reserve, limits: limits, issuing: semaphore.NewWeighted(int64(limits.Windows)), lines: map[string]*line{}}
}

// Issue has a transaction make tickets when its turn has come, and gives its error, or that of ctx if it ends before.
func (o *Office) Issue(ctx context.Context, issue func(context.Context) error) error {
	if err := o.issuing.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait to issue tickets: %w", err)
	}
	defer o.issuing.Release(1)
	return issue(ctx)
}

// line is those who wait for the same tickets.
type line struct {
	key     string
	waiting []*turn
	queued  time.Time     // when it began to wait for a window
	served  time.Time     // when its last batch began, or the line, if it had none
	pace    time.Duration // from the batch before to that one
}

// turn is a request that stands in line.
type turn struct {
	ctx     context.Context //nolint:containedctx // it is the request's, as in http.Request
	request ticket.Request
	came    time.Time
	answer  chan ticket.Result // has room for it, whether or not somebody still listens
}

// Reserve gives a request its answer when its turn has come: the errors are ticket.Inventory.Reserve's and ErrBusy.
func (o *Office) Reserve(ctx context.Context, q ticket.Request) (ticket.Reservation, error) {
	t := &turn{ctx: ctx, request: q, came: time.Now(), answer: make(chan ticket.Result, 1)}
	l, err := o.join(t) //nolint:contextcheck // a batch outlives each of those whose it is
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
	for _, l := range ticket.SortedByType(t.request.Items) {
		key = append(key, l.TypeID[:]...)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	l, known := o.lines[string(key)]
	if !known {
		l = &line{key: string(key), queued: t.came, served: t.came}
	}
	// The batch that is under way may be slower than the one before it was.
	wait := max(l.pace, time.Since(l.served)) * time.Duration(1+len(l.waiting)/o.limits.Batch)
	if len(o.next) > 0 { // no line is served before this one
		wait = max(wait, time.Since(o.next[0].queued))
	}
	if len(l.waiting) >= o.limits.Line || o.waiting >= o.limits.Batch && wait > o.limits.Wait {
		busy := *ErrBusy
		busy.RetryAfter = max(wait, time.Second)
		return nil, &busy
	}
	l.waiting = append(l.waiting, t)
	o.waiting++
	if !known {
		o.lines[l.key] = l
		o.next = append(o.next, l)
	}
	if o.busy < o.limits.Windows && len(o.next) > 0 {
		o.busy++
		go o.window()
	}
	return l, nil
}

func (o *Office) leave(l *line, t *turn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(l.waiting, t); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		o.waiting--
	}
}

// window serves lines until nobody waits for it.
func (o *Office) window() {
	var served []*line
	for {
		var batch []*turn
		if batch, served = o.turns(served); len(batch) == 0 {
			return
		}
		o.commit(batch)
	}
}

// turns is what a window does between two batches: the lines that it has served move on, and it gets the next batch and
// whose it is. Without one it is closed.
func (o *Office) turns(served []*line) (batch []*turn, lines []*line) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range served {
		if len(l.waiting) > 0 {
			l.queued = time.Now()
			o.next = append(o.next, l)
		} else {
			delete(o.lines, l.key)
		}
	}
	for len(o.next) > 0 {
		l := o.next[0]
		// Only the first line is parted, so that a line moves on by a batch each time.
		if room := o.limits.Batch - len(batch); len(batch) > 0 && len(l.waiting) > room {
			break
		}
		o.next = o.next[1:]
		n := min(len(l.waiting), o.limits.Batch)
		batch = append(batch, l.waiting[:n]...)
		l.waiting = slices.Delete(l.waiting, 0, n)
		o.waiting -= n
		l.pace, l.served = time.Since(l.served), time.Now()
		lines = append(lines, l)
	}
	if len(batch) == 0 {
		for _, l := range lines { // everybody has left
			delete(o.lines, l.key)
		}
		o.busy--
	}
	return batch, lines
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
			answers = []ticket.Result{{Err: err}}
		}
		t.answer <- answers[0]
	}
}

// try reserves, and makes an error of a panic, which here would end the process and not only a request.
func (o *Office) try(ctx context.Context, requests []ticket.Request) (answers []ticket.Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return o.reserve(ctx, requests)
}

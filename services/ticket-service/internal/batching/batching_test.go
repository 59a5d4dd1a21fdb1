package batching_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/batching"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// bundle is a Batcher over a fake database that commits when the test says so. It lives in a bubble of package
// synctest, which fails a test that leaves goroutines behind.
type bundle struct {
	t       *testing.T
	batcher *batching.Batcher

	mu      sync.Mutex
	batches [][]ticket.Request // those that the database has received
	commit  chan error         // ends one running batch
	results map[uuid.UUID]ticket.Result
}

func run(t *testing.T, limits batching.Limits, test func(b *bundle)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bundle{t: t, commit: make(chan error), results: map[uuid.UUID]ticket.Result{}}
		b.batcher = batching.New(b.reserve, limits)
		test(b)
	})
}

// unavailable is a quantity that the fake database refuses.
const unavailable = 13

// reserve is the fake database: it grants every request, except those for the unavailable quantity.
func (b *bundle) reserve(ctx context.Context, requests []ticket.Request) ([]ticket.Result, error) {
	b.mu.Lock()
	b.batches = append(b.batches, slices.Clone(requests))
	b.mu.Unlock()
	select {
	case err := <-b.commit:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	results := make([]ticket.Result, len(requests))
	for i, q := range requests {
		results[i].Reservation = ticket.Reservation{ID: q.ReservationID}
		if q.Items[0].Quantity == unavailable {
			results[i] = ticket.Result{Err: ticket.ErrInsufficientInventory}
		}
	}
	return results, nil
}

// request sends a request in the background, and returns its reservation id once it is queued, running or rejected.
func (b *bundle) request(ctx context.Context, quantity int, types ...uuid.UUID) uuid.UUID {
	q := ticket.Request{ReservationID: uuid.New()}
	for _, id := range types {
		q.Items = append(q.Items, ticket.LineItem{TypeID: id, Quantity: quantity})
	}
	go func() {
		r, err := b.batcher.Reserve(ctx, q)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.results[q.ReservationID] = ticket.Result{Reservation: r, Err: err}
	}()
	synctest.Wait()
	return q.ReservationID
}

// requests sends n requests for one ticket of the type each.
func (b *bundle) requests(n int, typeID uuid.UUID) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = b.request(b.t.Context(), 1, typeID)
	}
	return ids
}

// end ends a running batch: with a commit if err is nil.
func (b *bundle) end(err error) {
	b.commit <- err
	synctest.Wait()
}

// requireBatch asserts which requests form the latest batch.
func (b *bundle) requireBatch(ids ...uuid.UUID) {
	b.t.Helper()
	var got []uuid.UUID
	for _, q := range b.batches[len(b.batches)-1] {
		got = append(got, q.ReservationID)
	}
	require.Equal(b.t, ids, got)
}

func (b *bundle) requireReserved(ids ...uuid.UUID) {
	b.t.Helper()
	for _, id := range ids {
		require.NoError(b.t, b.results[id].Err)
		require.Equal(b.t, id, b.results[id].Reservation.ID)
	}
}

func (b *bundle) requireError(err error, ids ...uuid.UUID) {
	b.t.Helper()
	for _, id := range ids {
		require.ErrorIs(b.t, b.results[id].Err, err)
	}
}

// requireBusy asserts that a request was rejected, and with which Retry-After.
func (b *bundle) requireBusy(retryAfter time.Duration, id uuid.UUID) {
	b.t.Helper()
	p, ok := errors.AsType[*problem.Error](b.results[id].Err)
	require.True(b.t, ok)
	require.ErrorIs(b.t, p, batching.ErrBusy)
	require.Equal(b.t, problem.Throttled, p.Kind)
	require.Equal(b.t, retryAfter, p.RetryAfter)
}

// highLimits reject nothing that a test sends.
var highLimits = batching.Limits{Concurrency: 2, BatchSize: 3, QueueSize: 100, MaxWait: time.Hour}

func TestRequestsDuringTransactionFormNextBatch(t *testing.T) {
	t.Parallel()
	run(t, highLimits, func(b *bundle) {
		popular := uuid.New()
		first := b.requests(1, popular)
		b.requireBatch(first...)
		next := b.requests(5, popular)
		require.Len(b.t, b.batches, 1, "one worker serves a queue")
		b.end(nil)
		b.requireReserved(first...)
		b.requireBatch(next[:3]...)
		require.Len(b.t, b.results, 1, "no result before the commit")
		b.end(nil)
		b.requireReserved(next[:3]...)
		b.requireBatch(next[3:]...)
		b.end(nil)
		b.requireReserved(next[3:]...)
		require.Len(b.t, b.batches, 3)

		last := b.requests(1, popular) // the queue is empty again: starts at once
		b.requireBatch(last...)
		b.end(nil)
		b.requireReserved(last...)
	})
}

func TestRefusalConcernsOneRequestOfBatch(t *testing.T) {
	t.Parallel()
	run(t, highLimits, func(b *bundle) {
		popular := uuid.New()
		b.requests(1, popular)
		first := b.request(b.t.Context(), 1, popular)
		refused := b.request(b.t.Context(), unavailable, popular)
		last := b.request(b.t.Context(), 1, popular)
		b.end(nil)
		b.requireBatch(first, refused, last)
		b.end(nil)
		b.requireReserved(first, last)
		b.requireError(ticket.ErrInsufficientInventory, refused)
	})
}

// A free worker serves another queue at once. While all workers are busy, short queues share the next batch, and long
// queues alternate.
func TestWorkersShareQueues(t *testing.T) {
	t.Parallel()
	run(t, highLimits, func(b *bundle) {
		popular, other, third, fourth := uuid.New(), uuid.New(), uuid.New(), uuid.New()
		b.requests(1, popular)
		second := b.requests(1, other)
		b.requireBatch(second...)
		require.Len(b.t, b.batches, 2)

		populars, thirds, others := b.requests(4, popular), b.requests(1, third), b.requests(1, other)
		pair := b.request(b.t.Context(), 1, popular, fourth)
		require.Len(b.t, b.batches, 2)
		b.end(nil) // the older batch, that of the popular type: its worker serves the queues that became ready before
		b.requireBatch(thirds[0], pair)
		for range 5 {
			b.end(nil)
		}
		b.requireReserved(slices.Concat(populars, thirds, others, []uuid.UUID{pair})...)
	})
}

func TestOrderOfTypesDoesNotMatter(t *testing.T) {
	t.Parallel()
	run(t, highLimits, func(b *bundle) {
		x, y := uuid.New(), uuid.New()
		b.request(b.t.Context(), 1, x, y)
		second := b.request(b.t.Context(), 1, y, x)
		require.Len(b.t, b.batches, 1)
		b.end(nil)
		b.requireBatch(second)
		b.end(nil)
	})
}

func TestRequestIsRejectedAtOnce(t *testing.T) {
	t.Parallel()
	t.Run("QueueFull", func(t *testing.T) {
		t.Parallel()
		limits := batching.Limits{Concurrency: 1, BatchSize: 3, QueueSize: 4, MaxWait: time.Hour}
		run(t, limits, func(b *bundle) {
			popular := uuid.New()
			accepted := b.requests(5, popular) // one runs, four are queued
			b.requireBusy(time.Second, b.requests(1, popular)[0])
			elsewhere := b.requests(1, uuid.New()) // another queue
			b.end(nil)
			b.requireBatch(elsewhere...)
			b.end(nil)
			b.requireBatch(accepted[1:4]...)
			again := b.requests(1, popular)
			b.end(nil)
			b.end(nil)
			b.requireReserved(slices.Concat(accepted, elsewhere, again)...)
		})
	})
	t.Run("QueueTooSlow", func(t *testing.T) {
		t.Parallel()
		limits := batching.Limits{Concurrency: 1, BatchSize: 2, QueueSize: 100, MaxWait: time.Second}
		run(t, limits, func(b *bundle) {
			popular := uuid.New()
			first := b.requests(3, popular)
			time.Sleep(400 * time.Millisecond)
			b.end(nil)                     // the next two run; the queue's pace is a batch in 400 ms
			next := b.requests(3, popular) // two are expected to wait for 400 ms, one for 800 ms
			late := b.requests(2, popular)
			b.requireReserved(first[0])
			require.NotContains(b.t, b.results, next[2])
			require.NotContains(b.t, b.results, late[0], "it completes a batch")
			b.requireBusy(1200*time.Millisecond, late[1])
			for range 3 {
				b.end(nil)
			}
			b.requireReserved(slices.Concat(first, next, late[:1])...)
		})
	})
	t.Run("TooManyQueues", func(t *testing.T) {
		t.Parallel()
		limits := batching.Limits{Concurrency: 1, BatchSize: 1, QueueSize: 100, MaxWait: time.Second}
		run(t, limits, func(b *bundle) {
			first := b.requests(1, uuid.New())
			time.Sleep(700 * time.Millisecond)
			second := b.requests(1, uuid.New())
			time.Sleep(time.Second)
			third := b.requests(1, uuid.New())
			time.Sleep(time.Millisecond)
			b.requireBusy(1001*time.Millisecond, b.requests(1, uuid.New())[0])
			b.end(nil)
			again := b.requests(1, uuid.New())
			for range 3 {
				b.end(nil)
			}
			b.requireReserved(slices.Concat(first, second, third, again)...)
		})
	})
	t.Run("BatchHangs", func(t *testing.T) {
		t.Parallel()
		limits := batching.Limits{Concurrency: 1, BatchSize: 2, QueueSize: 100, MaxWait: time.Second}
		run(t, limits, func(b *bundle) {
			popular := uuid.New()
			first := b.requests(2, popular)
			time.Sleep(time.Second + time.Millisecond)
			next := b.requests(1, popular) // fits into the next batch, so it is accepted however slow the running one is
			b.requireBusy(2*(time.Second+time.Millisecond), b.requests(1, popular)[0])
			b.end(nil)
			b.end(nil)
			b.requireReserved(slices.Concat(first, next)...)
			last := b.requests(1, popular) // the queue is empty
			b.end(nil)
			b.requireReserved(last...)
		})
	})
}

// A request whose context ends leaves its queue and makes room for another. If its batch is running, it only misses
// its result.
func TestCancelledRequestLeavesQueue(t *testing.T) {
	t.Parallel()
	run(t, batching.Limits{Concurrency: 1, BatchSize: 10, QueueSize: 2, MaxWait: time.Hour}, func(b *bundle) {
		popular := uuid.New()
		ctx, cancel := context.WithCancel(b.t.Context())
		running := b.request(ctx, 1, popular)
		queued, stays := b.request(ctx, 1, popular), b.request(b.t.Context(), 1, popular)
		b.requireError(batching.ErrBusy, b.requests(1, popular)...)
		cancel()
		synctest.Wait()
		b.requireError(context.Canceled, running, queued)
		next := b.requests(1, popular)
		b.end(nil)
		b.requireBatch(stays, next[0])
		b.end(nil)
		b.requireReserved(stays, next[0])
	})
	t.Run("AllOfQueue", func(t *testing.T) {
		t.Parallel()
		run(t, batching.Limits{Concurrency: 1, BatchSize: 10, QueueSize: 2, MaxWait: time.Hour}, func(b *bundle) {
			ctx, cancel := context.WithCancel(b.t.Context())
			b.requests(1, uuid.New())
			abandoned := uuid.New()
			b.request(ctx, 1, abandoned)
			cancel()
			synctest.Wait()
			b.end(nil)
			require.Len(b.t, b.batches, 1)
			again := b.requests(1, abandoned)
			b.end(nil)
			b.requireReserved(again...)
		})
	})
}

func TestFailedBatchIsRepeatedOneByOne(t *testing.T) {
	t.Parallel()
	errConnection, errRequest := errors.New("connection lost"), errors.New("value out of range")
	run(t, highLimits, func(b *bundle) {
		popular := uuid.New()
		b.requests(1, popular)
		batch := b.requests(3, popular)
		b.end(nil)
		b.end(errConnection)
		b.requireBatch(batch[0])
		after := b.requests(1, popular) // waits until the whole batch has results
		b.end(nil)
		b.requireReserved(batch[0])
		b.requireBatch(batch[1])
		b.end(errRequest)
		b.requireError(errRequest, batch[1])
		b.requireBatch(batch[2])
		b.end(nil)
		b.requireReserved(batch[2])
		b.requireBatch(after...)
		b.end(nil)
		b.requireReserved(after...)
	})
	t.Run("Panic", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			batcher := batching.New(func(context.Context, []ticket.Request) ([]ticket.Result, error) {
				panic("a bug")
			}, highLimits)
			_, err := batcher.Reserve(t.Context(), ticket.Request{})
			require.ErrorContains(t, err, "a bug")
		})
	})
	t.Run("DatabaseHangs", func(t *testing.T) {
		t.Parallel()
		run(t, highLimits, func(b *bundle) {
			first := b.requests(1, uuid.New())
			time.Sleep(time.Minute)
			synctest.Wait()
			b.requireError(context.DeadlineExceeded, first...)
		})
	})
}

func TestIssueIsLimitedAndInOrder(t *testing.T) {
	t.Parallel()
	run(t, highLimits, func(b *bundle) {
		done := make(chan struct{})
		var started []int
		issue := func(ctx context.Context, n int) <-chan error {
			issued := make(chan error, 1)
			go func() {
				issued <- b.batcher.Issue(ctx, func(context.Context) error {
					started = append(started, n)
					<-done
					return nil
				})
			}()
			synctest.Wait()
			return issued
		}
		ctx, cancel := context.WithCancel(b.t.Context())
		first, second := issue(b.t.Context(), 1), issue(b.t.Context(), 2)
		cancelled, last := issue(ctx, 3), issue(b.t.Context(), 4)
		require.Equal(b.t, []int{1, 2}, started)
		cancel()
		require.ErrorIs(b.t, <-cancelled, context.Canceled)
		reserved := b.requests(1, uuid.New()) // reservations have workers of their own
		b.end(nil)
		b.requireReserved(reserved...)
		done <- struct{}{}
		synctest.Wait()
		require.Equal(b.t, []int{1, 2, 4}, started)
		close(done)
		for _, issued := range []<-chan error{first, second, last} {
			require.NoError(b.t, <-issued)
		}
	})
}

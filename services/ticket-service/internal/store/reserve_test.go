package store_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/batching"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// newBatcher returns a Batcher like that of the service, but with limits that a slow machine does not reach.
func newBatcher(s *store.Store) *batching.Batcher {
	return batching.New(s.Reserve, batching.Limits{Concurrency: 2, BatchSize: 20, QueueSize: 10_000, MaxWait: time.Hour})
}

// replica returns the pool and the Batcher of another process with the same database.
func (b *bundle) replica(t *testing.T, name string) (*pgxpool.Pool, *batching.Batcher) {
	t.Helper()
	config := b.pool.Config()
	config.ConnConfig.RuntimeParams["application_name"] = name
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool, newBatcher(store.New(pool, publicURL))
}

// requireResults asserts the results of requests that share a transaction.
func (b *bundle) requireResults(t *testing.T, requests []ticket.Request, want ...error) {
	t.Helper()
	results, err := b.store.Reserve(t.Context(), requests)
	require.NoError(t, err)
	require.Len(t, results, len(want))
	for i, r := range results {
		require.ErrorIs(t, r.Err, want[i], i)
		if want[i] == nil {
			require.Equal(t, requests[i].ReservationID, r.Reservation.ID)
			require.Equal(t, ticket.Quantity(requests[i].Items), ticket.Quantity(r.Reservation.Items))
		}
	}
}

func TestReserveBatchHasResultPerRequest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, 5), b.newType(t, 100)
	before, tombstone, released := b.reserved(t, item(seat, 7)), uuid.New(), b.reserved(t, item(seat, 1))
	for _, id := range []uuid.UUID{tombstone, released} {
		_, err := b.store.Release(t.Context(), id, "TIMEOUT")
		require.NoError(t, err)
	}
	draft := b.request(uuid.New(), item(seat, 1))
	draft.EventID = uuid.New()
	twice, reused := uuid.New(), uuid.New()
	stranger := b.request(twice, item(vip, 2))
	stranger.UserID = uuid.New()
	requests := []ticket.Request{
		b.request(uuid.New(), item(vip, 6)),
		b.request(twice, item(vip, 2)),
		b.request(uuid.New(), item(seat, 3), item(vip, 4)), // refused as a whole
		b.request(twice, item(vip, 2)),
		b.request(reused, item(vip, 1), item(seat, 1)),
		b.request(reused, item(vip, 1)),
		b.request(before, item(seat, 7)),
		b.request(tombstone, item(seat, 1)),
		b.request(released, item(seat, 1)),
		stranger,
		draft,
		b.request(uuid.New(), item(uuid.New(), 1)),
		b.request(uuid.New(), item(vip, 2)),
		b.request(uuid.New(), item(vip, 1)),
	}
	want := []error{
		ticket.ErrInsufficientInventory, nil, ticket.ErrInsufficientInventory, nil, nil, ticket.ErrReservationReused, nil,
		ticket.ErrReservationEnded, ticket.ErrReservationEnded, ticket.ErrReservationReused, ticket.ErrEventNotOnSale,
		ticket.ErrTypeNotFound, nil, ticket.ErrInsufficientInventory,
	}
	for range 2 { // the batch is idempotent
		b.requireResults(t, requests, want...)
		b.requireInventory(t, vip, 0, 5)
		b.requireInventory(t, seat, 0, 8)
	}
}

// Requests for which too few tickets are left take those of due reservations, in the order of the batch.
func TestReserveBatchTakesTicketsOfDueReservations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, other := b.newType(t, 4), b.newType(t, 4)
	b.makeDue(t, b.reserved(t, item(kind, 3)))
	b.requireResults(t, []ticket.Request{
		b.request(uuid.New(), item(kind, 5)),
		b.request(uuid.New(), item(kind, 2)),
		b.request(uuid.New(), item(kind, 1)),
		b.request(uuid.New(), item(other, 1)),
		b.request(uuid.New(), item(kind, 2)),
		b.request(uuid.New(), item(kind, 1)),
	}, ticket.ErrInsufficientInventory, nil, nil, nil, ticket.ErrInsufficientInventory, nil)
	b.requireInventory(t, kind, 0, 4)
	b.requireInventory(t, other, 0, 1)
}

func TestRequestThatDatabaseRejectsFailsAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 100)
	bad := b.request(uuid.New(), item(kind, 0)) // fails a check of the database; callers validate before
	_, err := b.store.Reserve(t.Context(), []ticket.Request{b.request(uuid.New(), item(kind, 1)), bad})
	require.Error(t, err)
	b.requireInventory(t, kind, 0, 0)

	batcher := newBatcher(b.store)
	for i, err := range race(40, func(i int) error {
		q := b.request(uuid.New(), item(kind, 1))
		if i%10 == 0 {
			q.Items[0].Quantity = 0
		}
		_, err := batcher.Reserve(t.Context(), q)
		return err
	}) {
		if i%10 == 0 {
			pg, ok := errors.AsType[*pgconn.PgError](err)
			require.True(t, ok)
			require.Equal(t, "23514", pg.Code, "check violation")
			continue
		}
		require.NoError(t, err)
	}
	b.requireInventory(t, kind, 0, 36)
}

// reserveMany sends n concurrent requests for one ticket each. It returns the first error that is not
// ticket.ErrInsufficientInventory.
func (b *bundle) reserveMany(ctx context.Context, batcher *batching.Batcher, n int, kind uuid.UUID) error {
	for _, err := range race(n, func(int) error {
		_, err := batcher.Reserve(ctx, b.request(uuid.New(), item(kind, 1)))
		return err
	}) {
		if err != nil && !errors.Is(err, ticket.ErrInsufficientInventory) {
			return err
		}
	}
	return nil
}

// Hundreds of buyers request one, two or four tickets of one or two types from two replicas. Every ticket is sold, and
// none twice.
func TestSaleSellsEveryTicketOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, second := b.replica(t, "second")
	batchers := []*batching.Batcher{newBatcher(b.store), second}
	const buyers = 600
	kinds := make([]uuid.UUID, 3)
	for i := range kinds {
		kinds[i] = b.newType(t, 300)
	}
	// They request about three times the tickets that exist, the larger quantities first.
	errs := race(buyers, func(i int) error {
		for _, quantity := range []int{4, 2, 1}[i%3:] {
			items := []ticket.LineItem{item(kinds[rand.IntN(3)], quantity)}
			if i%7 == 0 {
				items = []ticket.LineItem{item(kinds[i%3], quantity), item(kinds[(i+1)%3], 1)}
			}
			q := b.request(uuid.New(), items...)
			_, err := batchers[i%2].Reserve(t.Context(), q)
			if err != nil && !errors.Is(err, ticket.ErrInsufficientInventory) {
				return err
			}
			if err == nil && i%5 == 0 { // the response was lost; the retry reaches the other replica
				if _, err := batchers[(i+1)%2].Reserve(t.Context(), q); err != nil {
					return err
				}
			}
		}
		return nil
	})
	requireAll(t, errs)
	for _, kind := range kinds {
		require.NoError(t, b.reserveMany(t.Context(), batchers[0], 300, kind)) // takes the tickets that are left
		b.requireInventory(t, kind, 0, 300)
	}
}

// A request for more tickets than are left does not block requests for fewer.
func TestRefusedRequestDoesNotBlockOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 100)
	batcher := newBatcher(b.store)
	for i, err := range race(150, func(i int) error {
		_, err := batcher.Reserve(t.Context(), b.request(uuid.New(), item(kind, []int{101, 1, 1}[i%3])))
		return err
	}) {
		if i%3 == 0 {
			require.ErrorIs(t, err, ticket.ErrInsufficientInventory)
			continue
		}
		require.NoError(t, err)
	}
	b.requireInventory(t, kind, 0, 100)
}

// A reserve whose id a concurrent release inserts waits for its commit and is refused.
func TestReserveWaitsForConcurrentRelease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, other := b.newType(t, 10), b.newType(t, 10)
	id, unrelated := uuid.New(), uuid.New()
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `INSERT INTO reservations (id, status) VALUES ($1, 'CANCELLED')`, id)
	require.NoError(t, err)
	type result struct {
		results []ticket.Result
		err     error
	}
	done := make(chan result)
	go func() {
		results, err := b.store.Reserve(t.Context(), []ticket.Request{
			b.request(id, item(kind, 1)), b.request(unrelated, item(other, 1)),
		})
		done <- result{results, err}
	}()
	b.awaitBlocked(t, tx)
	require.NoError(t, tx.Commit(t.Context()))
	got := <-done
	require.NoError(t, got.err)
	require.ErrorIs(t, got.results[0].Err, ticket.ErrReservationEnded)
	require.NoError(t, got.results[1].Err)
	b.requireInventory(t, kind, 0, 0)
	b.requireInventory(t, other, 0, 1)
}

// awaitBlocked waits until a process waits for a lock of the transaction, and returns its pid.
func (b *bundle) awaitBlocked(t *testing.T, by pgx.Tx) (pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		err := b.pool.QueryRow(t.Context(), `
			SELECT pid FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))`, by.Conn().PgConn().PID()).Scan(&pid)
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
	return pid
}

// The connection of a running batch is closed. Its requests are repeated and have the same results.
func TestBatchSurvivesLostConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 30)
	batcher := newBatcher(b.store)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM ticket_types WHERE id = $1 FOR UPDATE`, kind)
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- b.reserveMany(t.Context(), batcher, 40, kind) }()
	_, err = b.pool.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, b.awaitBlocked(t, tx))
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, <-done)
	b.requireInventory(t, kind, 0, 30)
}

// The results of committed batches are lost. Repeating the requests returns their reservations and reserves nothing
// twice.
func TestRepeatedBatchReturnsCommittedReservations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 30)
	lost := errors.New("connection reset by peer")
	batcher := batching.New(func(ctx context.Context, requests []ticket.Request) ([]ticket.Result, error) {
		results, err := b.store.Reserve(ctx, requests)
		if len(requests) > 1 {
			return nil, errors.Join(err, lost)
		}
		return results, err
	}, batching.Limits{Concurrency: 1, BatchSize: 20, QueueSize: 100, MaxWait: time.Hour})
	held := 0
	for _, err := range race(40, func(int) error {
		_, err := batcher.Reserve(t.Context(), b.request(uuid.New(), item(kind, 1)))
		return err
	}) {
		if err == nil {
			held++
			continue
		}
		require.ErrorIs(t, err, ticket.ErrInsufficientInventory)
	}
	require.Equal(t, 30, held)
	b.requireInventory(t, kind, 0, 30)
}

// Connections of two replicas are closed at random during a sale, and requests that fail are repeated under the same
// id. Every request that succeeds has its reservation.
func TestSaleSurvivesLostConnections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := uuid.NewString()
	_, first := b.replica(t, name)
	_, second := b.replica(t, name)
	kinds := []uuid.UUID{b.newType(t, 400), b.newType(t, 400)}

	const kills = 20
	var killed atomic.Int64
	sold := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		for killed.Load() < kills {
			select {
			case <-sold:
				return
			default:
			}
			tag, err := b.pool.Exec(t.Context(), `
				SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE application_name = $1 AND state <> 'idle' ORDER BY random() LIMIT 1`, name)
			if err == nil {
				killed.Add(tag.RowsAffected())
			}
		}
	})
	errs := race(500, func(i int) error {
		q := b.request(uuid.New(), item(kinds[i%2], 1+i%3))
		batcher := []*batching.Batcher{first, second}[i%2]
		for {
			r, err := batcher.Reserve(t.Context(), q)
			switch {
			case err == nil:
				var one int // the query fails if the reservation is missing
				return b.pool.QueryRow(t.Context(), `
					SELECT 1 / count(*) FROM reservations r JOIN reservation_lines l ON l.reservation_id = r.id
					WHERE r.id = $1 AND r.status = 'ACTIVE' AND l.quantity = $2`, r.ID, 1+i%3).Scan(&one)
			case errors.Is(err, ticket.ErrInsufficientInventory) && killed.Load() > 0: // at least one request was repeated
				return nil
			}
		}
	})
	requireAll(t, errs)
	close(sold)
	killer.Wait()
	for _, kind := range kinds {
		require.NoError(t, b.reserveMany(t.Context(), first, 100, kind))
		b.requireInventory(t, kind, 0, 400)
	}
}

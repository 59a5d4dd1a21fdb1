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

// office is one as the service has it, but for its patience, since tests run on slow machines.
func office(s *store.Store) *batching.Batcher {
	return batching.New(s.Reserve, batching.Limits{Concurrency: 2, BatchSize: 20, QueueSize: 10_000, MaxWait: time.Hour})
}

// replica is another process's store and office on the same database.
func (b *bundle) replica(t *testing.T, name string) (*pgxpool.Pool, *batching.Batcher) {
	t.Helper()
	config := b.pool.Config()
	config.ConnConfig.RuntimeParams["application_name"] = name
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool, office(store.New(pool, publicURL))
}

// requireAnswers asserts what requests that share a transaction get.
func (b *bundle) requireAnswers(t *testing.T, requests []ticket.Request, want ...error) {
	t.Helper()
	answers, err := b.store.Reserve(t.Context(), requests)
	require.NoError(t, err)
	require.Len(t, answers, len(want))
	for i, a := range answers {
		require.ErrorIs(t, a.Err, want[i], i)
		if want[i] == nil {
			require.Equal(t, requests[i].ReservationID, a.Reservation.ID)
			require.Equal(t, ticket.Quantity(requests[i].Items), ticket.Quantity(a.Reservation.Items))
		}
	}
}

func TestReserveTogether(t *testing.T) {
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
		b.request(uuid.New(), item(seat, 3), item(vip, 4)), // nothing of it, since not all is there
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
	for range 2 { // the same again has no other effect
		b.requireAnswers(t, requests, want...)
		b.requireInventory(t, vip, 0, 5)
		b.requireInventory(t, seat, 0, 8)
	}
}

// Whoever finds too little gets what expired holds still keep, in the order of the batch.
func TestReserveTogetherTakesExpiredHolds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, other := b.newType(t, 4), b.newType(t, 4)
	b.runOut(t, b.reserved(t, item(kind, 3)))
	b.requireAnswers(t, []ticket.Request{
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

// A request that the database refuses fails alone.
func TestPoisonousReserve(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 100)
	poison := b.request(uuid.New(), item(kind, 0)) // validation would have stopped it
	_, err := b.store.Reserve(t.Context(), []ticket.Request{b.request(uuid.New(), item(kind, 1)), poison})
	require.Error(t, err)
	b.requireInventory(t, kind, 0, 0)

	o := office(b.store)
	for i, err := range race(40, func(i int) error {
		q := b.request(uuid.New(), item(kind, 1))
		if i%10 == 0 {
			q.Items[0].Quantity = 0
		}
		_, err := o.Reserve(t.Context(), q)
		return err
	}) {
		if i%10 == 0 {
			pg, ok := errors.AsType[*pgconn.PgError](err)
			require.True(t, ok)
			require.Equal(t, "23514", pg.Code, "a check was violated")
			continue
		}
		require.NoError(t, err)
	}
	b.requireInventory(t, kind, 0, 36)
}

// crowd is that many who come at once. It gives the first error that is none of "sold out".
func (b *bundle) crowd(ctx context.Context, o *batching.Batcher, n int, want func(i int) []ticket.LineItem) error {
	for _, err := range race(n, func(i int) error {
		_, err := o.Reserve(ctx, b.request(uuid.New(), want(i)...))
		return err
	}) {
		if err != nil && !errors.Is(err, ticket.ErrInsufficientInventory) {
			return err
		}
	}
	return nil
}

// Hundreds of buyers of one, two and four tickets, of one type and of several in whatever order, at two replicas: all
// that is there is sold, to the last ticket, and nobody is told that it is while something is left.
func TestSellOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, second := b.replica(t, "second")
	offices := []*batching.Batcher{office(b.store), second}
	const buyers = 600
	kinds := make([]uuid.UUID, 3)
	for i := range kinds {
		kinds[i] = b.newType(t, 300)
	}
	// They want about three times as much as there is. Who is refused four tries for two, then for one.
	errs := race(buyers, func(i int) error {
		for _, quantity := range []int{4, 2, 1}[i%3:] {
			lines := []ticket.LineItem{item(kinds[rand.IntN(3)], quantity)} //nolint:gosec // not a secret
			if i%7 == 0 {
				lines = []ticket.LineItem{item(kinds[i%3], quantity), item(kinds[(i+1)%3], 1)}
			}
			q := b.request(uuid.New(), lines...)
			_, err := offices[i%2].Reserve(t.Context(), q)
			if err != nil && !errors.Is(err, ticket.ErrInsufficientInventory) {
				return err
			}
			if err == nil && i%5 == 0 { // the answer was lost, and another replica is asked
				if _, err := offices[(i+1)%2].Reserve(t.Context(), q); err != nil {
					return err
				}
			}
		}
		return nil
	})
	requireAll(t, errs)
	for _, kind := range kinds {
		// Those who want one ticket take whatever is left.
		require.NoError(t, b.crowd(t.Context(), offices[0], 300, func(int) []ticket.LineItem { return []ticket.LineItem{item(kind, 1)} }))
		b.requireInventory(t, kind, 0, 300)
	}
}

// Nobody is refused one ticket because somebody before wanted more than were left.
func TestNeverFalselySoldOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 100)
	o := office(b.store)
	for i, err := range race(150, func(i int) error {
		_, err := o.Reserve(t.Context(), b.request(uuid.New(), item(kind, []int{101, 1, 1}[i%3])))
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

// A reserve whose id another transaction is just taking waits for what that commits.
func TestReserveMeetsItsRelease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, other := b.newType(t, 10), b.newType(t, 10)
	id, beside := uuid.New(), uuid.New()
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `INSERT INTO reservations (id, status) VALUES ($1, 'CANCELLED')`, id)
	require.NoError(t, err)
	type result struct {
		answers []ticket.Result
		err     error
	}
	done := make(chan result)
	go func() {
		answers, err := b.store.Reserve(t.Context(), []ticket.Request{b.request(id, item(kind, 1)), b.request(beside, item(other, 1))})
		done <- result{answers, err}
	}()
	b.awaitBlocked(t, tx)
	require.NoError(t, tx.Commit(t.Context()))
	got := <-done
	require.NoError(t, got.err)
	require.ErrorIs(t, got.answers[0].Err, ticket.ErrReservationEnded)
	require.NoError(t, got.answers[1].Err)
	b.requireInventory(t, kind, 0, 0)
	b.requireInventory(t, other, 0, 1)
}

// awaitBlocked waits until somebody waits for a transaction, and gives the process that does.
func (b *bundle) awaitBlocked(t *testing.T, by pgx.Tx) (pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		err := b.pool.QueryRow(t.Context(), `SELECT pid FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))`,
			by.Conn().PgConn().PID()).Scan(&pid)
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
	return pid
}

// The connection dies while a batch is under way: each of it gets what it would have got.
func TestReserveSurvivesItsConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 30)
	o := office(b.store)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM ticket_types WHERE id = $1 FOR UPDATE`, kind)
	require.NoError(t, err)
	done := make(chan error)
	go func() {
		done <- b.crowd(t.Context(), o, 40, func(int) []ticket.LineItem { return []ticket.LineItem{item(kind, 1)} })
	}()
	_, err = b.pool.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, b.awaitBlocked(t, tx))
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, <-done)
	b.requireInventory(t, kind, 0, 30)
}

// The batch was committed and nobody heard of it: each request finds what it has got, and takes nothing twice.
func TestReserveWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 30)
	lost := errors.New("connection reset by peer")
	o := batching.New(func(ctx context.Context, requests []ticket.Request) ([]ticket.Result, error) {
		answers, err := b.store.Reserve(ctx, requests)
		if len(requests) > 1 {
			return nil, errors.Join(err, lost)
		}
		return answers, err
	}, batching.Limits{Concurrency: 1, BatchSize: 20, QueueSize: 100, MaxWait: time.Hour})
	held := 0
	for _, err := range race(40, func(int) error {
		_, err := o.Reserve(t.Context(), b.request(uuid.New(), item(kind, 1)))
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

// Connections die at any moment of a sale, two replicas' at once. Whoever was told that tickets are held has them;
// whoever was told nothing asks again under the same id.
func TestReserveWhileConnectionsDie(t *testing.T) {
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
		o := []*batching.Batcher{first, second}[i%2]
		for {
			r, err := o.Reserve(t.Context(), q)
			switch {
			case err == nil:
				var lines int
				return b.pool.QueryRow(t.Context(), `
					SELECT 1 / count(*) FROM reservations r JOIN reservation_lines l ON l.reservation_id = r.id
					WHERE r.id = $1 AND r.status = 'ACTIVE' AND l.quantity = $2`, r.ID, 1+i%3).Scan(&lines)
			case errors.Is(err, ticket.ErrInsufficientInventory) && killed.Load() > 0: // or the sale was over too soon
				return nil
			}
		}
	})
	requireAll(t, errs)
	close(sold)
	killer.Wait()
	for _, kind := range kinds {
		require.NoError(t, b.crowd(t.Context(), first, 100, func(int) []ticket.LineItem { return []ticket.LineItem{item(kind, 1)} }))
		b.requireInventory(t, kind, 0, 400)
	}
}

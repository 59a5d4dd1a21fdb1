package store_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// limitPerPerson sets the limit per person of a type.
func (b *bundle) limitPerPerson(t *testing.T, typeID uuid.UUID, limit int) {
	t.Helper()
	changed, err := b.store.ChangeType(t.Context(), typeID, func(y ticket.Type) (ticket.Type, error) {
		y.MaxPerPerson = &limit
		return y, nil
	})
	require.NoError(t, err)
	require.Equal(t, limit, *changed.MaxPerPerson)
}

// requireLeft asserts that the bundle's user may take n more tickets of a type and no more.
func (b *bundle) requireLeft(t *testing.T, typeID uuid.UUID, n int) {
	t.Helper()
	_, err := b.reserve(t.Context(), uuid.New(), item(typeID, n+1))
	require.ErrorIs(t, err, ticket.ErrPersonLimit)
	if n > 0 {
		b.reserved(t, item(typeID, n))
	}
	_, err = b.reserve(t.Context(), uuid.New(), item(typeID, 1))
	require.ErrorIs(t, err, ticket.ErrPersonLimit)
}

func TestLimitPerPersonCountsHeldAndValidTickets(t *testing.T) {
	t.Parallel()
	const limit, before = 5, 3
	for _, tt := range []struct {
		name string
		take func(t *testing.T, b *bundle, kind uuid.UUID) // takes three tickets
		left int
	}{
		{"Nothing", func(*testing.T, *bundle, uuid.UUID) {}, limit},
		{"Held", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			b.reserved(t, item(kind, 1))
			b.reserved(t, item(kind, 2))
		}, limit - before},
		{"Bought", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			b.bought(t, kind, before)
		}, limit - before},
		{"HeldAndBought", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			b.reserved(t, item(kind, 2))
			b.bought(t, kind, 1)
		}, limit - before},
		{"HeldWithOtherTypes", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			b.reserved(t, item(b.newType(t, 10), 4), item(kind, before))
		}, limit - before},
		{"OtherType", func(t *testing.T, b *bundle, _ uuid.UUID) {
			t.Helper()
			other := b.newType(t, 10)
			b.reserved(t, item(other, 1))
			b.bought(t, other, before)
		}, limit},
		{"OtherPerson", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			friend := *b
			friend.user = uuid.New()
			friend.reserved(t, item(kind, 1))
			friend.bought(t, kind, before)
		}, limit},
		{"Used", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			_, err := b.store.CheckIn(t.Context(), b.bought(t, kind, before)[0].ID, 1, "")
			require.NoError(t, err)
		}, limit - before},
		{"Released", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			_, err := b.store.Release(t.Context(), b.reserved(t, item(kind, before)), "TIMEOUT")
			require.NoError(t, err)
		}, limit},
		{"Expired", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			b.expire(t, b.reserved(t, item(kind, before)))
		}, limit},
		{"DueAndNotSwept", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			b.makeDue(t, b.reserved(t, item(kind, before)))
		}, limit},
		{"PaidAfterItExpired", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			late := b.reserved(t, item(kind, before))
			b.expire(t, late)
			require.NoError(t, b.fulfil(t.Context(), uuid.New(), b.purchase(late)))
		}, limit - before},
		{"CancelledByOwner", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			_, err := b.store.Cancel(t.Context(), b.bought(t, kind, before)[0].ID, b.user, "")
			require.NoError(t, err)
		}, limit - before + 1},
		{"Refunded", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			_, err := b.store.CancelRefunded(t.Context(), ticket.Refund{
				OrderID: b.bought(t, kind, before)[0].OrderID, Key: "key",
			})
			require.NoError(t, err)
		}, limit},
		{"Transferred", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			for _, k := range b.bought(t, kind, before) {
				_, err := b.store.Transfer(t.Context(), k.ID, b.user, uuid.New(), "Bob")
				require.NoError(t, err)
			}
		}, limit - before},
		{"Received", func(t *testing.T, b *bundle, kind uuid.UUID) {
			t.Helper()
			friend := *b
			friend.user = uuid.New()
			for _, k := range friend.bought(t, kind, before) {
				_, err := b.store.Transfer(t.Context(), k.ID, friend.user, b.user, "Ann")
				require.NoError(t, err)
			}
		}, limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			kind := b.newType(t, 100)
			b.limitPerPerson(t, kind, limit)
			tt.take(t, b, kind)
			b.requireLeft(t, kind, tt.left)
		})
	}
}

// A limit that is set when a person already has more leaves them what they have.
func TestNewLimitPerPersonTakesNoTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 10)
	held := b.reserved(t, item(kind, 4))
	b.limitPerPerson(t, kind, 2)
	b.requireLeft(t, kind, 0)

	r, err := b.reserve(t.Context(), held, item(kind, 4)) // a repeated request
	require.NoError(t, err)
	require.Equal(t, ticket.ReservationActive, r.Status)
	tickets, err := b.store.Confirm(t.Context(), b.purchase(held))
	require.NoError(t, err)
	require.Len(t, tickets, 4)
	b.requireInventory(t, kind, 4, 0)
}

// The requests of a batch count towards the limit in their order, each of them once.
func TestLimitPerPersonAppliesWithinBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, other := b.newType(t, 100), b.newType(t, 100)
	b.limitPerPerson(t, kind, 3)
	twice := uuid.New()
	stranger := b.request(uuid.New(), item(kind, 3))
	stranger.UserID = uuid.New()
	requests := []ticket.Request{
		b.request(uuid.New(), item(kind, 4), item(other, 1)), // refused as a whole
		b.request(twice, item(kind, 2)),
		b.request(uuid.New(), item(kind, 2)),
		b.request(twice, item(kind, 2)),
		stranger,
		b.request(uuid.New(), item(kind, 1), item(other, 5)),
		b.request(uuid.New(), item(kind, 1)),
	}
	for range 2 { // the batch is idempotent
		b.requireResults(t, requests,
			ticket.ErrPersonLimit, nil, ticket.ErrPersonLimit, nil, nil, nil, ticket.ErrPersonLimit)
		b.requireInventory(t, kind, 0, 6)
		b.requireInventory(t, other, 0, 5)
	}
}

// Concurrent orders of a person do not pass the limit, whichever replica and batch they are in.
func TestConcurrentOrdersOfOnePersonKeepLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const people, orders, limit = 4, 12, 3
	kind, other := b.newType(t, 1000), b.newType(t, 1000)
	b.limitPerPerson(t, kind, limit)
	_, first := b.replica(t, "first")
	_, second := b.replica(t, "second")
	users := make([]uuid.UUID, people)
	for i := range users {
		users[i] = uuid.New()
	}
	errs := race(people*orders, func(i int) error {
		q := b.request(uuid.New(), item(kind, 1))
		if i%3 == 0 { // in a queue of its own
			q.Items = append(q.Items, item(other, 1))
		}
		q.UserID = users[i%people]
		batcher := first
		if i%2 == 0 {
			batcher = second
		}
		r, err := batcher.Reserve(t.Context(), q)
		if err == nil && i%5 == 0 { // what is bought counts as what is held did
			p := b.purchase(r.ID)
			p.UserID = q.UserID
			_, err = b.store.Confirm(t.Context(), p)
		}
		return err
	})
	for _, err := range errs {
		if !errors.Is(err, ticket.ErrPersonLimit) {
			require.NoError(t, err)
		}
	}
	rows, err := b.pool.Query(t.Context(), `
		SELECT sum(quantity) FROM reservations r JOIN reservation_lines l ON l.reservation_id = r.id
		WHERE ticket_type_id = $1 GROUP BY user_id`, kind)
	require.NoError(t, err)
	taken, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	require.Equal(t, []int{limit, limit, limit, limit}, taken)
}

// statements is a tracer of the statements that are not part of a pgx.Batch.
type statements struct {
	mu  sync.Mutex
	sql []string
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sql = append(s.sql, strings.ToLower(q.SQL))
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A batch without a limited type does not read what its buyers have taken.
func TestReserveWithoutLimitPerPersonReadsNoHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	free, limited := b.newType(t, 10), b.newType(t, 10)
	b.limitPerPerson(t, limited, 5)
	config := b.pool.Config()
	var traced statements
	config.ConnConfig.Tracer = &traced
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	// reads returns how many times a batch of requests, one for each type, reads what its buyers have taken.
	reads := func(kinds ...uuid.UUID) (n int) {
		traced.sql = nil
		requests := make([]ticket.Request, len(kinds))
		for i, kind := range kinds {
			requests[i] = b.request(uuid.New(), item(kind, 1))
		}
		_, err := store.New(pool, publicURL).Reserve(t.Context(), requests)
		require.NoError(t, err)
		require.Contains(t, traced.sql, "commit")
		for _, sql := range traced.sql {
			if strings.Contains(sql, "as buyer") {
				n++
			}
		}
		return n
	}
	require.Zero(t, reads(free, free))
	require.Equal(t, 1, reads(free, limited, limited))
}

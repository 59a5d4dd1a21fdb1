package store_test

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

func TestCreateIsIdempotent(t *testing.T) {
	b := setup(t)
	o := newOrder()
	o.Items = append(o.Items, order.Item{TicketTypeID: uuid.New(), Quantity: 1})
	o.ExpectedTotal = "150.00"
	id, created, err := b.store.Create(t.Context(), o, "key", hash)
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, o.ID, id)

	stored := b.order(t, id)
	require.Regexp(t, `^ORD-\d{4}-\d{6}$`, stored.Number)
	require.WithinDuration(t, time.Now(), stored.CreatedAt, time.Minute)
	require.ElementsMatch(t, o.Items, stored.Items)
	o.Number, o.CreatedAt, o.Items = stored.Number, stored.CreatedAt, stored.Items
	o.Status, o.Step = order.Pending, order.Reserve
	require.Equal(t, o, stored)

	leased, err := b.store.Lease(t.Context(), id)
	require.NoError(t, err)
	require.False(t, leased, "its creator holds the lease")

	t.Run("SameRequest", func(t *testing.T) {
		again := newOrder()
		again.UserID = o.UserID
		id, created, err := b.store.Create(t.Context(), again, "key", hash)
		require.NoError(t, err)
		require.False(t, created)
		require.Equal(t, o.ID, id)
		_, err = b.store.Order(t.Context(), again.ID)
		require.ErrorIs(t, err, order.ErrNotFound)
	})
	t.Run("KeyReused", func(t *testing.T) {
		again := newOrder()
		again.UserID = o.UserID
		_, created, err := b.store.Create(t.Context(), again, "key", []byte("another hash"))
		require.ErrorIs(t, err, order.ErrKeyReused)
		require.False(t, created)
	})
	t.Run("SameKeyOfAnotherUser", func(t *testing.T) {
		other := newOrder()
		id, created, err := b.store.Create(t.Context(), other, "key", hash)
		require.NoError(t, err)
		require.True(t, created)
		require.Equal(t, other.ID, id)
	})
	t.Run("OtherKeyOfTheSameUser", func(t *testing.T) {
		another := newOrder()
		another.UserID = o.UserID
		_, created, err := b.store.Create(t.Context(), another, "another key", hash)
		require.NoError(t, err)
		require.True(t, created)
	})
	t.Run("NotFound", func(t *testing.T) {
		_, err := b.store.Order(t.Context(), uuid.New())
		require.ErrorIs(t, err, order.ErrNotFound)
	})
}

func TestConcurrentRequestsWithOneKeyCreateOneOrder(t *testing.T) {
	b := setup(t)
	const requests = 32
	user := uuid.New()
	ids, created, errs := make([]uuid.UUID, requests), make([]bool, requests), make([]error, requests)
	race(requests, func(i int) {
		o := newOrder()
		o.UserID = user
		ids[i], created[i], errs[i] = b.store.Create(t.Context(), o, "key", hash)
	})
	winners := 0
	for i := range requests {
		require.NoError(t, errs[i])
		require.Equal(t, ids[0], ids[i])
		if created[i] {
			winners++
		}
	}
	require.Equal(t, 1, winners)
	var orders, items int
	b.query(t, &orders, `SELECT count(*) FROM orders`)
	b.query(t, &items, `SELECT count(*) FROM order_items`)
	require.Equal(t, 1, orders)
	require.Equal(t, 1, items)
	history, err := b.store.History(t.Context(), ids[0])
	require.NoError(t, err)
	require.Len(t, history, 1)
}

// The first order of a year creates its sequence.
func TestConcurrentFirstOrdersOfAYearGetDifferentNumbers(t *testing.T) {
	b := setup(t)
	const orders = 24
	numbers, errs := make([]string, orders), make([]error, orders)
	race(orders, func(i int) {
		o := newOrder()
		if _, _, errs[i] = b.store.Create(t.Context(), o, "key", hash); errs[i] == nil {
			o, errs[i] = b.store.Order(t.Context(), o.ID)
			numbers[i] = o.Number
		}
	})
	form := regexp.MustCompile(fmt.Sprintf(`^ORD-%d-\d{6}$`, time.Now().UTC().Year()))
	seen := map[string]bool{}
	for i := range orders {
		require.NoError(t, errs[i])
		require.Regexp(t, form, numbers[i])
		require.False(t, seen[numbers[i]], numbers[i])
		seen[numbers[i]] = true
	}

	t.Run("MoreThanAMillion", func(t *testing.T) {
		b.exec(t, fmt.Sprintf(`SELECT setval('order_number_%d', 999999)`, time.Now().UTC().Year()))
		require.Regexp(t, `^ORD-\d{4}-1000000$`, b.create(t).Number)
	})
}

func TestOrderNumberWaitsForTheTransactionThatCreatesTheSequence(t *testing.T) {
	for name, end := range map[string]func(pgx.Tx, context.Context) error{
		"Committed": pgx.Tx.Commit, "RolledBack": pgx.Tx.Rollback,
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			first, err := b.pool.Begin(t.Context())
			require.NoError(t, err)
			var number string
			require.NoError(t, first.QueryRow(t.Context(), `SELECT next_order_number()`).Scan(&number))

			o := newOrder()
			var creation sync.WaitGroup
			creation.Go(func() { _, _, err = b.store.Create(t.Context(), o, "key", hash) })
			require.Eventually(t, func() bool {
				var waiting bool
				b.query(t, &waiting, `
					SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))`,
					first.Conn().PgConn().PID())
				return waiting
			}, deadline, 5*time.Millisecond)
			require.NoError(t, end(first, t.Context()))
			creation.Wait()
			require.NoError(t, err)
			require.Equal(t, name == "RolledBack", number == b.order(t, o.ID).Number)
		})
	}
}

package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// deadline bounds what a test waits for.
const deadline = 20 * time.Second

type bundle struct {
	pool  *pgxpool.Pool
	store store.Store
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	return &bundle{pool: pool, store: store.Store{Pool: pool}}
}

var hash = []byte("hash of the request")

// newOrder gives an order that is stored nowhere yet.
func newOrder() order.Order {
	return order.Order{
		ID: uuid.New(), UserID: uuid.New(), EventID: uuid.New(), ReservationID: uuid.New(), HolderName: "Ann O'Hara",
		Items: []order.Item{{TicketTypeID: uuid.New(), Quantity: 2}}, Method: order.CreditCard, PaymentToken: "pm_card_visa",
	}
}

func (b *bundle) create(t *testing.T) order.Order {
	t.Helper()
	o := newOrder()
	id, created, err := b.store.Create(t.Context(), o, "key", hash)
	require.NoError(t, err)
	require.True(t, created)
	return b.order(t, id)
}

func (b *bundle) order(t *testing.T, id uuid.UUID) order.Order {
	t.Helper()
	o, err := b.store.Order(t.Context(), id)
	require.NoError(t, err)
	return o
}

func (b *bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (b *bundle) query(t *testing.T, to any, sql string, args ...any) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), sql, args...).Scan(to))
}

// race runs n workers at once.
func race(n int, worker func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { worker(i) })
	}
	wg.Wait()
}

func TestCreate(t *testing.T) {
	b := setup(t)
	o := newOrder()
	o.Items = append(o.Items, order.Item{TicketTypeID: uuid.New(), Quantity: 1})
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
	require.False(t, leased, "its maker has the lease")

	t.Run("SameRequestAgain", func(t *testing.T) {
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

// An impatient buyer's request arrives 32 times at once, as the first ones of the year.
func TestCreateRace(t *testing.T) {
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

// The year's first orders come all at once, and its sequence is made by one of them.
func TestOrderNumberRace(t *testing.T) {
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

// The transaction that makes the year's sequence may take its time, and may fail.
func TestOrderNumberWaits(t *testing.T) {
	for name, end := range map[string]func(pgx.Tx, context.Context) error{"Committed": pgx.Tx.Commit, "RolledBack": pgx.Tx.Rollback} {
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
				b.query(t, &waiting, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))`,
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

// The moves of the saga, by name, each with what it does to an order that stands at its step.
var moves = []struct {
	name     string
	from, to order.Step
	status   order.Status // that it leads to
	move     func(ctx context.Context, s store.Store, o order.Order) error
}{
	{"Reserved", order.Reserve, order.Charge, order.Pending, func(ctx context.Context, s store.Store, o order.Order) error {
		items := []order.Item{{TicketTypeID: o.Items[0].TicketTypeID, Quantity: 2, UnitPrice: money.Of(5000, "USD")}}
		return s.Reserved(ctx, o.ID, items, money.Of(10000, "USD"), time.Now().Add(15*time.Minute))
	}},
	{"Refused", order.Reserve, order.Done, order.Failed, func(ctx context.Context, s store.Store, o order.Order) error {
		return s.Refused(ctx, o.ID, order.Failure{Code: "INSUFFICIENT_INVENTORY", Message: "Not enough tickets available"})
	}},
	{"GiveUp", order.Reserve, order.Release, order.Failed, func(ctx context.Context, s store.Store, o order.Order) error {
		return s.GiveUp(ctx, o.ID, order.Failure{Code: order.CodeAbandoned, Message: "Given up", Retryable: true})
	}},
	{"Paid", order.Charge, order.Fulfil, order.Completed, func(ctx context.Context, s store.Store, o order.Order) error {
		return s.Paid(ctx, o, "pi_1")
	}},
	{"Declined", order.Charge, order.Release, order.Failed, func(ctx context.Context, s store.Store, o order.Order) error {
		return s.Declined(ctx, o, order.Failure{Code: "INSUFFICIENT_FUNDS", Message: "Your card has insufficient funds."})
	}},
	{"Released", order.Release, order.Done, order.Failed, func(ctx context.Context, s store.Store, o order.Order) error {
		return s.Released(ctx, o.ID, 2)
	}},
	{"Fulfilled", order.Fulfil, order.Done, order.Completed, func(ctx context.Context, s store.Store, o order.Order) error {
		return s.Fulfilled(ctx, uuid.New(), events.TicketsGenerated{OrderID: o.ID, UserID: o.UserID, EventID: o.EventID})
	}},
	{"Unfulfillable", order.Fulfil, order.Refund, order.Completed, func(ctx context.Context, s store.Store, o order.Order) error {
		return s.Unfulfillable(ctx, uuid.New(), events.TicketGenerationFailed{
			OrderID: o.ID, UserID: o.UserID, EventID: o.EventID, ReservationID: o.ReservationID, Reason: "INSUFFICIENT_INVENTORY",
		})
	}},
	{"Refunded", order.Refund, order.Done, order.Refunded, func(ctx context.Context, s store.Store, o order.Order) error {
		r, err := refundOf(ctx, s, o)
		return errors.Join(err, s.RefundSucceeded(ctx, r, "re_1"))
	}},
	{"RefundFailed", order.Refund, order.Done, order.Completed, func(ctx context.Context, s store.Store, o order.Order) error {
		r, err := refundOf(ctx, s, o)
		return errors.Join(err, s.RefundFailed(ctx, r, refund.Failure{Code: "LOST_OR_STOLEN_CARD", Message: "The bank did not take the refund"}))
	}},
}

// refundOf gives the order's one refund, as it was when it was about to be made, or one that is not stored.
func refundOf(ctx context.Context, s store.Store, o order.Order) (refund.Refund, error) {
	found, err := s.RefundsOf(ctx, o.ID, paging.Page{Limit: 1})
	r := refund.Refund{ID: uuid.New(), OrderID: o.ID, Amount: o.Total}
	if len(found) > 0 {
		r = found[0]
	}
	r.Step = refund.ReturnMoney
	return r, err
}

// make makes the named moves with the order.
func (b *bundle) make(t *testing.T, o order.Order, names ...string) order.Order {
	t.Helper()
	for _, name := range names {
		for _, m := range moves {
			if m.name == name {
				require.NoError(t, m.move(t.Context(), b.store, o))
				o = b.order(t, o.ID)
				require.Equal(t, m.to, o.Step)
			}
		}
	}
	return o
}

// paths lead to each step in the shortest way.
var paths = map[order.Step][]string{
	order.Reserve: nil,
	order.Charge:  {"Reserved"},
	order.Release: {"Reserved", "Declined"},
	order.Fulfil:  {"Reserved", "Paid"},
	order.Refund:  {"Reserved", "Paid", "Unfulfillable"},
	order.Done:    {"Reserved", "Paid", "Fulfilled"},
}

// everything gives all that is stored about orders, as text.
func (b *bundle) everything(t *testing.T) string {
	t.Helper()
	var all string
	b.query(t, &all, `
		SELECT concat_ws(E'\n', (SELECT string_agg(o::text, E'\n' ORDER BY id) FROM orders o),
		                        (SELECT string_agg(i::text, E'\n' ORDER BY order_id) FROM order_items i),
		                        (SELECT string_agg(r::text, E'\n' ORDER BY id) FROM refunds r),
		                        (SELECT string_agg(t::text, E'\n' ORDER BY ticket_id) FROM order_tickets t),
		                        (SELECT string_agg(e::text, E'\n' ORDER BY position) FROM saga_events e),
		                        (SELECT string_agg(x::text, E'\n' ORDER BY position) FROM outbox x))`)
	return all
}

// Every move leads from its own step and from no other, and does so once.
func TestMoves(t *testing.T) {
	b := setup(t)
	for _, m := range moves {
		for step, path := range paths {
			t.Run(m.name+"From"+string(step), func(t *testing.T) {
				o := b.make(t, b.create(t), path...)
				require.Equal(t, step, o.Step)
				before := b.everything(t)
				require.NoError(t, m.move(t.Context(), b.store, o))
				if m.name == "Paid" && step == order.Release { // too late: the money goes back, once
					var refunds int
					for range 2 {
						b.query(t, &refunds, `SELECT count(*) FROM refunds WHERE order_id = $1 AND reason = $2 AND amount_minor = $3`,
							o.ID, order.CodePaymentTooLate, o.Total.Minor)
						require.Equal(t, 1, refunds)
						require.NoError(t, m.move(t.Context(), b.store, o))
					}
					require.Equal(t, order.Release, b.order(t, o.ID).Step)
					return
				}
				if step != m.from {
					require.Equal(t, before, b.everything(t))
					return
				}
				moved := b.order(t, o.ID)
				require.Equal(t, m.to, moved.Step)
				require.Equal(t, m.status, moved.Status)
				require.Equal(t, m.to == order.Charge, moved.PaymentToken != "", "the token is gone once no charge can be made")

				once := b.everything(t)
				require.NotEqual(t, before, once)
				require.NoError(t, m.move(t.Context(), b.store, o))
				require.Equal(t, once, b.everything(t))
			})
		}
	}
}

// A move, its line in the history and the event it causes are one: if one cannot be stored, none is.
func TestMovesAreAtomic(t *testing.T) {
	b := setup(t)
	announcing := map[string]bool{"Paid": true, "Declined": true, "Refunded": true, "RefundFailed": true}
	for _, m := range moves {
		tables := []string{"saga_events"}
		if announcing[m.name] {
			tables = append(tables, "outbox")
		}
		for _, table := range tables {
			t.Run(m.name+"Without_"+table, func(t *testing.T) {
				o := b.make(t, b.create(t), paths[m.from]...)
				before := b.everything(t)
				b.exec(t, `ALTER TABLE `+table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
				err := m.move(t.Context(), b.store, o)
				b.exec(t, `ALTER TABLE `+table+` DROP CONSTRAINT broken`)
				require.Error(t, err)
				require.Equal(t, before, b.everything(t))

				require.NoError(t, m.move(t.Context(), b.store, o), "and can be made again, messages included")
				require.Equal(t, m.to, b.order(t, o.ID).Step)
			})
		}
	}
}

// Eight drivers come to the same end at once: it is told once.
func TestMovesRace(t *testing.T) {
	b := setup(t)
	for _, m := range moves {
		t.Run(m.name, func(t *testing.T) {
			o := b.make(t, b.create(t), paths[m.from]...)
			told := func() (lines, announced int) {
				b.query(t, &lines, `SELECT count(*) FROM saga_events WHERE saga_id = $1`, o.ID)
				b.query(t, &announced, `SELECT count(*) FROM outbox WHERE cloud_event->>'subject' = $1`, o.ID.String())
				return lines, announced
			}
			linesBefore, announcedBefore := told()
			errs := make([]error, 8)
			race(len(errs), func(i int) { errs[i] = m.move(t.Context(), b.store, o) })
			for _, err := range errs {
				require.NoError(t, err)
			}
			lines, announced := told()
			wantLines, wantAnnounced := 1, 0
			switch m.name {
			case "Reserved", "Unfulfillable": // the outcome, and the payment or refund that starts
				wantLines = 2
			case "RefundFailed": // and people are told
				wantLines, wantAnnounced = 2, 1
			case "Paid", "Declined", "Refunded":
				wantAnnounced = 1
			}
			require.Equal(t, wantLines, lines-linesBefore)
			require.Equal(t, wantAnnounced, announced-announcedBefore)
		})
	}
}

// Paid and Declined exclude each other, whoever comes first.
func TestPaidOrDeclined(t *testing.T) {
	b := setup(t)
	for range 8 {
		o := b.make(t, b.create(t), "Reserved")
		errs := make([]error, 2)
		race(2, func(i int) {
			if i == 0 {
				errs[i] = b.store.Paid(t.Context(), o, "pi_1")
				return
			}
			errs[i] = b.store.Declined(t.Context(), o, order.Failure{Code: "INSUFFICIENT_FUNDS"})
		})
		require.NoError(t, errs[0])
		require.NoError(t, errs[1])
		var announced []string
		b.query(t, &announced, `SELECT array_agg(cloud_event->>'type') FROM outbox WHERE cloud_event->>'subject' = $1`, o.ID.String())
		want := map[order.Status]string{order.Completed: "PAYMENT_COMPLETED", order.Failed: "PAYMENT_FAILED"}[b.order(t, o.ID).Status]
		require.Equal(t, []string{want}, announced)
	}
}

// A message takes effect once, however often it comes, and one about an order that is not here or
// stands elsewhere is done with.
func TestDuplicateMessages(t *testing.T) {
	b := setup(t)
	for name, deliver := range map[string]func(id uuid.UUID, o order.Order) error{
		"Fulfilled": func(id uuid.UUID, o order.Order) error {
			return b.store.Fulfilled(t.Context(), id, events.TicketsGenerated{OrderID: o.ID})
		},
		"Unfulfillable": func(id uuid.UUID, o order.Order) error {
			return b.store.Unfulfillable(t.Context(), id, events.TicketGenerationFailed{OrderID: o.ID, Reason: "INSUFFICIENT_INVENTORY"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			message := uuid.New()
			o := b.make(t, b.create(t), paths[order.Fulfil]...)
			errs := make([]error, 8)
			race(len(errs), func(i int) { errs[i] = deliver(message, o) })
			for _, err := range errs {
				require.NoError(t, err)
			}
			require.NotEqual(t, order.Fulfil, b.order(t, o.ID).Step)
			var lines, received int
			b.query(t, &lines, `SELECT count(*) FROM saga_events WHERE saga_id = $1 AND saga_type = 'TICKET_PURCHASE'`, o.ID)
			require.Equal(t, 5, lines)
			b.query(t, &received, `SELECT count(*) FROM inbox WHERE event_id = $1`, message)
			require.Equal(t, 1, received)
		})
		t.Run(name+"OfAnUnknownOrder", func(t *testing.T) {
			require.NoError(t, deliver(uuid.New(), newOrder()))
		})
	}
	t.Run("FailureAfterSuccess", func(t *testing.T) {
		o := b.make(t, b.create(t), paths[order.Done]...)
		require.NoError(t, b.store.Unfulfillable(t.Context(), uuid.New(), events.TicketGenerationFailed{OrderID: o.ID}))
		require.Equal(t, o, withAge(b.order(t, o.ID), o))
	})
}

// withAge gives o with the charge's age in another reading of it, which differs in nothing else.
func withAge(o, other order.Order) order.Order {
	o.ChargeAge = other.ChargeAge
	return o
}

func TestReserved(t *testing.T) {
	b := setup(t)
	o := newOrder()
	o.Items = append(o.Items, order.Item{TicketTypeID: uuid.New(), Quantity: 1})
	_, _, err := b.store.Create(t.Context(), o, "key", hash)
	require.NoError(t, err)
	require.Zero(t, b.order(t, o.ID).ChargeAge)
	prices := []order.Item{
		{TicketTypeID: o.Items[1].TicketTypeID, Quantity: 1, UnitPrice: money.Of(5000, "USD")},
		{TicketTypeID: o.Items[0].TicketTypeID, Quantity: 2, UnitPrice: money.Of(2500, "USD")},
	}
	require.NoError(t, b.store.Reserved(t.Context(), o.ID, prices, money.Of(10000, "USD"), time.Now().Add(15*time.Minute)))

	stored := b.order(t, o.ID)
	require.Equal(t, money.Of(10000, "USD"), stored.Total)
	require.ElementsMatch(t, prices, stored.Items)
	require.WithinDuration(t, time.Now(), stored.ChargeSince, time.Minute)

	t.Run("ChargeAge", func(t *testing.T) {
		for _, age := range []time.Duration{11 * time.Minute, 3 * time.Hour, 49 * time.Hour} {
			b.exec(t, `UPDATE orders SET charge_since = now() - $2::interval WHERE id = $1`, o.ID, age)
			require.InDelta(t, age, b.order(t, o.ID).ChargeAge, float64(time.Minute))
		}
	})
}

// timeOut ends every lease and makes every saga due, as only time would.
func (b *bundle) timeOut(t *testing.T) {
	t.Helper()
	b.exec(t, `UPDATE orders SET leased_until = now() - interval '1 second', resume_at = now() - interval '1 second'`)
}

func TestLease(t *testing.T) {
	b := setup(t)
	o := b.create(t)
	b.timeOut(t)
	const callers = 16
	leased, errs := make([]bool, callers), make([]error, callers)
	race(callers, func(i int) { leased[i], errs[i] = b.store.Lease(t.Context(), o.ID) })
	won := 0
	for i := range callers {
		require.NoError(t, errs[i])
		if leased[i] {
			won++
		}
	}
	require.Equal(t, 1, won)

	t.Run("UnknownOrder", func(t *testing.T) {
		leased, err := b.store.Lease(t.Context(), uuid.New())
		require.NoError(t, err)
		require.False(t, leased)
	})
	t.Run("NotTheSweepersToo", func(t *testing.T) {
		ids, err := b.store.LeaseDue(t.Context(), 10)
		require.NoError(t, err)
		require.Empty(t, ids)
	})
	t.Run("AMinute", func(t *testing.T) {
		var left time.Duration
		b.query(t, &left, `SELECT leased_until - now() FROM orders`)
		require.InDelta(t, time.Minute, left, float64(10*time.Second))
	})
}

// Many sweepers at once share the due sagas out among them: each is taken once, and all are.
func TestLeaseDueRace(t *testing.T) {
	b := setup(t)
	const orders, sweepers = 40, 8
	want := map[uuid.UUID]bool{}
	for range orders {
		want[b.create(t).ID] = true
	}
	b.timeOut(t)
	taken, errs := make([][]uuid.UUID, sweepers), make([]error, sweepers)
	race(sweepers, func(i int) { taken[i], errs[i] = b.store.LeaseDue(t.Context(), 7) })
	got := map[uuid.UUID]bool{}
	collect := func(ids []uuid.UUID) {
		require.LessOrEqual(t, len(ids), 7)
		for _, id := range ids {
			require.False(t, got[id], "taken twice")
			got[id] = true
		}
	}
	for i := range sweepers {
		require.NoError(t, errs[i])
		collect(taken[i])
	}
	for len(got) < orders { // what all of them passed over, since others looked at it
		ids, err := b.store.LeaseDue(t.Context(), 7)
		require.NoError(t, err)
		require.NotEmpty(t, ids)
		collect(ids)
	}
	require.Equal(t, want, got)
}

// A saga that somebody else is changing right now is passed over, and nobody waits for it.
func TestLeaseDuePassesOver(t *testing.T) {
	b := setup(t)
	busy, free := b.create(t), b.create(t)
	b.timeOut(t)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
	_, err = tx.Exec(t.Context(), `SELECT FROM orders WHERE id = $1 FOR UPDATE`, busy.ID)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	ids, err := b.store.LeaseDue(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{free.ID}, ids)
}

func TestLeaseDue(t *testing.T) {
	b := setup(t)
	due := func(t *testing.T) []uuid.UUID {
		t.Helper()
		ids, err := b.store.LeaseDue(t.Context(), 100)
		require.NoError(t, err)
		return ids
	}
	for step, path := range paths {
		t.Run(string(step), func(t *testing.T) {
			o := b.make(t, b.create(t), path...)
			require.Empty(t, due(t), "its driver holds the lease, or nobody is needed")
			b.exec(t, `UPDATE orders SET leased_until = now() - interval '1 second' WHERE id = $1`, o.ID)
			switch step {
			case order.Done, order.Fulfil, order.Refund:
				require.Empty(t, due(t))
			case order.Reserve, order.Charge, order.Release:
				require.Equal(t, []uuid.UUID{o.ID}, due(t))
			}
			b.exec(t, `UPDATE orders SET leased_until = now() - interval '1 second', resume_at = now() + interval '1 minute' WHERE id = $1`, o.ID)
			require.Empty(t, due(t), "it is not its time yet")
		})
	}
}

// The sweeper comes back later each time, the sooner the younger the order, and a reserve is left to the buyer
// for a minute.
func TestPostpone(t *testing.T) {
	b := setup(t)
	wait := func(t *testing.T, id uuid.UUID) time.Duration {
		t.Helper()
		_, err := b.store.Postpone(t.Context(), b.order(t, id))
		require.NoError(t, err)
		var wait time.Duration
		b.query(t, &wait, `SELECT resume_at - now() FROM orders WHERE id = $1`, id)
		leased, err := b.store.Lease(t.Context(), id)
		require.NoError(t, err)
		require.True(t, leased, "the lease ended")
		return wait
	}
	about := func(t *testing.T, want, got time.Duration) {
		t.Helper()
		require.InDelta(t, want, got, float64(2*time.Second))
	}
	for _, step := range []order.Step{order.Charge, order.Release} {
		t.Run(string(step), func(t *testing.T) {
			o := b.make(t, b.create(t), paths[step]...)
			for _, seconds := range []int{5, 10, 20, 30, 30, 30} {
				about(t, time.Duration(seconds)*time.Second, wait(t, o.ID))
			}
			b.exec(t, `UPDATE orders SET tries = 1000000 WHERE id = $1`, o.ID)
			about(t, 30*time.Second, wait(t, o.ID))
			b.exec(t, `UPDATE orders SET created_at = created_at - interval '20 minutes' WHERE id = $1`, o.ID)
			about(t, 2*time.Minute, wait(t, o.ID))
			b.exec(t, `UPDATE orders SET created_at = created_at - interval '1 day' WHERE id = $1`, o.ID)
			about(t, 5*time.Minute, wait(t, o.ID))
			b.exec(t, `UPDATE orders SET tries = 0 WHERE id = $1`, o.ID)
			about(t, 5*time.Second, wait(t, o.ID))
		})
	}
	t.Run("RESERVE", func(t *testing.T) {
		o := b.create(t)
		for range 3 {
			about(t, time.Minute, wait(t, o.ID))
		}
		b.make(t, o, "Reserved")
		about(t, 5*time.Second, wait(t, o.ID)) // the next step starts afresh
	})
}

// What is published is the contract's envelope to the letter.
func TestAnnouncements(t *testing.T) {
	b := setup(t)
	ctx := telemetry.With(t.Context(), telemetry.Trace{
		CorrelationID: "corr-123456", Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "vendor=1",
	})
	for _, tt := range []struct {
		name    string
		path    []string
		move    func(o order.Order) error
		payload func(o order.Order) string
	}{
		{
			"PAYMENT_COMPLETED", paths[order.Charge],
			func(o order.Order) error { return b.store.Paid(ctx, o, "txn-987654") },
			func(o order.Order) string {
				return fmt.Sprintf(`{"orderId": "%s", "orderNumber": "%s", "userId": "%s", "eventId": "%s", "reservationId": "%s",
					"holderName": "Ann O'Hara", "totalAmount": 100.00, "currency": "USD", "paymentMethod": "CREDIT_CARD",
					"transactionId": "txn-987654", "items": [{"ticketTypeId": "%s", "quantity": 2, "unitPrice": 50.00}]}`,
					o.ID, o.Number, o.UserID, o.EventID, o.ReservationID, o.Items[0].TicketTypeID)
			},
		},
		{
			"PAYMENT_FAILED", paths[order.Charge],
			func(o order.Order) error {
				return b.store.Declined(ctx, o, order.Failure{Code: "INSUFFICIENT_FUNDS", Message: "Payment declined by issuing bank"})
			},
			func(o order.Order) string {
				return fmt.Sprintf(`{"orderId": "%s", "userId": "%s", "eventId": "%s", "reservationId": "%s",
					"failureReason": "INSUFFICIENT_FUNDS", "errorMessage": "Payment declined by issuing bank", "retryable": false}`,
					o.ID, o.UserID, o.EventID, o.ReservationID)
			},
		},
		{
			"REFUND_PROCESSED", paths[order.Refund],
			func(o order.Order) error {
				r, err := refundOf(ctx, b.store, o)
				return errors.Join(err, b.store.RefundSucceeded(ctx, r, "re_1"))
			},
			func(o order.Order) string {
				r, err := refundOf(ctx, b.store, o)
				require.NoError(t, err)
				return fmt.Sprintf(`{"orderId": "%s", "userId": "%s", "eventId": "%s", "refundId": "%s",
					"amount": 100.00, "refundedTotal": 100.00, "currency": "USD", "reason": "INSUFFICIENT_INVENTORY", "orderRefunded": true}`,
					o.ID, o.UserID, o.EventID, r.ID)
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := b.make(t, b.create(t), tt.path...)
			require.NoError(t, tt.move(o))
			rows, err := b.pool.Query(t.Context(), `
				SELECT id, topic, cloud_event::text FROM outbox
				WHERE cloud_event->>'subject' = $1 AND cloud_event->>'type' = $2`, o.ID.String(), tt.name)
			require.NoError(t, err)
			row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[struct {
				ID    uuid.UUID
				Topic string
				Body  string
			}])
			require.NoError(t, err)
			require.Equal(t, "payment-events", row.Topic)

			var sent struct{ Time time.Time }
			require.NoError(t, json.Unmarshal([]byte(row.Body), &sent))
			require.WithinDuration(t, time.Now(), sent.Time, time.Minute)
			at, err := sent.Time.MarshalText()
			require.NoError(t, err)
			require.JSONEq(t, fmt.Sprintf(`{
				"specversion": "1.0", "id": "%s", "source": "payment-service", "type": "%s", "subject": "%s", "time": "%s",
				"datacontenttype": "application/json", "correlationid": "corr-123456", "orderid": "%s", "userid": "%s",
				"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "vendor=1",
				"data": {"eventType": "%s", "version": "1.0", "timestamp": "%s", "correlationId": "corr-123456", "payload": %s}}`,
				row.ID, tt.name, o.ID, at, o.ID, o.UserID, tt.name, at, tt.payload(o)), row.Body)
			require.Regexp(t, `"(totalAmount|amount)":100\.00,|"retryable":false`, row.Body, "with the currency's digits")
		})
	}
}

func TestHistory(t *testing.T) {
	b := setup(t)
	o := b.make(t, b.create(t), paths[order.Refund]...)
	o = b.make(t, o, "Refunded")
	r, err := refundOf(t.Context(), b.store, o)
	require.NoError(t, err)
	history, err := b.store.History(t.Context(), o.ID)
	require.NoError(t, err)
	type line struct {
		eventType string
		status    order.SagaStatus
		payload   string
	}
	want := []line{
		{"ORDER_CREATED", order.SagaCompleted, `{"reservationId": "` + o.ReservationID.String() + `"}`},
		{"TICKETS_RESERVED", order.SagaCompleted, ""},
		{"PAYMENT_STARTED", order.SagaPending, `{"attemptKey": "` + o.AttemptKey() + `"}`},
		{"PAYMENT_COMPLETED", order.SagaCompleted, `{"transactionId": "pi_1"}`},
		{"TICKET_GENERATION_FAILED", order.SagaFailed, `{"reason": "INSUFFICIENT_INVENTORY"}`},
		{"REFUND_REQUESTED", order.SagaPending, `{"refundId": "` + r.ID.String() + `", "amount": 100.00, "currency": "USD",
			"reason": "INSUFFICIENT_INVENTORY", "tickets": 0}`},
		{"PAYMENT_REFUNDED", order.SagaCompensated, `{"refundId": "` + r.ID.String() + `", "amount": 100.00, "currency": "USD",
			"gatewayRefundId": "re_1"}`},
	}
	require.Len(t, history, len(want))
	for i, e := range history {
		require.Equal(t, want[i].eventType, e.EventType)
		require.Equal(t, want[i].status, e.Status)
		if want[i].payload != "" {
			require.JSONEq(t, want[i].payload, string(e.Payload))
		}
		require.WithinDuration(t, time.Now(), e.Timestamp, time.Minute)
	}
	var sagaTypes []string
	b.query(t, &sagaTypes, `SELECT array_agg(saga_type ORDER BY position) FROM saga_events`)
	require.Equal(t, []string{
		"TICKET_PURCHASE", "TICKET_PURCHASE", "TICKET_PURCHASE", "TICKET_PURCHASE", "TICKET_PURCHASE", "ORDER_REFUND", "ORDER_REFUND",
	}, sagaTypes)

	none, err := b.store.History(t.Context(), uuid.New())
	require.NoError(t, err)
	require.Empty(t, none)
}

package store_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// bought is an order of two tickets for 100.00 in all, and their ids.
func (b *bundle) bought(t *testing.T) (order.Order, []uuid.UUID) {
	t.Helper()
	o := b.make(t, b.create(t), "Reserved", "Paid")
	generated := events.TicketsGenerated{OrderID: o.ID}
	var tickets []uuid.UUID
	for range 2 {
		tickets = append(tickets, uuid.New())
		generated.Tickets = append(generated.Tickets, events.Ticket{TicketID: tickets[len(tickets)-1], TicketTypeID: o.Items[0].TicketTypeID})
	}
	require.NoError(t, b.store.Fulfilled(t.Context(), uuid.New(), generated))
	return b.order(t, o.ID), tickets
}

func asked(o order.Order, cents int64, tickets ...uuid.UUID) refund.Refund {
	return refund.Refund{
		ID: uuid.New(), OrderID: o.ID, RequestedBy: uuid.New(), Amount: money.Of(cents, "USD"), TicketIDs: tickets,
		Whole: cents == 0 && len(tickets) == 0, Reason: "Cannot come",
	}
}

func (b *bundle) ask(t *testing.T, r refund.Refund) refund.Refund {
	t.Helper()
	id, created, err := b.store.CreateRefund(t.Context(), r, "key", hash)
	require.NoError(t, err)
	require.True(t, created)
	return b.refund(t, id)
}

func (b *bundle) refund(t *testing.T, id uuid.UUID) refund.Refund {
	t.Helper()
	r, err := b.store.Refund(t.Context(), id)
	require.NoError(t, err)
	return r
}

func TestCreateRefund(t *testing.T) {
	b := setup(t)
	o, tickets := b.bought(t)
	trace := telemetry.Trace{CorrelationID: "corr-refund", Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	r := asked(o, 0, tickets[0])
	id, created, err := b.store.CreateRefund(telemetry.With(t.Context(), trace), r, "key", hash)
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, r.ID, id)
	stored := b.refund(t, id)
	require.WithinDuration(t, time.Now(), stored.CreatedAt, time.Minute)
	r.CreatedAt, r.Trace, r.TransactionID = stored.CreatedAt, trace, "pi_1"
	r.Amount, r.Status, r.Step = money.Of(5000, "USD"), refund.Pending, refund.CancelTickets
	require.Equal(t, r, stored)

	leased, err := b.store.LeaseRefund(t.Context(), id)
	require.NoError(t, err)
	require.False(t, leased, "its maker has the lease")

	t.Run("SameRequestAgain", func(t *testing.T) {
		again := asked(o, 0, tickets[0])
		again.RequestedBy = r.RequestedBy
		id, created, err := b.store.CreateRefund(t.Context(), again, "key", hash)
		require.NoError(t, err)
		require.False(t, created)
		require.Equal(t, r.ID, id)
		_, err = b.store.Refund(t.Context(), again.ID)
		require.ErrorIs(t, err, order.ErrNotFound)
	})
	t.Run("KeyReused", func(t *testing.T) {
		again := asked(o, 1)
		again.RequestedBy = r.RequestedBy
		_, _, err := b.store.CreateRefund(t.Context(), again, "key", []byte("another hash"))
		require.ErrorIs(t, err, order.ErrKeyReused)
	})
	t.Run("SameKeyOfAnotherPerson", func(t *testing.T) {
		b.ask(t, asked(o, 100))
	})
	t.Run("SameKeyForAnotherOrder", func(t *testing.T) {
		other, _ := b.bought(t)
		another := asked(other, 0)
		another.RequestedBy = r.RequestedBy
		require.Equal(t, money.Of(10000, "USD"), b.ask(t, another).Amount)
	})
	t.Run("Refused", func(t *testing.T) {
		before := b.everything(t)
		for _, tt := range []struct {
			asked refund.Refund
			want  error
		}{
			{asked(o, 0, tickets[0]), refund.ErrNotRefundable},
			{asked(o, 0, tickets[1], uuid.New()), refund.ErrTicketNotFound},
			{asked(o, 4901), refund.ErrExceedsPayment},
			{asked(newOrder(), 1), order.ErrNotFound},
		} {
			_, _, err := b.store.CreateRefund(t.Context(), tt.asked, "key", hash)
			require.ErrorIs(t, err, tt.want)
		}
		require.Equal(t, before, b.everything(t))
	})
}

// Whatever many people ask for at once, no more is promised than was paid, and no ticket twice.
func TestCreateRefundRace(t *testing.T) {
	b := setup(t)
	const people = 24
	for name, tt := range map[string]struct {
		ask     func(o order.Order, tickets []uuid.UUID, i int) refund.Refund
		refused []error
		cents   []int64 // that may be promised in the end
	}{
		"Amounts":    {func(o order.Order, _ []uuid.UUID, _ int) refund.Refund { return asked(o, 3000) }, []error{refund.ErrExceedsPayment}, []int64{9000}},
		"OneTicket":  {func(o order.Order, t []uuid.UUID, _ int) refund.Refund { return asked(o, 0, t[0]) }, []error{refund.ErrNotRefundable}, []int64{5000}},
		"TwoTickets": {func(o order.Order, t []uuid.UUID, i int) refund.Refund { return asked(o, 0, t[i%2]) }, []error{refund.ErrNotRefundable}, []int64{10000}},
		"Everything": {func(o order.Order, _ []uuid.UUID, _ int) refund.Refund { return asked(o, 0) }, []error{refund.ErrNotRefundable}, []int64{10000}},
		"AllSorts": {func(o order.Order, t []uuid.UUID, i int) refund.Refund {
			return []refund.Refund{asked(o, 0), asked(o, 4000), asked(o, 0, t[0]), asked(o, 0, t[1])}[i%4]
		}, []error{refund.ErrNotRefundable, refund.ErrExceedsPayment}, []int64{10000}},
	} {
		t.Run(name, func(t *testing.T) {
			o, tickets := b.bought(t)
			errs := make([]error, people)
			race(people, func(i int) {
				_, _, errs[i] = b.store.CreateRefund(t.Context(), tt.ask(o, tickets, i), "key", hash)
			})
			admitted := 0
			for _, err := range errs {
				if err == nil {
					admitted++
					continue
				}
				known := false
				for _, refusal := range tt.refused {
					known = known || errors.Is(err, refusal)
				}
				require.True(t, known, "%v", err)
			}
			var sum, promised int64
			var stored int
			b.query(t, &sum, `SELECT coalesce(sum(amount_minor), 0)::bigint FROM refunds WHERE order_id = $1`, o.ID)
			b.query(t, &promised, `SELECT refunding_minor FROM orders WHERE id = $1`, o.ID)
			b.query(t, &stored, `SELECT count(*) FROM refunds WHERE order_id = $1`, o.ID)
			require.Equal(t, promised, sum)
			require.Contains(t, tt.cents, sum)
			require.Equal(t, admitted, stored)
		})
	}
	t.Run("TheDatabaseRefusesIt", func(t *testing.T) {
		o, _ := b.bought(t)
		b.ask(t, asked(o, 0))
		for _, set := range []string{"refunding_minor = total_minor + 1", "refunded_minor = refunding_minor + 1", "refunded_minor = -1"} {
			_, err := b.pool.Exec(t.Context(), `UPDATE orders SET `+set+` WHERE id = $1`, o.ID)
			require.ErrorContains(t, err, "orders_refunds")
		}
	})
	t.Run("SameRequest", func(t *testing.T) {
		o, _ := b.bought(t)
		person := uuid.New()
		ids, created, errs := make([]uuid.UUID, people), make([]bool, people), make([]error, people)
		race(people, func(i int) {
			r := asked(o, 1000)
			r.RequestedBy = person
			ids[i], created[i], errs[i] = b.store.CreateRefund(t.Context(), r, "key", hash)
		})
		winners := 0
		for i := range people {
			require.NoError(t, errs[i])
			require.Equal(t, ids[0], ids[i])
			if created[i] {
				winners++
			}
		}
		require.Equal(t, 1, winners)
	})
}

// The moves of the refund saga, by name.
var refundMoves = []struct {
	name      string
	from, to  refund.Step
	status    refund.Status
	announces int
	move      func(ctx context.Context, s store.Store, r refund.Refund) error
}{
	{"TicketsCancelled", refund.CancelTickets, refund.ReturnMoney, refund.Pending, 0, func(ctx context.Context, s store.Store, r refund.Refund) error {
		return s.TicketsCancelled(ctx, r, 2)
	}},
	{"NotToCancel", refund.CancelTickets, refund.Done, refund.Failed, 0, func(ctx context.Context, s store.Store, r refund.Refund) error {
		r.Step = refund.CancelTickets // where its driver knew it
		return s.RefundFailed(ctx, r, refund.Failure{Code: "TICKET_USED", Message: "Used"})
	}},
	{"Succeeded", refund.ReturnMoney, refund.Done, refund.Succeeded, 1, func(ctx context.Context, s store.Store, r refund.Refund) error {
		return s.RefundSucceeded(ctx, r, "re_1")
	}},
	{"Failed", refund.ReturnMoney, refund.Done, refund.Failed, 1, func(ctx context.Context, s store.Store, r refund.Refund) error {
		r.Step = refund.ReturnMoney
		return s.RefundFailed(ctx, r, refund.Failure{Code: "LOST_OR_STOLEN_CARD", Message: "Lost"})
	}},
}

// at brings a new refund to the step.
func (b *bundle) at(t *testing.T, step refund.Step) refund.Refund {
	t.Helper()
	o, _ := b.bought(t)
	r := b.ask(t, asked(o, 0))
	if step != refund.CancelTickets {
		require.NoError(t, b.store.TicketsCancelled(t.Context(), r, 2))
	}
	if step == refund.Done {
		require.NoError(t, b.store.RefundSucceeded(t.Context(), b.refund(t, r.ID), "re_1"))
	}
	r = b.refund(t, r.ID)
	require.Equal(t, step, r.Step)
	return r
}

// Every move leads from its own step and from no other, whole or not at all, and once, however many make it.
func TestRefundMoves(t *testing.T) {
	b := setup(t)
	for _, m := range refundMoves {
		for _, step := range []refund.Step{refund.CancelTickets, refund.ReturnMoney, refund.Done} {
			t.Run(m.name+"From"+string(step), func(t *testing.T) {
				r := b.at(t, step)
				before := b.everything(t)
				if step != m.from {
					require.NoError(t, m.move(t.Context(), b.store, r))
					require.Equal(t, before, b.everything(t))
					return
				}
				for _, table := range []string{"saga_events", "outbox"}[:1+m.announces] {
					b.exec(t, `ALTER TABLE `+table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
					err := m.move(t.Context(), b.store, r)
					b.exec(t, `ALTER TABLE `+table+` DROP CONSTRAINT broken`)
					require.Error(t, err)
					require.Equal(t, before, b.everything(t))
				}

				told := func() (lines, announced int) {
					b.query(t, &lines, `SELECT count(*) FROM saga_events WHERE saga_id = $1`, r.OrderID)
					b.query(t, &announced, `SELECT count(*) FROM outbox WHERE cloud_event->>'subject' = $1`, r.OrderID.String())
					return lines, announced
				}
				linesBefore, announcedBefore := told()
				errs := make([]error, 8)
				race(len(errs), func(i int) { errs[i] = m.move(t.Context(), b.store, r) })
				require.NoError(t, errors.Join(errs...))
				lines, announced := told()
				wantLines := 1
				if m.name == "Failed" { // and people are told
					wantLines = 2
				}
				require.Equal(t, linesBefore+wantLines, lines)
				require.Equal(t, announcedBefore+m.announces, announced)
				moved := b.refund(t, r.ID)
				require.Equal(t, m.to, moved.Step)
				require.Equal(t, m.status, moved.Status)

				var free int
				b.query(t, &free, `SELECT count(*) FROM order_tickets WHERE order_id = $1 AND refund_id IS NULL`, r.OrderID)
				var promised int64
				b.query(t, &promised, `SELECT refunding_minor FROM orders WHERE id = $1`, r.OrderID)
				if m.status == refund.Failed {
					require.Equal(t, 2, free)
					require.Zero(t, promised)
				} else {
					require.Zero(t, free)
					require.EqualValues(t, 10000, promised)
				}
			})
		}
	}
}

// The bank says yes to one driver and no to another, which no bank should: one of the two is told.
func TestRefundSucceededOrFailed(t *testing.T) {
	b := setup(t)
	for range 8 {
		r := b.at(t, refund.ReturnMoney)
		errs := make([]error, 2)
		race(2, func(i int) { errs[i] = refundMoves[2+i].move(t.Context(), b.store, r) })
		require.NoError(t, errors.Join(errs...))
		o, status := b.order(t, r.OrderID), b.refund(t, r.ID).Status
		require.NotEqual(t, refund.Pending, status)
		require.Equal(t, status == refund.Succeeded, o.Status == order.Refunded)
		require.Equal(t, status == refund.Succeeded, o.Refunded == o.Total)
	}
}

func TestLeaseDueRefunds(t *testing.T) {
	b := setup(t)
	due := func() []uuid.UUID {
		ids, err := b.store.LeaseDueRefunds(t.Context(), 100)
		require.NoError(t, err)
		return ids
	}
	for _, step := range []refund.Step{refund.CancelTickets, refund.ReturnMoney, refund.Done} {
		t.Run(string(step), func(t *testing.T) {
			r := b.at(t, step)
			require.Empty(t, due(), "its driver holds the lease, or nobody is needed")
			b.exec(t, `UPDATE refunds SET leased_until = now() - interval '1 second'`)
			if step == refund.Done {
				require.Empty(t, due())
				return
			}
			require.Equal(t, []uuid.UUID{r.ID}, due())
			_, err := b.store.PostponeRefund(t.Context(), r, false)
			require.NoError(t, err)
			require.Empty(t, due(), "it is not its time yet")
			leased, err := b.store.LeaseRefund(t.Context(), r.ID)
			require.NoError(t, err)
			require.True(t, leased, "but whoever asked for it may come back")
			b.exec(t, `DELETE FROM order_tickets`)
			b.exec(t, `DELETE FROM refunds`)
		})
	}
	t.Run("OfASagaAtOnce", func(t *testing.T) {
		b.make(t, b.create(t), paths[order.Refund]...)
		require.Len(t, due(), 1, "no driver stands ready for it")
	})
}

// Pages follow each other without a gap or a repetition, also among equal times.
func TestPages(t *testing.T) {
	b := setup(t)
	user := uuid.New()
	want := map[uuid.UUID]bool{}
	for i := range 7 {
		o := newOrder()
		o.UserID = user
		_, _, err := b.store.Create(t.Context(), o, uuid.NewString(), hash)
		require.NoError(t, err)
		b.exec(t, `UPDATE orders SET created_at = '2024-01-15 10:30:00Z'::timestamptz + $2 * interval '1 second' WHERE id = $1`, o.ID, i/3)
		want[o.ID] = true
	}
	b.create(t) // somebody else's

	page := paging.Page{Limit: 2}
	var last order.Order
	for {
		found, err := b.store.OrdersOf(t.Context(), user, page)
		require.NoError(t, err)
		for _, o := range found[:min(len(found), page.Limit)] {
			require.True(t, want[o.ID], "once")
			delete(want, o.ID)
			require.Len(t, o.Items, 1)
			require.False(t, last.ID != uuid.Nil && o.CreatedAt.After(last.CreatedAt), "the newest first")
			last = o
		}
		if len(found) <= page.Limit {
			break
		}
		page.After, page.AfterID = &last.CreatedAt, last.ID
	}
	require.Empty(t, want)

	t.Run("OfRefunds", func(t *testing.T) {
		o, _ := b.bought(t)
		var ids []uuid.UUID
		for range 3 {
			ids = append(ids, b.ask(t, asked(o, 100)).ID)
		}
		first, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 2})
		require.NoError(t, err)
		require.Len(t, first, 3, "one more, to tell that there is")
		rest, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 2, After: &first[1].CreatedAt, AfterID: first[1].ID})
		require.NoError(t, err)
		require.Equal(t, first[2:], rest)
		for i, r := range first {
			require.Equal(t, ids[i], r.ID)
		}
	})
}

// The contract's event has no types: such tickets can be refunded with the whole order only.
func TestTicketsOfUnknownType(t *testing.T) {
	b := setup(t)
	o := b.make(t, b.create(t), "Reserved", "Paid")
	ticket := uuid.New()
	require.NoError(t, b.store.Fulfilled(t.Context(), uuid.New(), events.TicketsGenerated{
		OrderID: o.ID, Tickets: []events.Ticket{{TicketID: ticket}, {TicketID: uuid.New(), TicketTypeID: uuid.New()}},
	}))
	_, _, err := b.store.CreateRefund(t.Context(), asked(o, 0, ticket), "key", hash)
	require.ErrorIs(t, err, refund.ErrTicketNotFound)
	r := b.ask(t, asked(o, 0))
	require.Equal(t, refund.CancelTickets, r.Step)
	require.Equal(t, o.Total, r.Amount)
}

// Orders that were refunded, or about to be, before there were refunds keep their key at the gateway.
func TestRefundsFromBefore(t *testing.T) {
	t.Parallel()
	all := store.Migrations()
	content, err := fs.ReadFile(all.Files, "001_orders.sql")
	require.NoError(t, err)
	before := postgres.Migrations{VersionTable: all.VersionTable, Files: fstest.MapFS{"001_orders.sql": {Data: content}}}
	pool := postgrestest.New(t, messaging.Migrations(), before)
	ids := map[string]uuid.UUID{}
	for status, step := range map[string]string{"REFUNDED": "DONE", "COMPLETED": "REFUND", "FAILED": "DONE", "PENDING": "CHARGE"} {
		ids[status] = uuid.New()
		_, err := pool.Exec(t.Context(), `
			INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash, status, step,
			                    reservation_id, currency, total_minor, payment_method, failure_code)
			VALUES ($1, $2, gen_random_uuid(), gen_random_uuid(), 'Ann', 'key', '', $2, $3,
			        gen_random_uuid(), 'USD', 10000, 'CREDIT_CARD', 'INSUFFICIENT_INVENTORY')`, ids[status], status, step)
		require.NoError(t, err)
	}

	migrated, err := postgres.Open(t.Context(), pool.Config().ConnString(), all)
	require.NoError(t, err)
	defer migrated.Close()
	b := &bundle{pool: migrated, store: store.Store{Pool: migrated}}
	require.Equal(t, money.Of(10000, "USD"), b.order(t, ids["REFUNDED"]).Refunded)
	done := b.refund(t, ids["REFUNDED"])
	require.Equal(t, refund.Succeeded, done.Status)
	require.Equal(t, refund.Done, done.Step)

	due, err := b.store.LeaseDueRefunds(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{ids["COMPLETED"]}, due)
	r := b.refund(t, due[0])
	require.Equal(t, "refund-"+ids["COMPLETED"].String(), r.Key())
	require.NoError(t, b.store.RefundSucceeded(t.Context(), r, "re_1"))
	o := b.order(t, due[0])
	require.Equal(t, order.Refunded, o.Status)
	require.Equal(t, order.Done, o.Step)
	for _, status := range []string{"FAILED", "PENDING"} {
		require.Zero(t, b.order(t, ids[status]).Refunded.Minor)
		_, err := b.store.Refund(t.Context(), ids[status])
		require.ErrorIs(t, err, order.ErrNotFound)
	}
}

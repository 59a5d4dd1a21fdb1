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

// bought creates a done order of two tickets for 100.00 in total, and returns it with the ids of the tickets.
func (b *bundle) bought(t *testing.T) (order.Order, []uuid.UUID) {
	t.Helper()
	o := b.move(t, b.create(t), "Reserved", "Paid")
	generated := events.TicketsGenerated{OrderID: o.ID}
	var tickets []uuid.UUID
	for range 2 {
		tickets = append(tickets, uuid.New())
		generated.Tickets = append(generated.Tickets, events.Ticket{
			TicketID: tickets[len(tickets)-1], TicketTypeID: o.Items[0].TicketTypeID,
		})
	}
	require.NoError(t, b.store.Fulfilled(t.Context(), uuid.New(), generated))
	return b.order(t, o.ID), tickets
}

// requested returns a refund of the amount in cents, or of the tickets, or else of the whole order. It is not stored.
func requested(o order.Order, cents int64, tickets ...uuid.UUID) refund.Refund {
	return refund.Refund{
		ID: uuid.New(), OrderID: o.ID, RequestedBy: uuid.New(), Amount: money.Of(cents, "USD"), TicketIDs: tickets,
		Whole: cents == 0 && len(tickets) == 0, Reason: "Cannot come",
	}
}

// request stores a new refund.
func (b *bundle) request(t *testing.T, r refund.Refund) refund.Refund {
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

func TestCreateRefundIsIdempotent(t *testing.T) {
	b := setup(t)
	o, tickets := b.bought(t)
	trace := telemetry.Trace{
		CorrelationID: "corr-refund", Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	r := requested(o, 0, tickets[0])
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
	require.False(t, leased, "its creator holds the lease")

	t.Run("SameRequest", func(t *testing.T) {
		again := requested(o, 0, tickets[0])
		again.RequestedBy = r.RequestedBy
		id, created, err := b.store.CreateRefund(t.Context(), again, "key", hash)
		require.NoError(t, err)
		require.False(t, created)
		require.Equal(t, r.ID, id)
		_, err = b.store.Refund(t.Context(), again.ID)
		require.ErrorIs(t, err, order.ErrNotFound)
	})
	t.Run("KeyReused", func(t *testing.T) {
		again := requested(o, 1)
		again.RequestedBy = r.RequestedBy
		_, _, err := b.store.CreateRefund(t.Context(), again, "key", []byte("another hash"))
		require.ErrorIs(t, err, order.ErrKeyReused)
	})
	t.Run("SameKeyOfAnotherPerson", func(t *testing.T) {
		b.request(t, requested(o, 100))
	})
	t.Run("SameKeyForAnotherOrder", func(t *testing.T) {
		other, _ := b.bought(t)
		another := requested(other, 0)
		another.RequestedBy = r.RequestedBy
		require.Equal(t, money.Of(10000, "USD"), b.request(t, another).Amount)
	})
	t.Run("Refused", func(t *testing.T) {
		before := b.everything(t)
		for _, tt := range []struct {
			request refund.Refund
			want    error
		}{
			{requested(o, 0, tickets[0]), refund.ErrNotRefundable},
			{requested(o, 0, tickets[1], uuid.New()), refund.ErrTicketNotFound},
			{requested(o, 4901), refund.ErrExceedsPayment},
			{requested(newOrder(), 1), order.ErrNotFound},
		} {
			_, _, err := b.store.CreateRefund(t.Context(), tt.request, "key", hash)
			require.ErrorIs(t, err, tt.want)
		}
		require.Equal(t, before, b.everything(t))
	})
}

// However many refunds are requested concurrently, their sum is not more than the payment, and no ticket is refunded
// twice.
func TestConcurrentRefundsDoNotExceedThePayment(t *testing.T) {
	b := setup(t)
	const people = 24
	for name, tt := range map[string]struct {
		request func(o order.Order, tickets []uuid.UUID, i int) refund.Refund
		refused []error
		cents   int64 // the sum of the admitted refunds
	}{
		"Amounts": {
			func(o order.Order, _ []uuid.UUID, _ int) refund.Refund { return requested(o, 3000) },
			[]error{refund.ErrExceedsPayment},
			9000,
		},
		"OneTicket": {
			func(o order.Order, t []uuid.UUID, _ int) refund.Refund { return requested(o, 0, t[0]) },
			[]error{refund.ErrNotRefundable},
			5000,
		},
		"TwoTickets": {
			func(o order.Order, t []uuid.UUID, i int) refund.Refund { return requested(o, 0, t[i%2]) },
			[]error{refund.ErrNotRefundable},
			10000,
		},
		"Everything": {
			func(o order.Order, _ []uuid.UUID, _ int) refund.Refund { return requested(o, 0) },
			[]error{refund.ErrNotRefundable},
			10000,
		},
		"Mixed": {
			func(o order.Order, t []uuid.UUID, i int) refund.Refund {
				return []refund.Refund{
					requested(o, 0), requested(o, 4000), requested(o, 0, t[0]), requested(o, 0, t[1]),
				}[i%4]
			},
			[]error{refund.ErrNotRefundable, refund.ErrExceedsPayment},
			10000,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, tickets := b.bought(t)
			errs := make([]error, people)
			race(people, func(i int) {
				_, _, errs[i] = b.store.CreateRefund(t.Context(), tt.request(o, tickets, i), "key", hash)
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
			var sum, refunding int64
			var stored int
			b.query(t, &sum, `SELECT coalesce(sum(amount_minor), 0)::bigint FROM refunds WHERE order_id = $1`, o.ID)
			b.query(t, &refunding, `SELECT refunding_minor FROM orders WHERE id = $1`, o.ID)
			b.query(t, &stored, `SELECT count(*) FROM refunds WHERE order_id = $1`, o.ID)
			require.Equal(t, refunding, sum)
			require.Equal(t, tt.cents, sum)
			require.Equal(t, admitted, stored)
		})
	}
	t.Run("TheDatabaseRejectsALargerSum", func(t *testing.T) {
		o, _ := b.bought(t)
		b.request(t, requested(o, 0))
		for _, set := range []string{
			"refunding_minor = total_minor + 1", "refunded_minor = refunding_minor + 1", "refunded_minor = -1",
		} {
			_, err := b.pool.Exec(t.Context(), `UPDATE orders SET `+set+` WHERE id = $1`, o.ID)
			require.ErrorContains(t, err, "orders_refunds")
		}
	})
	t.Run("SameRequest", func(t *testing.T) {
		o, _ := b.bought(t)
		person := uuid.New()
		ids, created, errs := make([]uuid.UUID, people), make([]bool, people), make([]error, people)
		race(people, func(i int) {
			r := requested(o, 1000)
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

// refundSteps are the methods of Store that move a refund from one step to the next.
var refundSteps = []struct {
	name      string
	from, to  refund.Step
	status    refund.Status // of the refund after it
	published int           // events
	move      func(ctx context.Context, s *store.Store, r refund.Refund) error
}{
	{
		"TicketsCancelled", refund.CancelTickets, refund.ReturnMoney, refund.Pending, 0,
		func(ctx context.Context, s *store.Store, r refund.Refund) error { return s.TicketsCancelled(ctx, r, 2) },
	},
	{
		"TicketsRefused", refund.CancelTickets, refund.Done, refund.Failed, 0,
		func(ctx context.Context, s *store.Store, r refund.Refund) error {
			r.Step = refund.CancelTickets // as its driver read it
			return s.RefundFailed(ctx, r, refund.Failure{Code: "TICKET_USED", Message: "Used"})
		},
	},
	{
		"Succeeded", refund.ReturnMoney, refund.Done, refund.Succeeded, 1,
		func(ctx context.Context, s *store.Store, r refund.Refund) error {
			return s.RefundSucceeded(ctx, r, "re_1")
		},
	},
	{
		"Failed", refund.ReturnMoney, refund.Done, refund.Failed, 2,
		func(ctx context.Context, s *store.Store, r refund.Refund) error {
			r.Step = refund.ReturnMoney
			return s.RefundFailed(ctx, r, refund.Failure{Code: "LOST_OR_STOLEN_CARD", Message: "Lost"})
		},
	},
}

// at creates a refund and moves it to the step.
func (b *bundle) at(t *testing.T, step refund.Step) refund.Refund {
	t.Helper()
	o, _ := b.bought(t)
	r := b.request(t, requested(o, 0))
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

// Every method changes a refund at its own step, atomically and once, and no refund at another step.
func TestRefundStepsMoveOnlyFromTheirOwnStep(t *testing.T) {
	b := setup(t)
	for _, m := range refundSteps {
		for _, step := range []refund.Step{refund.CancelTickets, refund.ReturnMoney, refund.Done} {
			t.Run(m.name+"From"+string(step), func(t *testing.T) {
				r := b.at(t, step)
				before := b.everything(t)
				if step != m.from {
					require.NoError(t, m.move(t.Context(), b.store, r))
					require.Equal(t, before, b.everything(t))
					return
				}
				for _, table := range []string{"saga_events", "outbox"}[:1+min(1, m.published)] {
					b.exec(t, `ALTER TABLE `+table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
					err := m.move(t.Context(), b.store, r)
					b.exec(t, `ALTER TABLE `+table+` DROP CONSTRAINT broken`)
					require.Error(t, err)
					require.Equal(t, before, b.everything(t))
				}

				recordedBefore, publishedBefore := b.recorded(t, r.OrderID)
				errs := make([]error, 8)
				race(len(errs), func(i int) { errs[i] = m.move(t.Context(), b.store, r) })
				require.NoError(t, errors.Join(errs...))
				recorded, published := b.recorded(t, r.OrderID)
				wantRecorded := 1
				if m.name == "Failed" { // the outcome and the alert
					wantRecorded = 2
				}
				require.Equal(t, recordedBefore+wantRecorded, recorded)
				require.Equal(t, publishedBefore+m.published, published)
				moved := b.refund(t, r.ID)
				require.Equal(t, m.to, moved.Step)
				require.Equal(t, m.status, moved.Status)

				var free int
				b.query(t, &free, `SELECT count(*) FROM order_tickets WHERE order_id = $1 AND refund_id IS NULL`,
					r.OrderID)
				var refunding int64
				b.query(t, &refunding, `SELECT refunding_minor FROM orders WHERE id = $1`, r.OrderID)
				if m.status == refund.Failed {
					require.Equal(t, 2, free)
					require.Zero(t, refunding)
				} else {
					require.Zero(t, free)
					require.EqualValues(t, 10000, refunding)
				}
			})
		}
	}
}

// Only the first of two contradictory outcomes is recorded.
func TestARefundSucceedsOrFails(t *testing.T) {
	b := setup(t)
	for range 8 {
		r := b.at(t, refund.ReturnMoney)
		errs := make([]error, 2)
		race(2, func(i int) { errs[i] = refundSteps[2+i].move(t.Context(), b.store, r) })
		require.NoError(t, errors.Join(errs...))
		o, status := b.order(t, r.OrderID), b.refund(t, r.ID).Status
		require.NotEqual(t, refund.Pending, status)
		require.Equal(t, status == refund.Succeeded, o.Status == order.Refunded)
		require.Equal(t, status == refund.Succeeded, o.Refunded == o.Total)
	}
}

func TestLeaseDueRefundsLeasesUnfinishedRefundsOnce(t *testing.T) {
	b := setup(t)
	due := func() []uuid.UUID {
		ids, err := b.store.LeaseDueRefunds(t.Context(), 100)
		require.NoError(t, err)
		return ids
	}
	for _, step := range []refund.Step{refund.CancelTickets, refund.ReturnMoney, refund.Done} {
		t.Run(string(step), func(t *testing.T) {
			r := b.at(t, step)
			require.Empty(t, due(), "a driver holds the lease, or none is needed")
			b.exec(t, `UPDATE refunds SET leased_until = now() - interval '1 second'`)
			if step == refund.Done {
				require.Empty(t, due())
				return
			}
			require.Equal(t, []uuid.UUID{r.ID}, due())
			_, err := b.store.BackOffRefund(t.Context(), r, false)
			require.NoError(t, err)
			require.Empty(t, due(), "it is not due yet")
			leased, err := b.store.LeaseRefund(t.Context(), r.ID)
			require.NoError(t, err)
			require.True(t, leased, "a repeated request may lease it")
			b.exec(t, `DELETE FROM order_tickets`)
			b.exec(t, `DELETE FROM refunds`)
		})
	}
	t.Run("RequestedByASagaIsDueImmediately", func(t *testing.T) {
		b.move(t, b.create(t), paths[order.Refund]...)
		require.Len(t, due(), 1, "it has no driver")
	})
}

// Pages have no gap and no repetition, even among entries with equal times.
func TestPagesHaveNoGapAndNoRepetition(t *testing.T) {
	b := setup(t)
	user := uuid.New()
	want := map[uuid.UUID]bool{}
	for i := range 7 {
		o := newOrder()
		o.UserID = user
		_, _, err := b.store.Create(t.Context(), o, uuid.NewString(), hash)
		require.NoError(t, err)
		b.exec(t, `
			UPDATE orders SET created_at = '2024-01-15 10:30:00Z'::timestamptz + $2 * interval '1 second'
			WHERE id = $1`, o.ID, i/3)
		want[o.ID] = true
	}
	b.create(t) // of another user

	page := paging.Page{Limit: 2}
	var last order.Order
	for {
		found, err := b.store.OrdersOf(t.Context(), user, page)
		require.NoError(t, err)
		for _, o := range found[:min(len(found), page.Limit)] {
			require.True(t, want[o.ID], "found twice")
			delete(want, o.ID)
			require.Len(t, o.Items, 1)
			require.False(t, last.ID != uuid.Nil && o.CreatedAt.After(last.CreatedAt), "not the newest first")
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
			ids = append(ids, b.request(t, requested(o, 100)).ID)
		}
		first, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 2})
		require.NoError(t, err)
		require.Len(t, first, 3, "one more than the limit, because there is a next page")
		second := paging.Page{Limit: 2, After: &first[1].CreatedAt, AfterID: first[1].ID}
		rest, err := b.store.RefundsOf(t.Context(), o.ID, second)
		require.NoError(t, err)
		require.Equal(t, first[2:], rest)
		for i, r := range first {
			require.Equal(t, ids[i], r.ID)
		}
	})
}

// The contract's event has no ticket types. A ticket without a type can only be refunded with the whole order.
func TestTicketsOfUnknownTypeAreRefundedWithTheWholeOrder(t *testing.T) {
	b := setup(t)
	o := b.move(t, b.create(t), "Reserved", "Paid")
	ticket := uuid.New()
	require.NoError(t, b.store.Fulfilled(t.Context(), uuid.New(), events.TicketsGenerated{
		OrderID: o.ID, Tickets: []events.Ticket{{TicketID: ticket}, {TicketID: uuid.New(), TicketTypeID: uuid.New()}},
	}))
	_, _, err := b.store.CreateRefund(t.Context(), requested(o, 0, ticket), "key", hash)
	require.ErrorIs(t, err, refund.ErrTicketNotFound)
	r := b.request(t, requested(o, 0))
	require.Equal(t, refund.CancelTickets, r.Step)
	require.Equal(t, o.Total, r.Amount)
}

// Orders that were refunded, or at REFUND, before the table of refunds existed keep their key at the gateway.
func TestMigrationCreatesTheRefundsOfEarlierOrders(t *testing.T) {
	t.Parallel()
	all := store.Migrations()
	content, err := fs.ReadFile(all.Files, "001_orders.sql")
	require.NoError(t, err)
	before := postgres.Migrations{
		VersionTable: all.VersionTable, Files: fstest.MapFS{"001_orders.sql": {Data: content}},
	}
	pool := postgrestest.New(t, messaging.Migrations(), before)
	ids := map[string]uuid.UUID{}
	for status, step := range map[string]string{
		"REFUNDED": "DONE", "COMPLETED": "REFUND", "FAILED": "DONE", "PENDING": "CHARGE",
	} {
		ids[status] = uuid.New()
		_, err := pool.Exec(t.Context(), `
			INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash, status, step,
			                    reservation_id, currency, total_minor, payment_method, failure_code)
			VALUES ($1, $2, gen_random_uuid(), gen_random_uuid(), 'Ann', 'key', '', $2, $3,
			        gen_random_uuid(), 'USD', 10000, 'CREDIT_CARD', 'INSUFFICIENT_INVENTORY')`,
			ids[status], status, step)
		require.NoError(t, err)
	}

	migrated, err := postgres.Open(t.Context(), pool.Config().ConnString(), all)
	require.NoError(t, err)
	defer migrated.Close()
	b := &bundle{pool: migrated, store: store.New(migrated)}
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

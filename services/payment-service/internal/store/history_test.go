package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// history is the number of done orders. No query about other orders may read them.
const history = 10_000

func TestQueriesDoNotReadDoneOrders(t *testing.T) {
	b := setup(t)
	b.exec(t, `
		INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash,
		                    status, step, reservation_id, currency,
		                    total_minor, refunding_minor, refunded_minor, payment_method, transaction_id, created_at)
		SELECT md5('order ' || n)::uuid, n, md5('user ' || n % 1000)::uuid, md5('event ' || n % 100)::uuid, '', n, '',
		       CASE WHEN n % 10 = 0 THEN 'REFUNDED' ELSE 'COMPLETED' END, 'DONE', gen_random_uuid(), 'USD',
		       100, CASE WHEN n % 10 = 0 THEN 100 ELSE 0 END, CASE WHEN n % 10 = 0 THEN 100 ELSE 0 END,
		       'CREDIT_CARD', 'pi_' || n, now() - n * interval '1 minute'
		FROM generate_series(1, $1) n`, history)
	b.exec(t, `INSERT INTO order_items SELECT id, md5('type ' || number)::uuid, 1, 100 FROM orders`)
	b.exec(t, `
		INSERT INTO refunds (id, order_id, whole, amount_minor, reason, status, step, requested_by, idempotency_key)
		SELECT md5('refund ' || number)::uuid, id, true, 100, '', 'SUCCEEDED', 'DONE', gen_random_uuid(), ''
		FROM orders WHERE status = 'REFUNDED'`)
	b.exec(t, `
		INSERT INTO order_tickets SELECT md5('ticket ' || number)::uuid, id, md5('type ' || number)::uuid,
		       CASE WHEN status = 'REFUNDED' THEN md5('refund ' || number)::uuid END FROM orders`)
	b.exec(t, `
		INSERT INTO saga_events (saga_id, saga_type, event_type, payload, status)
		SELECT id, 'TICKET_PURCHASE', 'SOMETHING', '{}', 'COMPLETED' FROM orders, generate_series(1, 4)`)
	b.exec(t, `
		INSERT INTO event_refunds (event_id, correlation_id, traceparent, done)
		SELECT gen_random_uuid(), '', '', true FROM generate_series(1, $1)`, history)
	b.exec(t, `
		INSERT INTO postponed_events (event_id, updated_at, closes_at)
		SELECT gen_random_uuid(), now(), now() FROM generate_series(1, $1)`, history)

	plans := postgrestest.Explain(t, b.pool, func(pool *pgxpool.Pool) {
		ctx, s := t.Context(), store.New(pool)
		ok := func(err error) { t.Helper(); require.NoError(t, err) }
		page := paging.Page{Limit: 20, After: new(time.Now().Add(-time.Hour))}

		// The requests of people.
		place := func() order.Order {
			o := newOrder()
			_, _, err := s.Create(ctx, o, uuid.NewString(), hash)
			ok(err)
			return o
		}
		o := place()
		_, _, err := s.Create(ctx, o, "another", hash)
		require.Error(t, err)
		for range 2 {
			_, err = s.OrdersOf(ctx, o.UserID, page)
			ok(err)
			page.After = nil
		}
		_, err = s.Order(ctx, o.ID)
		ok(err)
		_, err = s.History(ctx, o.ID)
		ok(err)
		_, err = s.Unfinished(ctx, false, page)
		ok(err)
		_, err = s.Unfinished(ctx, true, page)
		ok(err)
		require.ErrorIs(t, s.Retry(ctx, uuid.New(), uuid.New()), order.ErrNotFound)

		// The steps of the sagas.
		o.Items[0].UnitPrice = money.Of(100, "USD")
		ok(s.Reserved(ctx, o.ID, o.Items, money.Of(200, "USD"), time.Now()))
		ok(s.StopCharging(ctx, o.ID))
		_, err = s.Lease(ctx, o.ID)
		ok(err)
		_, err = s.BackOff(ctx, o)
		ok(err)
		o = b.order(t, o.ID)
		ok(s.Paid(ctx, o, "pi_new"))
		_, err = s.Reannounce(ctx, o)
		ok(err)
		ticket := uuid.New()
		ok(s.Fulfilled(ctx, uuid.New(), events.TicketsGenerated{OrderID: o.ID, Tickets: []events.Ticket{
			{TicketID: ticket, TicketTypeID: o.Items[0].TicketTypeID},
		}}))
		r := refund.Refund{
			ID: uuid.New(), OrderID: o.ID, RequestedBy: o.UserID, TicketIDs: []uuid.UUID{ticket}, Reason: "x",
		}
		_, _, err = s.CreateRefund(ctx, r, "key", hash)
		ok(err)
		_, _, err = s.CreatePostponementRefund(ctx, r, "another", hash)
		require.ErrorIs(t, err, refund.ErrWindowClosed)
		_, err = s.LeaseRefund(ctx, r.ID)
		ok(err)
		_, err = s.Notified(ctx, order.Notice{ID: uuid.New(), TransactionID: "pi_new"}, o)
		ok(err)
		r, err = s.Refund(ctx, r.ID)
		ok(err)
		_, err = s.RefundsOf(ctx, o.ID, page)
		ok(err)
		ok(s.TicketsCancelled(ctx, r, 1))
		_, err = s.BackOffRefund(ctx, r, false)
		ok(err)
		ok(s.RefundSucceeded(ctx, r, "re_new"))
		failing := place()
		ok(s.GiveUp(ctx, failing.ID, order.Failure{}))
		ok(s.Released(ctx, failing.ID, 1))

		// Sweeps, of nothing and of due work.
		for range 2 {
			_, err = s.LeaseDue(ctx, 10)
			ok(err)
			_, err = s.LeaseDueRefunds(ctx, 10)
			ok(err)
			_, err = s.RefundCancelled(ctx, 10)
			ok(err)
			var event uuid.UUID
			b.query(t, &event, `SELECT event_id FROM orders WHERE number = '7'`)
			ok(s.EventCancelled(ctx, uuid.New(), events.EventCancelled{EventID: event}))
			place()
			b.exec(t, `UPDATE orders SET leased_until = now() WHERE step <> 'DONE'`)
		}
		ok(s.EventUpdated(ctx, uuid.New(), events.EventUpdated{
			EventDetails: events.EventDetails{EventID: uuid.New(), PostponedFrom: new(time.Now())},
		}))
	})
	require.NotContains(t, plans.Of(t, ""), "Seq Scan on")
	// A query for one order does not scan the unfinished ones, of which there are thousands during a sale.
	require.NotRegexp(t, "(orders|refunds)_unfinished", plans.Of(t, `WHERE (r\.)?id = \$1 `))
	require.NotContains(t, plans.Of(t, "transaction_id = "), "refunds_unfinished")
	require.Contains(t, plans.Of(t, "resume_at <= now.. AND leased_until"), "orders_unfinished")
}

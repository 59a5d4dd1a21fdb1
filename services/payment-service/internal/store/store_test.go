package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// deadline is the maximum time that a test waits for a condition.
const deadline = 20 * time.Second

// bundle is a Store with a database of its own.
type bundle struct {
	pool  *pgxpool.Pool
	store *store.Store
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	return &bundle{pool: pool, store: store.New(pool)}
}

var hash = []byte("hash of the request")

// newOrder returns an order that is not stored.
func newOrder() order.Order {
	return order.Order{
		ID: uuid.New(), UserID: uuid.New(), EventID: uuid.New(), ReservationID: uuid.New(), HolderName: "Ann O'Hara",
		Items:  []order.Item{{TicketTypeID: uuid.New(), Quantity: 2}},
		Method: order.CreditCard, PaymentToken: "pm_card_visa",
	}
}

// create stores a new order.
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

// race runs n workers concurrently.
func race(n int, worker func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { worker(i) })
	}
	wg.Wait()
}

// step is a method of Store that moves an order from one step to the next.
type step struct {
	name     string
	from, to order.Step
	status   order.Status // of the order after it
	move     func(ctx context.Context, s *store.Store, o order.Order) error
}

var steps = []step{
	{
		"Reserved", order.Reserve, order.Charge, order.Pending,
		func(ctx context.Context, s *store.Store, o order.Order) error {
			items := []order.Item{
				{TicketTypeID: o.Items[0].TicketTypeID, Quantity: 2, UnitPrice: money.Of(5000, "USD")},
			}
			return s.Reserved(ctx, o.ID, items, money.Of(10000, "USD"), time.Now().Add(15*time.Minute))
		},
	},
	{
		"Refused", order.Reserve, order.Done, order.Failed,
		func(ctx context.Context, s *store.Store, o order.Order) error {
			return s.Refused(ctx, o.ID, order.Failure{
				Code: "INSUFFICIENT_INVENTORY", Message: "Not enough tickets available",
			})
		},
	},
	{
		"GiveUp", order.Reserve, order.Release, order.Failed,
		func(ctx context.Context, s *store.Store, o order.Order) error {
			return s.GiveUp(ctx, o.ID, order.Failure{Code: order.CodeAbandoned, Message: "Given up", Retryable: true})
		},
	},
	{
		"Paid", order.Charge, order.Fulfil, order.Completed,
		func(ctx context.Context, s *store.Store, o order.Order) error { return s.Paid(ctx, o, "pi_1") },
	},
	{
		"Declined", order.Charge, order.Release, order.Failed,
		func(ctx context.Context, s *store.Store, o order.Order) error {
			return s.Declined(ctx, o, order.Failure{
				Code: "INSUFFICIENT_FUNDS", Message: "Your card has insufficient funds.",
			})
		},
	},
	{
		"Released", order.Release, order.Done, order.Failed,
		func(ctx context.Context, s *store.Store, o order.Order) error { return s.Released(ctx, o.ID, 2) },
	},
	{
		"Fulfilled", order.Fulfil, order.Done, order.Completed,
		func(ctx context.Context, s *store.Store, o order.Order) error {
			return s.Fulfilled(ctx, uuid.New(), events.TicketsGenerated{
				OrderID: o.ID, UserID: o.UserID, EventID: o.EventID,
			})
		},
	},
	{
		"Unfulfillable", order.Fulfil, order.Refund, order.Completed,
		func(ctx context.Context, s *store.Store, o order.Order) error {
			return s.Unfulfillable(ctx, uuid.New(), events.TicketGenerationFailed{
				OrderID: o.ID, UserID: o.UserID, EventID: o.EventID, ReservationID: o.ReservationID,
				Reason: "INSUFFICIENT_INVENTORY",
			})
		},
	},
	{
		"Refunded", order.Refund, order.Done, order.Refunded,
		func(ctx context.Context, s *store.Store, o order.Order) error {
			r, err := refundOf(ctx, s, o)
			return errors.Join(err, s.RefundSucceeded(ctx, r, "re_1"))
		},
	},
	{
		"RefundFailed", order.Refund, order.Done, order.Completed,
		func(ctx context.Context, s *store.Store, o order.Order) error {
			r, err := refundOf(ctx, s, o)
			return errors.Join(err, s.RefundFailed(ctx, r, refund.Failure{
				Code: "LOST_OR_STOLEN_CARD", Message: "The bank did not accept the refund",
			}))
		},
	},
}

// refundOf returns the order's one refund as it was at REFUND, or one that is not stored if there is none.
func refundOf(ctx context.Context, s *store.Store, o order.Order) (refund.Refund, error) {
	found, err := s.RefundsOf(ctx, o.ID, paging.Page{Limit: 1})
	r := refund.Refund{ID: uuid.New(), OrderID: o.ID, Amount: o.Total}
	if len(found) > 0 {
		r = found[0]
	}
	r.Step = refund.ReturnMoney
	return r, err
}

// move moves the order by the named steps.
func (b *bundle) move(t *testing.T, o order.Order, names ...string) order.Order {
	t.Helper()
	for _, name := range names {
		for _, s := range steps {
			if s.name == name {
				require.NoError(t, s.move(t.Context(), b.store, o))
				o = b.order(t, o.ID)
				require.Equal(t, s.to, o.Step)
			}
		}
	}
	return o
}

// paths has the shortest way to each step.
var paths = map[order.Step][]string{
	order.Reserve: nil,
	order.Charge:  {"Reserved"},
	order.Release: {"Reserved", "Declined"},
	order.Fulfil:  {"Reserved", "Paid"},
	order.Refund:  {"Reserved", "Paid", "Unfulfillable"},
	order.Done:    {"Reserved", "Paid", "Fulfilled"},
}

// everything returns all rows about orders as text.
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

// recorded returns the number of events in the history of an order, and of published events about it.
func (b *bundle) recorded(t *testing.T, id uuid.UUID) (recorded, published int) {
	t.Helper()
	b.query(t, &recorded, `SELECT count(*) FROM saga_events WHERE saga_id = $1`, id)
	b.query(t, &published, `SELECT count(*) FROM outbox WHERE cloud_event->>'subject' = $1`, id.String())
	return recorded, published
}

// timeOut expires every lease and makes every saga due.
func (b *bundle) timeOut(t *testing.T) {
	t.Helper()
	b.exec(t, `UPDATE orders SET leased_until = now() - interval '1 second', resume_at = now() - interval '1 second'`)
}

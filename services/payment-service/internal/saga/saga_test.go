package saga_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// deadline is the maximum time that a test waits for a condition.
const deadline = 20 * time.Second

// capacity is the number of tickets of each type, quantity the number that each order buys.
const (
	capacity = 10
	quantity = 2
)

// bundle is a Saga with a database of its own and stand-ins for the services that it calls.
type bundle struct {
	pool     *pgxpool.Pool
	store    *store.Store
	services *sagatest.Services
	saga     saga.Saga
	event    uuid.UUID
	typeID   uuid.UUID
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	b := &bundle{
		pool:     postgrestest.New(t, messaging.Migrations(), store.Migrations()),
		services: sagatest.New(),
		event:    uuid.New(),
	}
	b.store = store.New(b.pool)
	b.saga = saga.Saga{Store: b.store, Services: b.services, Charges: admission.NewPacer(0, nil)}
	b.newType(5000)
	return b
}

// newType creates a ticket type. The orders that are placed afterwards are for it.
func (b *bundle) newType(cents int64) {
	b.typeID = b.services.AddType(b.event, money.Of(cents, "USD"), capacity)
}

// place stores an order and leases it, as a buyer's request does before it drives the order.
func (b *bundle) place(t *testing.T, card string) uuid.UUID {
	t.Helper()
	id, created, err := b.store.Create(t.Context(), order.Order{
		ID: uuid.New(), UserID: uuid.New(), EventID: b.event, ReservationID: uuid.New(), HolderName: "Ann O'Hara",
		Items:  []order.Item{{TicketTypeID: b.typeID, Quantity: quantity}},
		Method: order.CreditCard, PaymentToken: card,
	}, uuid.NewString(), []byte("hash"))
	require.NoError(t, err)
	require.True(t, created)
	return id
}

func (b *bundle) order(t *testing.T, id uuid.UUID) order.Order {
	t.Helper()
	o, err := b.store.Order(t.Context(), id)
	require.NoError(t, err)
	return o
}

// exec changes the database behind the service's back.
func (b *bundle) exec(ctx context.Context, t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(ctx, sql, args...)
	require.NoError(t, err)
}

// timeOut expires every lease and makes every saga due that has a call to make.
func (b *bundle) timeOut(t *testing.T) {
	t.Helper()
	for _, table := range []string{"orders", "refunds"} {
		b.exec(t.Context(), t, `
			UPDATE `+table+` SET leased_until = '-infinity', resume_at = now() WHERE step NOT IN ('DONE', 'FULFIL')`)
	}
}

// unfinished returns the ids of the order's unfinished refunds.
func (b *bundle) unfinished(ctx context.Context, id uuid.UUID) ([]uuid.UUID, error) {
	rows, err := b.pool.Query(ctx, `SELECT id FROM refunds WHERE order_id = $1 AND step <> 'DONE'`, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// drive drives the order and its refunds, as a driver that holds their leases.
func (b *bundle) drive(ctx context.Context, id uuid.UUID) error {
	if _, err := b.saga.Drive(ctx, id); err != nil {
		return err
	}
	refunds, err := b.unfinished(ctx, id)
	for _, r := range refunds {
		_, driven := b.saga.DriveRefund(ctx, r)
		err = errors.Join(err, driven)
	}
	return err
}

// age makes the first attempt of every charge, and the end of charging, older.
func (b *bundle) age(t *testing.T, by time.Duration) {
	t.Helper()
	b.exec(t.Context(), t, `
		UPDATE orders SET charge_since = charge_since - $1::interval, asking_since = asking_since - $1::interval
		WHERE step <> 'DONE'`, by)
}

// outbox returns the published events about the order.
func (b *bundle) outbox(t *testing.T, id uuid.UUID) (types []string, bodies [][]byte) {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT cloud_event->>'type', cloud_event::text::bytea FROM outbox
		WHERE cloud_event->>'subject' = $1 ORDER BY position`, id.String())
	require.NoError(t, err)
	var eventType string
	var body []byte
	_, err = pgx.ForEachRow(rows, []any{&eventType, &body}, func() error {
		types, bodies = append(types, eventType), append(bodies, append([]byte(nil), body...))
		return nil
	})
	require.NoError(t, err)
	return types, bodies
}

// deliver delivers every published event to ticket-service, and its events back, each of them twice.
func (b *bundle) deliver(t *testing.T, id uuid.UUID) {
	t.Helper()
	_, bodies := b.outbox(t, id)
	for _, body := range append(bodies, bodies...) {
		answer, err := b.services.Deliver(body)
		require.NoError(t, err)
		if answer.Generated != nil {
			require.NoError(t, b.store.Fulfilled(t.Context(), answer.ID, *answer.Generated))
		}
		if answer.Failed != nil {
			require.NoError(t, b.store.Unfulfillable(t.Context(), answer.ID, *answer.Failed))
		}
	}
}

// clientsRetry drives what the repeated requests of the buyer and of the organizer drive.
func (b *bundle) clientsRetry(ctx context.Context, id uuid.UUID) error {
	leased, err := b.store.Lease(ctx, id)
	if err == nil && leased {
		_, err = b.saga.Drive(ctx, id)
	}
	refunds, unread := b.unfinished(ctx, id)
	err = errors.Join(err, unread)
	for _, r := range refunds {
		leased, notLeased := b.store.LeaseRefund(ctx, r)
		err = errors.Join(err, notLeased)
		if leased {
			_, driven := b.saga.DriveRefund(ctx, r)
			err = errors.Join(err, driven)
		}
	}
	return err
}

// sweep runs one sweep.
func (b *bundle) sweep(ctx context.Context, _ uuid.UUID) error {
	_, err := b.saga.Sweep(ctx)
	return err
}

// settle delivers messages and resumes the saga until it is done.
func (b *bundle) settle(t *testing.T, id uuid.UUID, resume func(ctx context.Context, id uuid.UUID) error) {
	t.Helper()
	for range 20 {
		b.deliver(t, id)
		if b.order(t, id).Step == order.Done {
			b.deliver(t, id)
			return
		}
		b.timeOut(t)
		if err := resume(t.Context(), id); err != nil {
			require.ErrorIs(t, err, saga.ErrUnsettled)
		}
	}
	require.Failf(t, "the saga is not done", "%+v", b.order(t, id))
}

// requirePromises asserts what must be true of every done order, whatever happened before: it was charged once for
// exactly its tickets, or refunded, or never charged; no tickets are held; each event was published once.
func (b *bundle) requirePromises(t *testing.T, id uuid.UUID) order.Order {
	t.Helper()
	o := b.order(t, id)
	require.Equal(t, order.Done, o.Step)
	require.False(t, b.services.Holds(o.ReservationID), "the hold was not released")

	charged, refunded := b.services.Money(id)
	tickets := b.services.Tickets(id)
	published, _ := b.outbox(t, id)
	total := []money.Decimal{o.Total.Decimal()}
	if o.Total.Minor == 0 {
		total = nil
	}
	switch o.Status {
	case order.Completed:
		require.Equal(t, total, charged)
		require.Empty(t, refunded)
		require.Equal(t, map[uuid.UUID]int{o.Items[0].TicketTypeID: quantity}, tickets)
		require.Equal(t, []string{"PAYMENT_COMPLETED"}, published)
	case order.Refunded:
		require.Equal(t, total, charged)
		require.Equal(t, total, refunded)
		require.Empty(t, tickets)
		require.Equal(t, []string{"PAYMENT_COMPLETED", "REFUND_PROCESSED"}, published)
	case order.Failed:
		require.Empty(t, charged)
		require.Empty(t, tickets)
		require.NotEmpty(t, o.Failure.Code)
		if o.ChargeSince.IsZero() {
			require.Empty(t, published)
		} else {
			require.Equal(t, []string{"PAYMENT_FAILED"}, published)
		}
	case order.Pending:
		require.Fail(t, "a done order is not pending")
	}
	require.Empty(t, o.PaymentToken, "the payment token was not deleted")

	history, err := b.store.History(t.Context(), id)
	require.NoError(t, err)
	recorded := map[string]bool{}
	for _, e := range history {
		require.False(t, recorded[e.EventType], "%s was recorded twice", e.EventType)
		recorded[e.EventType] = true
	}
	return o
}

// history returns the types and statuses of the order's saga events.
func (b *bundle) history(t *testing.T, id uuid.UUID) []string {
	t.Helper()
	recorded, err := b.store.History(t.Context(), id)
	require.NoError(t, err)
	var events []string
	for _, e := range recorded {
		events = append(events, e.EventType+" "+string(e.Status))
	}
	return events
}

// orderAt places an order and drives it to the step that makes the call.
func (b *bundle) orderAt(t *testing.T, call sagatest.Call) uuid.UUID {
	t.Helper()
	card := sagatest.GoodCard
	switch call {
	case sagatest.Reserve:
		return b.place(t, card)
	case sagatest.Charge, sagatest.Settle:
		b.services.Next(sagatest.Charge, sagatest.ResponseLost)
	case sagatest.Release:
		card = sagatest.DeclinedCard
		b.services.Next(sagatest.Release, sagatest.CallLost)
	case sagatest.Refund:
	case sagatest.Extend, sagatest.Confirm, sagatest.Cancel, sagatest.Verify, sagatest.Organizer, sagatest.Owned,
		sagatest.Disputes:
		require.Fail(t, "no step of an order begins with this call", call)
	}
	id := b.place(t, card)
	_, err := b.saga.Drive(t.Context(), id)
	switch call {
	case sagatest.Refund:
		require.NoError(t, err)
		b.services.ExpireAndSellOut(b.typeID)
		b.deliver(t, id)
	case sagatest.Settle:
		require.ErrorIs(t, err, saga.ErrUnsettled)
		b.age(t, order.ChargeWindow)
	default:
		require.ErrorIs(t, err, saga.ErrUnsettled)
	}
	b.timeOut(t)
	return id
}

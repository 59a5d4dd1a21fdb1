package store_test

import (
	"context"
	"encoding/json"
	"slices"
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
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

type bundle struct {
	store *store.Store
	pool  *pgxpool.Pool
	event uuid.UUID // published
	user  uuid.UUID
}

const publicURL = ticket.PublicURL("https://tickets.test")

// connections is how many transactions of a test can run at the same time.
const connections = 16

func setup(tb testing.TB) *bundle {
	tb.Helper()
	config := postgrestest.New(tb, messaging.Migrations(), store.Migrations()).Config()
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(tb.Context(), config)
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	b := &bundle{
		store: store.New(pool, publicURL), pool: pool, event: uuid.New(), user: uuid.New(),
	}
	require.NoError(tb, b.publish(tb.Context()))
	return b
}

// publish processes the EVENT_PUBLISHED of the bundle's event.
func (b *bundle) publish(ctx context.Context) error {
	return b.store.ApplyEvent(ctx, uuid.New(), "EVENT_PUBLISHED", b.festival(ticket.EventPublished, time.Now()))
}

// festival is the bundle's event, whose check-in is open.
func (b *bundle) festival(status ticket.EventStatus, updatedAt time.Time) ticket.Event {
	return ticket.Event{
		ID: b.event, OrganizerID: uuid.New(), Name: "Festival", Date: time.Now().Add(2 * time.Hour),
		VenueName: "Park", Status: status, UpdatedAt: updatedAt,
	}
}

// newType adds a ticket type at 50.00 USD.
func (b *bundle) newType(tb testing.TB, capacity int) uuid.UUID {
	tb.Helper()
	id := uuid.New()
	_, err := b.store.CreateType(tb.Context(), ticket.Type{
		ID: id, EventID: b.event, Name: id.String(), Price: money.Of(50_00, "USD"), Capacity: capacity,
	})
	require.NoError(tb, err)
	return id
}

func item(typeID uuid.UUID, quantity int) ticket.LineItem {
	return ticket.LineItem{TypeID: typeID, Quantity: quantity}
}

// request is a request of the bundle's user for tickets of its event.
func (b *bundle) request(id uuid.UUID, items ...ticket.LineItem) ticket.Request {
	return ticket.Request{ReservationID: id, UserID: b.user, EventID: b.event, Hold: ticket.HoldTime, Items: items}
}

// reserveOne reserves for a single request.
func (b *bundle) reserveOne(ctx context.Context, q ticket.Request) (ticket.Reservation, error) {
	results, err := b.store.Reserve(ctx, []ticket.Request{q})
	if err != nil {
		return ticket.Reservation{}, err
	}
	return results[0].Reservation, results[0].Err
}

func (b *bundle) reserve(ctx context.Context, id uuid.UUID, items ...ticket.LineItem) (ticket.Reservation, error) {
	return b.reserveOne(ctx, b.request(id, items...))
}

// reserved creates a live reservation and returns its id.
func (b *bundle) reserved(t *testing.T, items ...ticket.LineItem) uuid.UUID {
	t.Helper()
	id := uuid.New()
	_, err := b.reserve(t.Context(), id, items...)
	require.NoError(t, err)
	return id
}

// makeDue lets reservations expire without a sweep that ends them.
func (b *bundle) makeDue(t *testing.T, ids ...uuid.UUID) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `
		UPDATE reservations SET expires_at = now() - interval '1 second' WHERE id = ANY($1)`, ids)
	require.NoError(t, err)
}

// expire lets reservations expire and ends them with a sweep.
func (b *bundle) expire(t *testing.T, ids ...uuid.UUID) {
	t.Helper()
	b.makeDue(t, ids...)
	n, err := b.store.ExpireAllDue(t.Context())
	require.NoError(t, err)
	require.Equal(t, len(ids), n)
}

func (b *bundle) purchase(reservation uuid.UUID) ticket.Purchase {
	return ticket.Purchase{ReservationID: reservation, OrderID: uuid.New(), UserID: b.user, HolderName: "Ann O'Hara"}
}

// fulfil processes the PAYMENT_COMPLETED of a purchase.
func (b *bundle) fulfil(ctx context.Context, message uuid.UUID, p ticket.Purchase) error {
	return b.store.Fulfil(ctx, message, b.paid(p))
}

// paid is the PAYMENT_COMPLETED of a purchase.
func (b *bundle) paid(p ticket.Purchase) events.PaymentCompleted {
	return events.PaymentCompleted{
		OrderID: p.OrderID, UserID: p.UserID, EventID: b.event, ReservationID: p.ReservationID, HolderName: p.HolderName,
	}
}

// bought buys a quantity of tickets and returns them.
func (b *bundle) bought(t *testing.T, typeID uuid.UUID, quantity int) []ticket.Ticket {
	t.Helper()
	tickets, err := b.store.Confirm(t.Context(), b.purchase(b.reserved(t, item(typeID, quantity))))
	require.NoError(t, err)
	require.Len(t, tickets, quantity)
	return tickets
}

// requireInventory asserts the sold and held counters of a type, and that they agree with the rows of its tickets and
// reservations.
func (b *bundle) requireInventory(t *testing.T, typeID uuid.UUID, sold, held int) {
	t.Helper()
	var got struct{ Sold, Held, Tickets, Reserved int }
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT sold, held, (SELECT count(*) FROM tickets WHERE ticket_type_id = y.id AND status <> 'CANCELLED'),
		       (SELECT coalesce(sum(quantity), 0) FROM reservation_lines l JOIN reservations r ON r.id = l.reservation_id
		        WHERE ticket_type_id = y.id AND r.status = 'ACTIVE')
		FROM ticket_types y WHERE id = $1`, typeID).Scan(&got.Sold, &got.Held, &got.Tickets, &got.Reserved))
	require.Equal(t, sold, got.Sold, "sold")
	require.Equal(t, held, got.Held, "held")
	require.Equal(t, got.Sold, got.Tickets, "tickets that are not cancelled")
	require.Equal(t, got.Held, got.Reserved, "tickets of live reservations")
}

func (b *bundle) requireStatus(t *testing.T, id uuid.UUID, status ticket.ReservationStatus) {
	t.Helper()
	var got ticket.ReservationStatus
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT status FROM reservations WHERE id = $1`, id).Scan(&got))
	require.Equal(t, status, got)
}

// message is the part of a published event that tests read.
type message struct {
	ID   uuid.UUID
	Type string
	Data struct {
		Payload struct {
			OrderID     uuid.UUID
			TicketID    uuid.UUID
			UserID      uuid.UUID
			FromUserID  uuid.UUID
			ToUserID    uuid.UUID
			CheckedInAt time.Time
			Gate        string
			Reason      string
			CancelledBy string
			RefundKey   string
			Tickets     []events.Ticket
		}
	}
}

// outbox returns the published events in their order.
func (b *bundle) outbox(t *testing.T) []message {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT cloud_event FROM outbox ORDER BY position`)
	require.NoError(t, err)
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
	require.NoError(t, err)
	messages := make([]message, len(bodies))
	for i, body := range bodies {
		require.NoError(t, json.Unmarshal(body, &messages[i]))
	}
	return messages
}

// published returns the published events of one type.
func (b *bundle) published(t *testing.T, eventType string) []message {
	t.Helper()
	return slices.DeleteFunc(b.outbox(t), func(m message) bool { return m.Type != eventType })
}

// race runs n workers at once and returns their errors.
func race(n int, worker func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = worker(i) })
	}
	wg.Wait()
	return errs
}

// requireAll asserts that no worker of a race failed.
func requireAll(t *testing.T, errs []error) {
	t.Helper()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

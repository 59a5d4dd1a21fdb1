package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// cancelEvent processes the EVENT_CANCELLED of the bundle's event.
func (b *bundle) cancelEvent(ctx context.Context, message uuid.UUID) error {
	return b.store.CancelEvent(ctx, message, events.EventCancelled{
		EventID: b.event, EventName: "Festival", OrganizerID: uuid.New(), CancellationReason: "Storm",
		UpdatedAt: time.Now().Add(time.Hour),
	})
}

// requireAllCancelled asserts that no reservation is live and all tickets are cancelled, and that a TICKET_CANCELLED
// with the event as its cause was published for exactly the given tickets, once each.
func (b *bundle) requireAllCancelled(t *testing.T, tickets ...ticket.Ticket) {
	t.Helper()
	var live, valid int
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM reservations WHERE status = 'ACTIVE'),
		       (SELECT count(*) FROM tickets WHERE status <> 'CANCELLED')`).Scan(&live, &valid))
	require.Zero(t, live, "live reservations")
	require.Zero(t, valid, "tickets that are not cancelled")
	var want, got []uuid.UUID
	for _, k := range tickets {
		want = append(want, k.ID)
	}
	for _, m := range b.published(t, "TICKET_CANCELLED") {
		if m.Data.Payload.CancelledBy == events.CancelledByEvent {
			got = append(got, m.Data.Payload.TicketID)
			require.Equal(t, "Storm", m.Data.Payload.Reason)
		}
	}
	require.ElementsMatch(t, want, got)
}

// Each batch is independent of the process that ran the one before: all progress is in the database.
func TestCancelEventEndsReservationsAndTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, 10), b.newType(t, 20)
	tickets := append(b.bought(t, vip, 3), b.bought(t, seat, 5)...)
	transferred, used, returned := b.bought(t, seat, 1)[0], b.bought(t, seat, 1)[0], b.bought(t, seat, 1)[0]
	friend := uuid.New()
	_, err := b.store.Transfer(t.Context(), transferred.ID, b.user, friend, "Bob Lee")
	require.NoError(t, err)
	_, err = b.store.CheckIn(t.Context(), used.ID, 1, "")
	require.NoError(t, err)
	_, err = b.store.Cancel(t.Context(), returned.ID, b.user, "")
	require.NoError(t, err)
	hold := b.reserved(t, item(vip, 2), item(seat, 1))

	message := uuid.New()
	require.NoError(t, b.cancelEvent(telemetry.With(t.Context(), telemetry.Trace{CorrelationID: "corr-123456"}), message))
	_, err = b.reserve(t.Context(), uuid.New(), item(vip, 1))
	require.ErrorIs(t, err, ticket.ErrEventNotOnSale)

	n, err := b.store.ReleaseCancelled(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.requireStatus(t, hold, ticket.ReservationCancelled)
	b.requireInventory(t, vip, 3, 0)
	b.requireInventory(t, seat, 7, 0)

	for _, want := range []int{4, 4, 2, 0} {
		n, err := b.store.CancelTickets(t.Context(), b.event, 4)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	tickets = append(tickets, transferred, used)
	b.requireAllCancelled(t, tickets...)
	b.requireInventory(t, vip, 0, 0)
	b.requireInventory(t, seat, 0, 0)
	kept, err := b.store.Ticket(t.Context(), used.ID)
	require.NoError(t, err)
	require.False(t, kept.CheckedInAt.IsZero(), "the time of the check-in is kept")
	_, err = b.store.CheckIn(t.Context(), used.ID, 1, "")
	require.ErrorIs(t, err, ticket.ErrNotActive)

	for _, m := range b.published(t, "TICKET_CANCELLED") {
		if m.Data.Payload.TicketID == transferred.ID {
			require.Equal(t, friend, m.Data.Payload.UserID)
		}
	}
	var correlated, cancelled int
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM outbox WHERE cloud_event->'data'->>'correlationId' = 'corr-123456'),
		       (SELECT tickets_cancelled FROM event_cancellations WHERE finished_at IS NOT NULL)`).
		Scan(&correlated, &cancelled))
	require.Equal(t, len(tickets), correlated)
	require.Equal(t, len(tickets), cancelled)

	t.Run("Repeated", func(t *testing.T) {
		for _, m := range []uuid.UUID{message, uuid.New()} {
			require.NoError(t, b.cancelEvent(t.Context(), m))
			n, err := b.store.CancelAll(t.Context())
			require.NoError(t, err)
			require.Zero(t, n)
		}
		b.requireAllCancelled(t, tickets...)
	})
	t.Run("OtherEvent", func(t *testing.T) {
		n, err := b.store.CancelTickets(t.Context(), uuid.New(), 10)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

// One sweep ends hundreds of tickets and reservations, in several batches.
func TestCancelAllRunsUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 2000)
	var tickets []ticket.Ticket
	for range 5 {
		tickets = append(tickets, b.bought(t, kind, ticket.MaxQuantity)...)
	}
	_, err := b.pool.Exec(t.Context(), `
		WITH held AS (INSERT INTO reservations (id, user_id, event_id, status, expires_at)
			SELECT gen_random_uuid(), $2, $3, 'ACTIVE', now() + interval '1 hour' FROM generate_series(1, 500) RETURNING id),
		lines AS (INSERT INTO reservation_lines SELECT id, $1, 2, 5000, 'USD' FROM held)
		UPDATE ticket_types SET held = held + 1000 WHERE id = $1`, kind, b.user, b.event)
	require.NoError(t, err)
	b.requireInventory(t, kind, 500, 1000)

	n, err := b.store.CancelAll(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "no event is cancelled yet")
	require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
	n, err = b.store.CancelAll(t.Context())
	require.NoError(t, err)
	require.Equal(t, 500, n)
	b.requireAllCancelled(t, tickets...)
	b.requireInventory(t, kind, 0, 0)
}

// An event whose cancellation cannot be stored does not keep later ones from being cancelled.
func TestCancelAllContinuesAfterAnEventThatFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 10)
	tickets := b.bought(t, kind, 2)
	broken := uuid.New()
	require.NoError(t, b.store.CancelEvent(t.Context(), uuid.New(), events.EventCancelled{EventID: broken}))
	_, err := b.pool.Exec(t.Context(),
		`ALTER TABLE event_cancellations ADD CHECK (finished_at IS NULL OR event_id <> '`+broken.String()+`')`)
	require.NoError(t, err)
	require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
	n, err := b.store.CancelAll(t.Context())
	require.Error(t, err)
	require.Equal(t, len(tickets), n)
	b.requireAllCancelled(t, tickets...)
}

// An order that is paid after the event was cancelled is refused its tickets, whether its reservation is still live or
// not.
func TestOrderPaidAfterCancellationIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		sweep bool
	}{{"Held", false}, {"Released", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			kind := b.newType(t, 5)
			p := b.purchase(b.reserved(t, item(kind, 2)))
			require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
			if tt.sweep {
				_, err := b.store.CancelAll(t.Context())
				require.NoError(t, err)
				_, err = b.store.Confirm(t.Context(), p)
				require.ErrorIs(t, err, ticket.ErrReservationNotFound)
			} else {
				_, err := b.store.Confirm(t.Context(), p)
				require.ErrorIs(t, err, ticket.ErrEventCancelled)
			}
			for range 2 {
				require.NoError(t, b.fulfil(t.Context(), uuid.New(), p))
			}
			out := b.outbox(t)
			require.Len(t, out, 2)
			for _, m := range out {
				require.Equal(t, "TICKET_GENERATION_FAILED", m.Type)
				require.Equal(t, "EVENT_CANCELLED", m.Data.Payload.Reason)
			}
			_, err := b.store.CancelAll(t.Context())
			require.NoError(t, err)
			b.requireInventory(t, kind, 0, 0)
		})
	}
	// The tickets were issued before, and PAYMENT_COMPLETED arrives late: the answer has the same tickets, which stay
	// cancelled.
	t.Run("HadTickets", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		kind := b.newType(t, 5)
		p := b.purchase(b.reserved(t, item(kind, 2)))
		tickets, err := b.store.Confirm(t.Context(), p)
		require.NoError(t, err)
		require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
		require.NoError(t, b.fulfil(t.Context(), uuid.New(), p))
		_, err = b.store.CancelAll(t.Context())
		require.NoError(t, err)
		require.NoError(t, b.fulfil(t.Context(), uuid.New(), p))
		b.requireAllCancelled(t, tickets...)
		b.requireInventory(t, kind, 0, 0)
		require.Len(t, b.published(t, "TICKETS_GENERATED"), 3)
		require.Empty(t, b.published(t, "TICKET_GENERATION_FAILED"))
	})
}

// TICKET_CANCELLED names the event as the cause, even if the refund arrives before the cancellation's own batches.
func TestRefundOfCancelledEventNamesTheEventAsCause(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		cancelled bool
		reason    string
		by        string
	}{
		{"CancellationKnown", true, "Storm", events.CancelledByEvent},
		{"CancellationInTransit", false, "EVENT_CANCELLED", events.CancelledByEvent},
		{"OtherReason", false, "Storm", events.CancelledByRefund},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			kind := b.newType(t, 5)
			tickets := b.bought(t, kind, 2)
			if tt.by == events.CancelledByEvent {
				_, err := b.store.CheckIn(t.Context(), tickets[0].ID, 1, "")
				require.NoError(t, err)
			}
			if tt.cancelled {
				require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
			}
			refund := ticket.Refund{OrderID: tickets[0].OrderID, Key: "refund-1", Reason: tt.reason}
			_, err := b.store.CancelRefunded(t.Context(), refund)
			require.NoError(t, err)
			if !tt.cancelled {
				require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
			}
			n, err := b.store.CancelAll(t.Context())
			require.NoError(t, err)
			require.Zero(t, n)
			out := b.published(t, "TICKET_CANCELLED")
			require.Len(t, out, 2)
			for _, m := range out {
				require.Equal(t, tt.by, m.Data.Payload.CancelledBy)
			}
			b.requireInventory(t, kind, 0, 0)
		})
	}
}

// In whatever order check-ins, refunds and the batches of several replicas run, every ticket is cancelled once, and
// every refund succeeds.
func TestCancellationBesideCheckInsAndRefundsCancelsEachTicketOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const orders = 40
	kind := b.newType(t, 2*orders)
	var tickets []ticket.Ticket
	for range orders {
		tickets = append(tickets, b.bought(t, kind, 2)...)
	}
	require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
	requireAll(t, race(3*orders, func(i int) error {
		k := tickets[i/3*2]
		switch i % 3 {
		case 0:
			_, err := b.store.CheckIn(t.Context(), k.ID, 1, "North")
			if errors.Is(err, ticket.ErrNotActive) {
				return nil
			}
			return err
		case 1:
			_, err := b.store.CancelRefunded(t.Context(), ticket.Refund{
				OrderID: k.OrderID, Key: "refund-" + k.OrderID.String(), Reason: "Storm",
			})
			return err
		default:
			_, err := b.store.CancelTickets(t.Context(), b.event, 10)
			return err
		}
	}))
	_, err := b.store.CancelAll(t.Context())
	require.NoError(t, err)
	b.requireAllCancelled(t, tickets...)
	b.requireInventory(t, kind, 0, 0)
}

// A cancellation takes effect even if a newer message was processed before it.
func TestStaleCancellationTakesEffect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	tickets := b.bought(t, kind, 2)
	newest := time.Now().Add(2 * time.Hour)
	require.NoError(t, b.store.ApplyEvent(t.Context(), uuid.New(), "EVENT_UPDATED",
		b.festival(ticket.EventPublished, newest)))
	require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
	_, err := b.store.CancelAll(t.Context())
	require.NoError(t, err)
	b.requireAllCancelled(t, tickets...)
	require.NoError(t, b.store.ApplyEvent(t.Context(), uuid.New(), "EVENT_UPDATED",
		b.festival(ticket.EventPublished, newest.Add(time.Hour))))
	_, err = b.reserve(t.Context(), uuid.New(), item(kind, 1))
	require.ErrorIs(t, err, ticket.ErrEventNotOnSale)
}

// A purchase waits for a concurrent cancellation to commit. Otherwise the cancellation could finish before the tickets
// exist.
func TestPurchaseWaitsForConcurrentCancellation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	p := b.purchase(b.reserved(t, item(kind, 2)))
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `UPDATE events SET status = 'CANCELLED' WHERE id = $1`, b.event)
	require.NoError(t, err)

	done := make(chan error, 1)
	go func() {
		_, err := b.store.Confirm(t.Context(), p)
		done <- err
	}()
	require.Eventually(t, func() bool {
		var waiting bool
		require.NoError(t, b.pool.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
			               WHERE NOT l.granted AND a.datname = current_database())`).Scan(&waiting))
		return waiting || len(done) > 0
	}, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, tx.Commit(t.Context()))
	require.ErrorIs(t, <-done, ticket.ErrEventCancelled)
	b.requireInventory(t, kind, 0, 2)
}

// In whatever order reservations, purchases, sweeps and the cancellation run, no ticket stays active, and every order
// gets one answer.
func TestCancellationBesidePurchasesLeavesNoActiveTicket(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const orders = 40
	kind := b.newType(t, 1000)
	purchases := make([]ticket.Purchase, orders)
	for i := range purchases {
		purchases[i] = b.purchase(b.reserved(t, item(kind, 2)))
	}
	message := uuid.New()
	requireAll(t, race(3*orders, func(i int) error {
		switch {
		case i == orders+1:
			return b.cancelEvent(t.Context(), message)
		case i%3 == 0:
			return b.fulfil(t.Context(), uuid.New(), purchases[i/3])
		case i%3 == 1:
			_, err := b.store.CancelAll(t.Context())
			return err
		default:
			_, err := b.reserve(t.Context(), uuid.New(), item(kind, 1))
			if errors.Is(err, ticket.ErrEventNotOnSale) {
				return nil
			}
			return err
		}
	}))
	_, err := b.store.CancelAll(t.Context())
	require.NoError(t, err)
	b.requireInventory(t, kind, 0, 0)

	outcomes := map[uuid.UUID]string{}
	var tickets []ticket.Ticket
	for _, m := range b.outbox(t) {
		switch m.Type {
		case "TICKETS_GENERATED":
			for _, k := range m.Data.Payload.Tickets {
				tickets = append(tickets, ticket.Ticket{ID: k.TicketID})
			}
			fallthrough
		case "TICKET_GENERATION_FAILED":
			require.Empty(t, outcomes[m.Data.Payload.OrderID])
			outcomes[m.Data.Payload.OrderID] = m.Type
		}
	}
	require.Len(t, outcomes, orders)
	b.requireAllCancelled(t, tickets...)
}

package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// dispute processes a PAYMENT_DISPUTED, twice.
func (b *bundle) dispute(t *testing.T, orderID uuid.UUID, status string, revision int) {
	t.Helper()
	id := uuid.New()
	for range 2 {
		require.NoError(t, b.store.Disputed(t.Context(), id, events.PaymentDisputed{
			DisputeID: "dp_" + orderID.String(), OrderID: orderID, UserID: b.user, EventID: b.event, Amount: "100.00",
			Currency: "USD", Reason: "FRAUDULENT", Status: status, Revision: revision,
		}))
	}
}

// informed returns who was informed by TICKETS_DISPUTED, the organizer excepted, and what of, sorted.
func (b *bundle) informed(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT concat_ws(' ', p->>'userId', p->>'ticketCount', p->>'ticketState')
		FROM outbox, LATERAL (SELECT cloud_event #> '{data,payload}' AS p) x
		WHERE cloud_event->>'type' = 'TICKETS_DISPUTED' AND NOT (p->>'organizer')::boolean`)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	slices.Sort(found)
	return found
}

// organizerInformed returns what the organizer was informed of, in order.
func (b *bundle) organizerInformed(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT concat_ws(' ', p->>'disputeStatus', p->>'ticketCount', p->>'ticketState')
		FROM outbox, LATERAL (SELECT cloud_event #> '{data,payload}' AS p) x
		WHERE cloud_event->>'type' = 'TICKETS_DISPUTED' AND (p->>'organizer')::boolean ORDER BY position`)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

// A suspended ticket does not admit and cannot be given away, also after a transfer. A dispute that is won restores it.
func TestDisputeSuspendsTicketsUntilItIsWon(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	tickets := b.bought(t, kind, 3)
	mine, given, used, friend := tickets[0], tickets[1], tickets[2], uuid.New()
	given, err := b.store.Transfer(t.Context(), given.ID, b.user, friend, "Bob Lee")
	require.NoError(t, err)
	_, err = b.store.CheckIn(t.Context(), used.ID, 1, "North")
	require.NoError(t, err)

	b.dispute(t, mine.OrderID, events.DisputeOpen, 1)
	for _, k := range []ticket.Ticket{mine, given} {
		_, err := b.store.CheckIn(t.Context(), k.ID, k.CodeVersion, "North")
		require.ErrorIs(t, err, ticket.ErrSuspended)
		_, err = b.store.Transfer(t.Context(), k.ID, k.OwnerID, uuid.New(), "Eve")
		require.ErrorIs(t, err, ticket.ErrSuspended)
		_, err = b.store.Cancel(t.Context(), k.ID, k.OwnerID, "")
		require.ErrorIs(t, err, ticket.ErrSuspended)
		b.requireTicket(t, k.ID, ticket.Active)
	}
	_, err = b.store.CheckIn(t.Context(), used.ID, 1, "North")
	require.ErrorIs(t, err, ticket.ErrAlreadyCheckedIn)
	b.requireInventory(t, kind, 3, 0)

	b.dispute(t, mine.OrderID, events.DisputeWon, 2)
	for _, k := range []ticket.Ticket{mine, given} {
		stored, err := b.store.Ticket(t.Context(), k.ID)
		require.NoError(t, err)
		require.Equal(t, k.CodeVersion, stored.CodeVersion)
		require.Empty(t, stored.Suspension)
		_, err = b.store.CheckIn(t.Context(), k.ID, k.CodeVersion, "North")
		require.NoError(t, err)
	}
	want := []string{
		b.user.String() + " 1 SUSPENDED", friend.String() + " 1 SUSPENDED",
		b.user.String() + " 1 RESTORED", friend.String() + " 1 RESTORED",
	}
	slices.Sort(want)
	require.Equal(t, want, b.informed(t))
	require.Equal(t, []string{"OPEN 2 SUSPENDED", "WON 2 RESTORED"}, b.organizerInformed(t))
}

// The places of tickets of a lost dispute are on sale again. A used ticket stays used, and never admits again.
func TestLostDisputeCancelsTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	tickets := b.bought(t, kind, 3)
	used := tickets[2]
	_, err := b.store.CheckIn(t.Context(), used.ID, 1, "North")
	require.NoError(t, err)
	b.dispute(t, used.OrderID, events.DisputeOpen, 1)
	b.dispute(t, used.OrderID, events.DisputeLost, 2)
	b.requireTicket(t, tickets[0].ID, ticket.Cancelled)
	b.requireTicket(t, tickets[1].ID, ticket.Cancelled)
	b.requireTicket(t, used.ID, ticket.Used)
	b.requireInventory(t, kind, 1, 0)
	cancelled := b.published(t, "TICKET_CANCELLED")
	require.Len(t, cancelled, 2)
	require.Equal(t, events.CancelledByDispute, cancelled[0].Data.Payload.CancelledBy)
	require.Contains(t, b.informed(t), b.user.String()+" 2 CANCELLED")

	_, err = b.store.UndoCheckIn(t.Context(), used.ID, uuid.New(), "Mistake")
	require.NoError(t, err)
	_, err = b.store.CheckIn(t.Context(), used.ID, 1, "North")
	require.ErrorIs(t, err, ticket.ErrVoid)
}

// The organizer may want the codes of disputed tickets to be void for good.
func TestVoidCodesNeverAdmitAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.festival(ticket.EventPublished, time.Now().Add(time.Minute))
	e.DisputedTickets = ticket.VoidDisputed
	require.NoError(t, b.store.ApplyEvent(t.Context(), uuid.New(), "EVENT_UPDATED", e))
	k := b.bought(t, b.newType(t, 5), 1)[0]
	b.dispute(t, k.OrderID, events.DisputeOpen, 1)
	_, err := b.store.CheckIn(t.Context(), k.ID, 1, "North")
	require.ErrorIs(t, err, ticket.ErrVoid)
	// The setting at the opening counts.
	e.DisputedTickets, e.UpdatedAt = ticket.SuspendDisputed, time.Now().Add(2*time.Minute)
	require.NoError(t, b.store.ApplyEvent(t.Context(), uuid.New(), "EVENT_UPDATED", e))

	b.dispute(t, k.OrderID, events.DisputeWon, 2)
	_, err = b.store.CheckIn(t.Context(), k.ID, 1, "North")
	require.ErrorIs(t, err, ticket.ErrCodeSuperseded)
	_, err = b.store.CheckIn(t.Context(), k.ID, 2, "North")
	require.NoError(t, err)
	require.Equal(t, []string{"OPEN 1 VOID", "WON 1 RESTORED"}, b.organizerInformed(t))
}

func TestDisputeEventsInAnyOrder(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		order func(t *testing.T, b *bundle, orderID uuid.UUID)
		want  error // of a check-in
	}{
		"WonFirst": {func(t *testing.T, b *bundle, id uuid.UUID) {
			t.Helper()
			b.dispute(t, id, events.DisputeWon, 2)
			b.dispute(t, id, events.DisputeOpen, 1)
		}, nil},
		"LostFirst": {func(t *testing.T, b *bundle, id uuid.UUID) {
			t.Helper()
			b.dispute(t, id, events.DisputeLost, 2)
			b.dispute(t, id, events.DisputeOpen, 1)
		}, ticket.ErrNotActive},
		"DecisionChanged": {func(t *testing.T, b *bundle, id uuid.UUID) {
			t.Helper()
			b.dispute(t, id, events.DisputeLost, 3)
			b.dispute(t, id, events.DisputeWon, 2)
		}, ticket.ErrNotActive},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			k := b.bought(t, b.newType(t, 5), 1)[0]
			tt.order(t, b, k.OrderID)
			_, err := b.store.CheckIn(t.Context(), k.ID, 1, "North")
			require.ErrorIs(t, err, tt.want)
		})
	}
}

// Tickets that are issued while their payment is disputed are suspended too.
func TestTicketsIssuedDuringADisputeAreSuspended(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	p := b.purchase(b.reserved(t, item(kind, 1)))
	b.dispute(t, p.OrderID, events.DisputeOpen, 1)
	require.NoError(t, b.fulfil(t.Context(), uuid.New(), p))
	id := b.published(t, "TICKETS_GENERATED")[0].Data.Payload.Tickets[0].TicketID
	_, err := b.store.CheckIn(t.Context(), id, 1, "North")
	require.ErrorIs(t, err, ticket.ErrSuspended)
	b.dispute(t, p.OrderID, events.DisputeWon, 2)
	_, err = b.store.CheckIn(t.Context(), id, 1, "North")
	require.NoError(t, err)
}

func TestCancelledEventEndsSuspendedTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.bought(t, b.newType(t, 5), 1)[0]
	b.dispute(t, k.OrderID, events.DisputeOpen, 1)
	require.NoError(t, b.cancelEvent(t.Context(), uuid.New()))
	_, err := b.store.CancelAll(t.Context())
	require.NoError(t, err)
	b.requireAllCancelled(t, k)
	b.dispute(t, k.OrderID, events.DisputeWon, 2)
	b.requireTicket(t, k.ID, ticket.Cancelled)
}

// Check-ins and the opening of a dispute race: each ticket is either used or suspended.
func TestDisputeAndCheckInsRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tickets := b.bought(t, b.newType(t, 10), 8)
	errs := race(len(tickets)+1, func(i int) error {
		if i == len(tickets) {
			return b.store.Disputed(t.Context(), uuid.New(), events.PaymentDisputed{
				DisputeID: "dp_1", OrderID: tickets[0].OrderID, EventID: b.event, Amount: "100.00", Currency: "USD",
				Reason: "FRAUDULENT", Status: events.DisputeLost, Revision: 1,
			})
		}
		_, err := b.store.CheckIn(t.Context(), tickets[i].ID, 1, "North")
		return err
	})
	require.NoError(t, errs[len(tickets)])
	for i, k := range tickets {
		stored, err := b.store.Ticket(t.Context(), k.ID)
		require.NoError(t, err)
		if errs[i] == nil {
			require.Equal(t, ticket.Used, stored.Status)
		} else {
			require.Equal(t, ticket.Cancelled, stored.Status)
		}
	}
}

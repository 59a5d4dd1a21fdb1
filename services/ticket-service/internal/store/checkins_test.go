package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func TestUndoneCheckInStaysInTheHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	k, organizer := b.bought(t, kind, 1)[0], uuid.New()
	_, err := b.store.UndoCheckIn(t.Context(), k.ID, organizer, "Mistake")
	require.ErrorIs(t, err, ticket.ErrNotCheckedIn)
	_, err = b.store.UndoCheckIn(t.Context(), uuid.New(), organizer, "Mistake")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)

	first, err := b.store.CheckIn(t.Context(), k.ID, 1, "North")
	require.NoError(t, err)
	undone, err := b.store.UndoCheckIn(t.Context(), k.ID, organizer, "Mistake")
	require.NoError(t, err)
	stored, err := b.store.Ticket(t.Context(), k.ID)
	require.NoError(t, err)
	require.Equal(t, stored, undone)
	require.Equal(t, ticket.Active, stored.Status)
	require.Zero(t, stored.CheckedInAt)
	second, err := b.store.CheckIn(t.Context(), k.ID, 1, "South")
	require.NoError(t, err)

	history, err := b.store.CheckIns(t.Context(), k.ID)
	require.NoError(t, err)
	require.Len(t, history, 2)
	require.Equal(t, ticket.CheckIn{At: second.CheckedInAt, Gate: "South"}, history[0])
	require.WithinDuration(t, time.Now(), history[1].UndoneAt, time.Minute)
	require.Equal(t, ticket.CheckIn{
		At: first.CheckedInAt, Gate: "North", UndoneAt: history[1].UndoneAt, UndoneBy: organizer, Reason: "Mistake",
	}, history[1])

	out := b.published(t, "TICKET_CHECK_IN_UNDONE")
	require.Len(t, out, 1)
	require.Equal(t, k.ID, out[0].Data.Payload.TicketID)
	require.True(t, first.CheckedInAt.Equal(out[0].Data.Payload.CheckedInAt))
	require.Equal(t, "Mistake", out[0].Data.Payload.Reason)
	require.Len(t, b.published(t, "TICKET_CHECKED_IN"), 2)
	b.requireInventory(t, kind, 1, 0)

	none, err := b.store.CheckIns(t.Context(), uuid.New())
	require.NoError(t, err)
	require.Empty(t, none)
}

// Of several concurrent requests one undoes the check-in, and the ticket admits once more.
func TestConcurrentUndosChangeTheTicketOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.bought(t, b.newType(t, 5), 1)[0]
	_, err := b.store.CheckIn(t.Context(), k.ID, 1, "North")
	require.NoError(t, err)
	undone := 0
	for _, err := range race(connections, func(int) error {
		_, err := b.store.UndoCheckIn(t.Context(), k.ID, b.user, "Mistake")
		return err
	}) {
		if err == nil {
			undone++
			continue
		}
		require.ErrorIs(t, err, ticket.ErrNotCheckedIn)
	}
	require.Equal(t, 1, undone)
	require.Len(t, b.published(t, "TICKET_CHECK_IN_UNDONE"), 1)
	_, err = b.store.CheckIn(t.Context(), k.ID, 1, "North")
	require.NoError(t, err)
}

// A refund by amount that completes the price keeps used tickets. Undoing the check-in would let a refunded ticket
// admit its holder again.
func TestCheckInOfARefundedTicketIsNotUndone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	tickets := b.bought(t, kind, 2)
	used, unused := tickets[0], tickets[1]
	_, err := b.store.CheckIn(t.Context(), used.ID, 1, "North")
	require.NoError(t, err)
	_, err = b.store.CancelRefunded(t.Context(), ticket.Refund{
		OrderID: used.OrderID, Key: "refund-1", Reason: "Goodwill", KeepUsed: true,
		TicketIDs: []uuid.UUID{used.ID, unused.ID},
	})
	require.NoError(t, err)

	_, err = b.store.UndoCheckIn(t.Context(), used.ID, b.user, "Mistake")
	require.ErrorIs(t, err, ticket.ErrTicketRefunded)
	_, err = b.store.UndoCheckIn(t.Context(), unused.ID, b.user, "Mistake")
	require.ErrorIs(t, err, ticket.ErrNotCheckedIn)
	stored, err := b.store.Ticket(t.Context(), used.ID)
	require.NoError(t, err)
	require.Equal(t, ticket.Used, stored.Status)
	require.Empty(t, b.published(t, "TICKET_CHECK_IN_UNDONE"))
	b.requireInventory(t, kind, 1, 0)
}

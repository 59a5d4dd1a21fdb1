package store_test

import (
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// returned cancels tickets of an order that their owner returns.
func (b *bundle) returned(t *testing.T, order, owner uuid.UUID, key string, ids ...uuid.UUID) error {
	t.Helper()
	_, err := b.store.CancelRefunded(t.Context(), ticket.Refund{
		OrderID: order, TicketIDs: ids, Key: key, Reason: "EVENT_POSTPONED", OwnerID: owner,
	})
	return err
}

// A return cancels tickets of one owner only, all or none, and names the owner and the refund in each event.
func TestReturnCancelsOnlyTicketsOfItsOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, friend := b.newType(t, 3), uuid.New()
	tickets := b.bought(t, kind, 3)
	order, given := tickets[0].OrderID, tickets[2].ID
	_, err := b.store.Transfer(t.Context(), given, b.user, friend, "Bob Lee")
	require.NoError(t, err)

	require.ErrorIs(t, b.returned(t, order, b.user, "all", tickets[0].ID, given), ticket.ErrTicketNotFound)
	require.ErrorIs(t, b.returned(t, order, friend, "all", tickets[0].ID), ticket.ErrTicketNotFound)
	b.requireInventory(t, kind, 3, 0)
	for range 2 { // the repetition changes nothing
		require.NoError(t, b.returned(t, order, b.user, "buyers", tickets[0].ID, tickets[1].ID))
	}
	require.NoError(t, b.returned(t, order, friend, "friends", given))
	b.requireInventory(t, kind, 0, 0)

	type told struct {
		owner uuid.UUID
		key   string
	}
	got := map[uuid.UUID]told{}
	for _, m := range b.published(t, "TICKET_CANCELLED") {
		p := m.Data.Payload
		require.Equal(t, events.CancelledByRefund, p.CancelledBy)
		require.NotContains(t, got, p.TicketID, "once")
		got[p.TicketID] = told{p.UserID, p.RefundKey}
	}
	require.Equal(t, map[uuid.UUID]told{
		tickets[0].ID: {b.user, "buyers"}, tickets[1].ID: {b.user, "buyers"}, given: {friend, "friends"},
	}, got)

	owned, err := b.store.TicketsOfOrder(t.Context(), order, friend)
	require.NoError(t, err)
	require.Len(t, owned, 1)
	require.Equal(t, "friends", owned[0].RefundKey)
	require.Equal(t, ticket.Cancelled, owned[0].Status)
	owned, err = b.store.TicketsOfOrder(t.Context(), order, uuid.New())
	require.NoError(t, err)
	require.Empty(t, owned)
}

// A ticket is either transferred or returned: its owner at the end has decided about it.
func TestTicketIsEitherTransferredOrReturned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const rounds = 20
	kind := b.newType(t, rounds)
	for range rounds {
		k, friend := b.bought(t, kind, 1)[0], uuid.New()
		var transferred, cancelled error
		var both sync.WaitGroup
		both.Go(func() { _, transferred = b.store.Transfer(t.Context(), k.ID, b.user, friend, "Bob Lee") })
		both.Go(func() { cancelled = b.returned(t, k.OrderID, b.user, uuid.NewString(), k.ID) })
		both.Wait()
		after, err := b.store.Ticket(t.Context(), k.ID)
		require.NoError(t, err)
		if cancelled == nil {
			require.ErrorIs(t, transferred, ticket.ErrNotActive)
			require.Equal(t, b.user, after.OwnerID)
			require.Equal(t, ticket.Cancelled, after.Status)
			continue
		}
		require.ErrorIs(t, cancelled, ticket.ErrTicketNotFound)
		require.NoError(t, transferred)
		require.Equal(t, friend, after.OwnerID)
		require.Equal(t, ticket.Active, after.Status)
	}
}

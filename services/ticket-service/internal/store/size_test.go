package store_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// items returns the items of a reservation with this many tickets, of as few types as possible.
func (b *bundle) items(t *testing.T, tickets int) (items []ticket.LineItem) {
	t.Helper()
	for left := tickets; left > 0; left -= ticket.MaxQuantity {
		items = append(items, item(b.newType(t, tickets), min(left, ticket.MaxQuantity)))
	}
	return items
}

// The event of the largest order is accepted by SNS and SQS, also if the addresses of the codes are as long as
// possible.
func TestEventOfTheLargestOrderIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store = store.New(b.pool, ticket.PublicURL("https://"+strings.Repeat("a", 142))) // app.URL allows 150 bytes
	id := b.reserved(t, b.items(t, ticket.MaxTickets)...)
	require.NoError(t, b.fulfil(t.Context(), uuid.New(), b.purchase(id)))
	require.Len(t, b.published(t, "TICKETS_GENERATED")[0].Data.Payload.Tickets, ticket.MaxTickets)

	var body string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT cloud_event::text FROM outbox`).Scan(&body))
	require.Less(t, len(body), messaging.MaxEvent)
	framed, err := json.Marshal(body) // SNS passes it to SQS as a string in JSON
	require.NoError(t, err)
	require.Less(t, len(framed), 240<<10, "with room for the rest of the frame")
}

// A reservation that is too large was made before there was the limit. Its order is refunded.
func TestTooLargeOrderIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	items := b.items(t, ticket.MaxTickets+1)
	id := b.reserved(t, items...)
	_, err := b.store.Confirm(t.Context(), b.purchase(id))
	require.ErrorIs(t, err, ticket.ErrOrderTooLarge)
	require.NoError(t, b.fulfil(t.Context(), uuid.New(), b.purchase(id)))
	out := b.outbox(t)
	require.Len(t, out, 1)
	require.Equal(t, "TICKET_GENERATION_FAILED", out[0].Type)
	require.Equal(t, "ORDER_TOO_LARGE", out[0].Data.Payload.Reason)
	b.requireInventory(t, items[0].TypeID, 0, ticket.MaxQuantity)
}

// The list of an event's ticket types is bounded, also if they are created at the same time.
func TestTypesOfAnEventAreLimited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.pool.Exec(t.Context(), `
		INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity)
		SELECT gen_random_uuid(), $1, 'Type ' || n, 5000, 'USD', 1 FROM generate_series(1, $2) n`,
		b.event, ticket.MaxTypes-1)
	require.NoError(t, err)
	errs := race(4, func(int) error {
		_, err := b.store.CreateType(t.Context(), ticket.Type{
			ID: uuid.New(), EventID: b.event, Name: uuid.NewString(), Price: money.Of(50_00, "USD"), Capacity: 1,
		})
		return err
	})
	created := slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, ticket.ErrTooManyTypes) })
	require.Equal(t, []error{nil}, created)
}

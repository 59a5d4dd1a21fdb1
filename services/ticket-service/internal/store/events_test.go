package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// The newest message determines the stored event, in whatever order messages and fetched events arrive.
func TestNewestMessageWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const (
		draft     = ticket.EventDraft
		published = ticket.EventPublished
		cancelled = ticket.EventCancelled
	)
	first := time.Now().UTC().Truncate(time.Microsecond)
	at := func(seconds int) time.Time { return first.Add(time.Duration(seconds) * time.Second) }
	// step processes a message or a fetched event; second is the message's place in the history of the event.
	type step func(id uuid.UUID) error
	apply := func(status ticket.EventStatus, second int, name string) step {
		return func(id uuid.UUID) error {
			return b.store.ApplyEvent(t.Context(), uuid.New(), "EVENT_UPDATED",
				ticket.Event{ID: id, Name: name, Status: status, UpdatedAt: at(second), Date: first})
		}
	}
	cancel := func(second int) step {
		return func(id uuid.UUID) error {
			return b.store.CancelEvent(t.Context(), uuid.New(),
				events.EventCancelled{EventID: id, EventName: "cancelled", UpdatedAt: at(second)})
		}
	}
	fetch := func(status ticket.EventStatus, name string) step {
		return func(id uuid.UUID) error {
			return b.store.SaveFetchedEvent(t.Context(), ticket.Event{ID: id, Name: name, Status: status, Date: first})
		}
	}
	for _, tt := range []struct {
		name   string
		steps  []step
		status ticket.EventStatus
		stored string // name
	}{
		{"InOrder", []step{apply(draft, 1, "a"), apply(published, 2, "b")}, published, "b"},
		{"StaleUpdate", []step{apply(published, 2, "b"), apply(draft, 1, "a")}, published, "b"},
		{"SameTime", []step{apply(published, 1, "a"), apply(draft, 1, "b")}, published, "a"},
		{"CancelledLast", []step{apply(published, 1, "a"), cancel(2)}, cancelled, "a"},
		{"CancelledFirst", []step{cancel(3), apply(draft, 1, "a"), apply(published, 2, "b")}, cancelled, "cancelled"},
		{"StaleCancel", []step{apply(published, 2, "b"), cancel(1), apply(published, 3, "c")}, cancelled, "c"},
		{"OnlyFetched", []step{fetch(published, "fetched")}, published, "fetched"},
		{"FetchedTwice", []step{fetch(published, "fetched"), fetch(cancelled, "again")}, cancelled, "again"},
		{"DraftAfterFetch", []step{fetch(published, "fetched"), apply(draft, 1, "a")}, published, "a"},
		{
			"DraftAfterFetchedUpdate",
			[]step{apply(draft, 1, "a"), fetch(published, "fetched"), apply(draft, 2, "b")},
			published, "b",
		},
		{"PublishedAfterFetchedCancel", []step{fetch(cancelled, "fetched"), apply(published, 1, "a")}, cancelled, "a"},
		{"PublishedAfterFetchedDraft", []step{fetch(draft, "fetched"), apply(published, 1, "a")}, published, "a"},
		{"FetchUpdatesDraft", []step{apply(draft, 1, "a"), fetch(published, "fetched")}, published, "fetched"},
		{"FetchDoesNotOverrideMessage", []step{apply(published, 1, "a"), fetch(draft, "fetched")}, published, "a"},
		{"FetchDoesNotOverrideCancel", []step{cancel(1), fetch(published, "fetched")}, cancelled, "cancelled"},
		{"CancelAfterFetch", []step{fetch(published, "fetched"), cancel(1)}, cancelled, "fetched"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id := uuid.New()
			for _, s := range tt.steps {
				require.NoError(t, s(id))
			}
			e, err := b.store.Event(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, tt.status, e.Status)
			require.Equal(t, tt.stored, e.Name)
		})
	}

	t.Run("OncePerMessage", func(t *testing.T) {
		t.Parallel()
		id, message := uuid.New(), uuid.New()
		require.NoError(t, b.store.CancelEvent(t.Context(), message,
			events.EventCancelled{EventID: id, UpdatedAt: at(1)}))
		require.NoError(t, b.store.ApplyEvent(t.Context(), message, "EVENT_UPDATED",
			ticket.Event{ID: id, Status: ticket.EventPublished, UpdatedAt: at(2), Date: first}))
		e, err := b.store.Event(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, cancelled, e.Status)
	})
	t.Run("EndOfEvent", func(t *testing.T) {
		t.Parallel()
		e := ticket.Event{ID: uuid.New(), Status: published, Date: first, EndDate: new(at(3600))}
		requireEnd := func(end *time.Time) {
			t.Helper()
			stored, err := b.store.Event(t.Context(), e.ID)
			require.NoError(t, err)
			require.Equal(t, end == nil, stored.EndDate == nil)
			require.True(t, end == nil || end.Equal(*stored.EndDate))
		}
		require.NoError(t, b.store.SaveFetchedEvent(t.Context(), e))
		requireEnd(e.EndDate)
		e.EndDate, e.UpdatedAt = new(at(7200)), at(1)
		require.NoError(t, b.store.ApplyEvent(t.Context(), uuid.New(), "EVENT_UPDATED", e))
		requireEnd(e.EndDate)
		e.EndDate, e.UpdatedAt = nil, at(2)
		require.NoError(t, b.store.ApplyEvent(t.Context(), uuid.New(), "EVENT_UPDATED", e))
		requireEnd(nil)
	})
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		_, err := b.store.Event(t.Context(), uuid.New())
		require.ErrorIs(t, err, ticket.ErrEventNotFound)
	})
}

package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

const cancelled = ticket.EventCancelled

// What is known of an event is what the newest message said, in whatever order they come.
func TestEventMessages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := time.Now().UTC().Truncate(time.Microsecond)
	at := func(seconds int) time.Time { return first.Add(time.Duration(seconds) * time.Second) }
	// step is a message or an answer of event-service's, by its place in the event's history.
	type step func(id uuid.UUID) error
	apply := func(status ticket.EventStatus, second int, name string) step {
		return func(id uuid.UUID) error {
			return b.store.ApplyEvent(t.Context(), uuid.New(), "EVENT_UPDATED",
				ticket.Event{ID: id, Name: name, Status: status, UpdatedAt: at(second), Date: first})
		}
	}
	cancel := func(second int) step {
		return func(id uuid.UUID) error {
			return b.store.CancelEvent(t.Context(), uuid.New(), events.EventCancelled{EventID: id, EventName: "cancelled", UpdatedAt: at(second)})
		}
	}
	fill := func(status ticket.EventStatus, name string) step {
		return func(id uuid.UUID) error {
			return b.store.SaveFetchedEvent(t.Context(), ticket.Event{ID: id, Name: name, Status: status, Date: first})
		}
	}
	for _, tt := range []struct {
		name   string
		steps  []step
		status ticket.EventStatus
		known  string
	}{
		{"InOrder", []step{apply(ticket.EventDraft, 1, "a"), apply(ticket.EventPublished, 2, "b")}, ticket.EventPublished, "b"},
		{"StaleUpdate", []step{apply(ticket.EventPublished, 2, "b"), apply(ticket.EventDraft, 1, "a")}, ticket.EventPublished, "b"},
		{"SameMoment", []step{apply(ticket.EventPublished, 1, "a"), apply(ticket.EventDraft, 1, "b")}, ticket.EventPublished, "a"},
		{"CancelledLast", []step{apply(ticket.EventPublished, 1, "a"), cancel(2)}, cancelled, "a"},
		{"CancelledBeforeCreated", []step{cancel(3), apply(ticket.EventDraft, 1, "a"), apply(ticket.EventPublished, 2, "b")}, cancelled, "cancelled"},
		{"OvertakenCancel", []step{apply(ticket.EventPublished, 2, "b"), cancel(1), apply(ticket.EventPublished, 3, "c")}, cancelled, "c"},
		{"FillBeforeAnyMessage", []step{fill(ticket.EventPublished, "asked")}, ticket.EventPublished, "asked"},
		{"FillOverFill", []step{fill(ticket.EventPublished, "asked"), fill(cancelled, "asked again")}, cancelled, "asked again"},
		{"LateDraftUnderFill", []step{fill(ticket.EventPublished, "asked"), apply(ticket.EventDraft, 1, "a")}, ticket.EventPublished, "a"},
		{"LateDraftUnderFilledDraft", []step{apply(ticket.EventDraft, 1, "a"), fill(ticket.EventPublished, "asked"), apply(ticket.EventDraft, 2, "b")}, ticket.EventPublished, "b"},
		{"LatePublicationUnderFill", []step{fill(cancelled, "asked"), apply(ticket.EventPublished, 1, "a")}, cancelled, "a"},
		{"MessageOverFill", []step{fill(ticket.EventDraft, "asked"), apply(ticket.EventPublished, 1, "a")}, ticket.EventPublished, "a"},
		{"FillOverADraft", []step{apply(ticket.EventDraft, 1, "a"), fill(ticket.EventPublished, "asked")}, ticket.EventPublished, "asked"},
		{"FillUnderAMessage", []step{apply(ticket.EventPublished, 1, "a"), fill(ticket.EventDraft, "asked")}, ticket.EventPublished, "a"},
		{"FillUnderACancel", []step{cancel(1), fill(ticket.EventPublished, "asked")}, cancelled, "cancelled"},
		{"CancelOverFill", []step{fill(ticket.EventPublished, "asked"), cancel(1)}, cancelled, "asked"},
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
			require.Equal(t, tt.known, e.Name)
		})
	}

	t.Run("OncePerMessage", func(t *testing.T) {
		t.Parallel()
		id, message := uuid.New(), uuid.New()
		require.NoError(t, b.store.CancelEvent(t.Context(), message, events.EventCancelled{EventID: id, UpdatedAt: at(1)}))
		require.NoError(t, b.store.ApplyEvent(t.Context(), message, "EVENT_UPDATED",
			ticket.Event{ID: id, Status: ticket.EventPublished, UpdatedAt: at(2), Date: first}))
		e, err := b.store.Event(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, cancelled, e.Status)
	})
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		_, err := b.store.Event(t.Context(), uuid.New())
		require.ErrorIs(t, err, ticket.ErrEventNotFound)
	})
}

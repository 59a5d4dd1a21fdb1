package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// ticket-service processes the updates of an event in the order in which event-service published them.
func TestEventUpdatesArriveInOrder(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSale(t, 5)
	const changes = 8
	for i := range changes {
		require.NoError(t, s.Do(ctx, demo.Request{
			Method: http.MethodPatch, App: "event-service", Path: "/api/events/" + s.event.EventID.String(),
			Token: s.organizer.Token,
			Body:  map[string]string{"name": fmt.Sprint("Renamed ", i)},
		}, nil))
	}
	published, err := outbox[string](ctx, "event-service", `
		SELECT id::text FROM outbox
		WHERE topic = 'event-updates.fifo' AND cloud_event->>'subject' = $1 ORDER BY position`, s.event.EventID.String())
	require.NoError(t, err)
	require.Len(t, published, 1+changes, "EVENT_PUBLISHED and one EVENT_UPDATED for each change")

	db, err := pgx.Connect(ctx, system.DatabaseURL("ticket-service"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close(ctx)) })
	var processed []string
	require.Eventually(t, func() bool {
		rows, err := db.Query(ctx, `
			SELECT event_id::text FROM inbox WHERE event_id::text = ANY ($1) ORDER BY processed_at`, published)
		if err != nil {
			return false
		}
		processed, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err == nil && len(processed) == len(published)
	}, time.Minute, time.Second)
	require.True(t, slices.Equal(published, processed), "published %v, processed %v", published, processed)
}

package app_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// An event that always fails does not hold up the events behind it in the ordered queue.
func TestFailedEventOfTheOrderedQueueIsSetAside(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, messaging.Migrations())
	router := web.NewRouter()
	app.Consumer{
		Config: deadletter.Config{
			Service: "seat-service", API: "/api/seats", Announce: true,
			Queues: messaging.Queues{Main: "seat-queue", Ordered: "seats.fifo"},
		},
		Pool: pool,
		Handlers: []inbox.Handler{inbox.On(func(context.Context, inbox.Event[messagingtest.Sold]) error {
			return errors.New("seat is broken")
		})},
	}.Mount(router, identity.Guard{AppAPIToken: messagingtest.AppAPIToken})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)

	type letter struct {
		Queue, EventID, Reason, State string
		Times                         int
	}
	letters := func() []letter {
		rows, err := pool.Query(t.Context(),
			`SELECT queue, event_id, reason, state, times FROM dead_letters ORDER BY first_seen`)
		require.NoError(t, err)
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[letter])
		require.NoError(t, err)
		return found
	}
	sale := messagingtest.Sale(uuid.NewString())
	require.Equal(t, http.StatusInternalServerError, messagingtest.Deliver(t, server.URL+"/events", sale))
	require.Empty(t, letters(), "the queue delivers it again, and others meanwhile")

	ordered := strings.Replace(messagingtest.Sale(messagingtest.EventID), "seat-events", "seats.fifo", 1)
	for times := range 2 {
		require.Equal(t, http.StatusOK, messagingtest.Deliver(t, server.URL+"/events", ordered))
		require.Equal(t, []letter{
			{"seats.fifo", messagingtest.EventID, "seat is broken", "OPEN", times + 1},
		}, letters())
	}

	_, err := pool.Exec(t.Context(), `ALTER TABLE dead_letters RENAME TO missing`)
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, messagingtest.Deliver(t, server.URL+"/events", ordered),
		"an event that is not stored is not acknowledged")
}

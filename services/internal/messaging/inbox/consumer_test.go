package inbox_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func setup(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return postgrestest.New(t, messaging.Migrations())
}

// serve mounts a consumer of seat-queue and returns the URL of its route.
func serve(t *testing.T, pool *pgxpool.Pool, handlers ...inbox.Handler) (url string) {
	t.Helper()
	router := web.NewRouter()
	inbox.New(pool, messaging.Queues{Main: "seat-queue"}, handlers...).
		Mount(router, identity.Guard{AppAPIToken: messagingtest.AppAPIToken})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server.URL + "/events"
}

// record serves a handler that records its events and returns result.
func record(t *testing.T, pool *pgxpool.Pool, result error) (url string, got *[]inbox.Event[messagingtest.Sold]) {
	t.Helper()
	got = &[]inbox.Event[messagingtest.Sold]{}
	return serve(t, pool, inbox.On(func(ctx context.Context, e inbox.Event[messagingtest.Sold]) error {
		require.Equal(t, messagingtest.CorrelationID, telemetry.From(ctx).CorrelationID, "the event's, not the request's")
		*got = append(*got, e)
		return result
	})), got
}

// unknownEvents returns the ids of the events in unknown_events.
func unknownEvents(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT event_id FROM unknown_events`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return ids
}

func TestHandlerReceivesEvent(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := record(t, pool, nil)
	// The field row is of a later version of the payload.
	status := messagingtest.Deliver(t, url, messagingtest.CloudEvent(messagingtest.EventID, "SEAT_SOLD",
		messagingtest.Envelope("SEAT_SOLD", "1.0", `{"seat":7,"row":"B"}`)))
	require.Equal(t, http.StatusOK, status)
	require.Len(t, *got, 1)
	require.Equal(t, uuid.MustParse(messagingtest.EventID), (*got)[0].ID)
	require.Equal(t, messagingtest.Sold{Seat: 7}, (*got)[0].Payload)
	require.Empty(t, unknownEvents(t, pool))
}

// A subscription of an earlier version delivers to a path for each event type.
func TestPathBelowEventsIsIgnored(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := record(t, pool, nil)
	for i, path := range []string{"/seat-sold", "/unknown", "/seat-painted", "/", "/a/b"} {
		require.Equal(t, http.StatusOK, messagingtest.Deliver(t, url+path, messagingtest.Sale(uuid.NewString())), path)
		require.Len(t, *got, i+1, path)
	}
	require.Empty(t, unknownEvents(t, pool))
}

func TestOnlyTheSidecarDelivers(t *testing.T) {
	t.Parallel()
	url, got := record(t, setup(t), nil)
	for _, path := range []string{"", "/seat-sold", "/unknown"} {
		status, _ := messagingtest.Do(t, http.MethodPost, url+path, messagingtest.Sale(messagingtest.EventID))
		require.Equal(t, http.StatusUnauthorized, status, path)
	}
	require.Empty(t, *got)
}

func TestFailedEventIsRefused(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for _, tt := range []struct {
		name   string
		result error
	}{
		{"Unknown", errors.New("broken")},
		{"CalleeDown", problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "A service that is needed does not answer")},
		// With this error's own status, 404, the sidecar would drop the event.
		{"CalleeKnowsNoSuchThing", problem.New(problem.NotFound, "ORDER_NOT_FOUND", "no such order")},
		{"Conflict", problem.New(problem.Conflict, "RESERVATION_RELEASED", "too late")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, got := record(t, pool, tt.result)
			status := messagingtest.Deliver(t, url, messagingtest.Sale(messagingtest.EventID))
			require.Equal(t, http.StatusInternalServerError, status)
			require.Len(t, *got, 1)
		})
	}
}

func TestMalformedEventIsRefused(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := record(t, pool, nil)
	event := func(data string) string { return messagingtest.CloudEvent(messagingtest.EventID, "SEAT_SOLD", data) }
	for _, tt := range []struct{ name, body string }{
		{"Empty", ``},
		{"NotJSON", `hello`},
		{"NoID", `{"type":"SEAT_SOLD","data":` + messagingtest.Envelope("SEAT_SOLD", "1.0", `{}`) + `}`},
		{"IDIsNoUUID", messagingtest.CloudEvent("42", "SEAT_SOLD", messagingtest.Envelope("SEAT_SOLD", "1.0", `{}`))},
		{"NoData", `{"id":"` + messagingtest.EventID + `","type":"SEAT_SOLD"}`},
		{"NullData", event(`null`)},
		{"DataAsText", event(`"text"`)},
		{"TypesDiffer", event(messagingtest.Envelope("SEAT_FREED", "1.0", `{}`))},
		{"PayloadOfAnotherShape", event(messagingtest.Envelope("SEAT_SOLD", "1.0", `{"seat":"seven"}`))},
		{"TooLarge", event(messagingtest.Envelope("SEAT_SOLD", "1.0", `{"seat":"`+strings.Repeat("7", web.MaxBody)+`"}`))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status := messagingtest.Deliver(t, url, tt.body)
			require.Equal(t, http.StatusUnprocessableEntity, status, "not 404, which would drop it")
			require.Empty(t, *got)
		})
	}
}

func TestUnknownEventIsRecorded(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := record(t, pool, nil)
	laterVersion := messagingtest.CloudEvent(messagingtest.EventID, "SEAT_SOLD",
		messagingtest.Envelope("SEAT_SOLD", "2.0", `{"seats":[7]}`))
	otherID := uuid.NewString()
	otherType := messagingtest.CloudEvent(otherID, "SEAT_PAINTED", `{"any":"thing"}`)
	for range 2 { // the second delivery of each changes nothing
		require.Equal(t, http.StatusOK, messagingtest.Deliver(t, url, laterVersion))
		require.Equal(t, http.StatusOK, messagingtest.Deliver(t, url, otherType))
	}
	require.Empty(t, *got)
	require.ElementsMatch(t, []string{messagingtest.EventID, otherID}, unknownEvents(t, pool))
	var body string
	require.NoError(t, pool.QueryRow(t.Context(),
		`SELECT body FROM unknown_events WHERE event_id = $1`, otherID).Scan(&body))
	require.JSONEq(t, otherType, body, "complete, so that it can be replayed")
}

func TestTwoHandlersOfOneTypePanic(t *testing.T) {
	t.Parallel()
	handler := inbox.On(func(context.Context, inbox.Event[messagingtest.Sold]) error { return nil })
	require.Equal(t, "SEAT_SOLD", handler.Type())
	require.PanicsWithValue(t, "two handlers for events of type SEAT_SOLD", func() {
		inbox.New(nil, messaging.Queues{Main: "seat-queue"}, handler, handler)
	})
}

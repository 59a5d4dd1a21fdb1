package messaging_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const eventID = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"

// delivery is a CloudEvent as the sidecar posts it.
func delivery(id, eventType, data string) string {
	return `{"specversion":"1.0","id":"` + id + `","type":"` + eventType + `","topic":"seat-events","data":` + data + `}`
}

// data is the contract's envelope in that event.
func data(eventType, version, payload string) string {
	return `{"eventType":"` + eventType + `","version":"` + version + `","timestamp":"2024-01-15T10:30:00Z",` +
		`"correlationId":"corr-123456","payload":` + payload + `}`
}

// appAPIToken is what the sidecar shows.
const appAPIToken = "app-api-token"

// serve serves a consumer of SEAT_SOLD in seat-queue whose handler is handle.
func serve(t *testing.T, pool *pgxpool.Pool, handle func(context.Context, messaging.Event[sold]) error) (url string) {
	t.Helper()
	router := web.NewRouter()
	messaging.Consumer{
		Pool: pool, Service: "seat-service", Queue: "seat-queue", Ordered: "seats.fifo", API: "/api/seats", Announce: true,
		Guard: identity.Guard{
			AppAPIToken: appAPIToken,
			Verifier:    identity.Verifier{Keys: func(context.Context) jwt.Keyfunc { return func(*jwt.Token) (any, error) { return public, nil } }},
		},
		Handlers: map[string]messaging.Handler{"SEAT_SOLD": messaging.Handle(handle)},
	}.Mount(router)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server.URL
}

// consumer serves a handler that keeps what it gets and answers with what result gives.
func consumer(t *testing.T, pool *pgxpool.Pool, result error) (url string, got *[]messaging.Event[sold]) {
	t.Helper()
	got = &[]messaging.Event[sold]{}
	return serve(t, pool, func(ctx context.Context, e messaging.Event[sold]) error {
		require.Equal(t, "corr-123456", telemetry.From(ctx).CorrelationID, "the event's id, not the delivery's")
		*got = append(*got, e)
		return result
	}), got
}

func deliver(t *testing.T, url, body string) int {
	t.Helper()
	status, _ := do(t, http.MethodPost, url, body, "dapr-api-token", appAPIToken)
	return status
}

func do(t *testing.T, method, url, body string, headers ...string) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, answer
}

func unknown(t *testing.T, pool *pgxpool.Pool) (ids []string) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT event_id FROM unknown_events`)
	require.NoError(t, err)
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

func TestHandle(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := consumer(t, pool, nil)
	// A field that a later version adds does not hurt.
	status := deliver(t, url+"/events/seat-sold", delivery(eventID, "SEAT_SOLD", data("SEAT_SOLD", "1.0", `{"seat":7,"row":"B"}`)))
	require.Equal(t, http.StatusOK, status)
	require.Len(t, *got, 1)
	require.Equal(t, uuid.MustParse(eventID), (*got)[0].ID)
	require.Equal(t, sold{7}, (*got)[0].Payload)
	require.Empty(t, unknown(t, pool))
}

func TestHandleRefusesWhatFailed(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for _, tt := range []struct {
		name   string
		result error
	}{
		{"Unknown", errors.New("broken")},
		{"CalleeDown", problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "A service that is needed does not answer")},
		// To a sidecar 404 means that the event is to be dropped.
		{"CalleeKnowsNoSuchThing", problem.New(problem.NotFound, "ORDER_NOT_FOUND", "no such order")},
		{"Conflict", problem.New(problem.Conflict, "RESERVATION_RELEASED", "too late")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, got := consumer(t, pool, tt.result)
			status := deliver(t, url+"/events/seat-sold", delivery(eventID, "SEAT_SOLD", data("SEAT_SOLD", "1.0", `{"seat":7}`)))
			require.Equal(t, http.StatusInternalServerError, status)
			require.Len(t, *got, 1)
		})
	}
}

func TestHandleRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := consumer(t, pool, nil)
	for _, tt := range []struct{ name, body string }{
		{"Empty", ``},
		{"NotJSON", `hello`},
		{"NoID", `{"type":"SEAT_SOLD","data":` + data("SEAT_SOLD", "1.0", `{}`) + `}`},
		{"IDNotOurs", delivery("42", "SEAT_SOLD", data("SEAT_SOLD", "1.0", `{}`))},
		{"NoData", `{"id":"` + eventID + `","type":"SEAT_SOLD"}`},
		{"NullData", delivery(eventID, "SEAT_SOLD", `null`)},
		{"DataAsText", delivery(eventID, "SEAT_SOLD", `"text"`)},
		{"TypesDisagree", delivery(eventID, "SEAT_SOLD", data("SEAT_FREED", "1.0", `{}`))},
		{"PayloadOfAnotherShape", delivery(eventID, "SEAT_SOLD", data("SEAT_SOLD", "1.0", `{"seat":"seven"}`))},
		{"TooLarge", delivery(eventID, "SEAT_SOLD", data("SEAT_SOLD", "1.0", `{"seat":"`+strings.Repeat("7", web.MaxBody)+`"}`))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status := deliver(t, url+"/events/seat-sold", tt.body)
			require.Equal(t, http.StatusUnprocessableEntity, status, "not 404, which would drop it")
			require.Empty(t, *got)
		})
	}
}

func TestUnknownEventsAreRecorded(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := consumer(t, pool, nil)
	other := uuid.NewString()
	for range 2 { // the second delivery of each changes nothing
		require.Equal(t, http.StatusOK, deliver(t, url+"/events/seat-sold", delivery(eventID, "SEAT_SOLD", data("SEAT_SOLD", "2.0", `{"seats":[7]}`))))
		require.Equal(t, http.StatusOK, deliver(t, url+"/events/unknown", delivery(other, "SEAT_PAINTED", `{"any":"thing"}`)))
	}
	require.Empty(t, *got)
	require.ElementsMatch(t, []string{eventID, other}, unknown(t, pool))
	var body string
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT body FROM unknown_events WHERE event_id = $1`, other).Scan(&body))
	require.JSONEq(t, delivery(other, "SEAT_PAINTED", `{"any":"thing"}`), body, "whole, to be replayed")
}

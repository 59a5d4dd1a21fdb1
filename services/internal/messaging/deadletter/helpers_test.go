package deadletter_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const eventID = messagingtest.EventID

var (
	public, private, _ = ed25519.GenerateKey(nil)

	errBroken = errors.New("seat is broken")
)

// letter is a dead letter in an answer.
type letter struct {
	ID        uuid.UUID  `json:"deadLetterId"`
	Queue     string     `json:"queue"`
	EventID   string     `json:"eventId"`
	EventType string     `json:"eventType"`
	Reason    string     `json:"reason"`
	State     string     `json:"state"`
	Times     int        `json:"times"`
	FirstSeen time.Time  `json:"firstSeen"`
	LastSeen  time.Time  `json:"lastSeen"`
	HandledAt *time.Time `json:"handledAt"`
	Body      string     `json:"body"`
}

type lettersPage struct {
	DeadLetters []letter `json:"deadLetters"`
	NextCursor  string   `json:"nextCursor"`
}

type failure struct {
	Error string `json:"error"`
	Field string `json:"field"`
}

func setup(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return postgrestest.New(t, messaging.Migrations())
}

// handler handles SEAT_SOLD.
type handler func(context.Context, inbox.Event[messagingtest.Sold]) error

// serve serves the dead letters of seat-queue and seats.fifo. handle processes their events.
func serve(t *testing.T, pool *pgxpool.Pool, handle handler) (url string) {
	t.Helper()
	return serveQueues(t, pool, messaging.Queues{Main: "seat-queue", Ordered: "seats.fifo"}, handle)
}

func serveQueues(t *testing.T, pool *pgxpool.Pool, queues messaging.Queues, handle handler) (url string) {
	t.Helper()
	router := web.NewRouter()
	deadletter.New(pool, inbox.New(pool, queues, inbox.On(handle)).Process, deadletter.Config{
		Service: "seat-service", Queues: queues, API: "/api/seats", Announce: true,
	}).Mount(router, identity.Guard{
		AppAPIToken: messagingtest.AppAPIToken,
		Verifier: identity.Verifier{Keys: func(context.Context) jwt.Keyfunc {
			return func(*jwt.Token) (any, error) { return public, nil }
		}},
	})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server.URL
}

// record serves a handler that records its events and returns result.
func record(t *testing.T, pool *pgxpool.Pool, result error) (url string, got *[]inbox.Event[messagingtest.Sold]) {
	t.Helper()
	got = &[]inbox.Event[messagingtest.Sold]{}
	return serve(t, pool, func(_ context.Context, e inbox.Event[messagingtest.Sold]) error {
		*got = append(*got, e)
		return result
	}), got
}

// as returns the headers of a user with a role.
func as(t *testing.T, role identity.Role) []string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: uuid.NewString(),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
		},
		Roles: []identity.Role{role},
	}).SignedString(private)
	require.NoError(t, err)
	return []string{"Authorization", "Bearer " + token}
}

// ask sends a request as an admin and returns the decoded answer.
func ask[T any](t *testing.T, method, url string, want int) (answer T) {
	t.Helper()
	status, body := messagingtest.Do(t, method, url, "", as(t, identity.RoleAdmin)...)
	require.Equal(t, want, status, "%s", body)
	require.NoError(t, json.Unmarshal(body, &answer))
	return answer
}

func list(t *testing.T, url, query string) []letter {
	t.Helper()
	return ask[lettersPage](t, http.MethodGet, url+"/api/seats/admin/dead-letters"+query, http.StatusOK).DeadLetters
}

// framed returns a message of the dead-letter queue, with the frame that the topic puts around an event.
func framed(t *testing.T, messageID, cloudEvent string) string {
	t.Helper()
	frame, err := json.Marshal(map[string]string{
		"Type": "Notification", "MessageId": messageID,
		"TopicArn": "arn:aws:sns:us-east-1:000000000000:seat-events", "Message": cloudEvent,
	})
	require.NoError(t, err)
	return string(frame)
}

// archive delivers a message of the dead-letter queue, as the sidecar does.
func archive(t *testing.T, url, body string) {
	t.Helper()
	require.Equal(t, http.StatusOK, messagingtest.Deliver(t, url+"/bindings/dead-letters", body))
}

// sweep triggers a sweep, as the sidecar does every five minutes.
func sweep(t *testing.T, url string) {
	t.Helper()
	require.Equal(t, http.StatusOK, messagingtest.Deliver(t, url+"/bindings/monitor-dead-letters", ""))
}

// alerts returns the ids of the dead letters that operations were alerted about.
func alerts(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT cloud_event->'data'->'payload'->>'deadLetterId' FROM outbox
		WHERE topic = 'operations-events' AND cloud_event->>'type' = 'DEAD_LETTER_ARCHIVED' ORDER BY position`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return ids
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

package replay_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/replay"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const (
	deadline = 15 * time.Second
	tick     = 5 * time.Millisecond
	kept     = 30 * 24 * time.Hour
)

var public, private, _ = ed25519.GenerateKey(nil)

// broker is a Publisher that delivers every event to the consumers that are not away.
type broker struct {
	mu        sync.Mutex
	consumers map[string]inbox.Consumer
	away      string
}

func (b *broker) PublishEvents(
	ctx context.Context, _, _ string, events []any, _ ...dapr.PublishEventsOption,
) dapr.PublishEventsResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		for name, consumer := range b.consumers {
			if name == b.away {
				continue
			}
			if err := consumer.Process(ctx, e.(dapr.PublishEventsEvent).Data); err != nil {
				return dapr.PublishEventsResponse{Error: err, FailedEvents: events}
			}
		}
	}
	return dapr.PublishEventsResponse{}
}

// bundle is a service that publishes seats, with two consumers that count the effects of each.
type bundle struct {
	pool   *pgxpool.Pool
	broker *broker
	url    string

	mu      sync.Mutex
	effects map[string][]int // the seats, by consumer
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{pool: postgrestest.New(t, messaging.Migrations()), effects: map[string][]int{}}
	b.broker = &broker{consumers: map[string]inbox.Consumer{}}
	for _, name := range []string{"steady", "absent"} {
		pool := postgrestest.New(t, messaging.Migrations())
		b.broker.consumers[name] = inbox.New(pool, messaging.Queues{Main: name},
			inbox.On(func(ctx context.Context, e inbox.Event[messagingtest.Sold]) error {
				return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
					first, err := inbox.FirstTx(ctx, tx, e.ID, e.EventType)
					if err != nil || !first {
						return err
					}
					b.mu.Lock()
					defer b.mu.Unlock()
					b.effects[name] = append(b.effects[name], e.Payload.Seat)
					return nil
				})
			}))
	}
	replays := replay.New(b.pool, replay.Config{API: "/api/seats", Kept: kept, Batch: 3, Pause: tick})
	for _, run := range []func(context.Context) error{
		outbox.Relay{Pool: b.pool, Publisher: b.broker, PubSub: "pubsub", Poll: tick}.Run, replays.Run,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = run(ctx)
		}()
		t.Cleanup(func() { cancel(); <-ended })
	}
	router := web.NewRouter()
	replays.Mount(router, identity.Guard{Verifier: identity.Verifier{Keys: func(context.Context) jwt.Keyfunc {
		return func(*jwt.Token) (any, error) { return public, nil }
	}}})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	b.url = server.URL + "/api/seats/admin/replays"
	return b
}

// sell adds the sales of seats and waits until they are published.
func (b *bundle) sell(t *testing.T, seats ...int) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		for _, seat := range seats {
			if err := outbox.AddTx(t.Context(), tx, "seat-service", messagingtest.Sold{Seat: seat}); err != nil {
				return err
			}
		}
		return nil
	}))
	b.waitPublished(t)
}

func (b *bundle) waitPublished(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE published_at IS NULL`).Scan(&n)
		return err == nil && n == 0
	}, deadline, tick)
}

// age makes the events of the outbox older.
func (b *bundle) age(t *testing.T, by string) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `
		UPDATE outbox SET created_at = created_at - $1::interval, published_at = published_at - $1::interval`, by)
	require.NoError(t, err)
}

func (b *bundle) seats(consumer string) []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(slices.Values(b.effects[consumer]))
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

type answer struct {
	ReplayID, Topic, Status string
	Events                  int
	CompletedAt             *time.Time
	Error, Field            string
}

func (b *bundle) ask(t *testing.T, method, url string, body any, want int) (got answer) {
	t.Helper()
	sent, err := json.Marshal(body)
	require.NoError(t, err)
	status, received := messagingtest.Do(t, method, url, string(sent), as(t, identity.RoleAdmin)...)
	require.Equal(t, want, status, "%s", received)
	require.NoError(t, json.Unmarshal(received, &got))
	return got
}

// request is the body of a request for a replay.
type request struct {
	Topic string     `json:"topic"`
	Since time.Time  `json:"since"`
	Until *time.Time `json:"until,omitempty"`
}

// replay requests a replay and waits until it is completed and its events are published.
func (b *bundle) replay(t *testing.T, r request) answer {
	t.Helper()
	requested := b.ask(t, http.MethodPost, b.url, r, http.StatusAccepted)
	require.Equal(t, "RUNNING", requested.Status)
	var completed answer
	require.Eventually(t, func() bool {
		completed = b.ask(t, http.MethodGet, b.url+"/"+requested.ReplayID, nil, http.StatusOK)
		return completed.Status == "COMPLETED"
	}, deadline, tick)
	require.NotNil(t, completed.CompletedAt)
	b.waitPublished(t)
	return completed
}

func TestReplayReachesAConsumerThatLostItsQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.sell(t, 1)
	b.broker.mu.Lock()
	b.broker.away = "absent" // its queue is lost
	b.broker.mu.Unlock()
	b.sell(t, 2, 3, 4, 5, 6, 7, 8)
	b.age(t, "5 days")
	b.broker.mu.Lock()
	b.broker.away = ""
	b.broker.mu.Unlock()
	b.sell(t, 9)
	all := []int{1, 2, 3, 4, 5, 6, 7, 8, 9}
	require.Equal(t, []int{1, 9}, b.seats("absent"))
	require.Equal(t, all, b.seats("steady"))

	since := time.Now().Add(-6 * 24 * time.Hour)
	for range 2 { // again without another effect
		require.Equal(t, 9, b.replay(t, request{Topic: "seat-events", Since: since}).Events)
		require.Equal(t, all, b.seats("absent"))
		require.Equal(t, all, b.seats("steady"))
	}
}

func TestReplayIsLimitedToItsTopicAndTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.sell(t, 1)
	b.age(t, "5 days")
	b.sell(t, 2)
	b.age(t, "5 days")
	b.sell(t, 3)
	day := func(days int) time.Time { return time.Now().Add(-time.Duration(days) * 24 * time.Hour) }
	until := day(2)
	require.Equal(t, 1, b.replay(t, request{"seat-events", day(7), &until}).Events)
	require.Equal(t, 2, b.replay(t, request{"seat-events", day(7), nil}).Events)
	require.Equal(t, 3, b.replay(t, request{"seat-events", day(12), nil}).Events)
	require.Zero(t, b.replay(t, request{"other-events", day(12), nil}).Events)
}

func TestInvalidReplaysAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now()
	before := now.Add(-2 * time.Hour)
	for field, r := range map[string]request{
		"topic": {Since: before},
		"since": {Topic: "seat-events", Since: now.Add(-kept - time.Hour)}, // the inboxes may have forgotten them
		"until": {Topic: "seat-events", Since: now.Add(-time.Hour), Until: &before},
	} {
		require.Equal(t, field, b.ask(t, http.MethodPost, b.url, r, http.StatusBadRequest).Field)
	}
	unknown := b.ask(t, http.MethodGet, b.url+"/"+uuid.NewString(), nil, http.StatusNotFound)
	require.Equal(t, "REPLAY_NOT_FOUND", unknown.Error)
	for path, method := range map[string]string{b.url: http.MethodPost, b.url + "/" + uuid.NewString(): http.MethodGet} {
		status, _ := messagingtest.Do(t, method, path, "{}", as(t, identity.RoleOrganizer)...)
		require.Equal(t, http.StatusForbidden, status)
		status, _ = messagingtest.Do(t, method, path, "{}")
		require.Equal(t, http.StatusUnauthorized, status)
	}
}

func TestReplayReadsOnlyItsTime(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, messaging.Migrations())
	_, err := pool.Exec(t.Context(), `
		INSERT INTO outbox (id, topic, cloud_event, created_at, published_at)
		SELECT gen_random_uuid(), 'seat-events', '{}', now() - interval '20 days', now() - interval '20 days'
		FROM generate_series(1, 20000);
		INSERT INTO replays (topic, since, until) VALUES ('seat-events', now() - interval '1 day', now())`)
	require.NoError(t, err)
	plans := postgrestest.Explain(t, pool, func(pool *pgxpool.Pool) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = replay.New(pool, replay.Config{Pause: tick}).Run(ctx)
		}()
		require.Eventually(t, func() bool {
			var running int
			err := pool.QueryRow(ctx, `SELECT count(*) FROM replays WHERE completed_at IS NULL`).Scan(&running)
			return err == nil && running == 0
		}, deadline, tick)
		cancel()
		<-ended
	})
	require.NotContains(t, plans.Of(t, "outbox"), "Seq Scan on outbox")
}

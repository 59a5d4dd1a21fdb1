package outbox_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// slowBroker accepts every call after a delay.
type slowBroker time.Duration

func (b slowBroker) PublishEvents(
	context.Context, string, string, []any, ...dapr.PublishEventsOption,
) dapr.PublishEventsResponse {
	time.Sleep(time.Duration(b))
	return dapr.PublishEventsResponse{}
}

// BenchmarkWriters measures transactions that add an event, concurrently with a relay. The result is meaningful only on
// a server with fsync=on.
func BenchmarkWriters(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(strconv.Itoa(writers), func(b *testing.B) {
			config := postgrestest.New(b, messaging.Migrations()).Config()
			config.MaxConns = int32(2 * writers)
			pool, err := pgxpool.NewWithConfig(b.Context(), config)
			require.NoError(b, err)
			b.Cleanup(pool.Close)
			go func() {
				_ = outbox.Relay{Pool: pool, Publisher: slowBroker(5 * time.Millisecond), PubSub: "pubsub"}.Run(b.Context())
			}()
			b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := postgres.InTx(b.Context(), pool, func(tx pgx.Tx) error {
						return outbox.AddTx(b.Context(), tx, "seat-service", messagingtest.Sold{Seat: 1})
					}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkRelay measures a relay without the time of the broker.
func BenchmarkRelay(b *testing.B) {
	for _, history := range []int{0, 1_000_000} {
		b.Run(fmt.Sprint("history=", history), func(b *testing.B) {
			pool := postgrestest.New(b, messaging.Migrations())
			fill := func(n int, published string) {
				_, err := pool.Exec(b.Context(), `
					INSERT INTO outbox (id, topic, cloud_event, published_at)
					SELECT gen_random_uuid(), 'seat-events',
					       json_build_object('type', 'SEAT_SOLD', 'filler', repeat('x', 800)), `+published+`
					FROM generate_series(1, $1)`, n)
				require.NoError(b, err)
			}
			fill(history, "now()")
			b.ResetTimer()
			fill(b.N, "NULL")
			go func() {
				_ = outbox.Relay{Pool: pool, Publisher: slowBroker(0), PubSub: "pubsub", Poll: tick}.Run(b.Context())
			}()
			for left := 1; left > 0; time.Sleep(time.Millisecond) {
				require.NoError(b, pool.QueryRow(b.Context(),
					`SELECT count(*) FROM outbox WHERE published_at IS NULL`).Scan(&left))
			}
		})
	}
}

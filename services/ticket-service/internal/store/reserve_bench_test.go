package store_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/batching"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// BenchmarkReserve reserves tickets of one type and of a thousand types for many concurrent callers: in a transaction
// per request ("plain"), and in batches. Its results are meaningful only if the database flushes commits to disk
// (fsync=on).
func BenchmarkReserve(b *testing.B) {
	for _, types := range []int{1, 1000} {
		for _, callers := range []int{64, 256} {
			for _, way := range []string{"plain", "batched"} {
				b.Run("types="+strconv.Itoa(types)+"/callers="+strconv.Itoa(callers)+"/"+way, func(b *testing.B) {
					bundle := setup(b)
					kinds := make([]uuid.UUID, types)
					for i := range kinds {
						kinds[i] = bundle.newType(b, ticket.MaxCapacity)
					}
					batcher := batching.New(bundle.store.Reserve, batching.Limits{
						Concurrency: 2, BatchSize: 50, QueueSize: 1000, MaxWait: time.Minute,
					})
					b.ResetTimer()
					errs := make([]error, callers)
					race(callers, func(i int) error {
						for n := i; n < b.N && errs[i] == nil; n += callers {
							q := bundle.request(uuid.New(), item(kinds[n%types], 1))
							if way == "plain" {
								errs[i] = bundle.plain(b.Context(), q)
							} else {
								_, errs[i] = batcher.Reserve(b.Context(), q)
							}
						}
						return nil
					})
					for _, err := range errs {
						require.NoError(b, err)
					}
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "holds/s")
				})
			}
		}
	}
}

// plain reserves the tickets of a request in a transaction of its own, in the simplest way.
func (b *bundle) plain(ctx context.Context, q ticket.Request) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		var price int64
		var currency string
		if err := tx.QueryRow(ctx, `
			UPDATE ticket_types SET held = held + $2 WHERE id = $1 AND capacity - sold - held >= $2
			RETURNING price_minor, currency`, q.Items[0].TypeID, q.Items[0].Quantity).Scan(&price, &currency); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO reservations (id, user_id, event_id, status, expires_at) VALUES ($1, $2, $3, 'ACTIVE', now() + $4)`,
			q.ReservationID, q.UserID, q.EventID, q.Hold); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
			VALUES ($1, $2, $3, $4, $5)`, q.ReservationID, q.Items[0].TypeID, q.Items[0].Quantity, price, currency)
		return err
	})
}

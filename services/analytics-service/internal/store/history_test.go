package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// history is the number of stored events of others. No statement may read all of them.
const history = 20_000

func TestStatementsDoNotScanTables(t *testing.T) {
	b := setup(t)
	for _, sql := range []string{
		`INSERT INTO events (id, organizer_id, name, status, updated_at, known_since)
		 SELECT md5('event ' || n)::uuid, md5('organizer ' || n % 1000)::uuid, '', 'PUBLISHED', now(),
		        now() - n * interval '1 minute'
		 FROM generate_series(1, $1) n`,
		`INSERT INTO event_sales (event_id, currency, orders_completed, orders_failed, tickets_generated, refunded_minor)
		 SELECT md5('event ' || n)::uuid, 'USD', 0, 0, 0, 0 FROM generate_series(1, $1) n`,
		`INSERT INTO ticket_type_sales (event_id, ticket_type_id, tickets, revenue_minor)
		 SELECT md5('event ' || n)::uuid, gen_random_uuid(), 1, 1 FROM generate_series(1, $1) n, generate_series(1, 2)`,
		`INSERT INTO hourly_sales SELECT md5('event ' || n)::uuid, now() + hour * interval '1 hour', 1, 1, 1
		 FROM generate_series(1, $1) n, generate_series(1, 3) hour`,
		`INSERT INTO inbox (event_id, type) SELECT gen_random_uuid(), '' FROM generate_series(1, $1)`,
	} {
		_, err := b.pool.Exec(t.Context(), sql, history)
		require.NoError(t, err)
	}
	plans := postgrestest.Explain(t, b.pool, func(pool *pgxpool.Pool) {
		ctx, s := t.Context(), store.New(pool)
		ok := func(err error) { t.Helper(); require.NoError(t, err) }
		ok(s.Put(ctx, message(), b.event))
		for range 2 {
			m := message()
			m.Fact = uuid.New()
			ok(s.Add(ctx, m, b.order()))
		}
		_, err := s.Report(ctx, b.event.ID)
		ok(err)
		for _, page := range []paging.Page{{Limit: 20}, {Limit: 20, After: new(time.Now().Add(-time.Hour))}} {
			var organizer uuid.UUID
			ok(pool.QueryRow(ctx, `SELECT md5('organizer 7')::uuid`).Scan(&organizer))
			_, err = s.Totals(ctx, organizer, page)
			ok(err)
		}
	})
	require.NotContains(t, plans.Of(t, ""), "Seq Scan on")
}

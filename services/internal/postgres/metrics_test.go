package postgres_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// seatGauges also count how often they are queried.
var seatGauges = []postgres.Gauges{{
	Query:  `SELECT 'row ' || id, sold, nextval('queries') FROM seats WHERE id > $1 ORDER BY id`,
	Args:   []any{1},
	Labels: []string{"row"},
	Values: []postgres.Gauge{{"seats_sold", "Seats."}, {"seats_queries", "Queries."}},
}}

func TestScrapesShareAQuery(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, seats)
	_, err := pool.Exec(t.Context(), `CREATE SEQUENCE queries`)
	require.NoError(t, err)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(postgres.Collector(pool, seatGauges))
	for range 3 {
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
			# HELP database_gauges_up 1 if the gauges from the database are present, 0 if a query failed.
			# TYPE database_gauges_up gauge
			database_gauges_up 1
			# HELP seats_queries Queries.
			# TYPE seats_queries gauge
			seats_queries{row="row 2"} 1
			# HELP seats_sold Seats.
			# TYPE seats_sold gauge
			seats_sold{row="row 2"} -1
		`), "database_gauges_up", "seats_sold", "seats_queries"))
	}
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestGaugesAreAbsentIfAQueryFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, query string
	}{
		{"Broken", `SELECT 1 FROM nowhere`},
		{"Slow", `SELECT 1 FROM pg_sleep(60)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool := postgrestest.New(t)
			collector := postgres.Collector(pool,
				[]postgres.Gauges{{Query: `SELECT 1`, Values: []postgres.Gauge{{"first_gauge", "Succeeds."}}}},
				[]postgres.Gauges{{Query: tt.query, Values: []postgres.Gauge{{"second_gauge", "Fails."}}}})
			require.NoError(t, testutil.CollectAndCompare(collector, strings.NewReader(`
				# HELP database_gauges_up 1 if the gauges from the database are present, 0 if a query failed.
				# TYPE database_gauges_up gauge
				database_gauges_up 0
			`), "database_gauges_up", "first_gauge", "second_gauge"))
			require.NotZero(t, testutil.CollectAndCount(collector, "database_pool_limit_connections"),
				"the metrics of the pool need no query")
		})
	}
}

// Package postgrestest gives each test tables of its own in a real PostgreSQL.
package postgrestest

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// New gives a pool on a new schema in the server at TEST_DATABASE_URL with the migrations applied.
// The schema is dropped when the test ends. `make test` sets the variable.
func New(t testing.TB, migrations ...postgres.Migrations) *pgxpool.Pool {
	t.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	require.NotEmpty(t, server, "set TEST_DATABASE_URL to a PostgreSQL server's URL, or run `make test`")

	schema := "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, server)
	require.NoError(t, err)
	_, err = admin.Exec(ctx, "CREATE SCHEMA "+schema)
	require.NoError(t, err)

	u, err := url.Parse(server)
	require.NoError(t, err)
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	pool, err := postgres.Open(ctx, u.String(), migrations...)
	require.NoError(t, err)

	t.Cleanup(func() {
		pool.Close()
		_, err := admin.Exec(ctx, "DROP SCHEMA "+schema+" CASCADE")
		require.NoError(t, err)
		require.NoError(t, admin.Close(ctx))
	})
	return pool
}

// Plans gives how the database would find the gauges, with what it knows of its tables now.
func Plans(t testing.TB, pool *pgxpool.Pool, gauges []postgres.Gauges) string {
	t.Helper()
	_, err := pool.Exec(context.Background(), "ANALYZE")
	require.NoError(t, err)
	var plans []string
	for _, g := range gauges {
		rows, err := pool.Query(context.Background(), "EXPLAIN "+g.Query, g.Args...)
		require.NoError(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		plans = append(plans, plan...)
	}
	return strings.Join(plans, "\n")
}

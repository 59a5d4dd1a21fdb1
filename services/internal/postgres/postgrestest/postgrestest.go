// Package postgrestest creates a schema for each test in a real PostgreSQL, and explains queries.
package postgrestest

import (
	"context"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// New returns a pool whose connections use a new schema of the server at TEST_DATABASE_URL, with the migrations
// applied. The schema is dropped when the test ends. `make test` sets the variable.
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

// Plans returns the query plans of the gauges, after it has updated the statistics of the tables.
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

// StatementPlans maps statements to their query plans.
type StatementPlans map[string]string

// Of returns the plans of the statements that match a pattern. The test fails if there are none.
func (p StatementPlans) Of(t testing.TB, pattern string) string {
	t.Helper()
	var found []string
	for sql, plan := range p {
		if regexp.MustCompile(pattern).MatchString(sql) {
			found = append(found, sql, plan)
		}
	}
	require.NotEmpty(t, found, "a statement like %s", pattern)
	return strings.Join(found, "\n")
}

// Explain returns the generic plans of the statements that do sends through its pool. These are the plans that the
// database uses for a prepared statement after a few executions, whatever the arguments. The statistics of the tables
// are those from before do.
func Explain(t testing.TB, pool *pgxpool.Pool, do func(pool *pgxpool.Pool)) StatementPlans {
	t.Helper()
	var sent recorder
	config := pool.Config()
	config.ConnConfig.Tracer = &sent
	recorded, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer recorded.Close()
	_, err = pool.Exec(t.Context(), "ANALYZE")
	require.NoError(t, err)
	do(recorded)

	conn, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan")
	require.NoError(t, err)
	plans := StatementPlans{}
	for sql, arguments := range sent.statements {
		nulls := ""
		if arguments > 0 {
			nulls = "(NULL" + strings.Repeat(", NULL", arguments-1) + ")"
		}
		_, err = conn.Exec(t.Context(), "PREPARE explained AS "+sql)
		require.NoError(t, err, sql)
		rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE explained"+nulls)
		require.NoError(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err, sql)
		plans[sql] = strings.Join(plan, "\n")
		_, err = conn.Exec(t.Context(), "DEALLOCATE explained")
		require.NoError(t, err)
	}
	return plans
}

// recorder is a tracer that records the statements that can be explained, with the number of their arguments.
type recorder struct {
	mu         sync.Mutex
	statements map[string]int
}

var explainable = regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b`)

func (r *recorder) record(sql string, args []any) {
	if !explainable.MatchString(sql) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.statements == nil {
		r.statements = map[string]int{}
	}
	r.statements[sql] = len(args)
}

// The methods below implement pgx.QueryTracer and pgx.BatchTracer.

func (r *recorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.record(data.SQL, data.Args)
	return ctx
}
func (r *recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (r *recorder) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (r *recorder) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	r.record(data.SQL, data.Args)
}
func (r *recorder) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

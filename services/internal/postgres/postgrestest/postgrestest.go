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
func New(tb testing.TB, migrations ...postgres.Migrations) *pgxpool.Pool {
	tb.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	require.NotEmpty(tb, server, "set TEST_DATABASE_URL to a PostgreSQL server's URL, or run `make test`")

	schema := "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, server)
	require.NoError(tb, err)
	_, err = admin.Exec(ctx, "CREATE SCHEMA "+schema)
	require.NoError(tb, err)

	u, err := url.Parse(server)
	require.NoError(tb, err)
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	pool, err := postgres.Open(ctx, u.String(), migrations...)
	require.NoError(tb, err)

	tb.Cleanup(func() {
		pool.Close()
		_, err := admin.Exec(ctx, "DROP SCHEMA "+schema+" CASCADE")
		require.NoError(tb, err)
		require.NoError(tb, admin.Close(ctx))
	})
	return pool
}

// Plans returns the query plans of the gauges, after it has updated the statistics of the tables.
func Plans(tb testing.TB, pool *pgxpool.Pool, gauges []postgres.Gauges) string {
	tb.Helper()
	_, err := pool.Exec(context.Background(), "ANALYZE")
	require.NoError(tb, err)
	var plans []string
	for _, g := range gauges {
		rows, err := pool.Query(context.Background(), "EXPLAIN "+g.Query, g.Args...)
		require.NoError(tb, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(tb, err)
		plans = append(plans, plan...)
	}
	return strings.Join(plans, "\n")
}

// StatementPlans maps statements to their query plans.
type StatementPlans map[string]string

// Of returns the plans of the statements that match a pattern. The test fails if there are none.
func (p StatementPlans) Of(tb testing.TB, pattern string) string {
	tb.Helper()
	var found []string
	for sql, plan := range p {
		if regexp.MustCompile(pattern).MatchString(sql) {
			found = append(found, sql, plan)
		}
	}
	require.NotEmpty(tb, found, "a statement like %s", pattern)
	return strings.Join(found, "\n")
}

// Explain returns the generic plans of the statements that do sends through its pool. These are the plans that the
// database uses for a prepared statement after a few executions, whatever the arguments. The statistics of the tables
// are those from before do.
func Explain(tb testing.TB, pool *pgxpool.Pool, do func(pool *pgxpool.Pool)) StatementPlans {
	tb.Helper()
	var sent recorder
	config := pool.Config()
	config.ConnConfig.Tracer = &sent
	recorded, err := pgxpool.NewWithConfig(tb.Context(), config)
	require.NoError(tb, err)
	defer recorded.Close()
	_, err = pool.Exec(tb.Context(), "ANALYZE")
	require.NoError(tb, err)
	do(recorded)

	conn, err := pgx.ConnectConfig(tb.Context(), pool.Config().ConnConfig)
	require.NoError(tb, err)
	defer conn.Close(context.WithoutCancel(tb.Context()))
	_, err = conn.Exec(tb.Context(), "SET plan_cache_mode = force_generic_plan")
	require.NoError(tb, err)
	plans := StatementPlans{}
	for sql, arguments := range sent.statements {
		nulls := ""
		if arguments > 0 {
			nulls = "(NULL" + strings.Repeat(", NULL", arguments-1) + ")"
		}
		_, err = conn.Exec(tb.Context(), "PREPARE explained AS "+sql)
		require.NoError(tb, err, sql)
		rows, err := conn.Query(tb.Context(), "EXPLAIN EXECUTE explained"+nulls)
		require.NoError(tb, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(tb, err, sql)
		plans[sql] = strings.Join(plan, "\n")
		_, err = conn.Exec(tb.Context(), "DEALLOCATE explained")
		require.NoError(tb, err)
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

package postgres_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// visits are rows of 2020 and before, which are to be deleted unless they are kept, and later rows, which are not.
var visits = postgres.Migrations{VersionTable: "visits_version", Files: fstest.MapFS{
	"001_visits.sql": {Data: []byte(`
		CREATE TABLE visits (id int PRIMARY KEY, ended_at timestamptz, kept boolean NOT NULL DEFAULT false);
		CREATE INDEX visits_ended ON visits (ended_at);
		INSERT INTO visits SELECT n, timestamptz '2020-12-31 UTC' - n / 3 * interval '1 s' FROM generate_series(0, 2999) n;
		INSERT INTO visits SELECT n, timestamptz '2019-01-01 UTC', true FROM generate_series(3000, 3009) n;
		INSERT INTO visits SELECT n, timestamptz '2021-01-01 UTC' + n * interval '1 s' FROM generate_series(4000, 24000) n;
		INSERT INTO visits VALUES (30000, NULL);
		---- create above / drop below ----
		DROP TABLE visits;`)},
}}

var newYear = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)

func TestPurgeDeletesExpiredRowsExceptLockedOnes(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, visits)
	purge := func() int {
		rows, err := postgres.Purge(t.Context(), pool, "visits", "ended_at", newYear, "NOT kept")
		require.NoError(t, err)
		return rows
	}
	count := func(condition string) (n int) {
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM visits WHERE `+condition).Scan(&n))
		return n
	}
	before := count("true")
	// Another transaction has locked one of the first rows.
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SELECT FROM visits WHERE id = 2998 FOR UPDATE`)
		require.NoError(t, err)
		require.Equal(t, 2999, purge())
		return nil
	}))
	require.Equal(t, 1, count("id = 2998"), "a locked row is skipped")
	require.Equal(t, 1, purge(), "and deleted by the next purge")
	require.Zero(t, purge())
	require.Equal(t, before-3000, count("true"))
	require.Zero(t, count("ended_at < '2021-01-01 UTC' AND NOT kept"))
}

func TestPurgeDoesNotScanTheTable(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, visits)
	plans := postgrestest.Explain(t, pool, func(pool *pgxpool.Pool) {
		_, err := postgres.Purge(t.Context(), pool, "visits", "ended_at", newYear, "NOT kept")
		require.NoError(t, err)
	})
	require.NotContains(t, plans.Of(t, "DELETE FROM visits"), "Seq Scan")
}

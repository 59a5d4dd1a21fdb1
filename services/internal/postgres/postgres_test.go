package postgres_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// seats is a table that remembers how often its migration ran.
var seats = postgres.Migrations{VersionTable: "seats_version", Files: fstest.MapFS{
	"001_seats.sql": {Data: []byte(`
		CREATE TABLE seats (id int PRIMARY KEY, sold int NOT NULL, CONSTRAINT seats_sold_unique UNIQUE (sold));
		INSERT INTO seats VALUES (1, 0), (2, -1);
		---- create above / drop below ----
		DROP TABLE seats;`)},
}}

func TestReplicasMigrateTogether(t *testing.T) {
	t.Parallel()
	home := postgrestest.New(t)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			pool, err := postgres.Open(t.Context(), home.Config().ConnString(), seats)
			if err == nil {
				pool.Close()
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	var rows int
	require.NoError(t, home.QueryRow(t.Context(), `SELECT count(*) FROM seats`).Scan(&rows))
	require.Equal(t, 2, rows, "the migration ran once")
}

func TestOpenADeadDatabase(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(t.Context(), "postgres://ticket_service:hunter2@127.0.0.1:1/ticket_service", seats)
	require.ErrorContains(t, err, "127.0.0.1:1", "it says where it looked")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestInTxRollsBack(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, seats)
	errRefused := errors.New("refused")
	runs := 0
	require.ErrorIs(t, postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		runs++
		if _, err := tx.Exec(t.Context(), `DELETE FROM seats`); err != nil {
			return err
		}
		return errRefused
	}), errRefused)
	require.Equal(t, 1, runs, "only what PostgreSQL gave up runs again")
	var rows int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM seats`).Scan(&rows))
	require.Equal(t, 2, rows)
}

func TestInTxRunsADeadlockAgain(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, seats)
	first := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	var runs atomic.Int32
	sell := func(me, mine, other int) error {
		met := false
		return postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			runs.Add(1)
			if _, err := tx.Exec(t.Context(), `UPDATE seats SET sold = sold + 10 WHERE id = $1`, mine); err != nil {
				return err
			}
			if !met { // each holds one row before it asks for the other's
				met = true
				close(first[me])
				<-first[1-me]
			}
			_, err := tx.Exec(t.Context(), `UPDATE seats SET sold = sold + 10 WHERE id = $1`, other)
			return err
		})
	}
	var g errgroup.Group
	g.Go(func() error { return sell(0, 1, 2) })
	g.Go(func() error { return sell(1, 2, 1) })
	require.NoError(t, g.Wait())
	require.GreaterOrEqual(t, runs.Load(), int32(3), "the victim ran again, and maybe more than once")
	var sold int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT sold FROM seats WHERE id = 1`).Scan(&sold))
	require.Equal(t, 20, sold)
}

func TestInTxGivesUp(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, seats)
	runs := 0
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		runs++
		_, err := tx.Exec(t.Context(), `DO $$ BEGIN RAISE serialization_failure; END $$`)
		return err
	})
	pg, ok := errors.AsType[*pgconn.PgError](err)
	require.True(t, ok)
	require.Equal(t, "40001", pg.Code)
	require.Equal(t, 4, runs)
}

func TestViolates(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, seats)
	_, err := pool.Exec(t.Context(), `INSERT INTO seats VALUES (3, 0)`)
	require.True(t, postgres.Violates(err, "seats_sold_unique"))
	require.False(t, postgres.Violates(err, "seats_pkey"))
	require.False(t, postgres.Violates(context.Canceled, "seats_pkey"))
	require.False(t, postgres.Violates(nil, "seats_pkey"))
}

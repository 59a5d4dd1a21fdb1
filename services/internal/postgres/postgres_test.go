package postgres_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/dial/dialtest"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// seats has a migration that fails when it runs twice.
var seats = postgres.Migrations{VersionTable: "seats_version", Files: fstest.MapFS{
	"001_seats.sql": {Data: []byte(`
		CREATE TABLE seats (id int PRIMARY KEY, sold int NOT NULL, CONSTRAINT seats_sold_unique UNIQUE (sold));
		INSERT INTO seats VALUES (1, 0), (2, -1);
		---- create above / drop below ----
		DROP TABLE seats;`)},
}}

func TestConcurrentReplicasMigrateOnce(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			replica, err := postgres.Open(t.Context(), pool.Config().ConnString(), seats)
			if err == nil {
				replica.Close()
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	var rows int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM seats`).Scan(&rows))
	require.Equal(t, 2, rows, "the migration ran once")
}

// During a rollout, and after a rollback, a replica of the old version opens a database that the new one has migrated.
func TestOldVersionOpensADatabaseOfTheNewVersion(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t)
	next := postgres.Migrations{VersionTable: seats.VersionTable, Files: fstest.MapFS{
		"001_seats.sql": seats.Files.(fstest.MapFS)["001_seats.sql"],
		"002_rows.sql":  {Data: []byte(`ALTER TABLE seats ADD row_name text;`)},
	}}
	for _, m := range []postgres.Migrations{seats, next, seats} {
		replica, err := postgres.Open(t.Context(), pool.Config().ConnString(), m)
		require.NoError(t, err)
		replica.Close()
	}
	var version int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT version FROM seats_version`).Scan(&version))
	require.Equal(t, 2, version, "the old version does not change it")
}

func TestErrorOfOpenNamesTheServerAndHidesThePassword(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := postgres.Open(ctx, "postgres://ticket_service:hunter2@127.0.0.1:1/ticket_service", seats)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "the cause")
	require.ErrorContains(t, err, "127.0.0.1:1", "the server")
	require.NotContains(t, err.Error(), "hunter2")
}

// proxy forwards connections to the server, except for the first ones: each of failures handles one and closes it.
func proxy(ctx context.Context, listener net.Listener, server string, failures ...func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if len(failures) > 0 {
			failures[0](conn)
			failures = failures[1:]
			_ = conn.Close()
			continue
		}
		go func() {
			defer func() { _ = conn.Close() }()
			upstream, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
			if err != nil {
				return
			}
			defer func() { _ = upstream.Close() }()
			go func() { _, _ = io.Copy(upstream, conn) }()
			_, _ = io.Copy(conn, upstream)
		}()
	}
}

// refuseWith returns a function that refuses a connection with an error code.
func refuseWith(code string) func(net.Conn) {
	return func(conn net.Conn) {
		backend := pgproto3.NewBackend(conn, conn)
		if _, err := backend.ReceiveStartupMessage(); err != nil {
			return
		}
		backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "no"})
		_ = backend.Flush()
	}
}

// through returns the URL of the test's database with another address, and the address of its server.
func through(t *testing.T, address string) (database, server string) {
	t.Helper()
	u, err := url.Parse(postgrestest.New(t).Config().ConnString())
	require.NoError(t, err)
	server, u.Host = u.Host, address
	return u.String(), server
}

func TestOpenWaitsForAStartingServer(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	opened := make(chan error)
	database, server := through(t, address)
	go func() {
		pool, err := postgres.Open(t.Context(), database, seats)
		if err == nil {
			pool.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		require.NoError(t, err, "Open did not wait")
	case <-time.After(50 * time.Millisecond): // nothing listens yet
	}
	listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go proxy(t.Context(), listener, server, refuseWith("57P03"), func(net.Conn) {})
	require.NoError(t, <-opened)
}

func TestOpenReturnsOtherErrorsAtOnce(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"28P01", "28000", "3D000"} { // password, role, database
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = listener.Close() })
			database, server := through(t, listener.Addr().String())
			go proxy(t.Context(), listener, server, refuseWith(code))
			_, err = postgres.Open(t.Context(), database, seats)
			pg, ok := errors.AsType[*pgconn.PgError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, code, pg.Code, "of the first attempt")
		})
	}
}

func TestServerEndsIdleTransactions(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, seats)
	var limit string
	require.NoError(t, pool.QueryRow(t.Context(), `SHOW idle_in_transaction_session_timeout`).Scan(&limit))
	require.Equal(t, "10s", limit)

	frozen, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = frozen.Rollback(t.Context()) }()
	_, err = frozen.Exec(t.Context(), `SET LOCAL idle_in_transaction_session_timeout = '100ms'`)
	require.NoError(t, err)
	_, err = frozen.Exec(t.Context(), `UPDATE seats SET sold = 7 WHERE id = 1`)
	require.NoError(t, err)

	_, err = pool.Exec(t.Context(), `UPDATE seats SET sold = sold + 1 WHERE id = 1`)
	require.NoError(t, err, "the update waits until the idle transaction is ended")
	require.Error(t, frozen.Commit(t.Context()))
	var sold int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT sold FROM seats WHERE id = 1`).Scan(&sold))
	require.Equal(t, 1, sold)
}

func TestInTxRollsBackOnError(t *testing.T) {
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
	require.Equal(t, 1, runs, "only conflicts run again")
	var rows int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM seats`).Scan(&rows))
	require.Equal(t, 2, rows)
}

func TestInTxRetriesADeadlock(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, seats)
	first := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	var runs atomic.Int32
	sell := func(me, mine, other int) error {
		locked := false
		return postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			runs.Add(1)
			if _, err := tx.Exec(t.Context(), `UPDATE seats SET sold = sold + 10 WHERE id = $1`, mine); err != nil {
				return err
			}
			if !locked { // each has locked its row before it needs the other's
				locked = true
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
	require.GreaterOrEqual(t, runs.Load(), int32(3), "the victim ran again at least once")
	var sold int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT sold FROM seats WHERE id = 1`).Scan(&sold))
	require.Equal(t, 20, sold)
}

func TestAfterCommitRunsOnceAfterTheCommit(t *testing.T) {
	t.Parallel()
	errRefused := errors.New("refused")
	for name, run := range map[string]func(pool *pgxpool.Pool, fn func(pgx.Tx) error) error{
		"InTx": func(pool *pgxpool.Pool, fn func(pgx.Tx) error) error { return postgres.InTx(t.Context(), pool, fn) },
		"InTxAfter": func(pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
			return postgres.InTxAfter(t.Context(), pool, func(*pgx.Batch) {}, fn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := postgrestest.New(t, seats)
			runs, calls := 0, 0
			sell := func(end error) error {
				return run(pool, func(tx pgx.Tx) error {
					runs++
					return pgx.BeginFunc(t.Context(), tx, func(savepoint pgx.Tx) error {
						if _, err := savepoint.Exec(t.Context(), `UPDATE seats SET sold = sold + 10 WHERE id = 1`); err != nil {
							return err
						}
						postgres.AfterCommit(savepoint, func() {
							calls++
							var sold int
							require.NoError(t, pool.QueryRow(t.Context(), `SELECT sold FROM seats WHERE id = 1`).Scan(&sold))
							require.Equal(t, 10, sold, "the transaction is committed")
						})
						if runs == 1 {
							_, err := savepoint.Exec(t.Context(), `DO $$ BEGIN RAISE serialization_failure; END $$`)
							return err
						}
						return end
					})
				})
			}
			require.ErrorIs(t, sell(errRefused), errRefused)
			require.Zero(t, calls)
			runs = 0
			require.NoError(t, sell(nil))
			require.Equal(t, 2, runs)
			require.Equal(t, 1, calls, "for the run that was committed")
		})
	}
	postgres.AfterCommit(nil, func() { t.Error("called without a transaction of InTx") })
}

func TestInTxReturnsTheConflictAfterFourAttempts(t *testing.T) {
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

func TestViolatesNamesTheConstraint(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t, seats)
	_, err := pool.Exec(t.Context(), `INSERT INTO seats VALUES (3, 0)`)
	require.True(t, postgres.Violates(err, "seats_sold_unique"))
	require.False(t, postgres.Violates(err, "seats_pkey"))
	require.False(t, postgres.Violates(context.Canceled, "seats_pkey"))
	require.False(t, postgres.Violates(nil, "seats_pkey"))
}

func TestStatementsEndWithoutAServer(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]func(ctx context.Context, pool *pgxpool.Pool) error{
		"Exec": func(ctx context.Context, pool *pgxpool.Pool) error {
			_, err := pool.Exec(ctx, `SELECT 1`)
			return err
		},
		"Query": func(ctx context.Context, pool *pgxpool.Pool) error {
			var n int
			return pool.QueryRow(ctx, `SELECT 1`).Scan(&n)
		},
		"Batch": func(ctx context.Context, pool *pgxpool.Pool) error {
			var batch pgx.Batch
			batch.Queue(`SELECT 1`)
			return pool.SendBatch(ctx, &batch).Close()
		},
		"Transaction": func(ctx context.Context, pool *pgxpool.Pool) error {
			return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `SELECT 1`)
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(postgrestest.New(t).Config().ConnString())
			require.NoError(t, err)
			proxy, err := dialtest.NewProxy(t.Context(), u.Host)
			require.NoError(t, err)
			t.Cleanup(proxy.Close)
			u.Host = proxy.Address()
			pool, err := postgres.Open(t.Context(), u.String(), seats)
			require.NoError(t, err)
			t.Cleanup(pool.Close)

			require.NoError(t, statement(t.Context(), pool))
			proxy.Swallow()
			began := time.Now()
			require.ErrorIs(t, statement(t.Context(), pool), context.DeadlineExceeded)
			require.Less(t, time.Since(began), 20*time.Second)
			proxy.Forward()
			require.NoError(t, statement(t.Context(), pool), "on a new connection")
		})
	}
}

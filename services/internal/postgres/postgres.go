// Package postgres opens a service's own PostgreSQL database.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/tern/v2/migrate"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
)

const (
	// maxConns is how many connections a replica may have, unless pool_max_conns in the URL says otherwise: a server with a
	// few cores gets no more done by more of them at once. Two replicas of each of six services make 192 at most.
	maxConns = 16
	// idleInTx is for how long a transaction may do nothing, unless idle_in_transaction_session_timeout in the URL says
	// otherwise. None waits for anything but the database, so one that does belongs to a replica that is frozen or cut off, and
	// the server ends it: everybody else is waiting for the rows that it has locked.
	idleInTx = "10s"
	// patience is how long Open waits for a server that is not there.
	patience = time.Minute
	// A look lasts that long at most, and the next one follows after a pause.
	lookTimeout = 5 * time.Second
	lookAgain   = time.Second
	// sayEvery is how many looks go by from one line in the log to the next.
	sayEvery = 5
)

// Open connects to the database at url and brings its tables up to date. Replicas that start together
// take turns under an advisory lock, so that a rollout's first replica migrates and the others find it done. A database
// that is ahead, since a newer version of the service runs beside this one or did before a rollback, is left as it is:
// a migration has to leave the version before it working. For a server that cannot be reached, or is just starting or stopping, it
// waits a minute, so that services and their servers may start in any order; whatever else is wrong, such as a
// password, it returns at once.
func Open(ctx context.Context, url string, migrations ...Migrations) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = maxConns
	}
	const idle = "idle_in_transaction_session_timeout"
	if params := config.ConnConfig.RuntimeParams; params[idle] == "" {
		params[idle] = idleInTx
	}
	// Spans of what is done within one, with the SQL but without its arguments.
	config.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithTrimSQLInSpanName(), otelpgx.WithDisableAcquireTracer())
	// Else each uuid.UUID would travel as the text that its driver.Valuer makes of it.
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	address := fmt.Sprintf("%s:%d", config.ConnConfig.Host, config.ConnConfig.Port)
	for look := 0; ; look++ {
		err := prepare(ctx, pool, migrations)
		if err == nil {
			return pool, nil
		}
		if away(err) {
			if look%sayEvery == 0 {
				slog.WarnContext(ctx, "the database is not there yet, waiting for it", "address", address, "error", err.Error())
			}
			select {
			case <-time.After(lookAgain):
				continue
			case <-waiting.Done():
				err = fmt.Errorf("%w while waiting for it: %w", waiting.Err(), err)
			}
		}
		pool.Close()
		return nil, fmt.Errorf("database at %s: %w", address, err)
	}
}

// prepare looks for the server, and then migrates for as long as that takes.
func prepare(ctx context.Context, pool *pgxpool.Pool, migrations []Migrations) error {
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := pool.Ping(look); err != nil {
		return err
	}
	for _, m := range migrations {
		if err := pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return m.apply(ctx, c.Conn()) }); err != nil {
			return err
		}
	}
	return nil
}

// away reports whether err says that there is no server, or not now, rather than that we are at the wrong one.
func away(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return slices.Contains([]string{adminShutdown, crashShutdown, cannotConnectNow, tooManyConnections}, pg.Code)
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (m Migrations) apply(ctx context.Context, conn *pgx.Conn) error {
	migrator, err := migrate.NewMigrator(ctx, conn, m.VersionTable)
	if err != nil {
		return err
	}
	if err := migrator.LoadMigrations(m.Files); err != nil {
		return fmt.Errorf("load migrations of %s: %w", m.VersionTable, err)
	}
	err = migrator.Migrate(ctx)
	if ahead, ok := errors.AsType[migrate.BadVersionError](err); ok { // ours is the last of our files, so it is not at fault
		slog.WarnContext(ctx, "the database is ahead of this version of the service", "table", m.VersionTable, "cause", ahead.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("migrate %s: %w", m.VersionTable, err)
	}
	return nil
}

// txAttempts bounds how often InTx runs a transaction that lost against another.
const txAttempts = 4

// InTx runs fn in a transaction and commits it; an error of fn's rolls it back and is returned. When
// PostgreSQL gave the transaction up for another one's sake (a serialization failure or a deadlock)
// it runs again, a few times at most, so fn must have no effect but through its tx and AfterCommit.
func InTx(ctx context.Context, pool *pgxpool.Pool, fn func(tx pgx.Tx) error) error {
	return again(func(after *callbacks) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return fn(awaited{tx, after}) })
	})
}

// InTxAfter is InTx for a transaction whose first statements are known before it begins, which saves a round trip for each
// of them: they travel together, BEGIN included. first queues them, with what reads their results; fn runs after that.
func InTxAfter(ctx context.Context, pool *pgxpool.Pool, first func(*pgx.Batch), fn func(tx pgx.Tx) error) error {
	return again(func(after *callbacks) error {
		batch := &pgx.Batch{}
		batch.BeginTx(pgx.TxOptions{})
		first(batch)
		results := pool.SendBatch(ctx, batch)
		tx := results.Tx()
		defer func() { _ = tx.Rollback(ctx) }() // does nothing after a commit
		if err := results.Close(); err != nil {
			return err
		}
		if err := fn(awaited{tx, after}); err != nil {
			return err
		}
		return tx.Commit(ctx)
	})
}

func again(run func(after *callbacks) error) error {
	var err error
	for range txAttempts {
		var after callbacks
		if err = run(&after); err == nil {
			for _, f := range after {
				f()
			}
		}
		if !lostToAnother(err) {
			return err
		}
	}
	return err
}

// callbacks are what is to be called once a transaction has committed.
type callbacks []func()

// awaited is a transaction whose commit somebody may wait for. So are its savepoints, whose commit is the whole one's.
type awaited struct {
	pgx.Tx
	after *callbacks
}

// Begin begins a savepoint.
func (tx awaited) Begin(ctx context.Context) (pgx.Tx, error) {
	savepoint, err := tx.Tx.Begin(ctx)
	return awaited{savepoint, tx.after}, err
}

// AfterCommit has f called when tx, which is InTx's or a savepoint in it, has committed, and not if the whole is rolled back.
// A process may die in between: f is for what would happen by itself a little later. For any other transaction it does nothing.
func AfterCommit(tx pgx.Tx, f func()) {
	if tx, ok := tx.(awaited); ok {
		*tx.after = append(*tx.after, f)
	}
}

// Codes of PostgreSQL's appendix A.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	tooManyConnections   = "53300"
	adminShutdown        = "57P01"
	crashShutdown        = "57P02"
	cannotConnectNow     = "57P03"
)

func lostToAnother(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == serializationFailure || pg.Code == deadlockDetected)
}

// Violates reports whether err says that a row would break the unique constraint or index of this
// name.
func Violates(err error, constraint string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == uniqueViolation && pg.ConstraintName == constraint
}

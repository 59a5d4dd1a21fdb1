// Package postgres opens and migrates the PostgreSQL database of a service, and runs transactions, purges and gauges.
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

	"github.com/eventbooking/eventbooking/services/internal/dial"
)

const (
	// maxConns is the maximum number of connections of a replica, unless the URL has pool_max_conns. A server with a few
	// cores does not get more done with more. Two replicas of each of six services have at most 192.
	maxConns = 16
	// idleInTx is how long a transaction may be idle before the server ends it, unless the URL has
	// idle_in_transaction_session_timeout. Services wait only for the database in a transaction. So an idle transaction
	// belongs to a replica that is frozen or disconnected, and other transactions wait for the rows that it has locked.
	idleInTx = "10s"
	// startTimeout is how long Open waits for an unreachable server.
	startTimeout = time.Minute
	// An attempt to connect lasts at most attemptTimeout. The next one follows after attemptPause.
	attemptTimeout = 5 * time.Second
	attemptPause   = time.Second
	// logEvery is the number of attempts per line in the log.
	logEvery = 5
)

// Open connects to the database at url and applies the migrations. Replicas that start together migrate one after the
// other under an advisory lock, so that the first one of a rollout migrates and the others have nothing to do. If the
// database is newer than the migrations, because a newer version of the service runs beside this one or ran before a
// rollback, Open leaves it as it is: each migration has to keep the previous version working.
//
// Open waits up to a minute for a server that is unreachable, starting or stopping, so that services and servers may
// start in any order. It returns other errors, such as a wrong password, at once.
//
// Every statement that is sent through the pool ends within 15 s, or at the deadline of its context if that is earlier.
// So a connection that swallows packets holds up its user for seconds only.
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
	// Queries get spans with the SQL but without its arguments.
	config.ConnConfig.Tracer = deadlines{
		otelpgx.NewTracer(otelpgx.WithTrimSQLInSpanName(), otelpgx.WithDisableAcquireTracer()),
	}
	config.PingTimeout = pingTimeout
	config.ConnConfig.DialFunc = dial.Context
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = attemptTimeout // pgxpool's default is two minutes, in which a slot is taken
	}
	// Without this, pgx would send a uuid.UUID as text, through its driver.Valuer.
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	waiting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	address := fmt.Sprintf("%s:%d", config.ConnConfig.Host, config.ConnConfig.Port)
	for attempt := 0; ; attempt++ {
		err := prepare(ctx, pool, migrations)
		if err == nil {
			return pool, nil
		}
		if unavailable(err) {
			if attempt%logEvery == 0 {
				slog.WarnContext(ctx, "connect to the database failed", "address", address, "error", err.Error())
			}
			select {
			case <-time.After(attemptPause):
				continue
			case <-waiting.Done():
				err = fmt.Errorf("%w while waiting for the server: %w", waiting.Err(), err)
			}
		}
		pool.Close()
		return nil, fmt.Errorf("database at %s: %w", address, err)
	}
}

// prepare connects to the server, within attemptTimeout, and applies the migrations, without a timeout.
func prepare(ctx context.Context, pool *pgxpool.Pool, migrations []Migrations) error {
	connecting, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if err := pool.Ping(connecting); err != nil {
		return err
	}
	ctx = unlimited(ctx)
	for _, m := range migrations {
		if err := pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return m.apply(ctx, c.Conn()) }); err != nil {
			return err
		}
	}
	return nil
}

// unavailable reports whether err means that the server is unreachable, starting, stopping or out of connections.
func unavailable(err error) bool {
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
	// The target is the version of the last file, so that the bad version is the database's.
	if newer, ok := errors.AsType[migrate.BadVersionError](err); ok {
		slog.WarnContext(ctx, "database is newer than this version of the service",
			"table", m.VersionTable, "cause", newer.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("migrate %s: %w", m.VersionTable, err)
	}
	return nil
}

// txAttempts bounds how often InTx runs a transaction that PostgreSQL aborts in favour of another.
const txAttempts = 4

// InTx runs fn in a transaction and commits it. If fn returns an error, InTx rolls back and returns it. If PostgreSQL
// aborts the transaction in favour of another one (a serialization failure or a deadlock), InTx runs it again, up to 4
// times in total. Therefore fn must have no effects except through its tx and AfterCommit.
func InTx(ctx context.Context, pool *pgxpool.Pool, fn func(tx pgx.Tx) error) error {
	return retry(func(after *callbacks) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return fn(observedTx{tx, after}) })
	})
}

// InTxAfter is InTx for a transaction whose first statements are known before it begins. It sends them in one round
// trip together with BEGIN. first queues the statements and the functions that read their results; fn runs after them.
func InTxAfter(ctx context.Context, pool *pgxpool.Pool, first func(*pgx.Batch), fn func(tx pgx.Tx) error) error {
	return retry(func(after *callbacks) error {
		batch := &pgx.Batch{}
		batch.BeginTx(pgx.TxOptions{})
		first(batch)
		results := pool.SendBatch(ctx, batch)
		tx := results.Tx()
		defer func() { _ = tx.Rollback(ctx) }() // no effect after a commit
		if err := results.Close(); err != nil {
			return err
		}
		if err := fn(observedTx{tx, after}); err != nil {
			return err
		}
		return tx.Commit(ctx)
	})
}

// retry calls run until it succeeds or fails for another reason than a conflict, at most txAttempts times. After
// success it calls the callbacks.
func retry(run func(after *callbacks) error) error {
	var err error
	for range txAttempts {
		var after callbacks
		if err = run(&after); err == nil {
			for _, f := range after {
				f()
			}
		}
		if !conflict(err) {
			return err
		}
	}
	return err
}

// callbacks are called when a transaction has committed.
type callbacks []func()

// observedTx is a transaction, or a savepoint in it, that callbacks can be added to.
type observedTx struct {
	pgx.Tx
	after *callbacks
}

// Begin creates a savepoint. It shares the callbacks of the transaction.
func (tx observedTx) Begin(ctx context.Context) (pgx.Tx, error) {
	savepoint, err := tx.Tx.Begin(ctx)
	return observedTx{savepoint, tx.after}, err
}

// AfterCommit calls f when the transaction of tx has committed. tx has to come from InTx or InTxAfter, or to be a
// savepoint in such a transaction; otherwise AfterCommit does nothing. The process may die between the commit and f, so
// that f must only do what would also happen without it, a little later.
func AfterCommit(tx pgx.Tx, f func()) {
	if tx, ok := tx.(observedTx); ok {
		*tx.after = append(*tx.after, f)
	}
}

// Error codes (PostgreSQL documentation, appendix A).
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	tooManyConnections   = "53300"
	adminShutdown        = "57P01"
	crashShutdown        = "57P02"
	cannotConnectNow     = "57P03"
)

// conflict reports whether PostgreSQL aborted a transaction in favour of another one.
func conflict(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == serializationFailure || pg.Code == deadlockDetected)
}

// Violates reports whether err is a violation of the unique constraint or index with this name.
func Violates(err error, constraint string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == uniqueViolation && pg.ConstraintName == constraint
}

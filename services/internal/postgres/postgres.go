// Package postgres opens a service's own PostgreSQL database.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/tern/v2/migrate"
)

// Migrations are the numbered .sql files of one owner of tables in a database. Each owner counts its
// versions in a table of its own, so that a shared package's tables and the service's move
// independently.
type Migrations struct {
	VersionTable string
	Files        fs.FS
}

// Open connects to the database at url and brings its tables up to date. Replicas that start together
// take turns under an advisory lock.
func Open(ctx context.Context, url string, migrations ...Migrations) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	for _, m := range migrations {
		if err := pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return m.apply(ctx, c.Conn()) }); err != nil {
			pool.Close()
			return nil, fmt.Errorf("database at %s:%d: %w", config.ConnConfig.Host, config.ConnConfig.Port, err)
		}
	}
	return pool, nil
}

func (m Migrations) apply(ctx context.Context, conn *pgx.Conn) error {
	migrator, err := migrate.NewMigrator(ctx, conn, m.VersionTable)
	if err != nil {
		return err
	}
	if err := migrator.LoadMigrations(m.Files); err != nil {
		return fmt.Errorf("load migrations of %s: %w", m.VersionTable, err)
	}
	if err := migrator.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", m.VersionTable, err)
	}
	return nil
}

// txAttempts bounds how often InTx runs a transaction that lost against another.
const txAttempts = 4

// InTx runs fn in a transaction and commits it; an error of fn's rolls it back and is returned. When
// PostgreSQL gave the transaction up for another one's sake (a serialization failure or a deadlock)
// it runs again, a few times at most, so fn must have no effect but through its tx.
func InTx(ctx context.Context, pool *pgxpool.Pool, fn func(tx pgx.Tx) error) error {
	var err error
	for range txAttempts {
		if err = pgx.BeginFunc(ctx, pool, fn); !lostToAnother(err) {
			return err
		}
	}
	return err
}

// Codes of PostgreSQL's appendix A.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
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

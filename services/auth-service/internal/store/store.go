// Package store keeps users, their sessions, failed logins, account mails and signing keys in PostgreSQL. Each exported
// method is one transaction, except where its comment says otherwise. A method that publishes an event adds it to the
// outbox in the same transaction.
package store

import (
	"context"
	"embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the migrations that create this service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "auth_service_version")
}

// source is the CloudEvents source of the events that this service publishes.
const source = "auth-service"

// Store is the database of auth-service. Its methods may be called concurrently.
type Store struct {
	pool               *pgxpool.Pool
	failuresPerAddress int
}

// New returns a Store on the pool's database, which must have the tables of Migrations and of package messaging. After
// failuresPerAddress failed attempts from one network address within account.FailureWindow, it rejects further ones.
func New(pool *pgxpool.Pool, failuresPerAddress int) *Store {
	return &Store{pool: pool, failuresPerAddress: failuresPerAddress}
}

// Purge deletes what expired more than a day ago: sessions and their refresh tokens, failures, mails and signing keys.
// It runs as many small transactions.
func (s *Store) Purge(ctx context.Context) error {
	var before time.Time
	if err := s.pool.QueryRow(ctx, `SELECT now() - interval '1 day'`).Scan(&before); err != nil {
		return fmt.Errorf("purge expired rows: %w", err)
	}
	for _, expired := range []struct{ table, since string }{
		// Tokens come first: the deletion of a session cascades to its tokens, which would be too many for a batch.
		{"refresh_tokens", "expires_at"},
		{"sessions", "expires_at"},
		{"login_failures", "failed_at"},
		{"account_mails", "expires_at"},
		{"signing_keys", "retired_at"},
	} {
		if _, err := postgres.Purge(ctx, s.pool, expired.table, expired.since, before, ""); err != nil {
			return fmt.Errorf("purge expired rows: %w", err)
		}
	}
	return nil
}

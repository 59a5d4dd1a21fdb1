// Package store keeps users and signing keys in PostgreSQL. Each exported method is one transaction.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations creates auth-service's tables.
func Migrations() postgres.Migrations {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return postgres.Migrations{VersionTable: "auth_service_version", Files: files}
}

// Store is auth-service's database.
type Store struct{ pool *pgxpool.Pool }

// New makes a Store on a pool whose database has Migrations applied.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Register creates the account and gives it with its id and time. It returns account.ErrEmailTaken.
func (s *Store) Register(ctx context.Context, user account.User, passwordHash string) (account.User, error) {
	err := s.pool.QueryRow(ctx, `
		INSERT INTO users (email, password_hash, first_name, last_name, roles)
		VALUES ($1, $2, $3, $4, $5)
		RETURNING id, email_verified, created_at`,
		user.Email, passwordHash, user.FirstName, user.LastName, user.Roles).
		Scan(&user.ID, &user.EmailVerified, &user.CreatedAt)
	if postgres.Violates(err, "users_email_key") {
		return account.User{}, account.ErrEmailTaken.Because(err)
	}
	if err != nil {
		return account.User{}, fmt.Errorf("register: %w", err)
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, nil
}

// Credentials gives the account of an address and its password's hash. It returns
// account.ErrInvalidCredentials when there is none.
func (s *Store) Credentials(ctx context.Context, email account.Email) (account.User, string, error) {
	var user account.User
	var hash string
	err := s.pool.QueryRow(ctx, `
		SELECT id, email, first_name, last_name, roles, email_verified, created_at, password_hash
		FROM users WHERE email = $1`, email).
		Scan(&user.ID, &user.Email, &user.FirstName, &user.LastName, &user.Roles, &user.EmailVerified,
			&user.CreatedAt, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return account.User{}, "", account.ErrInvalidCredentials
	}
	if err != nil {
		return account.User{}, "", fmt.Errorf("credentials: %w", err)
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, hash, nil
}

// Users gives the accounts with these ids, in the order of ids. Ids that nobody has are left out.
func (s *Store) Users(ctx context.Context, ids ...uuid.UUID) ([]account.User, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, email, first_name, last_name, roles, email_verified, created_at
		FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (id, position) JOIN users USING (id)
		ORDER BY position`, ids)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	users, err := pgx.CollectRows(rows, pgx.RowToStructByPos[account.User])
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	for i := range users {
		users[i].CreatedAt = users[i].CreatedAt.UTC()
	}
	return users, nil
}

// EnsureKey keeps candidate as a signing key if there is none to sign with now. Of replicas that start
// together one keeps its candidate, and the others find it.
func (s *Store) EnsureKey(ctx context.Context, candidate keyring.Key) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// Readers go on; another EnsureKey waits here and then sees what this one kept.
		if _, err := tx.Exec(ctx, `LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return fmt.Errorf("lock signing keys: %w", err)
		}
		// Not now(): that is when this transaction began, and the key it waited for may be younger.
		_, err := tx.Exec(ctx, `
			INSERT INTO signing_keys (kid, public_key, private_key)
			SELECT $1, $2, $3
			WHERE NOT EXISTS (
				SELECT FROM signing_keys
				WHERE not_before <= clock_timestamp() AND (retired_at IS NULL OR retired_at > clock_timestamp()))`,
			candidate.ID, candidate.Public, candidate.Private)
		if err != nil {
			return fmt.Errorf("keep a signing key: %w", err)
		}
		return nil
	})
}

// CurrentKey gives the key to sign with now.
func (s *Store) CurrentKey(ctx context.Context) (keyring.Key, error) {
	var key keyring.Key
	err := s.pool.QueryRow(ctx, `
		SELECT kid, public_key, private_key FROM signing_keys
		WHERE not_before <= now() AND (retired_at IS NULL OR retired_at > now())
		ORDER BY not_before DESC, kid LIMIT 1`).
		Scan(&key.ID, &key.Public, &key.Private)
	if err != nil { // no row included: EnsureKey ran before anyone could ask
		return keyring.Key{}, fmt.Errorf("current signing key: %w", err)
	}
	return key, nil
}

// PublishedKeys gives every key that a token which is still valid may have been signed with, and those
// that will sign next.
func (s *Store) PublishedKeys(ctx context.Context) ([]keyring.Key, error) {
	// Twice the life of a token leaves room for the clocks of those who check it.
	rows, err := s.pool.Query(ctx, `
		SELECT kid, public_key, private_key FROM signing_keys
		WHERE retired_at IS NULL OR retired_at > now() - $1::interval
		ORDER BY not_before DESC, kid`, 2*keyring.TokenLife)
	if err != nil {
		return nil, fmt.Errorf("published keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[keyring.Key])
	if err != nil {
		return nil, fmt.Errorf("published keys: %w", err)
	}
	return keys, nil
}

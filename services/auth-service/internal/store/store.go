// Package store keeps users, their sessions and signing keys in PostgreSQL. Each exported method is one
// transaction, and what other services should hear of a change commits with it.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations creates auth-service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "auth_service_version")
}

// source names this service in the events it publishes.
const source = "auth-service"

// Store is auth-service's database.
type Store struct {
	pool               *pgxpool.Pool
	failuresPerAddress int
}

// New makes a Store on a pool whose database has Migrations and messaging's applied. From one address
// may come so many failed attempts to prove a password within account.FailureWindow.
func New(pool *pgxpool.Pool, failuresPerAddress int) *Store {
	return &Store{pool: pool, failuresPerAddress: failuresPerAddress}
}

// userColumns are those of users that userFields takes, in its order.
const userColumns = `users.id, users.email, users.first_name, users.last_name, users.roles, users.email_verified, users.created_at`

func userFields(u *account.User) []any {
	return []any{&u.ID, &u.Email, &u.FirstName, &u.LastName, &u.Roles, &u.EmailVerified, &u.CreatedAt}
}

// Register creates the account and asks for the mail that verifies its address. It gives the account with
// its id and time. It returns account.ErrEmailTaken.
func (s *Store) Register(ctx context.Context, user account.User, passwordHash string) (account.User, error) {
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			INSERT INTO users (email, password_hash, first_name, last_name, roles)
			VALUES ($1, $2, $3, $4, $5)
			RETURNING `+userColumns,
			user.Email, passwordHash, user.FirstName, user.LastName, user.Roles).Scan(userFields(&user)...)
		if postgres.Violates(err, "users_email_key") {
			return account.ErrEmailTaken.Because(err)
		}
		if err != nil {
			return fmt.Errorf("register: %w", err)
		}
		return requestMailTx(ctx, tx, account.EmailVerification, user.Email)
	})
	if err != nil {
		return account.User{}, err
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, nil
}

// EnsureAdmin creates the account, which has the role ADMIN, if nobody has that role yet. It returns
// account.ErrEmailTaken when its address is somebody's who has not.
func (s *Store) EnsureAdmin(ctx context.Context, admin account.User, passwordHash string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// Of replicas that start together the second waits here for the first.
		_, err := tx.Exec(ctx, `
			INSERT INTO users (email, password_hash, first_name, last_name, roles, email_verified)
			SELECT $1, $2, $3, $4, $5, true
			WHERE NOT EXISTS (SELECT FROM users WHERE 'ADMIN' = ANY (roles))
			ON CONFLICT (email) DO NOTHING`,
			admin.Email, passwordHash, admin.FirstName, admin.LastName, admin.Roles)
		if err != nil {
			return fmt.Errorf("create the first admin: %w", err)
		}
		var exists bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM users WHERE 'ADMIN' = ANY (roles))`).Scan(&exists); err != nil {
			return fmt.Errorf("create the first admin: %w", err)
		}
		if !exists {
			return account.ErrEmailTaken
		}
		return nil
	})
}

// Credentials gives the account of an address and its password's hash. It returns
// account.ErrInvalidCredentials when there is none.
func (s *Store) Credentials(ctx context.Context, email account.Email) (account.User, string, error) {
	var user account.User
	var hash string
	err := s.pool.QueryRow(ctx, `SELECT `+userColumns+`, password_hash FROM users WHERE email = $1`, email).
		Scan(append(userFields(&user), &hash)...)
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
		SELECT `+userColumns+`
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

// Rename changes the user's names, those that are not nil. It returns account.NotFound.
func (s *Store) Rename(ctx context.Context, id uuid.UUID, firstName, lastName *string) (account.User, error) {
	return s.update(ctx, id, `first_name = coalesce($2, first_name), last_name = coalesce($3, last_name)`, firstName, lastName)
}

// BecomeOrganizer gives the user the role ORGANIZER, which the next access token has. It returns
// account.NotFound.
func (s *Store) BecomeOrganizer(ctx context.Context, id uuid.UUID) (account.User, error) {
	return s.update(ctx, id, `roles = CASE
		WHEN 'ORGANIZER' = ANY (roles) THEN roles
		ELSE array_cat(ARRAY ['USER', 'ORGANIZER'], array_remove(roles, 'USER')) END`)
}

// update sets columns of the user's.
func (s *Store) update(ctx context.Context, id uuid.UUID, set string, args ...any) (account.User, error) {
	var user account.User
	err := s.pool.QueryRow(ctx, `UPDATE users SET `+set+` WHERE id = $1 RETURNING `+userColumns, append([]any{id}, args...)...).
		Scan(userFields(&user)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return account.User{}, account.NotFound(id)
	}
	if err != nil {
		return account.User{}, fmt.Errorf("update user %s: %w", id, err)
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, nil
}

// SetRoles gives the user these roles, in the name of an admin. When that changes anything, the user's
// sessions end with it. It returns account.NotFound, account.ErrOwnAdmin, and identity.ErrForbidden when
// the admin is none any more: of two who demote each other at once, one succeeds.
func (s *Store) SetRoles(ctx context.Context, admin, id uuid.UUID, roles []identity.Role) (account.User, error) {
	var user account.User
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT `+userColumns+` FROM users WHERE id = $1 OR id = $2 ORDER BY id FOR UPDATE`, admin, id)
		if err != nil {
			return fmt.Errorf("set roles: %w", err)
		}
		locked, err := pgx.CollectRows(rows, pgx.RowToStructByPos[account.User])
		if err != nil {
			return fmt.Errorf("set roles: %w", err)
		}
		isAdmin, found := false, false
		for _, u := range locked {
			isAdmin = isAdmin || u.ID == admin && slices.Contains(u.Roles, identity.RoleAdmin)
			if u.ID == id {
				user, found = u, true
			}
		}
		switch {
		case !isAdmin:
			return identity.ErrForbidden
		case !found:
			return account.NotFound(id)
		case admin == id && !slices.Contains(roles, identity.RoleAdmin):
			return account.ErrOwnAdmin
		case slices.Equal(user.Roles, roles):
			return nil
		}
		user.Roles = roles
		if _, err := tx.Exec(ctx, `UPDATE users SET roles = $2 WHERE id = $1`, id, roles); err != nil {
			return fmt.Errorf("set roles: %w", err)
		}
		return revokeTx(ctx, tx, id, uuid.Nil)
	})
	if err != nil {
		return account.User{}, err
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, nil
}

// EnsureKey keeps candidate as a signing key if there is none to sign with now or the newest is
// keyring.KeyLife old. In the latter case it signs only after keyring.PublishedAhead, and the older one
// until then. Of replicas that do this together one keeps its candidate, and the others find it.
func (s *Store) EnsureKey(ctx context.Context, candidate keyring.Key) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// Readers go on; another EnsureKey waits here and then sees what this one kept.
		if _, err := tx.Exec(ctx, `LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return fmt.Errorf("lock signing keys: %w", err)
		}
		// Not now(): that is when this transaction began, and the key it waited for may be younger.
		var notBefore time.Time
		err := tx.QueryRow(ctx, `
			WITH signing AS (
				SELECT FROM signing_keys
				WHERE not_before <= clock_timestamp() AND (retired_at IS NULL OR retired_at > clock_timestamp()))
			INSERT INTO signing_keys (kid, public_key, private_key, not_before)
			SELECT $1, $2, $3, CASE WHEN EXISTS (TABLE signing) THEN clock_timestamp() + $4::interval ELSE clock_timestamp() END
			WHERE NOT EXISTS (TABLE signing) OR NOT EXISTS (
				SELECT FROM signing_keys WHERE retired_at IS NULL AND not_before > clock_timestamp() - $5::interval)
			RETURNING not_before`,
			candidate.ID, candidate.Public, candidate.Private, keyring.PublishedAhead, keyring.KeyLife).Scan(&notBefore)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("keep a signing key: %w", err)
		}
		if _, err := tx.Exec(ctx, `
			UPDATE signing_keys SET retired_at = $2 WHERE kid <> $1 AND retired_at IS NULL AND not_before <= $2`,
			candidate.ID, notBefore); err != nil {
			return fmt.Errorf("retire signing keys: %w", err)
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

// Forget deletes what has been over for a day: sessions and their tokens, counted failures, mails and
// signing keys. It is many small transactions.
func (s *Store) Forget(ctx context.Context) error {
	var before time.Time
	if err := s.pool.QueryRow(ctx, `SELECT now() - interval '1 day'`).Scan(&before); err != nil {
		return fmt.Errorf("forget what is over: %w", err)
	}
	for _, over := range []struct{ table, since string }{
		// Tokens first: a session's own go with it, and would be too many for a batch.
		{"refresh_tokens", "expires_at"},
		{"sessions", "expires_at"},
		{"login_failures", "failed_at"},
		{"account_mails", "expires_at"},
		{"signing_keys", "retired_at"},
	} {
		if _, err := postgres.Purge(ctx, s.pool, over.table, over.since, before, ""); err != nil {
			return fmt.Errorf("forget what is over: %w", err)
		}
	}
	return nil
}

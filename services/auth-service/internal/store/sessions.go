package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// The first half of advisory locks' keys; the second is an account's or an address's. An account's is
// always taken first.
const (
	lockAccount = 1
	lockAddress = 2
	lockMails   = 3
)

func lockTx(ctx context.Context, tx pgx.Tx, kind int, key string) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, hashtext($2))`, kind, key); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// querier is a transaction, or the pool where there is nothing to keep together.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// admit returns account.ErrTooManyAttempts if the account or the address has failed too often.
func (s *Store) admit(ctx context.Context, q querier, attempt account.Attempt) error {
	var wait *time.Duration
	// The failure after which the limit was reached says when it no longer is. Not now(): a lock may have
	// been waited for since.
	err := q.QueryRow(ctx, `
		SELECT max(failed_at) + $5::interval - clock_timestamp()
		FROM (
			(SELECT failed_at FROM login_failures WHERE account = $1 ORDER BY failed_at DESC OFFSET $2 LIMIT 1)
			UNION ALL
			(SELECT failed_at FROM login_failures WHERE address = $3 ORDER BY failed_at DESC OFFSET $4 LIMIT 1)
		) AS limits
		WHERE failed_at > clock_timestamp() - $5::interval`,
		attempt.Email.Key(), account.FailuresPerAccount-1, attempt.Address, s.failuresPerAddress-1, account.FailureWindow).
		Scan(&wait)
	if err != nil {
		return fmt.Errorf("count failures: %w", err)
	}
	if wait != nil {
		return account.TooManyAttempts(*wait)
	}
	return nil
}

// Admit returns account.ErrTooManyAttempts if the attempt need not even be made. Whoever makes it asks
// again, with Fail or with what success leads to: of many attempts at once no more than the limit learn
// anything.
func (s *Store) Admit(ctx context.Context, attempt account.Attempt) error {
	return s.admit(ctx, s.pool, attempt)
}

// Fail counts a failed attempt. It returns account.ErrTooManyAttempts, and counts nothing, if the limit was
// reached meanwhile.
func (s *Store) Fail(ctx context.Context, attempt account.Attempt) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockTx(ctx, tx, lockAccount, hex.EncodeToString(attempt.Email.Key())); err != nil {
			return err
		}
		if err := lockTx(ctx, tx, lockAddress, attempt.Address); err != nil {
			return err
		}
		if err := s.admit(ctx, tx, attempt); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO login_failures (account, address) VALUES ($1, $2)`,
			attempt.Email.Key(), attempt.Address); err != nil {
			return fmt.Errorf("count a failure: %w", err)
		}
		return nil
	})
}

// succeedTx lets a successful attempt through and forgets its account's failures. It returns
// account.ErrTooManyAttempts.
func (s *Store) succeedTx(ctx context.Context, tx pgx.Tx, attempt account.Attempt) error {
	if err := lockTx(ctx, tx, lockAccount, hex.EncodeToString(attempt.Email.Key())); err != nil {
		return err
	}
	if err := s.admit(ctx, tx, attempt); err != nil {
		return err
	}
	return forgiveTx(ctx, tx, attempt.Email)
}

func forgiveTx(ctx context.Context, tx pgx.Tx, email account.Email) error {
	if _, err := tx.Exec(ctx, `DELETE FROM login_failures WHERE account = $1`, email.Key()); err != nil {
		return fmt.Errorf("forget failures: %w", err)
	}
	return nil
}

// Login opens a session, with a first refresh token of this hash, for the account whose password was
// found to be the one of passwordHash. It gives the account as it is now. It returns
// account.ErrTooManyAttempts, and account.ErrInvalidCredentials when the password was changed meanwhile.
func (s *Store) Login(
	ctx context.Context, attempt account.Attempt, passwordHash string, tokenHash []byte,
) (account.User, account.Session, error) {
	var user account.User
	var session account.Session
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.succeedTx(ctx, tx, attempt); err != nil {
			return err
		}
		// The lock keeps a new password or other roles out until there is a session that they end.
		err := tx.QueryRow(ctx, `
			SELECT `+userColumns+` FROM users WHERE email = $1 AND password_hash = $2 FOR SHARE`,
			attempt.Email, passwordHash).Scan(userFields(&user)...)
		if errors.Is(err, pgx.ErrNoRows) {
			return account.ErrInvalidCredentials
		}
		if err != nil {
			return fmt.Errorf("log in: %w", err)
		}
		err = tx.QueryRow(ctx, `
			INSERT INTO sessions (user_id, expires_at) VALUES ($1, clock_timestamp() + $2::interval) RETURNING id, expires_at`,
			user.ID, account.RefreshLife).Scan(&session.ID, &session.RefreshExpiresAt)
		if err != nil {
			return fmt.Errorf("open a session: %w", err)
		}
		return addTokenTx(ctx, tx, session, tokenHash)
	})
	if err != nil {
		return account.User{}, account.Session{}, err
	}
	user.CreatedAt, session.RefreshExpiresAt = user.CreatedAt.UTC(), session.RefreshExpiresAt.UTC()
	return user, session, nil
}

func addTokenTx(ctx context.Context, tx pgx.Tx, session account.Session, hash []byte) error {
	if _, err := tx.Exec(ctx, `INSERT INTO refresh_tokens (hash, session_id, expires_at) VALUES ($1, $2, $3)`,
		hash, session.ID, session.RefreshExpiresAt); err != nil {
		return fmt.Errorf("add a refresh token: %w", err)
	}
	return nil
}

// Refresh uses the refresh token of one hash and puts one of another in its place. It returns
// account.ErrRefreshTokenInvalid, or account.ErrRefreshTokenReused, with which the session has ended.
func (s *Store) Refresh(ctx context.Context, used, next []byte) (account.User, account.Session, error) {
	var user account.User
	var session account.Session
	var refused error
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		refused = nil
		// Who comes second waits here for the first, and then finds the token used.
		err := tx.QueryRow(ctx, `
			UPDATE refresh_tokens SET used_at = clock_timestamp()
			WHERE hash = $1 AND used_at IS NULL AND expires_at > clock_timestamp()
			RETURNING session_id`, used).Scan(&session.ID)
		if errors.Is(err, pgx.ErrNoRows) {
			refused, err = refuseTx(ctx, tx, used)
			return err // without one, so that the revocation is committed
		}
		if err != nil {
			return fmt.Errorf("use a refresh token: %w", err)
		}
		err = tx.QueryRow(ctx, `
			UPDATE sessions SET expires_at = clock_timestamp() + $2::interval
			WHERE id = $1 AND revoked_at IS NULL
			RETURNING expires_at, user_id`, session.ID, account.RefreshLife).
			Scan(&session.RefreshExpiresAt, &user.ID)
		if errors.Is(err, pgx.ErrNoRows) {
			return account.ErrRefreshTokenInvalid
		}
		if err != nil {
			return fmt.Errorf("refresh session %s: %w", session.ID, err)
		}
		// Only now: whoever changes roles from here on waits to end this session.
		err = tx.QueryRow(ctx, `SELECT `+userColumns+` FROM users WHERE id = $1`, user.ID).Scan(userFields(&user)...)
		if err != nil {
			return fmt.Errorf("refresh session %s: %w", session.ID, err)
		}
		return addTokenTx(ctx, tx, session, next)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return account.User{}, account.Session{}, err
	}
	user.CreatedAt, session.RefreshExpiresAt = user.CreatedAt.UTC(), session.RefreshExpiresAt.UTC()
	return user, session, nil
}

// refuseTx gives the reason why a refresh token cannot be used. If that is a use before, it ends the
// session.
func refuseTx(ctx context.Context, tx pgx.Tx, hash []byte) (refused, err error) {
	tag, err := tx.Exec(ctx, `
		UPDATE sessions SET revoked_at = coalesce(revoked_at, clock_timestamp())
		FROM refresh_tokens t
		WHERE t.hash = $1 AND t.session_id = sessions.id
			AND t.used_at IS NOT NULL AND t.expires_at > clock_timestamp()`, hash)
	if err != nil {
		return nil, fmt.Errorf("end a session: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return account.ErrRefreshTokenInvalid, nil
	}
	return account.ErrRefreshTokenReused, nil
}

// Logout ends the session of the refresh token with this hash, if there is one.
func (s *Store) Logout(ctx context.Context, hash []byte) error {
	if _, err := s.pool.Exec(ctx, `
		UPDATE sessions SET revoked_at = clock_timestamp()
		FROM refresh_tokens t
		WHERE t.hash = $1 AND t.session_id = sessions.id AND revoked_at IS NULL`, hash); err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	return nil
}

// SessionUser gives the user of an access token. It returns identity.ErrTokenInvalid if there is none, and
// account.ErrTokenRevoked if the token's session has ended.
func (s *Store) SessionUser(ctx context.Context, id, session uuid.UUID) (account.User, error) {
	var user account.User
	var open bool
	err := s.pool.QueryRow(ctx, `
		SELECT `+userColumns+`,
			EXISTS (SELECT FROM sessions WHERE sessions.id = $2 AND user_id = users.id AND revoked_at IS NULL)
		FROM users WHERE id = $1`, id, session).Scan(append(userFields(&user), &open)...)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return account.User{}, identity.ErrTokenInvalid
	case err != nil:
		return account.User{}, fmt.Errorf("user of session %s: %w", session, err)
	case !open:
		return account.User{}, account.ErrTokenRevoked
	}
	user.CreatedAt = user.CreatedAt.UTC()
	return user, nil
}

// ChangePassword replaces the password that was found to be the one of oldHash, and ends the user's
// sessions but the one named. It returns account.ErrTooManyAttempts, and account.ErrWrongPassword when the
// password was changed meanwhile.
func (s *Store) ChangePassword(
	ctx context.Context, attempt account.Attempt, oldHash, newHash string, session uuid.UUID,
) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.succeedTx(ctx, tx, attempt); err != nil {
			return err
		}
		var id uuid.UUID
		err := tx.QueryRow(ctx, `
			UPDATE users SET password_hash = $3 WHERE email = $1 AND password_hash = $2 RETURNING id`,
			attempt.Email, oldHash, newHash).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return account.ErrWrongPassword
		}
		if err != nil {
			return fmt.Errorf("change a password: %w", err)
		}
		if err := voidResetsTx(ctx, tx, id); err != nil {
			return err
		}
		return revokeTx(ctx, tx, id, session)
	})
}

// revokeTx ends the user's sessions but one.
func revokeTx(ctx context.Context, tx pgx.Tx, user, but uuid.UUID) error {
	if _, err := tx.Exec(ctx, `
		UPDATE sessions SET revoked_at = clock_timestamp()
		WHERE user_id = $1 AND id <> $2 AND revoked_at IS NULL`, user, but); err != nil {
		return fmt.Errorf("end sessions of %s: %w", user, err)
	}
	return nil
}

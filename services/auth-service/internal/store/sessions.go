package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// Login opens a session with a first refresh token, of this hash. The caller has found that the password matches
// passwordHash. It returns the current account. It returns account.ErrTooManyAttempts, and
// account.ErrInvalidCredentials if the password has been changed since.
func (s *Store) Login(
	ctx context.Context, attempt account.Attempt, passwordHash string, tokenHash []byte,
) (account.User, account.Session, error) {
	var user account.User
	var session account.Session
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.recordSuccessTx(ctx, tx, attempt); err != nil {
			return err
		}
		// A change of the password or the roles waits for this lock, and then finds the session and revokes it.
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
			INSERT INTO sessions (user_id, expires_at) VALUES ($1, clock_timestamp() + $2::interval)
			RETURNING id, expires_at`,
			user.ID, account.RefreshLifetime).Scan(&session.ID, &session.RefreshExpiresAt)
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

// Refresh replaces the refresh token with the hash used by one with the hash next, and extends the session. It returns
// account.ErrRefreshTokenInvalid. If the token was used before, it revokes the session and returns
// account.ErrRefreshTokenReused.
func (s *Store) Refresh(ctx context.Context, used, next []byte) (account.User, account.Session, error) {
	var user account.User
	var session account.Session
	var refused error
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		refused = nil
		// A concurrent Refresh with the same token waits here, and then finds the token used.
		err := tx.QueryRow(ctx, `
			UPDATE refresh_tokens SET used_at = clock_timestamp()
			WHERE hash = $1 AND used_at IS NULL AND expires_at > clock_timestamp()
			RETURNING session_id`, used).Scan(&session.ID)
		if errors.Is(err, pgx.ErrNoRows) {
			refused, err = refuseTx(ctx, tx, used)
			return err // not refused, so that the revocation is committed
		}
		if err != nil {
			return fmt.Errorf("use a refresh token: %w", err)
		}
		err = tx.QueryRow(ctx, `
			UPDATE sessions SET expires_at = clock_timestamp() + $2::interval
			WHERE id = $1 AND revoked_at IS NULL
			RETURNING expires_at, user_id`, session.ID, account.RefreshLifetime).
			Scan(&session.RefreshExpiresAt, &user.ID)
		if errors.Is(err, pgx.ErrNoRows) {
			return account.ErrRefreshTokenInvalid
		}
		if err != nil {
			return fmt.Errorf("refresh session %s: %w", session.ID, err)
		}
		// The user is read after the session is locked. A change of the roles that this read misses waits for the lock
		// and then revokes the session.
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

// refuseTx returns as refused why a refresh token cannot be used. If it was used before, refuseTx revokes its session.
func refuseTx(ctx context.Context, tx pgx.Tx, hash []byte) (refused, err error) {
	tag, err := tx.Exec(ctx, `
		UPDATE sessions SET revoked_at = coalesce(revoked_at, clock_timestamp())
		FROM refresh_tokens t
		WHERE t.hash = $1 AND t.session_id = sessions.id
			AND t.used_at IS NOT NULL AND t.expires_at > clock_timestamp()`, hash)
	if err != nil {
		return nil, fmt.Errorf("revoke a session: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return account.ErrRefreshTokenInvalid, nil
	}
	return account.ErrRefreshTokenReused, nil
}

// Logout revokes the session of the refresh token with this hash. It does nothing if there is none.
func (s *Store) Logout(ctx context.Context, hash []byte) error {
	if _, err := s.pool.Exec(ctx, `
		UPDATE sessions SET revoked_at = clock_timestamp()
		FROM refresh_tokens t
		WHERE t.hash = $1 AND t.session_id = sessions.id AND revoked_at IS NULL`, hash); err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	return nil
}

// SessionUser returns the user of an access token that was issued in the session. It returns identity.ErrTokenInvalid
// if there is no such user, and account.ErrTokenRevoked if the session does not exist or is revoked.
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

// ChangePassword replaces the password with the hash oldHash, which the caller has found to match. It revokes the
// user's sessions except the given one, and invalidates the mails that reset the password. It returns
// account.ErrTooManyAttempts, and account.ErrWrongPassword if the password has been changed since.
func (s *Store) ChangePassword(
	ctx context.Context, attempt account.Attempt, oldHash, newHash string, session uuid.UUID,
) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.recordSuccessTx(ctx, tx, attempt); err != nil {
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
		if err := invalidateResetsTx(ctx, tx, id); err != nil {
			return err
		}
		return revokeTx(ctx, tx, id, session)
	})
}

// revokeTx revokes the user's sessions except one; uuid.Nil excepts none.
func revokeTx(ctx context.Context, tx pgx.Tx, user, except uuid.UUID) error {
	if _, err := tx.Exec(ctx, `
		UPDATE sessions SET revoked_at = clock_timestamp()
		WHERE user_id = $1 AND id <> $2 AND revoked_at IS NULL`, user, except); err != nil {
		return fmt.Errorf("revoke sessions of %s: %w", user, err)
	}
	return nil
}

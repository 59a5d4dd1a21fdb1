package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// The first halves of the keys of advisory locks. The second half is a hash of an account or an address. The lock of an
// account is always taken before that of an address.
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

// querier is a transaction or a pool.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// checkLimits returns account.ErrTooManyAttempts if the account or the address has reached its limit of failures.
func (s *Store) checkLimits(ctx context.Context, q querier, attempt account.Attempt) error {
	var wait *time.Duration
	// The limit applies until the failure with which it was reached leaves the window. now() is the start of the
	// transaction, which may have waited for a lock since then.
	err := q.QueryRow(ctx, `
		SELECT max(failed_at) + $5::interval - clock_timestamp()
		FROM (
			(SELECT failed_at FROM login_failures WHERE account = $1 ORDER BY failed_at DESC OFFSET $2 LIMIT 1)
			UNION ALL
			(SELECT failed_at FROM login_failures WHERE address = $3 ORDER BY failed_at DESC OFFSET $4 LIMIT 1)
		) AS limits
		WHERE failed_at > clock_timestamp() - $5::interval`,
		attempt.Email.Key(), account.FailuresPerAccount-1, attempt.Address, s.failuresPerAddress-1,
		account.FailureWindow).Scan(&wait)
	if err != nil {
		return fmt.Errorf("count failures: %w", err)
	}
	if wait != nil {
		return account.TooManyAttempts(*wait)
	}
	return nil
}

// CheckLimits returns account.ErrTooManyAttempts if the attempt would be rejected, so that the caller need not hash a
// password. The limits are checked again when the outcome is recorded, by RecordFailure, Login or ChangePassword.
// Therefore, of many concurrent attempts, only as many as the limit learn whether their password is right.
func (s *Store) CheckLimits(ctx context.Context, attempt account.Attempt) error {
	return s.checkLimits(ctx, s.pool, attempt)
}

// RecordFailure counts a failed attempt. It returns account.ErrTooManyAttempts, and counts nothing, if a limit has been
// reached.
func (s *Store) RecordFailure(ctx context.Context, attempt account.Attempt) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockTx(ctx, tx, lockAccount, hex.EncodeToString(attempt.Email.Key())); err != nil {
			return err
		}
		if err := lockTx(ctx, tx, lockAddress, attempt.Address); err != nil {
			return err
		}
		if err := s.checkLimits(ctx, tx, attempt); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO login_failures (account, address) VALUES ($1, $2)`,
			attempt.Email.Key(), attempt.Address); err != nil {
			return fmt.Errorf("record a failure: %w", err)
		}
		return nil
	})
}

// recordSuccessTx deletes the failures of the attempt's account. It returns account.ErrTooManyAttempts if a limit has
// been reached.
func (s *Store) recordSuccessTx(ctx context.Context, tx pgx.Tx, attempt account.Attempt) error {
	if err := lockTx(ctx, tx, lockAccount, hex.EncodeToString(attempt.Email.Key())); err != nil {
		return err
	}
	if err := s.checkLimits(ctx, tx, attempt); err != nil {
		return err
	}
	return deleteFailuresTx(ctx, tx, attempt.Email)
}

func deleteFailuresTx(ctx context.Context, tx pgx.Tx, email account.Email) error {
	if _, err := tx.Exec(ctx, `DELETE FROM login_failures WHERE account = $1`, email.Key()); err != nil {
		return fmt.Errorf("delete failures: %w", err)
	}
	return nil
}

package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// EnsureKey stores candidate if no key can sign now, or if the newest key is keyring.KeyLifetime old. In the second
// case the candidate starts to sign after keyring.PublishedAhead, and the older key retires then. If replicas call
// EnsureKey concurrently, one candidate is stored.
func (s *Store) EnsureKey(ctx context.Context, candidate keyring.Key) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// This mode does not block readers. A concurrent EnsureKey waits here and then sees the key that was stored.
		if _, err := tx.Exec(ctx, `LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return fmt.Errorf("lock signing keys: %w", err)
		}
		// now() is the start of the transaction. After the wait for the lock, a key may be younger than that.
		var notBefore time.Time
		err := tx.QueryRow(ctx, `
			WITH signing AS (
				SELECT FROM signing_keys
				WHERE not_before <= clock_timestamp() AND (retired_at IS NULL OR retired_at > clock_timestamp()))
			INSERT INTO signing_keys (kid, public_key, private_key, not_before)
			SELECT $1, $2, $3,
				CASE WHEN EXISTS (TABLE signing) THEN clock_timestamp() + $4::interval ELSE clock_timestamp() END
			WHERE NOT EXISTS (TABLE signing) OR NOT EXISTS (
				SELECT FROM signing_keys WHERE retired_at IS NULL AND not_before > clock_timestamp() - $5::interval)
			RETURNING not_before`,
			candidate.ID, candidate.Public, candidate.Private, keyring.PublishedAhead, keyring.KeyLifetime).
			Scan(&notBefore)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("store a signing key: %w", err)
		}
		if _, err := tx.Exec(ctx, `
			UPDATE signing_keys SET retired_at = $2 WHERE kid <> $1 AND retired_at IS NULL AND not_before <= $2`,
			candidate.ID, notBefore); err != nil {
			return fmt.Errorf("retire signing keys: %w", err)
		}
		return nil
	})
}

// CurrentKey returns the key that signs now.
func (s *Store) CurrentKey(ctx context.Context) (keyring.Key, error) {
	var key keyring.Key
	err := s.pool.QueryRow(ctx, `
		SELECT kid, public_key, private_key FROM signing_keys
		WHERE not_before <= now() AND (retired_at IS NULL OR retired_at > now())
		ORDER BY not_before DESC, kid LIMIT 1`).
		Scan(&key.ID, &key.Public, &key.Private)
	if err != nil { // including pgx.ErrNoRows, which cannot happen after the EnsureKey at startup
		return keyring.Key{}, fmt.Errorf("current signing key: %w", err)
	}
	return key, nil
}

// PublishedKeys returns the keys that may have signed a token that is still valid, and those that will sign next.
func (s *Store) PublishedKeys(ctx context.Context) ([]keyring.Key, error) {
	// Twice the lifetime of a token allows for differences between the clocks of this database and of verifiers.
	rows, err := s.pool.Query(ctx, `
		SELECT kid, public_key, private_key FROM signing_keys
		WHERE retired_at IS NULL OR retired_at > now() - $1::interval
		ORDER BY not_before DESC, kid`, 2*keyring.TokenLifetime)
	if err != nil {
		return nil, fmt.Errorf("published keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[keyring.Key])
	if err != nil {
		return nil, fmt.Errorf("published keys: %w", err)
	}
	return keys, nil
}

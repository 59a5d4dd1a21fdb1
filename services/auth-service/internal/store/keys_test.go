package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
)

// Replicas that start together store one key, and all sign with it.
func TestConcurrentEnsureKeyStoresOneKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	current := make([]keyring.Key, 8)
	errs := make([]error, 8)
	race(func(i int) {
		candidate, err := b.vault.NewKey()
		if err == nil {
			err = b.store.EnsureKey(t.Context(), candidate)
		}
		if err == nil {
			current[i], err = b.store.CurrentKey(t.Context())
		}
		errs[i] = err
	})
	for i := range errs {
		require.NoError(t, errs[i])
		require.Equal(t, current[0], current[i])
	}
	require.NoError(t, b.vault.Check(current[0]))
	published, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []keyring.Key{current[0]}, published)
}

func TestKeysAreSelectedByTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	next, current, retired, expired := b.newKey(t), b.newKey(t), b.newKey(t), b.newKey(t)
	for _, k := range []struct {
		key                  keyring.Key
		notBefore, retiredAt string // intervals from now
	}{
		{next, "1 hour", "infinity"},
		{current, "-1 hour", "infinity"},
		{retired, "-2 hours", "-1 minute"},
		{expired, "-3 hours", "-1 hour"},
	} {
		_, err := b.pool.Exec(t.Context(), `
			INSERT INTO signing_keys (kid, public_key, private_key, not_before, retired_at)
			VALUES ($1, $2, $3, now() + $4::interval, now() + nullif($5, 'infinity')::interval)`,
			k.key.ID, k.key.Public, k.key.Private, k.notBefore, k.retiredAt)
		require.NoError(t, err)
	}

	found, err := b.store.CurrentKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, current, found)
	published, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []keyring.Key{next, current, retired}, published)

	// No key is stored while there is a current key and a successor.
	require.NoError(t, b.store.EnsureKey(t.Context(), b.newKey(t)))
	found, err = b.store.CurrentKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, current, found)
	again, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, published, again)

	require.NoError(t, b.store.Purge(t.Context()))
	_, err = b.pool.Exec(t.Context(), `
		UPDATE signing_keys SET retired_at = now() - interval '25 hours' WHERE kid = $1`, expired.ID)
	require.NoError(t, err)
	require.NoError(t, b.store.Purge(t.Context()))
	var count int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM signing_keys`).Scan(&count))
	require.Equal(t, 3, count)
}

// age moves the times of all keys into the past.
func (b *bundle) age(t *testing.T, by time.Duration) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `
		UPDATE signing_keys SET not_before = not_before - $1::interval, retired_at = retired_at - $1::interval`, by)
	require.NoError(t, err)
}

// An old key gets one successor. The successor is published before it signs. The old key signs until then, and is
// published until its last token has expired.
func TestOldKeyIsReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.newKey(t)
	require.NoError(t, b.store.EnsureKey(t.Context(), old))
	b.age(t, keyring.KeyLifetime-time.Minute)
	require.NoError(t, b.store.EnsureKey(t.Context(), b.newKey(t)))
	published, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []keyring.Key{old}, published, "the key is not old enough")

	b.age(t, time.Minute)
	errs := make([]error, 8)
	race(func(i int) {
		candidate, err := b.vault.NewKey()
		if err == nil {
			err = b.store.EnsureKey(t.Context(), candidate)
		}
		errs[i] = err
	})
	for _, err := range errs {
		require.NoError(t, err)
	}
	published, err = b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, published, 2)
	next := published[0]
	require.Equal(t, []keyring.Key{next, old}, published)
	for _, step := range []struct {
		after     time.Duration
		current   keyring.Key
		published []keyring.Key
	}{
		{0, old, []keyring.Key{next, old}},
		{keyring.PublishedAhead - time.Minute, old, []keyring.Key{next, old}},
		{time.Minute, next, []keyring.Key{next, old}},
		{keyring.TokenLifetime + time.Minute, next, []keyring.Key{next, old}}, // its last token has expired, by this clock
		{keyring.TokenLifetime, next, []keyring.Key{next}},
	} {
		b.age(t, step.after)
		require.NoError(t, b.store.EnsureKey(t.Context(), b.newKey(t)))
		current, err := b.store.CurrentKey(t.Context())
		require.NoError(t, err)
		require.Equal(t, step.current, current)
		published, err := b.store.PublishedKeys(t.Context())
		require.NoError(t, err)
		require.Equal(t, step.published, published)
	}
}

// After a long outage the old key signs until its successor does.
func TestExpiredKeySignsUntilItsSuccessor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.newKey(t)
	require.NoError(t, b.store.EnsureKey(t.Context(), old))
	b.age(t, 10*keyring.KeyLifetime)
	require.NoError(t, b.store.EnsureKey(t.Context(), b.newKey(t)))
	current, err := b.store.CurrentKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, old, current)
}

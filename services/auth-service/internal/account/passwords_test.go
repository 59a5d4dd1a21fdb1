package account

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestMatchesComparesWithTheHash(t *testing.T) {
	t.Parallel()
	passwords, err := NewPasswords()
	require.NoError(t, err)
	hash, err := passwords.Hash(t.Context(), "correct horse battery")
	require.NoError(t, err)

	// The hash of "password12345" with weaker parameters than today's.
	const olderHash = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$k3agS3AFqyUgKAj/l34tY/Piu3BYrZDqtOhEnT5s3po"
	for _, tt := range []struct {
		name, password, hash string
		matches              bool
	}{
		{"Right", "correct horse battery", hash, true},
		{"Wrong", "correct horse batterz", hash, false},
		{"Empty", "", hash, false},
		{"NoAccount", "correct horse battery", "", false},
		{"OtherParameters", "password12345", olderHash, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			matches, err := passwords.Matches(t.Context(), tt.password, tt.hash)
			require.NoError(t, err)
			require.Equal(t, tt.matches, matches)
		})
	}

	t.Run("HashHasParametersAndSalt", func(t *testing.T) {
		t.Parallel()
		again, err := passwords.Hash(t.Context(), "correct horse battery")
		require.NoError(t, err)
		require.NotEqual(t, hash, again)
		require.True(t, strings.HasPrefix(again, "$argon2id$v=19$m=19456,t=2,p=1$"))
	})
	t.Run("DecoyMatchesNoPassword", func(t *testing.T) {
		t.Parallel()
		withDecoy := &Passwords{slots: make(chan struct{}, 1), decoy: hash}
		matches, err := withDecoy.Matches(t.Context(), "correct horse battery", "")
		require.NoError(t, err)
		require.False(t, matches)
	})
}

func TestPasswordsLimitConcurrentHashes(t *testing.T) {
	t.Parallel()
	t.Run("RejectsAfterMaxHashWait", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { // with a fake clock
			full := &Passwords{slots: make(chan struct{}, 1)}
			full.slots <- struct{}{}
			_, err := full.Hash(t.Context(), "correct horse battery")
			require.ErrorIs(t, err, ErrBusy)
			_, err = full.Matches(t.Context(), "correct horse battery", "")
			require.ErrorIs(t, err, ErrBusy)
		})
	})
	t.Run("CallerCancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		idle := &Passwords{slots: make(chan struct{}, 1)}
		_, err := idle.Hash(ctx, "correct horse battery")
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("ReleasesItsSlot", func(t *testing.T) {
		t.Parallel()
		one := &Passwords{slots: make(chan struct{}, 1)}
		hash, err := one.Hash(t.Context(), "correct horse battery")
		require.NoError(t, err)
		matches, err := one.Matches(t.Context(), "correct horse battery", hash)
		require.NoError(t, err)
		require.True(t, matches)
	})
}

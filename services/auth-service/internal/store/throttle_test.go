package store_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// requireWait asserts that err is ErrTooManyAttempts with about this RetryAfter.
func requireWait(t *testing.T, wait time.Duration, err error) {
	t.Helper()
	require.ErrorIs(t, err, account.ErrTooManyAttempts)
	var p *problem.Error
	require.ErrorAs(t, err, &p)
	require.InDelta(t, wait.Seconds(), p.RetryAfter.Seconds(), 10)
}

// The e-mail addresses in this test have no account.
func TestFailuresAreLimitedByAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const ann = account.Email("ann@example.com")
	for range account.FailuresPerAccount {
		require.NoError(t, b.store.CheckLimits(t.Context(), from(ann)))
		require.NoError(t, b.store.RecordFailure(t.Context(), from(ann)))
	}
	requireWait(t, account.FailureWindow, b.store.CheckLimits(t.Context(), from(ann)))
	requireWait(t, account.FailureWindow, b.store.RecordFailure(t.Context(), from(ann)))
	require.NoError(t, b.store.CheckLimits(t.Context(), from("bob@example.com")))

	// A rejected attempt is not counted, so it does not prolong the wait.
	b.exec(t, `UPDATE login_failures SET failed_at = failed_at - interval '14 minutes'`)
	requireWait(t, time.Minute, b.store.CheckLimits(t.Context(), from(ann)))
	b.exec(t, `UPDATE login_failures SET failed_at = failed_at - interval '1 minute'`)
	require.NoError(t, b.store.CheckLimits(t.Context(), from(ann)))
	require.NoError(t, b.store.RecordFailure(t.Context(), from(ann)))
	require.NoError(t, b.store.CheckLimits(t.Context(), from(ann)))
}

// At the limit the right password is rejected too. Below it, a login deletes the failures of the account.
func TestLoginDeletesFailuresBelowTheLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	for range account.FailuresPerAccount - 1 {
		require.NoError(t, b.store.RecordFailure(t.Context(), from(ann.Email)))
	}
	b.login(t, ann.Email, "1")
	for range account.FailuresPerAccount {
		require.NoError(t, b.store.RecordFailure(t.Context(), from(ann.Email)))
	}
	_, _, err := b.store.Login(t.Context(), from(ann.Email), "hash of ann@example.com", []byte("2"))
	requireWait(t, account.FailureWindow, err)
	err = b.store.ChangePassword(t.Context(), from(ann.Email), "hash of ann@example.com", "new", uuid.Nil)
	requireWait(t, account.FailureWindow, err)
}

func TestFailuresAreLimitedByNetworkAddress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	attempt := func(i int) account.Attempt {
		return account.Attempt{Email: account.Email(strconv.Itoa(i) + "@example.com"), Address: "192.0.2.1"}
	}
	for i := range failuresPerAddress {
		require.NoError(t, b.store.RecordFailure(t.Context(), attempt(i)))
	}
	requireWait(t, account.FailureWindow, b.store.CheckLimits(t.Context(), attempt(failuresPerAddress)))
	other := attempt(failuresPerAddress)
	other.Address = "192.0.2.2"
	require.NoError(t, b.store.CheckLimits(t.Context(), other))
}

// Of the concurrent failures, only as many as the limit are reported as such.
func TestConcurrentFailuresDoNotExceedTheLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	errs := make([]error, 8)
	race(func(i int) { errs[i] = b.store.RecordFailure(t.Context(), from("ann@example.com")) })
	counted := 0
	for _, err := range errs {
		if err == nil {
			counted++
			continue
		}
		requireWait(t, account.FailureWindow, err)
	}
	require.Equal(t, account.FailuresPerAccount, counted)
}

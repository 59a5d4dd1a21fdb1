package store_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// from gives an attempt on an account from an address of its own.
func from(email account.Email) account.Attempt {
	return account.Attempt{Email: email, Address: uuid.NewString()}
}

// login opens a session with a refresh token of this hash.
func (b *bundle) login(t *testing.T, email account.Email, token string) account.Session {
	t.Helper()
	user, session, err := b.store.Login(t.Context(), from(email), "hash of "+string(email), []byte(token))
	require.NoError(t, err)
	require.Equal(t, email, user.Email)
	return session
}

func (b *bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	session := b.login(t, ann.Email, "1")
	require.WithinDuration(t, time.Now().Add(account.RefreshLife), session.RefreshExpiresAt, time.Minute)
	for i := range 3 {
		user, refreshed, err := b.store.Refresh(t.Context(), []byte(strconv.Itoa(i+1)), []byte(strconv.Itoa(i+2)))
		require.NoError(t, err)
		require.Equal(t, ann, user)
		require.Equal(t, session.ID, refreshed.ID)
		require.True(t, refreshed.RefreshExpiresAt.After(session.RefreshExpiresAt))
	}
	other := b.login(t, ann.Email, "other")

	// The first token again: what came of it ends, and another login does not.
	_, _, err := b.store.Refresh(t.Context(), []byte("1"), []byte("stolen"))
	require.ErrorIs(t, err, account.ErrRefreshTokenReused)
	_, _, err = b.store.Refresh(t.Context(), []byte("4"), []byte("5"))
	require.ErrorIs(t, err, account.ErrRefreshTokenInvalid)
	_, _, err = b.store.Refresh(t.Context(), []byte("stolen"), []byte("6"))
	require.ErrorIs(t, err, account.ErrRefreshTokenInvalid)
	_, err = b.store.SessionUser(t.Context(), ann.ID, session.ID)
	require.ErrorIs(t, err, account.ErrTokenRevoked)
	_, err = b.store.SessionUser(t.Context(), ann.ID, other.ID)
	require.NoError(t, err)
}

func TestRefreshRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	b.login(t, ann.Email, "logged out")
	require.NoError(t, b.store.Logout(t.Context(), []byte("logged out")))
	b.login(t, ann.Email, "expired")
	b.exec(t, `UPDATE refresh_tokens SET expires_at = now() WHERE hash = $1`, []byte("expired"))
	b.login(t, ann.Email, "used and expired")
	_, _, err := b.store.Refresh(t.Context(), []byte("used and expired"), []byte("next"))
	require.NoError(t, err)
	b.exec(t, `UPDATE refresh_tokens SET expires_at = now() WHERE hash = $1`, []byte("used and expired"))
	for _, token := range []string{"unknown", "logged out", "expired", "used and expired"} {
		t.Run(token, func(t *testing.T) {
			_, _, err := b.store.Refresh(t.Context(), []byte(token), []byte("next of "+token))
			require.ErrorIs(t, err, account.ErrRefreshTokenInvalid)
		})
	}
}

// Of those who use a token at once one gets the next. The others are told, and nobody can tell who is who:
// the session has ended for all.
func TestRefreshRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	session := b.login(t, ann.Email, "1")
	errs := make([]error, 8)
	race(func(i int) {
		_, _, errs[i] = b.store.Refresh(t.Context(), []byte("1"), []byte("next "+strconv.Itoa(i)))
	})
	won := slices.Index(errs, nil)
	require.NotEqual(t, -1, won)
	for i, err := range errs {
		if i != won {
			require.ErrorIs(t, err, account.ErrRefreshTokenReused)
		}
	}
	_, err := b.store.SessionUser(t.Context(), ann.ID, session.ID)
	require.ErrorIs(t, err, account.ErrTokenRevoked)
	_, _, err = b.store.Refresh(t.Context(), []byte("next "+strconv.Itoa(won)), []byte("last"))
	require.ErrorIs(t, err, account.ErrRefreshTokenInvalid)
}

func TestLogout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	session := b.login(t, ann.Email, "1")
	for range 2 {
		require.NoError(t, b.store.Logout(t.Context(), []byte("1")))
		_, err := b.store.SessionUser(t.Context(), ann.ID, session.ID)
		require.ErrorIs(t, err, account.ErrTokenRevoked)
	}
	require.NoError(t, b.store.Logout(t.Context(), []byte("unknown")))
	_, err := b.store.SessionUser(t.Context(), uuid.New(), session.ID)
	require.ErrorIs(t, err, identity.ErrTokenInvalid)
}

// requireWait wants ErrTooManyAttempts with a wait of about so long.
func requireWait(t *testing.T, wait time.Duration, err error) {
	t.Helper()
	require.ErrorIs(t, err, account.ErrTooManyAttempts)
	var p *problem.Error
	require.ErrorAs(t, err, &p)
	require.InDelta(t, wait.Seconds(), p.RetryAfter.Seconds(), 10)
}

// The addresses of these are nobody's: being throttled tells nothing about who has an account.
func TestThrottleByAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const ann = account.Email("ann@example.com")
	for range account.FailuresPerAccount {
		require.NoError(t, b.store.Admit(t.Context(), from(ann)))
		require.NoError(t, b.store.Fail(t.Context(), from(ann)))
	}
	requireWait(t, account.FailureWindow, b.store.Admit(t.Context(), from(ann)))
	requireWait(t, account.FailureWindow, b.store.Fail(t.Context(), from(ann)))
	require.NoError(t, b.store.Admit(t.Context(), from("bob@example.com")))

	// Who is refused is not counted, and so the wait ends.
	b.exec(t, `UPDATE login_failures SET failed_at = failed_at - interval '14 minutes'`)
	requireWait(t, time.Minute, b.store.Admit(t.Context(), from(ann)))
	b.exec(t, `UPDATE login_failures SET failed_at = failed_at - interval '1 minute'`)
	require.NoError(t, b.store.Admit(t.Context(), from(ann)))
	require.NoError(t, b.store.Fail(t.Context(), from(ann)))
	require.NoError(t, b.store.Admit(t.Context(), from(ann)))
}

// The right password does not help either, and once it does, what failed before is forgotten.
func TestThrottleAndSuccess(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	for range account.FailuresPerAccount - 1 {
		require.NoError(t, b.store.Fail(t.Context(), from(ann.Email)))
	}
	b.login(t, ann.Email, "1")
	for range account.FailuresPerAccount {
		require.NoError(t, b.store.Fail(t.Context(), from(ann.Email)))
	}
	_, _, err := b.store.Login(t.Context(), from(ann.Email), "hash of ann@example.com", []byte("2"))
	requireWait(t, account.FailureWindow, err)
	err = b.store.ChangePassword(t.Context(), from(ann.Email), "hash of ann@example.com", "new", uuid.Nil)
	requireWait(t, account.FailureWindow, err)
}

// setup's limit by address is 8.
func TestThrottleByAddress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	attempt := func(i int) account.Attempt {
		return account.Attempt{Email: account.Email(strconv.Itoa(i) + "@example.com"), Address: "192.0.2.1"}
	}
	for i := range 8 {
		require.NoError(t, b.store.Fail(t.Context(), attempt(i)))
	}
	requireWait(t, account.FailureWindow, b.store.Admit(t.Context(), attempt(8)))
	other := attempt(8)
	other.Address = "192.0.2.2"
	require.NoError(t, b.store.Admit(t.Context(), other))
}

// However many guess at once, no more than the limit learn that they guessed wrong.
func TestThrottleRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	errs := make([]error, 8)
	race(func(i int) { errs[i] = b.store.Fail(t.Context(), from("ann@example.com")) })
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

func TestChangePassword(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	mine, other := b.login(t, ann.Email, "mine"), b.login(t, ann.Email, "other")
	require.NoError(t, b.store.ChangePassword(t.Context(), from(ann.Email), "hash of ann@example.com", "new", mine.ID))
	_, err := b.store.SessionUser(t.Context(), ann.ID, mine.ID)
	require.NoError(t, err)
	_, err = b.store.SessionUser(t.Context(), ann.ID, other.ID)
	require.ErrorIs(t, err, account.ErrTokenRevoked)

	// Those who checked the old password before, and come only now:
	_, _, err = b.store.Login(t.Context(), from(ann.Email), "hash of ann@example.com", []byte("late"))
	require.ErrorIs(t, err, account.ErrInvalidCredentials)
	err = b.store.ChangePassword(t.Context(), from(ann.Email), "hash of ann@example.com", "other", mine.ID)
	require.ErrorIs(t, err, account.ErrWrongPassword)
}

func TestSetRoles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, ann := b.register(t, "admin@example.com"), b.register(t, "ann@example.com")
	b.exec(t, `UPDATE users SET roles = '{USER,ADMIN}' WHERE id = $1`, admin.ID)
	user, organizer := []identity.Role{"USER"}, []identity.Role{"USER", "ORGANIZER"}
	session := b.login(t, ann.Email, "1")

	same, err := b.store.SetRoles(t.Context(), admin.ID, ann.ID, organizer)
	require.NoError(t, err)
	require.Equal(t, ann, same)
	_, err = b.store.SessionUser(t.Context(), ann.ID, session.ID)
	require.NoError(t, err, "nothing changed")

	changed, err := b.store.SetRoles(t.Context(), admin.ID, ann.ID, user)
	require.NoError(t, err)
	require.Equal(t, user, changed.Roles)
	_, err = b.store.SessionUser(t.Context(), ann.ID, session.ID)
	require.ErrorIs(t, err, account.ErrTokenRevoked)

	_, err = b.store.SetRoles(t.Context(), admin.ID, uuid.New(), user)
	require.ErrorIs(t, err, account.NotFound(uuid.Nil))
	_, err = b.store.SetRoles(t.Context(), admin.ID, admin.ID, user)
	require.ErrorIs(t, err, account.ErrOwnAdmin)
	_, err = b.store.SetRoles(t.Context(), ann.ID, admin.ID, user)
	require.ErrorIs(t, err, identity.ErrForbidden)
	_, err = b.store.SetRoles(t.Context(), admin.ID, admin.ID, []identity.Role{"USER", "ORGANIZER", "ADMIN"})
	require.NoError(t, err)
}

// Of two admins who demote each other at once one is left.
func TestSetRolesRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admins := []account.User{b.register(t, "a@example.com"), b.register(t, "b@example.com")}
	b.exec(t, `UPDATE users SET roles = '{USER,ADMIN}'`)
	errs := make([]error, 8)
	race(func(i int) {
		_, errs[i] = b.store.SetRoles(t.Context(), admins[i%2].ID, admins[(i+1)%2].ID, []identity.Role{"USER"})
	})
	for i, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, identity.ErrForbidden, i)
		}
	}
	var left int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM users WHERE 'ADMIN' = ANY (roles)`).Scan(&left))
	require.Equal(t, 1, left)
}

func TestForget(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	b.login(t, ann.Email, "over")
	_, _, err := b.store.Refresh(t.Context(), []byte("over"), []byte("over too"))
	require.NoError(t, err)
	require.NoError(t, b.store.Fail(t.Context(), from(ann.Email)))
	b.exec(t, `UPDATE sessions SET expires_at = expires_at - interval '31 days 1 hour'`)
	b.exec(t, `UPDATE refresh_tokens SET expires_at = expires_at - interval '31 days 1 hour'`)
	b.exec(t, `UPDATE login_failures SET failed_at = failed_at - interval '25 hours'`)
	b.exec(t, `UPDATE account_mails SET expires_at = expires_at - interval '73 hours'`)
	kept := b.login(t, ann.Email, "kept")
	require.NoError(t, b.store.Fail(t.Context(), from(ann.Email)))
	require.NoError(t, b.store.RequestMail(t.Context(), account.PasswordReset, ann.Email))

	require.NoError(t, b.store.Forget(t.Context()))
	for _, table := range []string{"sessions", "refresh_tokens", "login_failures", "account_mails"} {
		var rows int
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&rows))
		require.Equal(t, 1, rows, table)
	}
	_, err = b.store.SessionUser(t.Context(), ann.ID, kept.ID)
	require.NoError(t, err)
}

package store_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// from returns an attempt to log in from a unique network address.
func from(email account.Email) account.Attempt {
	return account.Attempt{Email: email, Address: uuid.NewString()}
}

// login opens a session with a refresh token that has this hash.
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

func TestReuseOfARefreshTokenRevokesOneSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	session := b.login(t, ann.Email, "1")
	require.WithinDuration(t, time.Now().Add(account.RefreshLifetime), session.RefreshExpiresAt, time.Minute)
	for i := range 3 {
		user, refreshed, err := b.store.Refresh(t.Context(), []byte(strconv.Itoa(i+1)), []byte(strconv.Itoa(i+2)))
		require.NoError(t, err)
		require.Equal(t, ann, user)
		require.Equal(t, session.ID, refreshed.ID)
		require.True(t, refreshed.RefreshExpiresAt.After(session.RefreshExpiresAt))
	}
	other := b.login(t, ann.Email, "other")

	// The reuse of the first token revokes its session, but not that of another login.
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

func TestRefreshRejectsUnusableTokens(t *testing.T) {
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

// One of the concurrent calls gets the next token. The others reveal a reuse, which revokes the session for all.
func TestConcurrentRefreshRevokesTheSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	session := b.login(t, ann.Email, "1")
	errs := make([]error, 8)
	race(func(i int) {
		_, _, errs[i] = b.store.Refresh(t.Context(), []byte("1"), []byte("next "+strconv.Itoa(i)))
	})
	succeeded := slices.Index(errs, nil)
	require.NotEqual(t, -1, succeeded)
	for i, err := range errs {
		if i != succeeded {
			require.ErrorIs(t, err, account.ErrRefreshTokenReused)
		}
	}
	_, err := b.store.SessionUser(t.Context(), ann.ID, session.ID)
	require.ErrorIs(t, err, account.ErrTokenRevoked)
	_, _, err = b.store.Refresh(t.Context(), []byte("next "+strconv.Itoa(succeeded)), []byte("last"))
	require.ErrorIs(t, err, account.ErrRefreshTokenInvalid)
}

func TestLogoutIsIdempotent(t *testing.T) {
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

func TestChangePasswordRevokesOtherSessions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	own, other := b.login(t, ann.Email, "own"), b.login(t, ann.Email, "other")
	require.NoError(t, b.store.ChangePassword(t.Context(), from(ann.Email), "hash of ann@example.com", "new", own.ID))
	_, err := b.store.SessionUser(t.Context(), ann.ID, own.ID)
	require.NoError(t, err)
	_, err = b.store.SessionUser(t.Context(), ann.ID, other.ID)
	require.ErrorIs(t, err, account.ErrTokenRevoked)

	// Calls that compared the old password before the change, and arrive after it:
	_, _, err = b.store.Login(t.Context(), from(ann.Email), "hash of ann@example.com", []byte("late"))
	require.ErrorIs(t, err, account.ErrInvalidCredentials)
	err = b.store.ChangePassword(t.Context(), from(ann.Email), "hash of ann@example.com", "other", own.ID)
	require.ErrorIs(t, err, account.ErrWrongPassword)
}

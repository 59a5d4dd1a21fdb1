package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/contracts/events"
)

// requested returns the mail requests in the outbox with this event type, the oldest first.
func (b *bundle) requested(t *testing.T, eventType string) []events.AccountMailRequest {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT cloud_event->'data'->'payload' FROM outbox
		WHERE topic = 'user-events' AND cloud_event->>'type' = $1 ORDER BY position`, eventType)
	require.NoError(t, err)
	requests, err := pgx.CollectRows(rows, pgx.RowTo[events.AccountMailRequest])
	require.NoError(t, err)
	return requests
}

// reset requests a mail that resets Ann's password and returns its id.
func (b *bundle) reset(t *testing.T) uuid.UUID {
	t.Helper()
	require.NoError(t, b.store.RequestMail(t.Context(), account.PasswordReset, "ann@example.com"))
	requests := b.requested(t, "PASSWORD_RESET_REQUESTED")
	return requests[len(requests)-1].RequestID
}

func TestVerifyEmailUsesATokenOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	requests := b.requested(t, "EMAIL_VERIFICATION_REQUESTED")
	require.Len(t, requests, 1)
	require.Equal(t, ann.ID, requests[0].UserID)
	request := requests[0].RequestID

	mail, err := b.store.Mail(t.Context(), request)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(48*time.Hour), mail.ExpiresAt, time.Minute)
	require.Equal(t, account.Mail{
		RequestID: request, UserID: ann.ID, Email: ann.Email, FirstName: "Ann",
		Kind: account.EmailVerification, ExpiresAt: mail.ExpiresAt,
	}, mail)

	errs := make([]error, 8)
	race(func(i int) { errs[i] = b.store.VerifyEmail(t.Context(), request) })
	succeeded := slices.Index(errs, nil)
	require.NotEqual(t, -1, succeeded)
	for i, err := range errs {
		if i != succeeded {
			require.ErrorIs(t, err, account.ErrMailToken)
		}
	}
	_, err = b.store.Mail(t.Context(), request)
	require.ErrorIs(t, err, account.ErrMailNotFound)
	users, err := b.store.Users(t.Context(), ann.ID)
	require.NoError(t, err)
	require.True(t, users[0].EmailVerified)

	// A verified address gets no further mail.
	require.NoError(t, b.store.RequestMail(t.Context(), account.EmailVerification, ann.Email))
	require.Len(t, b.requested(t, "EMAIL_VERIFICATION_REQUESTED"), 1)
}

func TestResetPasswordEndsSessionsAndFailures(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	session := b.login(t, ann.Email, "1")
	first, second := b.reset(t), b.reset(t)
	for range account.FailuresPerAccount {
		require.NoError(t, b.store.RecordFailure(t.Context(), from(ann.Email)))
	}
	require.NoError(t, b.store.ResetPassword(t.Context(), second, "new"))
	_, hash, err := b.store.Credentials(t.Context(), ann.Email)
	require.NoError(t, err)
	require.Equal(t, "new", hash)
	_, err = b.store.SessionUser(t.Context(), ann.ID, session.ID)
	require.ErrorIs(t, err, account.ErrTokenRevoked)
	require.NoError(t, b.store.CheckLimits(t.Context(), from(ann.Email)), "a reset ends the throttling of the account")

	for name, request := range map[string]uuid.UUID{"Used": second, "Earlier": first, "Unknown": uuid.New()} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, b.store.ResetPassword(t.Context(), request, "newer"), account.ErrMailToken)
			_, err := b.store.Mail(t.Context(), request)
			require.ErrorIs(t, err, account.ErrMailNotFound)
		})
	}
	t.Run("Expired", func(t *testing.T) {
		request := b.reset(t)
		mail, err := b.store.Mail(t.Context(), request)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(time.Hour), mail.ExpiresAt, time.Minute)
		b.exec(t, `UPDATE account_mails SET expires_at = now() WHERE request_id = $1`, request)
		_, err = b.store.Mail(t.Context(), request)
		require.ErrorIs(t, err, account.ErrMailNotFound)
		require.ErrorIs(t, b.store.ResetPassword(t.Context(), request, "newer"), account.ErrMailToken)
	})
	t.Run("OfAnotherKind", func(t *testing.T) {
		verification := b.requested(t, "EMAIL_VERIFICATION_REQUESTED")[0].RequestID
		require.ErrorIs(t, b.store.ResetPassword(t.Context(), verification, "newer"), account.ErrMailToken)
	})
	t.Run("FromBeforeAChangeOfThePassword", func(t *testing.T) {
		request := b.reset(t)
		require.NoError(t, b.store.ChangePassword(t.Context(), from(ann.Email), "new", "changed", uuid.Nil))
		require.ErrorIs(t, b.store.ResetPassword(t.Context(), request, "newer"), account.ErrMailToken)
	})
}

// A request without an account is stored too, so that it takes the same time, but it publishes no event.
func TestRequestMailWithoutAnAccountPublishesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.store.RequestMail(t.Context(), account.PasswordReset, "bob@example.com"))
	require.Empty(t, b.requested(t, "PASSWORD_RESET_REQUESTED"))
	var request uuid.UUID
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT request_id FROM account_mails WHERE user_id IS NULL`).Scan(&request))

	// An account that is registered with the address later does not get the mail.
	b.register(t, "bob@example.com")
	_, err := b.store.Mail(t.Context(), request)
	require.ErrorIs(t, err, account.ErrMailNotFound)
	require.ErrorIs(t, b.store.ResetPassword(t.Context(), request, "hash"), account.ErrMailToken)
}

func TestConcurrentRequestsDoNotExceedMailsPerHour(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	errs := make([]error, 8)
	race(func(i int) { errs[i] = b.store.RequestMail(t.Context(), account.PasswordReset, "ann@example.com") })
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, b.requested(t, "PASSWORD_RESET_REQUESTED"), account.MailsPerHour)
	b.exec(t, `UPDATE account_mails SET created_at = created_at - interval '1 hour'`)
	b.reset(t)
	require.Len(t, b.requested(t, "PASSWORD_RESET_REQUESTED"), account.MailsPerHour+1)
}

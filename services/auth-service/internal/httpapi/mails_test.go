package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
)

// mail requests an account mail as notification-service.
func (b *bundle) mail(t *testing.T, request string) (int, string) {
	t.Helper()
	path := "/api/auth/internal/account-mails/" + request
	return b.send(t, http.MethodGet, path, "", from(t, "notification-service"))
}

func TestVerifyEmailUsesTheTokenOfTheMailOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	login := b.login(t, "ann@example.com")
	status, body := b.send(t, http.MethodPost, "/api/auth/verify-email/resend", "", bearer(login.AccessToken))
	require.Equal(t, http.StatusAccepted, status, body)
	require.Empty(t, body)
	requests := b.requested(t, "EMAIL_VERIFICATION_REQUESTED")
	require.Len(t, requests, 2)

	request := requests[1].RequestID
	status, body = b.mail(t, request.String())
	require.Equal(t, http.StatusOK, status)
	var mail struct {
		Token     string
		ExpiresAt time.Time
	}
	require.NoError(t, json.Unmarshal([]byte(body), &mail))
	require.WithinDuration(t, time.Now().Add(48*time.Hour), mail.ExpiresAt, time.Minute)
	require.JSONEq(t, `{"requestId":"`+request.String()+`","userId":"`+ann.UserID.String()+`",
		"email":"ann@example.com","firstName":"Ann","kind":"EMAIL_VERIFICATION","token":"`+mail.Token+`",
		"expiresAt":"`+mail.ExpiresAt.Format(time.RFC3339Nano)+`"}`, body)
	_, again := b.mail(t, request.String())
	require.Equal(t, body, again, "a mail that is sent twice must be the same")

	verify := func(t *testing.T, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/auth/verify-email", body, nil)
	}
	requireRejected := func(t *testing.T, token string) {
		t.Helper()
		status, body := verify(t, `{"token":"`+token+`"}`)
		require.Equal(t, http.StatusBadRequest, status, body)
		requireFailure(t, body, "VALIDATION_ERROR", "token")
	}
	t.Run("Empty", func(t *testing.T) {
		status, body := verify(t, ``)
		require.Equal(t, http.StatusBadRequest, status, body)
		requireFailure(t, body, "MALFORMED_JSON", "")
	})
	t.Run("Missing", func(t *testing.T) {
		status, body := verify(t, `{}`)
		require.Equal(t, http.StatusBadRequest, status, body)
		requireFailure(t, body, "VALIDATION_ERROR", "token")
	})
	for name, token := range map[string]string{
		"NotAToken":     "nonsense",
		"Huge":          strings.Repeat("A", 500_000),
		"OfNoRequest":   b.mails.Token(account.EmailVerification, uuid.New()),
		"OfAnotherKind": b.mails.Token(account.PasswordReset, request),
	} {
		t.Run(name, func(t *testing.T) { requireRejected(t, token) })
	}
	_, body = b.me(t, login.AccessToken)
	require.Contains(t, body, `"emailVerified":false`)

	status, body = verify(t, `{"token":"`+mail.Token+`"}`)
	require.Equal(t, http.StatusNoContent, status, body)
	require.Empty(t, body)
	_, body = b.me(t, login.AccessToken)
	require.Contains(t, body, `"emailVerified":true`)
	t.Run("Used", func(t *testing.T) { requireRejected(t, mail.Token) })
	for name, id := range map[string]uuid.UUID{"UsedMail": request, "UnknownMail": uuid.New()} {
		t.Run(name, func(t *testing.T) {
			status, body := b.mail(t, id.String())
			require.Equal(t, http.StatusNotFound, status)
			requireFailure(t, body, "ACCOUNT_MAIL_NOT_FOUND", "")
		})
	}
	t.Run("MailNotAUUID", func(t *testing.T) {
		status, body := b.mail(t, "1")
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "requestId")
	})
}

// With and without an account the response and the number of inserted rows are the same; only the event is not.
func TestForgotPasswordDoesNotRevealWhichAccountsExist(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	for _, email := range []string{"ann@example.com", "unknown@example.com"} {
		for i := range account.MailsPerHour + 1 {
			status, body := b.send(t, http.MethodPost, "/api/auth/forgot-password", `{"email":"`+email+`"}`, nil)
			require.Equal(t, http.StatusAccepted, status)
			require.Empty(t, body)
			var rows int
			require.NoError(t, b.pool.QueryRow(t.Context(), `
				SELECT count(*) FROM account_mails WHERE account = $1 AND kind = 'PASSWORD_RESET'`,
				account.Email(email).Key()).Scan(&rows))
			require.Equal(t, min(i+1, account.MailsPerHour), rows)
		}
	}
	require.Len(t, b.requested(t, "PASSWORD_RESET_REQUESTED"), account.MailsPerHour)
	for _, tt := range []struct{ name, body, code, field string }{
		{"Empty", ``, "MALFORMED_JSON", ""},
		{"NoEmail", `{}`, "VALIDATION_ERROR", "email"},
		{"BadEmail", `{"email":"ann"}`, "VALIDATION_ERROR", "email"},
		{"UnknownField", `{"user":"ann"}`, "VALIDATION_ERROR", "user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := b.send(t, http.MethodPost, "/api/auth/forgot-password", tt.body, nil)
			require.Equal(t, http.StatusBadRequest, status)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestResetPasswordUsesTheTokenOfTheMailOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	login := b.login(t, "ann@example.com")
	b.send(t, http.MethodPost, "/api/auth/forgot-password", `{"email":"ANN@example.com"}`, nil)
	request := b.requested(t, "PASSWORD_RESET_REQUESTED")[0].RequestID
	_, body := b.mail(t, request.String())
	var mail struct{ Token, Kind string }
	require.NoError(t, json.Unmarshal([]byte(body), &mail))
	require.Equal(t, "PASSWORD_RESET", mail.Kind)

	const valid = "another good password"
	reset := func(t *testing.T, token, password string) (int, string) {
		t.Helper()
		body := `{"token":"` + token + `","newPassword":"` + password + `"}`
		return b.send(t, http.MethodPost, "/api/auth/reset-password", body, nil)
	}
	for _, tt := range []struct{ name, token, password, field string }{
		{"ShortPassword", mail.Token, "hunter2", "newPassword"},
		{"NoToken", "", valid, "token"},
		{"NotAToken", "nonsense", valid, "token"},
		{"OfNoRequest", b.mails.Token(account.PasswordReset, uuid.New()), valid, "token"},
		{"OfAnotherKind", b.mails.Token(account.EmailVerification, request), valid, "token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := reset(t, tt.token, tt.password)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
	status, body := reset(t, mail.Token, valid)
	require.Equal(t, http.StatusNoContent, status, body)
	require.Empty(t, body)
	status, body = reset(t, mail.Token, valid)
	require.Equal(t, http.StatusBadRequest, status)
	requireFailure(t, body, "VALIDATION_ERROR", "token")
	status, body = b.refresh(t, login.RefreshToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "REFRESH_TOKEN_INVALID", "")
	require.Equal(t, http.StatusUnauthorized, b.tryPassword(t, "ann@example.com", password, nil).status)
	require.Equal(t, http.StatusOK, b.tryPassword(t, "ann@example.com", valid, nil).status)
}

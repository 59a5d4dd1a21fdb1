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

func TestMe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	token := b.login(t, "ann@example.com").AccessToken
	view := func(first, last string) string {
		return `{"userId":"` + ann.UserID.String() + `","email":"ann@example.com","firstName":"` + first + `","lastName":"` + last + `",
			"roles":["USER"],"emailVerified":false,"createdAt":"` + ann.CreatedAt.Format(time.RFC3339Nano) + `"}`
	}
	status, body := b.me(t, token)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, view("Ann", "O'Hara"), body)

	for _, step := range []struct{ body, first, last string }{
		{`{}`, "Ann", "O'Hara"},
		{`{"firstName":" Anna "}`, "Anna", "O'Hara"},
		{`{"firstName":"Änne","lastName":"Smith"}`, "Änne", "Smith"},
	} {
		status, body = b.send(t, http.MethodPatch, "/api/auth/me", step.body, bearer(token))
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, view(step.first, step.last), body)
	}
	for _, tt := range []struct{ name, body, code, field string }{
		{"Empty", ``, "MALFORMED_JSON", ""},
		{"BlankName", `{"firstName":"Bob","lastName":" "}`, "VALIDATION_ERROR", "lastName"},
		{"Null", `{"firstName":null}`, "VALIDATION_ERROR", "firstName"},
		{"LongName", `{"firstName":"` + strings.Repeat("a", 101) + `"}`, "VALIDATION_ERROR", "firstName"},
		{"NUL", `{"firstName":"\u0000"}`, "VALIDATION_ERROR", "firstName"},
		{"Roles", `{"roles":["ADMIN"]}`, "VALIDATION_ERROR", "roles"},
		{"Email", `{"email":"bob@example.com"}`, "VALIDATION_ERROR", "email"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := b.send(t, http.MethodPatch, "/api/auth/me", tt.body, bearer(token))
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
	_, body = b.me(t, token)
	require.JSONEq(t, view("Änne", "Smith"), body)
}

func TestBecomeOrganizer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	login := b.login(t, "ann@example.com")
	for range 2 {
		status, body := b.send(t, http.MethodPost, "/api/auth/me/organizer", "", bearer(login.AccessToken))
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"roles":["USER","ORGANIZER"]`)
	}
	status, body := b.refresh(t, login.RefreshToken)
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, json.Unmarshal([]byte(body), &login))
	body = `{"token":"` + login.AccessToken + `"}`
	_, body = b.send(t, http.MethodPost, "/api/auth/internal/validate-token", body, from(t, "event-service"))
	require.Contains(t, body, `"roles":["USER","ORGANIZER"]`)
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	mine, other := b.login(t, "ann@example.com"), b.login(t, "ann@example.com")
	change := func(t *testing.T, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/auth/me/password", body, bearer(mine.AccessToken))
	}
	for _, tt := range []struct{ name, body, code, field string }{
		{"Empty", ``, "MALFORMED_JSON", ""},
		{"WrongCurrent", `{"currentPassword":"correct horse batterz","newPassword":"another good password"}`, "VALIDATION_ERROR", "currentPassword"},
		{"NoCurrent", `{"newPassword":"another good password"}`, "VALIDATION_ERROR", "currentPassword"},
		{"ShortNew", `{"currentPassword":"` + password + `","newPassword":"hunter2"}`, "VALIDATION_ERROR", "newPassword"},
		{"NoNew", `{"currentPassword":"` + password + `"}`, "VALIDATION_ERROR", "newPassword"},
		{"UnknownField", `{"password":"a"}`, "VALIDATION_ERROR", "password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := change(t, tt.body)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
	status, body := change(t, `{"currentPassword":"`+password+`","newPassword":"another good password"}`)
	require.Equal(t, http.StatusNoContent, status, body)
	require.Empty(t, body)
	status, _ = b.me(t, mine.AccessToken)
	require.Equal(t, http.StatusOK, status)
	status, body = b.me(t, other.AccessToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "TOKEN_REVOKED", "")
	status, _, _ = b.tryPassword(t, "ann@example.com", password, nil)
	require.Equal(t, http.StatusUnauthorized, status)
	status, _, _ = b.tryPassword(t, "ann@example.com", "another good password", nil)
	require.Equal(t, http.StatusOK, status)

	t.Run("GuessesAreCounted", func(t *testing.T) {
		for range 5 {
			status, _ := change(t, `{"currentPassword":"a guess","newPassword":"another good password"}`)
			require.Equal(t, http.StatusBadRequest, status)
		}
		status, body := change(t, `{"currentPassword":"another good password","newPassword":"one more good password"}`)
		require.Equal(t, http.StatusTooManyRequests, status)
		requireFailure(t, body, "TOO_MANY_ATTEMPTS", "")
	})
}

// ask gives the mail that notification-service gets for a request.
func (b *bundle) ask(t *testing.T, request uuid.UUID) (int, string) {
	t.Helper()
	return b.send(t, http.MethodGet, "/api/auth/internal/account-mails/"+request.String(), "", from(t, "notification-service"))
}

func TestVerifyEmail(t *testing.T) {
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
	status, body = b.ask(t, request)
	require.Equal(t, http.StatusOK, status)
	var mail struct {
		Token     string
		ExpiresAt time.Time
	}
	require.NoError(t, json.Unmarshal([]byte(body), &mail))
	require.WithinDuration(t, time.Now().Add(48*time.Hour), mail.ExpiresAt, time.Minute)
	require.JSONEq(t, `{"requestId":"`+request.String()+`","userId":"`+ann.UserID.String()+`","email":"ann@example.com",
		"firstName":"Ann","kind":"EMAIL_VERIFICATION","token":"`+mail.Token+`","expiresAt":"`+mail.ExpiresAt.Format(time.RFC3339Nano)+`"}`, body)
	_, again := b.ask(t, request)
	require.Equal(t, body, again, "a mail that is sent again has to be the same")

	verify := func(t *testing.T, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/auth/verify-email", body, nil)
	}
	refuse := func(body, code, field string) func(t *testing.T) {
		return func(t *testing.T) {
			status, body := verify(t, body)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, code, field)
		}
	}
	t.Run("Empty", refuse(``, "MALFORMED_JSON", ""))
	t.Run("Missing", refuse(`{}`, "VALIDATION_ERROR", "token"))
	t.Run("Nonsense", refuse(`{"token":"nonsense"}`, "VALIDATION_ERROR", "token"))
	t.Run("Huge", refuse(`{"token":"`+strings.Repeat("A", 500_000)+`"}`, "VALIDATION_ERROR", "token"))
	t.Run("OfNoRequest", refuse(`{"token":"`+b.mails.Token(account.EmailVerification, uuid.New())+`"}`, "VALIDATION_ERROR", "token"))
	t.Run("OfAnotherKind", refuse(`{"token":"`+b.mails.Token(account.PasswordReset, request)+`"}`, "VALIDATION_ERROR", "token"))
	_, body = b.me(t, login.AccessToken)
	require.Contains(t, body, `"emailVerified":false`)

	status, body = verify(t, `{"token":"`+mail.Token+`"}`)
	require.Equal(t, http.StatusNoContent, status, body)
	require.Empty(t, body)
	_, body = b.me(t, login.AccessToken)
	require.Contains(t, body, `"emailVerified":true`)
	t.Run("Used", refuse(`{"token":"`+mail.Token+`"}`, "VALIDATION_ERROR", "token"))
	for name, id := range map[string]uuid.UUID{"UsedMail": request, "UnknownMail": uuid.New()} {
		t.Run(name, func(t *testing.T) {
			status, body := b.ask(t, id)
			require.Equal(t, http.StatusNotFound, status)
			requireFailure(t, body, "ACCOUNT_MAIL_NOT_FOUND", "")
		})
	}
	t.Run("MailOfNoUUID", func(t *testing.T) {
		status, body := b.send(t, http.MethodGet, "/api/auth/internal/account-mails/1", "", from(t, "notification-service"))
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "requestId")
	})
}

// Neither the answer nor what is written tells whose address it is; only the event does.
func TestForgotPasswordTellsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	for _, email := range []string{"ann@example.com", "nobody@example.com"} {
		for i := range account.MailsPerHour + 1 {
			status, body := b.send(t, http.MethodPost, "/api/auth/forgot-password", `{"email":"`+email+`"}`, nil)
			require.Equal(t, http.StatusAccepted, status)
			require.Empty(t, body)
			var written int
			require.NoError(t, b.pool.QueryRow(t.Context(), `
				SELECT count(*) FROM account_mails WHERE account = $1 AND kind = 'PASSWORD_RESET'`, account.Email(email).Key()).
				Scan(&written))
			require.Equal(t, min(i+1, account.MailsPerHour), written)
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

func TestResetPassword(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	login := b.login(t, "ann@example.com")
	b.send(t, http.MethodPost, "/api/auth/forgot-password", `{"email":"ANN@example.com"}`, nil)
	request := b.requested(t, "PASSWORD_RESET_REQUESTED")[0].RequestID
	_, body := b.ask(t, request)
	var mail struct{ Token, Kind string }
	require.NoError(t, json.Unmarshal([]byte(body), &mail))
	require.Equal(t, "PASSWORD_RESET", mail.Kind)

	const good = "another good password"
	reset := func(t *testing.T, token, password string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/auth/reset-password", `{"token":"`+token+`","newPassword":"`+password+`"}`, nil)
	}
	for _, tt := range []struct{ name, token, password, field string }{
		{"ShortPassword", mail.Token, "hunter2", "newPassword"},
		{"NoToken", "", good, "token"},
		{"Nonsense", "nonsense", good, "token"},
		{"OfNoRequest", b.mails.Token(account.PasswordReset, uuid.New()), good, "token"},
		{"OfAnotherKind", b.mails.Token(account.EmailVerification, request), good, "token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := reset(t, tt.token, tt.password)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
	status, body := reset(t, mail.Token, good)
	require.Equal(t, http.StatusNoContent, status, body)
	require.Empty(t, body)
	status, body = reset(t, mail.Token, good)
	require.Equal(t, http.StatusBadRequest, status)
	requireFailure(t, body, "VALIDATION_ERROR", "token")
	status, body = b.refresh(t, login.RefreshToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "REFRESH_TOKEN_INVALID", "")
	status, _, _ = b.tryPassword(t, "ann@example.com", password, nil)
	require.Equal(t, http.StatusUnauthorized, status)
	status, _, _ = b.tryPassword(t, "ann@example.com", good, nil)
	require.Equal(t, http.StatusOK, status)
}

func TestSetRoles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, ann := b.register(t, "admin@example.com"), b.register(t, "ann@example.com")
	_, err := b.pool.Exec(t.Context(), `UPDATE users SET roles = '{USER,ADMIN}' WHERE id = $1`, admin.UserID)
	require.NoError(t, err)
	adminToken, annToken := b.login(t, "admin@example.com").AccessToken, b.login(t, "ann@example.com").AccessToken
	put := func(t *testing.T, token, id, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPut, "/api/auth/users/"+id+"/roles", body, bearer(token))
	}
	for _, tt := range []struct {
		name, token, id, body string
		status                int
		code, field           string
	}{
		{"ByNoAdmin", annToken, ann.UserID.String(), `{"roles":["ADMIN"]}`, 403, "FORBIDDEN", ""},
		{"OwnAdmin", adminToken, admin.UserID.String(), `{"roles":["USER"]}`, 409, "OWN_ADMIN_ROLE", ""},
		{"UnknownUser", adminToken, uuid.NewString(), `{"roles":["USER"]}`, 404, "USER_NOT_FOUND", ""},
		{"NoUUID", adminToken, "me", `{"roles":["USER"]}`, 400, "VALIDATION_ERROR", "userId"},
		{"UnknownRole", adminToken, ann.UserID.String(), `{"roles":["USER","ROOT"]}`, 400, "VALIDATION_ERROR", "roles[1]"},
		{"NoRoles", adminToken, ann.UserID.String(), `{"roles":[]}`, 400, "VALIDATION_ERROR", "roles"},
		{"Missing", adminToken, ann.UserID.String(), `{}`, 400, "VALIDATION_ERROR", "roles"},
		{"WrongType", adminToken, ann.UserID.String(), `{"roles":"ADMIN"}`, 400, "VALIDATION_ERROR", "roles"},
		{"Empty", adminToken, ann.UserID.String(), ``, 400, "MALFORMED_JSON", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := put(t, tt.token, tt.id, tt.body)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
	status, body := put(t, adminToken, ann.UserID.String(), `{"roles":["ADMIN","USER"]}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"roles":["USER","ADMIN"]`)

	// What the old token said is over for those who ask.
	status, body = b.send(t, http.MethodPost, "/api/auth/internal/validate-token", `{"token":"`+annToken+`"}`, from(t, "event-service"))
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "TOKEN_REVOKED", "")

	// An admin who is none any more, with a token of before.
	annToken = b.login(t, "ann@example.com").AccessToken
	_, err = b.pool.Exec(t.Context(), `UPDATE users SET roles = '{USER}' WHERE id = $1`, ann.UserID)
	require.NoError(t, err)
	status, body = put(t, annToken, admin.UserID.String(), `{"roles":["USER"]}`)
	require.Equal(t, http.StatusForbidden, status)
	requireFailure(t, body, "FORBIDDEN", "")
}

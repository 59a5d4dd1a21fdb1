package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestChangeMeSetsTheGivenNamesOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	token := b.login(t, "ann@example.com").AccessToken
	view := func(first, last string) string {
		return `{"userId":"` + ann.UserID.String() + `","email":"ann@example.com",
			"firstName":"` + first + `","lastName":"` + last + `","roles":["USER"],"emailVerified":false,
			"createdAt":"` + ann.CreatedAt.Format(time.RFC3339Nano) + `"}`
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

func TestBecomeOrganizerTakesEffectInTheNextToken(t *testing.T) {
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
	_, body = b.validate(t, login.AccessToken)
	require.Contains(t, body, `"roles":["USER","ORGANIZER"]`)
}

func TestChangePasswordEndsOtherSessions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	own, other := b.login(t, "ann@example.com"), b.login(t, "ann@example.com")
	change := func(t *testing.T, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/auth/me/password", body, bearer(own.AccessToken))
	}
	const next = `"newPassword":"another good password"`
	for _, tt := range []struct{ name, body, code, field string }{
		{"Empty", ``, "MALFORMED_JSON", ""},
		{
			"WrongCurrent", `{"currentPassword":"correct horse batterz",` + next + `}`,
			"VALIDATION_ERROR", "currentPassword",
		},
		{"NoCurrent", `{` + next + `}`, "VALIDATION_ERROR", "currentPassword"},
		{
			"ShortNew", `{"currentPassword":"` + password + `","newPassword":"hunter2"}`,
			"VALIDATION_ERROR", "newPassword",
		},
		{"NoNew", `{"currentPassword":"` + password + `"}`, "VALIDATION_ERROR", "newPassword"},
		{"UnknownField", `{"password":"a"}`, "VALIDATION_ERROR", "password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := change(t, tt.body)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
	status, body := change(t, `{"currentPassword":"`+password+`",`+next+`}`)
	require.Equal(t, http.StatusNoContent, status, body)
	require.Empty(t, body)
	status, _ = b.me(t, own.AccessToken)
	require.Equal(t, http.StatusOK, status)
	status, body = b.me(t, other.AccessToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "TOKEN_REVOKED", "")
	require.Equal(t, http.StatusUnauthorized, b.tryPassword(t, "ann@example.com", password, nil).status)
	require.Equal(t, http.StatusOK, b.tryPassword(t, "ann@example.com", "another good password", nil).status)

	t.Run("GuessesAreThrottled", func(t *testing.T) {
		for range 5 {
			status, _ := change(t, `{"currentPassword":"a guess",`+next+`}`)
			require.Equal(t, http.StatusBadRequest, status)
		}
		status, body := change(t,
			`{"currentPassword":"another good password","newPassword":"one more good password"}`)
		require.Equal(t, http.StatusTooManyRequests, status)
		requireFailure(t, body, "TOO_MANY_ATTEMPTS", "")
	})
}

func TestSetRolesIsForCurrentAdmins(t *testing.T) {
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
		{"NotAnAdmin", annToken, ann.UserID.String(), `{"roles":["ADMIN"]}`, 403, "FORBIDDEN", ""},
		{"OwnAdmin", adminToken, admin.UserID.String(), `{"roles":["USER"]}`, 409, "OWN_ADMIN_ROLE", ""},
		{"UnknownUser", adminToken, uuid.NewString(), `{"roles":["USER"]}`, 404, "USER_NOT_FOUND", ""},
		{"NotAUUID", adminToken, "me", `{"roles":["USER"]}`, 400, "VALIDATION_ERROR", "userId"},
		{
			"UnknownRole", adminToken, ann.UserID.String(), `{"roles":["USER","ROOT"]}`,
			400, "VALIDATION_ERROR", "roles[1]",
		},
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

	// The change revokes the tokens with the old roles.
	status, body = b.validate(t, annToken)
	require.Equal(t, http.StatusUnauthorized, status)
	requireFailure(t, body, "TOKEN_REVOKED", "")

	// A token with the role ADMIN is not enough if its user has lost the role.
	annToken = b.login(t, "ann@example.com").AccessToken
	_, err = b.pool.Exec(t.Context(), `UPDATE users SET roles = '{USER}' WHERE id = $1`, ann.UserID)
	require.NoError(t, err)
	status, body = put(t, annToken, admin.UserID.String(), `{"roles":["USER"]}`)
	require.Equal(t, http.StatusForbidden, status)
	requireFailure(t, body, "FORBIDDEN", "")
}

package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestRegisterReturnsTheAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, body := b.send(t, http.MethodPost, "/api/auth/register", registration(map[string]any{"organizer": true}), nil)
	require.Equal(t, http.StatusCreated, status, body)
	require.NotContains(t, body, "argon2")

	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	id, createdAt := got["userId"].(string), got["createdAt"].(string)
	require.NoError(t, uuid.Validate(id))
	require.True(t, strings.HasSuffix(createdAt, "Z"), createdAt)
	require.JSONEq(t, `{"userId":"`+id+`","email":"ann@example.com","firstName":"Ann","lastName":"O'Hara",
		"roles":["USER","ORGANIZER"],"emailVerified":false,"createdAt":"`+createdAt+`"}`, body)

	again := registration(map[string]any{"email": "ANN@example.com"})
	status, body = b.send(t, http.MethodPost, "/api/auth/register", again, nil)
	require.Equal(t, http.StatusConflict, status)
	requireFailure(t, body, "EMAIL_TAKEN", "")
}

func TestRegisterRejectsInvalidRequests(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tooLarge := registration(map[string]any{"lastName": strings.Repeat("a", web.MaxBody)})
	for _, tt := range []struct {
		name, body  string
		status      int
		code, field string
	}{
		{"Empty", "", 400, "MALFORMED_JSON", ""},
		{"MalformedJSON", `{"email":`, 400, "MALFORMED_JSON", ""},
		{"Null", `null`, 400, "VALIDATION_ERROR", "email"},
		{"Array", `[]`, 400, "MALFORMED_JSON", ""},
		{"TwoValues", `{} {}`, 400, "MALFORMED_JSON", ""},
		{"InvalidUTF8", "{\"email\":\"\xff\"}", 400, "MALFORMED_JSON", ""},
		{"UnknownField", registration(map[string]any{"roles": []string{"ADMIN"}}), 400, "VALIDATION_ERROR", "roles"},
		{"WrongType", registration(map[string]any{"firstName": 7}), 400, "VALIDATION_ERROR", "firstName"},
		{"BadEmail", registration(map[string]any{"email": "ann"}), 400, "VALIDATION_ERROR", "email"},
		{"ShortPassword", registration(map[string]any{"password": "hunter2"}), 400, "VALIDATION_ERROR", "password"},
		{"NULInName", registration(map[string]any{"lastName": "O\x00Hara"}), 400, "VALIDATION_ERROR", "lastName"},
		{"TooLarge", tooLarge, 413, "BODY_TOO_LARGE", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/auth/register", tt.body, nil)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
	t.Run("OtherMethod", func(t *testing.T) {
		t.Parallel()
		res := b.doUnchecked(t, http.MethodGet, "/api/auth/register", "", nil)
		require.Equal(t, http.StatusMethodNotAllowed, res.status)
		requireFailure(t, res.body, "METHOD_NOT_ALLOWED", "")
	})
}

func TestLoginReturnsATokenThatThePublishedKeysVerify(t *testing.T) {
	t.Parallel()
	b := setup(t)
	registered := b.register(t, "ann@example.com")
	// The service accepts other spellings of the address than the document does.
	credentials := `{"email":" ANN@example.com ","password":"` + password + `"}`
	res := b.doUnchecked(t, http.MethodPost, "/api/auth/login", credentials, nil)
	require.Equal(t, http.StatusOK, res.status, res.body)
	require.Equal(t, "no-store", res.header.Get("Cache-Control"))
	var login tokens
	require.NoError(t, json.Unmarshal([]byte(res.body), &login))
	require.Equal(t, "Bearer", login.TokenType)
	require.Equal(t, 900, login.ExpiresIn)
	require.WithinDuration(t, time.Now().Add(15*time.Minute), login.ExpiresAt, time.Minute)
	require.NotEmpty(t, login.RefreshToken)
	require.WithinDuration(t, time.Now().Add(30*24*time.Hour), login.RefreshExpiresAt, time.Minute)

	verifier, err := identity.FetchKeys(t.Context(), http.DefaultClient, b.url+"/api/auth/.well-known/jwks.json")
	require.NoError(t, err)
	claims, id, err := verifier.Claims(t.Context(), login.AccessToken)
	require.NoError(t, err)
	require.Equal(t, registered.UserID, id)
	require.Equal(t, "Ann O'Hara", claims.Name)
	require.Equal(t, []identity.Role{identity.RoleUser}, claims.Roles)
}

func TestLoginRejectsInvalidRequests(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	for _, tt := range []struct {
		name, body  string
		status      int
		code, field string
	}{
		{
			"WrongPassword", `{"email":"ann@example.com","password":"correct horse batterz"}`,
			401, "INVALID_CREDENTIALS", "",
		},
		{
			"NoSuchAccount", `{"email":"bob@example.com","password":"correct horse battery"}`,
			401, "INVALID_CREDENTIALS", "",
		},
		{"BadEmail", `{"email":"ann","password":"correct horse battery"}`, 400, "VALIDATION_ERROR", "email"},
		{"NoPassword", `{"email":"ann@example.com"}`, 400, "VALIDATION_ERROR", "password"},
		{"UnknownField", `{"user":"ann@example.com"}`, 400, "VALIDATION_ERROR", "user"},
		{"MalformedJSON", `email=ann`, 400, "MALFORMED_JSON", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/auth/login", tt.body, nil)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestLoginDoesNotRevealWhichAccountsExist(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	known, unknown := b.tryPassword(t, "ann@example.com", "wrong", nil), b.tryPassword(t, "bob@example.com", "wrong", nil)
	require.Equal(t, known.status, unknown.status)
	require.Equal(t, known.body, unknown.body)
}

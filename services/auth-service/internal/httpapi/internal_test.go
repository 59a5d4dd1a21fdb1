package httpapi_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

func TestValidateTokenAcceptsOnlyTokensOfOpenSessions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	subject := account.User{
		ID: ann.UserID, FirstName: "Ann", LastName: "O'Hara",
		Roles: []identity.Role{identity.RoleUser, identity.RoleOrganizer},
	}
	now := time.Now()
	session := b.session(t, b.login(t, "ann@example.com").AccessToken)
	sign := func(key keyring.Key, user account.User, session uuid.UUID, at time.Time) string {
		token, _, err := b.vault.Sign(key, user, session, at)
		require.NoError(t, err)
		return token
	}
	inSession := func(session uuid.UUID) string { return sign(b.key, subject, session, now) }
	b.register(t, "bob@example.com")
	ended := b.login(t, "ann@example.com")
	endedSession := b.session(t, ended.AccessToken)
	require.NoError(t, b.store.Logout(t.Context(), account.HashToken(ended.RefreshToken)))
	// forge signs Ann's claims, with a change, by another method or with another key.
	forge := func(method jwt.SigningMethod, signingKey any, change func(*identity.AccessClaims)) string {
		claims := identity.AccessClaims{RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: ann.UserID.String(),
			ExpiresAt: jwt.NewNumericDate(now.Add(time.Hour)),
		}, Session: session}
		change(&claims)
		token := jwt.NewWithClaims(method, claims)
		token.Header["kid"] = b.key.ID
		signed, err := token.SignedString(signingKey)
		require.NoError(t, err)
		return signed
	}
	unchanged := func(*identity.AccessClaims) {}
	unknownKey, err := b.vault.NewKey()
	require.NoError(t, err)
	_, otherKey, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	service, err := identity.SignServiceToken([]byte(serviceSecret), "event-service")
	require.NoError(t, err)

	t.Run("Valid", func(t *testing.T) {
		t.Parallel()
		token, expiresAt, err := b.vault.Sign(b.key, subject, session, now)
		require.NoError(t, err)
		status, body := b.validate(t, token)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"valid":true,"userId":"`+ann.UserID.String()+`","email":"ann@example.com",
			"roles":["USER","ORGANIZER"],"expiresAt":"`+expiresAt.Format(time.RFC3339)+`"}`, body)
	})
	for _, tt := range []struct{ name, token, code string }{
		{"Expired", sign(b.key, subject, session, now.Add(-time.Hour)), "TOKEN_EXPIRED"},
		{"UnknownKey", sign(unknownKey, subject, session, now), "TOKEN_INVALID"},
		{"NoSuchUser", sign(b.key, account.User{ID: uuid.New()}, session, now), "TOKEN_INVALID"},
		{"NoSuchSession", inSession(uuid.New()), "TOKEN_REVOKED"},
		{"NoSession", inSession(uuid.Nil), "TOKEN_REVOKED"},
		{
			"SessionOfAnotherUser", inSession(b.session(t, b.login(t, "bob@example.com").AccessToken)),
			"TOKEN_REVOKED",
		},
		{"SessionEnded", inSession(endedSession), "TOKEN_REVOKED"},
		{"OtherKey", forge(jwt.SigningMethodEdDSA, otherKey, unchanged), "TOKEN_INVALID"},
		{"ExpiredAndForged", forge(jwt.SigningMethodEdDSA, otherKey, func(c *identity.AccessClaims) {
			c.ExpiresAt = jwt.NewNumericDate(now.Add(-time.Hour))
		}), "TOKEN_INVALID"},
		{"AlgNone", forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, unchanged), "TOKEN_INVALID"},
		{"HS256WithThePublicKey", forge(jwt.SigningMethodHS256, []byte(b.key.Public), unchanged), "TOKEN_INVALID"},
		{"ServiceToken", service, "TOKEN_INVALID"},
		{"NotAJWT", "a.b.c", "TOKEN_INVALID"},
		{"Huge", strings.Repeat("a", 500_000), "TOKEN_INVALID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.validate(t, tt.token)
			require.Equal(t, http.StatusUnauthorized, status, body)
			requireFailure(t, body, tt.code, "")
			var f failure
			require.NoError(t, json.Unmarshal([]byte(body), &f))
			require.NotNil(t, f.Valid)
			require.False(t, *f.Valid)
		})
	}
	t.Run("NoToken", func(t *testing.T) {
		t.Parallel()
		status, body := b.validate(t, "")
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "token")
	})
}

func TestUserReturnsTheAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	get := func(t *testing.T, id string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodGet, "/api/auth/internal/users/"+id, "", from(t, "notification-service"))
	}
	t.Run("Found", func(t *testing.T) {
		t.Parallel()
		status, body := get(t, ann.UserID.String())
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"userId":"`+ann.UserID.String()+`","email":"ann@example.com","firstName":"Ann",
			"lastName":"O'Hara","emailVerified":false,"createdAt":"`+ann.CreatedAt.Format(time.RFC3339Nano)+`"}`, body)
	})
	t.Run("NotFound", func(t *testing.T) {
		t.Parallel()
		id := uuid.NewString()
		status, body := get(t, id)
		require.Equal(t, http.StatusNotFound, status)
		require.JSONEq(t, `{"error":"USER_NOT_FOUND","message":"User with ID `+id+` not found"}`, body)
	})
	t.Run("NotAUUID", func(t *testing.T) {
		t.Parallel()
		status, body := get(t, "ann")
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "userId")
	})
}

func TestUsersReturnsTheKnownAccounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.register(t, "ann@example.com"), b.register(t, "bob@example.com")
	batch := func(t *testing.T, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/auth/internal/users/batch", body, from(t, "ticket-service"))
	}
	summary := func(u user) string {
		return `{"userId":"` + u.UserID.String() + `","email":"` + u.Email + `","firstName":"Ann","lastName":"O'Hara"}`
	}
	t.Run("InTheOrderOfTheRequest", func(t *testing.T) {
		t.Parallel()
		status, body := batch(t,
			`{"userIds":["`+bob.UserID.String()+`","`+uuid.NewString()+`","`+ann.UserID.String()+`"]}`)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"users":[`+summary(bob)+`,`+summary(ann)+`]}`, body)
	})
	t.Run("None", func(t *testing.T) {
		t.Parallel()
		status, body := batch(t, `{"userIds":[]}`)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"users":[]}`, body)
	})
	ids := bytes.Repeat([]byte(`"`+uuid.NewString()+`",`), 101)
	for _, tt := range []struct{ name, body, field string }{
		{"TooMany", `{"userIds":[` + string(ids[:len(ids)-1]) + `]}`, "userIds"},
		{"NotAUUID", `{"userIds":["` + uuid.NewString() + `","ann"]}`, "userIds[1]"},
		{"Missing", `{}`, "userIds"},
		{"WrongType", `{"userIds":"all"}`, "userIds"},
		{"UnknownField", `{"ids":[]}`, "ids"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := batch(t, tt.body)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
}

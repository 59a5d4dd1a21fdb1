package httpapi_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const (
	serviceSecret = "a secret that services share"
	appAPIToken   = "a token that sidecars show"
	password      = "correct horse battery"

	failuresPerAddress = 8
)

type bundle struct {
	url    string
	router http.Handler
	pool   *pgxpool.Pool
	mails  account.MailTokens
	store  *store.Store
	vault  keyring.Vault
	key    keyring.Key
}

func setup(t *testing.T) *bundle {
	t.Helper()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	db := store.New(pool, failuresPerAddress)
	vault, err := keyring.OpenVault(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	require.NoError(t, err)
	key, err := vault.NewKey()
	require.NoError(t, err)
	require.NoError(t, db.EnsureKey(t.Context(), key))
	passwords, err := account.NewPasswords()
	require.NoError(t, err)

	router := web.NewRouter()
	mails := account.NewMailTokens([]byte("a key"))
	httpapi.API{
		Store: db, Passwords: passwords, Vault: vault, MailTokens: mails,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}.Route(router,
		identity.Guard{ServiceSecret: []byte(serviceSecret), AppAPIToken: appAPIToken})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return &bundle{url: server.URL, router: router, pool: pool, store: db, vault: vault, key: key, mails: mails}
}

// send makes a request and gives the status and the body of its answer.
func (b *bundle) send(t *testing.T, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(answer)
}

// from gives the headers that a service's call arrives with.
func from(t *testing.T, service string) http.Header {
	t.Helper()
	token, err := identity.SignServiceToken([]byte(serviceSecret), service)
	require.NoError(t, err)
	return http.Header{"X-Service-Token": {token}, "X-Service-Name": {service}, "Dapr-Api-Token": {appAPIToken}}
}

func registration(change map[string]any) string {
	fields := map[string]any{
		"email": "Ann@Example.com", "password": password, "firstName": "Ann", "lastName": "O'Hara",
	}
	maps.Copy(fields, change)
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err) // of strings and numbers
	}
	return string(body)
}

type user struct {
	UserID        uuid.UUID
	Email         string
	FirstName     string
	LastName      string
	Roles         []string
	EmailVerified bool
	CreatedAt     time.Time
}

func (b *bundle) register(t *testing.T, email string) user {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/api/auth/register", registration(map[string]any{"email": email}), nil)
	require.Equal(t, http.StatusCreated, status, body)
	var u user
	require.NoError(t, json.Unmarshal([]byte(body), &u))
	return u
}

type tokens struct {
	AccessToken, TokenType      string
	ExpiresIn                   int
	ExpiresAt, RefreshExpiresAt time.Time
	RefreshToken                string
}

func (b *bundle) login(t *testing.T, email string) tokens {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/api/auth/login", `{"email":"`+email+`","password":"`+password+`"}`, nil)
	require.Equal(t, http.StatusOK, status, body)
	var l tokens
	require.NoError(t, json.Unmarshal([]byte(body), &l))
	return l
}

// session gives the session that an access token was issued in.
func (b *bundle) session(t *testing.T, accessToken string) uuid.UUID {
	t.Helper()
	claims, _, err := keyring.Verifier([]keyring.Key{b.key}).Claims(t.Context(), accessToken)
	require.NoError(t, err)
	return claims.Session
}

// requested gives the mails that the outbox asks for with events of this type, in order.
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

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

type failure struct {
	Valid                 *bool
	Error, Message, Field string
}

func requireFailure(t *testing.T, body, code, field string) {
	t.Helper()
	var f failure
	require.NoError(t, json.Unmarshal([]byte(body), &f), body)
	require.Equal(t, code, f.Error, body)
	require.NotEmpty(t, f.Message)
	require.Equal(t, field, f.Field)
}

func TestRegister(t *testing.T) {
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

	status, body = b.send(t, http.MethodPost, "/api/auth/register", registration(map[string]any{"email": "ANN@example.com"}), nil)
	require.Equal(t, http.StatusConflict, status)
	requireFailure(t, body, "EMAIL_TAKEN", "")
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
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
		{"BrokenUTF8", "{\"email\":\"\xff\"}", 400, "MALFORMED_JSON", ""},
		{"UnknownField", registration(map[string]any{"roles": []string{"ADMIN"}}), 400, "VALIDATION_ERROR", "roles"},
		{"WrongType", registration(map[string]any{"firstName": 7}), 400, "VALIDATION_ERROR", "firstName"},
		{"BadEmail", registration(map[string]any{"email": "ann"}), 400, "VALIDATION_ERROR", "email"},
		{"ShortPassword", registration(map[string]any{"password": "hunter2"}), 400, "VALIDATION_ERROR", "password"},
		{"NULInName", registration(map[string]any{"lastName": "O\x00Hara"}), 400, "VALIDATION_ERROR", "lastName"},
		{"TooLarge", registration(map[string]any{"lastName": strings.Repeat("a", web.MaxBody)}), 413, "BODY_TOO_LARGE", ""},
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
		status, body := b.send(t, http.MethodGet, "/api/auth/register", "", nil)
		require.Equal(t, http.StatusMethodNotAllowed, status)
		requireFailure(t, body, "METHOD_NOT_ALLOWED", "")
	})
}

// The token of a login is one that every service accepts by the published keys alone.
func TestLoginAndKeySet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	registered := b.register(t, "ann@example.com")
	status, body := b.send(t, http.MethodPost, "/api/auth/login", `{"email":" ANN@example.com ","password":"`+password+`"}`, nil)
	require.Equal(t, http.StatusOK, status, body)
	var login tokens
	require.NoError(t, json.Unmarshal([]byte(body), &login))
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

func TestLoginRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "ann@example.com")
	for _, tt := range []struct {
		name, body  string
		status      int
		code, field string
	}{
		{"WrongPassword", `{"email":"ann@example.com","password":"correct horse batterz"}`, 401, "INVALID_CREDENTIALS", ""},
		{"NoSuchAccount", `{"email":"bob@example.com","password":"correct horse battery"}`, 401, "INVALID_CREDENTIALS", ""},
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
	t.Run("AnswersDoNotTellWhoHasAnAccount", func(t *testing.T) {
		t.Parallel()
		_, known := b.send(t, http.MethodPost, "/api/auth/login", `{"email":"ann@example.com","password":"wrong"}`, nil)
		_, unknown := b.send(t, http.MethodPost, "/api/auth/login", `{"email":"bob@example.com","password":"wrong"}`, nil)
		require.Equal(t, known, unknown)
	})
}

func TestValidateToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	subject := account.User{
		ID: ann.UserID, FirstName: "Ann", LastName: "O'Hara",
		Roles: []identity.Role{identity.RoleUser, identity.RoleOrganizer},
	}
	now := time.Now()
	session := b.session(t, b.login(t, "ann@example.com").AccessToken)
	sign := func(vault keyring.Vault, key keyring.Key, user account.User, at time.Time) string {
		token, _, err := vault.Sign(key, user, session, at)
		require.NoError(t, err)
		return token
	}
	within := func(session uuid.UUID) string {
		token, _, err := b.vault.Sign(b.key, subject, session, now)
		require.NoError(t, err)
		return token
	}
	b.register(t, "bob@example.com")
	ended := b.login(t, "ann@example.com")
	over := b.session(t, ended.AccessToken)
	require.NoError(t, b.store.Logout(t.Context(), account.HashToken(ended.RefreshToken)))
	// claim signs Ann's claims, changed, in a way of its own.
	claim := func(method jwt.SigningMethod, signingKey any, change func(*identity.AccessClaims)) string {
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
	stranger, err := b.vault.NewKey()
	require.NoError(t, err)
	_, forger, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	service, err := identity.SignServiceToken([]byte(serviceSecret), "event-service")
	require.NoError(t, err)
	ask := func(t *testing.T, token string) (int, string) {
		t.Helper()
		body, err := json.Marshal(map[string]string{"token": token})
		require.NoError(t, err)
		return b.send(t, http.MethodPost, "/api/auth/internal/validate-token", string(body), from(t, "event-service"))
	}

	t.Run("Valid", func(t *testing.T) {
		t.Parallel()
		token, expiresAt, err := b.vault.Sign(b.key, subject, session, now)
		require.NoError(t, err)
		status, body := ask(t, token)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"valid":true,"userId":"`+ann.UserID.String()+`","email":"ann@example.com",
			"roles":["USER","ORGANIZER"],"expiresAt":"`+expiresAt.Format(time.RFC3339)+`"}`, body)
	})
	for _, tt := range []struct{ name, token, code string }{
		{"Expired", sign(b.vault, b.key, subject, now.Add(-time.Hour)), "TOKEN_EXPIRED"},
		{"UnknownKey", sign(b.vault, stranger, subject, now), "TOKEN_INVALID"},
		{"NoSuchUser", sign(b.vault, b.key, account.User{ID: uuid.New()}, now), "TOKEN_INVALID"},
		{"NoSuchSession", within(uuid.New()), "TOKEN_REVOKED"},
		{"NoSession", within(uuid.Nil), "TOKEN_REVOKED"},
		{"AnothersSession", within(b.session(t, b.login(t, "bob@example.com").AccessToken)), "TOKEN_REVOKED"},
		{"SessionOver", within(over), "TOKEN_REVOKED"},
		{"AnothersSignature", claim(jwt.SigningMethodEdDSA, forger, unchanged), "TOKEN_INVALID"},
		{"ExpiredAndForged", claim(jwt.SigningMethodEdDSA, forger, func(c *identity.AccessClaims) {
			c.ExpiresAt = jwt.NewNumericDate(now.Add(-time.Hour))
		}), "TOKEN_INVALID"},
		{"AlgNone", claim(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, unchanged), "TOKEN_INVALID"},
		{"HS256UnderThePublicKey", claim(jwt.SigningMethodHS256, []byte(b.key.Public), unchanged), "TOKEN_INVALID"},
		{"ServiceToken", service, "TOKEN_INVALID"},
		{"NoJWT", "a.b.c", "TOKEN_INVALID"},
		{"Huge", strings.Repeat("a", 500_000), "TOKEN_INVALID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := ask(t, tt.token)
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
		status, body := ask(t, "")
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "token")
	})
}

func TestUser(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	t.Run("Found", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodGet, "/api/auth/internal/users/"+ann.UserID.String(), "", from(t, "notification-service"))
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"userId":"`+ann.UserID.String()+`","email":"ann@example.com","firstName":"Ann",
			"lastName":"O'Hara","emailVerified":false,"createdAt":"`+ann.CreatedAt.Format(time.RFC3339Nano)+`"}`, body)
	})
	t.Run("NotFound", func(t *testing.T) {
		t.Parallel()
		id := uuid.NewString()
		status, body := b.send(t, http.MethodGet, "/api/auth/internal/users/"+id, "", from(t, "notification-service"))
		require.Equal(t, http.StatusNotFound, status)
		require.JSONEq(t, `{"error":"USER_NOT_FOUND","message":"User with ID `+id+` not found"}`, body)
	})
	t.Run("NoUUID", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodGet, "/api/auth/internal/users/ann", "", from(t, "notification-service"))
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "userId")
	})
}

func TestUsersBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.register(t, "ann@example.com"), b.register(t, "bob@example.com")
	ask := func(t *testing.T, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/auth/internal/users/batch", body, from(t, "ticket-service"))
	}
	t.Run("KeepsTheOrderAndLeavesOutUnknown", func(t *testing.T) {
		t.Parallel()
		status, body := ask(t, `{"userIds":["`+bob.UserID.String()+`","`+uuid.NewString()+`","`+ann.UserID.String()+`"]}`)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"users":[
			{"userId":"`+bob.UserID.String()+`","email":"bob@example.com","firstName":"Ann","lastName":"O'Hara"},
			{"userId":"`+ann.UserID.String()+`","email":"ann@example.com","firstName":"Ann","lastName":"O'Hara"}]}`, body)
	})
	t.Run("Nobody", func(t *testing.T) {
		t.Parallel()
		status, body := ask(t, `{"userIds":[]}`)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"users":[]}`, body)
	})
	ids := bytes.Repeat([]byte(`"`+uuid.NewString()+`",`), 101)
	for _, tt := range []struct{ name, body, field string }{
		{"TooMany", `{"userIds":[` + string(ids[:len(ids)-1]) + `]}`, "userIds"},
		{"NoUUID", `{"userIds":["` + uuid.NewString() + `","ann"]}`, "userIds[1]"},
		{"Missing", `{}`, "userIds"},
		{"WrongType", `{"userIds":"all"}`, "userIds"},
		{"UnknownField", `{"ids":[]}`, "ids"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := ask(t, tt.body)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
}

func TestInternalRoutesAreGuarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	userToken := b.login(t, "ann@example.com").AccessToken
	headers := func(change func(h http.Header)) http.Header {
		h := from(t, "notification-service")
		change(h)
		return h
	}
	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(method, claims).SignedString(key)
		require.NoError(t, err)
		return token
	}
	claims := func(kind string, age time.Duration) jwt.MapClaims {
		return jwt.MapClaims{"sub": "notification-service", "type": kind, "exp": time.Now().Add(time.Minute - age).Unix()}
	}
	for _, route := range []struct{ method, path, body string }{
		{http.MethodPost, "/api/auth/internal/validate-token", `{"token":"` + userToken + `"}`},
		{http.MethodPost, "/api/auth/internal/users/batch", `{"userIds":[]}`},
		{http.MethodGet, "/api/auth/internal/users/" + ann.UserID.String(), ""},
		{http.MethodGet, "/api/auth/internal/account-mails/" + b.requested(t, "EMAIL_VERIFICATION_REQUESTED")[0].RequestID.String(), ""},
	} {
		for _, tt := range []struct {
			name   string
			header http.Header
			status int
			code   string
		}{
			{"NoToken", headers(func(h http.Header) { h.Del("X-Service-Token") }), 401, "SERVICE_TOKEN_INVALID"},
			{"NotThroughTheSidecar", headers(func(h http.Header) { h.Del("Dapr-Api-Token") }), 401, "SIDECAR_ONLY"},
			{"AnothersName", headers(func(h http.Header) { h.Set("X-Service-Name", "ticket-service") }), 401, "SERVICE_TOKEN_INVALID"},
			{"AnotherService", from(t, "email-service"), 403, "SERVICE_FORBIDDEN"},
			{"UserToken", headers(func(h http.Header) { h.Set("X-Service-Token", userToken) }), 401, "SERVICE_TOKEN_INVALID"},
			{"UserTokenAsBearer", http.Header{"Authorization": {"Bearer " + userToken}, "Dapr-Api-Token": {appAPIToken}}, 401, "SERVICE_TOKEN_INVALID"},
			{"WrongSecret", headers(func(h http.Header) {
				h.Set("X-Service-Token", sign(jwt.SigningMethodHS256, []byte("a guess"), claims("SERVICE", 0)))
			}), 401, "SERVICE_TOKEN_INVALID"},
			{"AlgNone", headers(func(h http.Header) {
				h.Set("X-Service-Token", sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims("SERVICE", 0)))
			}), 401, "SERVICE_TOKEN_INVALID"},
			{"Expired", headers(func(h http.Header) {
				h.Set("X-Service-Token", sign(jwt.SigningMethodHS256, []byte(serviceSecret), claims("SERVICE", time.Hour)))
			}), 401, "SERVICE_TOKEN_INVALID"},
			{"OtherType", headers(func(h http.Header) {
				h.Set("X-Service-Token", sign(jwt.SigningMethodHS256, []byte(serviceSecret), claims("USER", 0)))
			}), 401, "SERVICE_TOKEN_INVALID"},
		} {
			t.Run(route.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, route.method, route.path, route.body, tt.header)
				require.Equal(t, tt.status, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
		t.Run(route.path+"/AuthorizationHeader", func(t *testing.T) {
			t.Parallel()
			token, err := identity.SignServiceToken([]byte(serviceSecret), "notification-service")
			require.NoError(t, err)
			status, body := b.send(t, route.method, route.path, route.body,
				http.Header{"Authorization": {"Service-Token " + token}, "Dapr-Api-Token": {appAPIToken}})
			require.Equal(t, http.StatusOK, status, body)
		})
	}
	for _, route := range []struct{ service, method, path string }{
		{"payment-service", http.MethodPost, "/api/auth/internal/users/batch"},
		{"ticket-service", http.MethodGet, "/api/auth/internal/account-mails/" + uuid.NewString()},
	} {
		t.Run(route.path+"/By"+route.service, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, route.method, route.path, `{"userIds":[]}`, from(t, route.service))
			require.Equal(t, http.StatusForbidden, status)
			requireFailure(t, body, "SERVICE_FORBIDDEN", "")
		})
	}
}

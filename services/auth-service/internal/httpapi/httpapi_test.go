package httpapi_test

import (
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

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/access"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const (
	serviceSecret = "the secret that services share"
	appAPIToken   = "the token of the sidecar"
	password      = "correct horse battery" // of every registered user

	failuresPerAddress = 8
)

// trustedNetwork is the network of the trusted proxies.
var trustedNetwork = netip.MustParsePrefix("10.0.0.0/8")

type bundle struct {
	url    string
	apps   contracttest.Apps // whose responses are checked against the OpenAPI document
	router http.Handler
	pool   *pgxpool.Pool
	mails  account.MailTokens
	store  *store.Store
	vault  keyring.Vault
	key    keyring.Key // signs access tokens
}

func setup(t *testing.T) *bundle {
	t.Helper()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	accounts := store.New(pool, failuresPerAddress)
	vault, err := keyring.OpenVault(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	require.NoError(t, err)
	key, err := vault.NewKey()
	require.NoError(t, err)
	require.NoError(t, accounts.EnsureKey(t.Context(), key))
	passwords, err := account.NewPasswords()
	require.NoError(t, err)

	mails := account.NewMailTokens([]byte("a key"))
	router := httpapi.New(httpapi.Deps{
		Store: accounts, Access: access.New(accounts, passwords, vault, mails),
		Guard:          identity.Guard{ServiceSecret: []byte(serviceSecret), AppAPIToken: appAPIToken},
		TrustedProxies: []netip.Prefix{trustedNetwork},
		Database:       web.Check{Name: "database", Probe: pool.Ping},
	})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return &bundle{
		url: server.URL, apps: contracttest.Apps{server.Listener.Addr().String(): "auth-service"}, router: router,
		pool: pool, store: accounts, vault: vault, key: key, mails: mails,
	}
}

// response is an HTTP response that has been read.
type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request and returns the response, which it checks against the OpenAPI document.
func (b *bundle) do(t *testing.T, method, path, body string, header http.Header) response {
	t.Helper()
	return b.doBy(t, contracttest.Client(t, b.apps), method, path, body, header)
}

// doUnchecked is do without the check, for a request or a response that deviates from the document.
func (b *bundle) doUnchecked(t *testing.T, method, path, body string, header http.Header) response {
	t.Helper()
	return b.doBy(t, http.DefaultClient, method, path, body, header)
}

func (b *bundle) doBy(
	t *testing.T, client *http.Client, method, path, body string, header http.Header,
) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return response{res.StatusCode, res.Header, string(content)}
}

// send is do for tests that need only the status and the body.
func (b *bundle) send(t *testing.T, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	res := b.do(t, method, path, body, header)
	return res.status, res.body
}

// from returns the headers of a call by a service.
func from(t *testing.T, service string) http.Header {
	t.Helper()
	token, err := identity.SignServiceToken([]byte(serviceSecret), service)
	require.NoError(t, err)
	return http.Header{"X-Service-Token": {token}, "X-Service-Name": {service}, "Dapr-Api-Token": {appAPIToken}}
}

// bearer returns the headers of a request by a person with this access token.
func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// registration returns the body of a registration, with changed fields.
func registration(change map[string]any) string {
	fields := map[string]any{
		"email": "Ann@Example.com", "password": password, "firstName": "Ann", "lastName": "O'Hara",
	}
	maps.Copy(fields, change)
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err) // cannot happen with strings and numbers
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

// register registers Ann O'Hara with an address.
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

// login logs in a registered user.
func (b *bundle) login(t *testing.T, email string) tokens {
	t.Helper()
	res := b.tryPassword(t, email, password, nil)
	require.Equal(t, http.StatusOK, res.status, res.body)
	var l tokens
	require.NoError(t, json.Unmarshal([]byte(res.body), &l))
	return l
}

// tryPassword sends a login.
func (b *bundle) tryPassword(t *testing.T, email, password string, header http.Header) response {
	t.Helper()
	body := `{"email":"` + email + `","password":"` + password + `"}`
	return b.do(t, http.MethodPost, "/api/auth/login", body, header)
}

func (b *bundle) refresh(t *testing.T, token string) (int, string) {
	t.Helper()
	return b.send(t, http.MethodPost, "/api/auth/refresh", `{"refreshToken":"`+token+`"}`, nil)
}

func (b *bundle) logout(t *testing.T, token string) (int, string) {
	t.Helper()
	return b.send(t, http.MethodPost, "/api/auth/logout", `{"refreshToken":"`+token+`"}`, nil)
}

func (b *bundle) me(t *testing.T, accessToken string) (int, string) {
	t.Helper()
	return b.send(t, http.MethodGet, "/api/auth/me", "", bearer(accessToken))
}

func (b *bundle) validate(t *testing.T, accessToken string) (int, string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"token": accessToken})
	require.NoError(t, err)
	return b.send(t, http.MethodPost, "/api/auth/internal/validate-token", string(body), from(t, "event-service"))
}

// session returns the session of an access token.
func (b *bundle) session(t *testing.T, accessToken string) uuid.UUID {
	t.Helper()
	claims, _, err := keyring.Verifier([]keyring.Key{b.key}).Claims(t.Context(), accessToken)
	require.NoError(t, err)
	return claims.Session
}

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

// failure is an error response. Valid is present only in that of an invalid access token.
type failure struct {
	Valid                 *bool
	Error, Message, Field string
}

// requireFailure asserts the code and the field of an error response.
func requireFailure(t *testing.T, body, code, field string) {
	t.Helper()
	var f failure
	require.NoError(t, json.Unmarshal([]byte(body), &f), body)
	require.Equal(t, code, f.Error, body)
	require.NotEmpty(t, f.Message)
	require.Equal(t, field, f.Field)
}

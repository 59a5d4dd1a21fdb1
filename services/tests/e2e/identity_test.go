package e2e_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// access is one of the ways in which a request can reach a service.
type access struct {
	name string
	url  func(service string) string
	// direct requests do not pass a sidecar, which would add APP_API_TOKEN.
	direct bool
}

// accesses returns the two ways. The sidecar is that of email-service, which calls no other service: no policy of other
// calls is affected.
func accesses() []access {
	return []access{
		{"Direct", func(service string) string { return system.App(service).URL() }, true},
		{"ThroughSidecar", func(service string) string {
			return system.App("email-service").SidecarURL() + "/v1.0/invoke/" + service + "/method"
		}, false},
	}
}

// checked returns a client that checks the answers of apps and sidecars against the OpenAPI documents.
func checked(t *testing.T) *http.Client {
	t.Helper()
	apps := contracttest.Apps{}
	for _, app := range system.Apps() {
		apps[strings.TrimPrefix(app.URL(), "http://")] = app.ID
	}
	return contracttest.Client(t, apps)
}

// reply is the status of an answer and, if it is a refusal, its code.
type reply struct {
	Status int
	Code   string
}

type header map[string]string

// and returns the headers of both.
func (h header) and(more header) header {
	all := header{}
	for _, each := range []header{h, more} {
		for name, value := range each {
			all[name] = value
		}
	}
	return all
}

// ask sends a request and returns the answer. It repeats a request that a sidecar's rate limit rejected.
func ask(t *testing.T, client *http.Client, method, url string, h header, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for name, value := range h {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	if res.StatusCode < http.StatusBadRequest {
		return reply{Status: res.StatusCode}
	}
	if res.StatusCode == http.StatusTooManyRequests && !json.Valid(answer) { // a sidecar's limit, not the app's
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
		}
		return ask(t, client, method, url, h, body)
	}
	var problem struct{ Error string }
	require.NoError(t, json.Unmarshal(answer, &problem), "%s", answer)
	return reply{res.StatusCode, problem.Error}
}

// credentials has valid and invalid credentials of every kind.
type credentials struct {
	user       string
	wrongUsers map[string]reply // invalid user tokens, with the expected answer
	secret     []byte
	confused   []string // invalid service tokens: wrong key, wrong algorithm, expired, or of a user
}

// newCredentials creates the credentials. It inserts a key of its own among those that auth-service publishes, as a
// retired one, and returns once every service accepts that key.
func newCredentials(t *testing.T) credentials {
	t.Helper()
	ctx := t.Context()
	person, err := client(t).Join(ctx, "Mallory", "Wood", true)
	require.NoError(t, err)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, other, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	kid := uuid.NewString()
	db, err := pgx.Connect(ctx, system.DatabaseURL("auth-service"))
	require.NoError(t, err)
	defer db.Close(context.WithoutCancel(ctx))
	_, err = db.Exec(ctx, `
		INSERT INTO signing_keys (kid, public_key, private_key, not_before, retired_at)
		VALUES ($1, $2, '', '2000-01-01', now())`, kid, []byte(public))
	require.NoError(t, err)

	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		token := jwt.NewWithClaims(method, claims)
		token.Header["kid"] = kid
		signed, err := token.SignedString(key)
		require.NoError(t, err)
		return signed
	}
	claims := func(expires time.Duration) jwt.MapClaims {
		return jwt.MapClaims{
			"iss": identity.Issuer, "aud": identity.Audience, "sub": person.UserID, "sid": uuid.New(),
			"roles": []identity.Role{identity.RoleUser, identity.RoleAdmin}, "exp": time.Now().Add(expires).Unix(),
		}
	}
	secret := system.ServiceSecret()
	service := jwt.MapClaims{"sub": "payment-service", "type": "SERVICE", "exp": time.Now().Add(time.Minute).Unix()}
	expired := sign(jwt.SigningMethodEdDSA, private, claims(-time.Minute))
	invalid := reply{401, "TOKEN_INVALID"}
	c := credentials{
		user: string(person.Token),
		wrongUsers: map[string]reply{
			"garbage": invalid,
			sign(jwt.SigningMethodEdDSA, other, claims(time.Minute)):                           invalid,
			sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(time.Minute)): invalid,
			sign(jwt.SigningMethodHS256, []byte(public), claims(time.Minute)):                  invalid,
			sign(jwt.SigningMethodHS256, secret, claims(time.Minute)):                          invalid,
			sign(jwt.SigningMethodHS256, secret, service):                                      invalid,
			expired: {401, "TOKEN_EXPIRED"},
		},
		secret: secret,
		confused: []string{
			sign(jwt.SigningMethodHS256, []byte("a guess"), service),
			sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, service),
			sign(jwt.SigningMethodHS256, []byte(public), service),
			sign(jwt.SigningMethodHS512, secret, service),
			sign(jwt.SigningMethodEdDSA, private, service),
			sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{
				"sub": "payment-service", "type": "SERVICE", "exp": time.Now().Add(-time.Minute).Unix(),
			}),
			sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{
				"sub": "payment-service", "type": "USER", "exp": time.Now().Add(time.Minute).Unix(),
			}),
			string(person.Token),
		},
	}
	for app, path := range map[string]string{
		"auth-service": "/api/auth/me", "event-service": "/api/events/mine", "ticket-service": "/api/tickets/mine",
		"payment-service": "/api/payments/orders", "notification-service": "/api/notifications",
		"analytics-service": "/api/analytics/events",
	} {
		bearer := header{"Authorization": "Bearer " + expired}
		_, err := demo.Await(ctx, func() (reply, error) {
			return ask(t, checked(t), http.MethodGet, system.App(app).URL()+path, bearer, ""), nil
		}, func(got reply) bool { return got.Code == "TOKEN_EXPIRED" })
		require.NoError(t, err, "%s does not fetch the key", app)
	}
	return c
}

// serviceToken returns the headers in which the app shows a service token.
func serviceToken(token, app string) header {
	return header{"X-Service-Token": token, "X-Service-Name": app}
}

// of returns a valid service token of an app.
func (c credentials) of(t *testing.T, app string) string {
	t.Helper()
	token, err := identity.SignServiceToken(c.secret, app)
	require.NoError(t, err)
	return token
}

// attempt is the headers of a request and the expected answer.
type attempt struct {
	name string
	header
	want reply
}

// attempts returns all invalid credentials for an operation.
func (c credentials) attempts(t *testing.T, o contracttest.Operation, direct bool) []attempt {
	t.Helper()
	invalid, missing := reply{401, "SERVICE_TOKEN_INVALID"}, reply{401, "TOKEN_MISSING"}
	forbidden, sidecarOnly := reply{403, "SERVICE_FORBIDDEN"}, reply{401, "SIDECAR_ONLY"}
	good := c.of(t, "payment-service")
	var all []attempt
	switch o.Security {
	case contracttest.ForEveryone: // there are no credentials to get wrong
	case contracttest.ForUsers:
		all = append(all, attempt{"ServiceTokenInItsScheme", header{"Authorization": "Service-Token " + good}, missing})
		if !o.Optional {
			all = append(all,
				attempt{"NoToken", nil, missing},
				attempt{"UserTokenInTheServiceHeader", serviceToken(c.user, "payment-service"), missing},
				attempt{"ServiceTokenInTheServiceHeader", serviceToken(good, "payment-service"), missing},
				attempt{"TheSidecarsToken", header{"dapr-api-token": system.APIToken()}, missing})
		}
		for token, want := range c.wrongUsers {
			all = append(all, attempt{"Bearer " + token, header{"Authorization": "Bearer " + token}, want})
		}
	case contracttest.ForServices:
		bySidecar := header{}
		if direct {
			bySidecar = header{"dapr-api-token": system.APIToken()}
			shown := serviceToken(good, "payment-service")
			all = append(all,
				attempt{"NoSidecarToken", shown, sidecarOnly},
				attempt{"WrongSidecarToken", shown.and(header{"dapr-api-token": "a guess"}), sidecarOnly},
				attempt{"NoToken", nil, sidecarOnly})
		}
		all = append(all,
			attempt{"NoServiceToken", bySidecar, invalid},
			attempt{"UserTokenAsBearer", bySidecar.and(header{"Authorization": "Bearer " + c.user}), invalid},
			attempt{"ServiceTokenAsBearer", bySidecar.and(header{"Authorization": "Bearer " + good}), invalid},
			attempt{"NameOfAnotherApp", bySidecar.and(serviceToken(good, "notification-service")), invalid},
			attempt{"NoAppName", bySidecar.and(header{"X-Service-Token": good}), invalid})
		for _, token := range c.confused {
			all = append(all,
				attempt{"X-Service-Token " + token, bySidecar.and(serviceToken(token, "payment-service")), invalid},
				attempt{"Service-Token " + token, bySidecar.and(header{"Authorization": "Service-Token " + token}), invalid})
		}
		for _, app := range append(contracttest.Services(), "example-caller", "nobody") {
			// example-caller is a reader of EVENT_READERS.
			if calls.May(app, o.Method, o.Path) || (app == "example-caller" && o.Path == "/api/events/internal/{eventId}") {
				continue
			}
			token := c.of(t, app)
			all = append(all,
				attempt{"X-Service-Token of " + app, bySidecar.and(serviceToken(token, app)), forbidden},
				attempt{"Service-Token of " + app, bySidecar.and(header{"Authorization": "Service-Token " + token}), forbidden})
		}
	case contracttest.ForSidecar:
		all = append(all,
			attempt{"NoToken", nil, sidecarOnly},
			attempt{"WrongSidecarToken", header{"dapr-api-token": "a guess"}, sidecarOnly},
			attempt{"UserToken", header{"Authorization": "Bearer " + c.user}, sidecarOnly},
			attempt{"ServiceToken", serviceToken(good, "payment-service"), sidecarOnly})
		if !direct {
			// A caller that invokes the app through a sidecar has a valid token, but is neither a queue nor a timer.
			all = append(all, attempt{"SidecarToken", header{"dapr-api-token": system.APIToken()}, sidecarOnly})
		}
	}
	return all
}

var pathVariable = regexp.MustCompile(`\{\w+\}`)

// Every route of every service rejects every kind of wrong credentials, directly and through a sidecar.
func TestEveryRouteRejectsWrongCredentials(t *testing.T) {
	t.Parallel()
	c := newCredentials(t)
	for _, service := range contracttest.Services() {
		operations, err := contracttest.Operations(service)
		require.NoError(t, err)
		for _, o := range operations {
			if o.Security == contracttest.ForEveryone {
				continue
			}
			t.Run(o.Method+" "+service+o.Path, func(t *testing.T) {
				t.Parallel()
				path := pathVariable.ReplaceAllString(o.Path, uuid.NewString())
				httpClient := checked(t)
				for _, a := range accesses() {
					attempts := c.attempts(t, o, a.direct)
					require.NotEmpty(t, attempts)
					for _, try := range attempts {
						got := ask(t, httpClient, o.Method, a.url(service)+path, try.header, "{}")
						require.Equal(t, try.want, got, "%s: %s", a.name, try.name)
					}
				}
			})
		}
	}
}

// Each caller in the table of internal routes is accepted, with the token in either header.
func TestAllowedCallersAreAccepted(t *testing.T) {
	t.Parallel()
	c := credentials{secret: system.ServiceSecret()}
	httpClient := checked(t)
	for _, r := range calls.Table() {
		path := pathVariable.ReplaceAllString(r.Path, uuid.NewString())
		for _, app := range r.Callers {
			token := c.of(t, app)
			for _, h := range []header{serviceToken(token, app), {"Authorization": "Service-Token " + token}} {
				got := ask(t, httpClient, r.Method, accesses()[1].url(r.App)+path, h, "{}")
				require.Contains(t, []int{400, 404, 200}, got.Status, "%s calls %s %s: %s", app, r.Method, r.Path, got.Code)
			}
		}
	}
}

// An organizer with a valid token cannot read or change what belongs to others.
func TestUsersCannotAccessEachOthersData(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSale(t, 5)
	draft, err := s.Draft(ctx, s.organizer, t.Name())
	require.NoError(t, err)
	order, err := s.Buy(ctx, s.buyer, s.purchase(1, demo.GoodCard))
	require.NoError(t, err)
	s.fulfilled(ctx, t, order.OrderID, 1)
	tickets, err := s.Tickets(ctx, s.buyer)
	require.NoError(t, err)
	var mails struct {
		Notifications []struct{ NotificationID uuid.UUID }
	}
	require.NoError(t, s.Do(ctx, get("notification-service", "/api/notifications", s.buyer.Token), &mails))
	require.NotEmpty(t, mails.Notifications)
	rival, err := s.Join(ctx, "Rita", "Vale", true)
	require.NoError(t, err)
	event, ticket := s.event.EventID.String(), tickets[0].TicketID.String()
	variables := strings.NewReplacer(
		"{eventId}", event, "{ticketId}", ticket, "{orderId}", order.OrderID.String(), "{userId}", s.buyer.UserID.String(),
		"{ticketTypeId}", s.tickets.TicketTypeID.String(), "{notificationId}", mails.Notifications[0].NotificationID.String())

	forbidden, notTheirs := reply{403, "FORBIDDEN"}, reply{403, "NOT_EVENT_ORGANIZER"}
	noTicket, noOrder := reply{404, "TICKET_NOT_FOUND"}, reply{404, "ORDER_NOT_FOUND"}
	noEvent := reply{404, "EVENT_NOT_FOUND"}
	newType := `{"eventId":"` + event + `","name":"Mine","price":1,"currency":"USD","capacity":1}`
	const reason = `{"reason":"None"}`
	const newDate = `{"eventDate":"2040-01-01T00:00:00Z","reason":"None"}`
	code := `{"code":"` + checkInCode(t, ticket, event, 1) + `"}`
	others := map[string]struct {
		body string
		want reply
	}{
		"PUT /api/auth/users/{userId}/roles":                      {`{"roles":["USER"]}`, forbidden},
		"PATCH /api/events/{eventId}":                             {`{"name":"Mine"}`, forbidden},
		"POST /api/events/{eventId}/publish":                      {``, forbidden},
		"POST /api/events/{eventId}/postpone":                     {newDate, forbidden},
		"POST /api/events/{eventId}/cancel":                       {reason, forbidden},
		"POST /api/tickets/types":                                 {newType, notTheirs},
		"PATCH /api/tickets/types/{ticketTypeId}":                 {`{"price":1}`, notTheirs},
		"GET /api/tickets/events/{eventId}/attendees.csv":         {``, notTheirs},
		"POST /api/tickets/check-in":                              {code, notTheirs},
		"GET /api/tickets/{ticketId}/check-ins":                   {``, notTheirs},
		"POST /api/tickets/{ticketId}/check-in/undo":              {reason, notTheirs},
		"GET /api/tickets/{ticketId}":                             {``, noTicket},
		"GET /api/tickets/{ticketId}/qr.png":                      {``, noTicket},
		"GET /api/tickets/{ticketId}/ticket.pdf":                  {``, noTicket},
		"POST /api/tickets/{ticketId}/transfer":                   {`{"toUserId":"` + rival.UserID.String() + `"}`, noTicket},
		"POST /api/tickets/{ticketId}/cancel":                     {reason, noTicket},
		"GET /api/payments/orders/{orderId}":                      {``, noOrder},
		"GET /api/payments/orders/{orderId}/history":              {``, noOrder},
		"GET /api/payments/orders/{orderId}/refunds":              {``, notTheirs},
		"POST /api/payments/orders/{orderId}/postponement-refund": {``, noOrder},
		"POST /api/payments/orders/{orderId}/refunds":             {reason, notTheirs},
		"POST /api/notifications/{notificationId}/resend":         {``, reply{404, "NOTIFICATION_NOT_FOUND"}},
		"GET /api/analytics/events/{eventId}/sales":               {``, noEvent},
	}
	// These only read the caller's own data, or create new data for the caller.
	own := map[string]bool{
		"GET /api/auth/me": true, "PATCH /api/auth/me": true, "POST /api/auth/me/password": true,
		"POST /api/auth/me/organizer": true, "POST /api/auth/verify-email/resend": true,
		"POST /api/events": true, "GET /api/events/mine": true, "GET /api/events/{eventId}": true, // drafts are tested below
		"GET /api/tickets/mine": true, "POST /api/payments/orders": true, "GET /api/payments/orders": true,
		"GET /api/notifications": true, "GET /api/analytics/events": true,
	}
	httpClient := checked(t)
	bearer := header{"Authorization": "Bearer " + string(rival.Token), "Idempotency-Key": uuid.NewString()}
	for _, service := range contracttest.Services() {
		operations, err := contracttest.Operations(service)
		require.NoError(t, err)
		for _, o := range operations {
			name := o.Method + " " + o.Path
			if o.Security != contracttest.ForUsers || own[name] {
				continue
			}
			other, known := others[name]
			if strings.Contains(o.Path, "/admin/") {
				other.body, other.want, known = "{}", forbidden, true
			}
			require.True(t, known, "%s: the test has no expected answer for another user", name)
			path := pathVariable.ReplaceAllString(variables.Replace(o.Path), uuid.NewString())
			for _, a := range accesses() {
				got := ask(t, httpClient, o.Method, a.url(service)+path, bearer, other.body)
				require.Equal(t, other.want, got, "%s %s", a.name, name)
			}
		}
	}
	for _, a := range accesses() {
		url := a.url("event-service") + "/api/events/" + draft.EventID.String()
		require.Equal(t, noEvent, ask(t, httpClient, http.MethodGet, url, bearer, ""), a.name)
	}

	after, err := s.Tickets(ctx, s.buyer)
	require.NoError(t, err)
	require.Equal(t, tickets, after)
	var now demo.Event
	require.NoError(t, s.Do(ctx, get("event-service", "/api/events/"+event, ""), &now))
	require.Equal(t, s.event, now)
	require.Equal(t, 4, s.available(t))
}

// checkInCode returns the code in the QR code of a ticket's version. It reads the key from ticket-service's sidecar, as
// ticket-service does.
func checkInCode(t *testing.T, ticket, event string, version int) string {
	t.Helper()
	const name = "ticket-service-signing-seed"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		system.App("ticket-service").SidecarURL()+"/v1.0/secrets/secretstore/"+name, http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	var values map[string]string
	require.NoError(t, json.NewDecoder(res.Body).Decode(&values))
	seed, err := base64.StdEncoding.DecodeString(values[name])
	require.NoError(t, err)
	code, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"sub": ticket, "aud": "check-in", "evt": event, "ver": version,
	}).SignedString(ed25519.NewKeyFromSeed(seed))
	require.NoError(t, err)
	return code
}

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
	"github.com/eventbooking/eventbooking/services/contracts/callers"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// way is how a request reaches a service.
type way struct {
	name string
	url  func(service string) string
	// around the sidecar, which would show the service APP_API_TOKEN by itself
	around bool
}

// email-service calls nobody: its sidecar has no retries or breakers that others would miss.
func ways() []way {
	return []way{
		{"StraightToTheApp", func(service string) string { return system.App(service).URL() }, true},
		{"ThroughASidecar", func(service string) string {
			return system.App("email-service").SidecarURL() + "/v1.0/invoke/" + service + "/method"
		}, false},
	}
}

// checked is a client that holds the answers of apps and of sidecars to the OpenAPI documents.
func checked(t *testing.T) *http.Client {
	t.Helper()
	apps := contracttest.Apps{}
	for _, app := range system.Apps() {
		apps[strings.TrimPrefix(app.URL(), "http://")] = app.ID
	}
	return contracttest.Client(t, apps)
}

// reply is the status of an answer and, of a refusal, its code.
type reply struct {
	Status int
	Code   string
}

type header map[string]string

// and gives the headers of both.
func (h header) and(more header) header {
	all := header{}
	for _, each := range []header{h, more} {
		for name, value := range each {
			all[name] = value
		}
	}
	return all
}

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
	if res.StatusCode == http.StatusTooManyRequests && !json.Valid(answer) { // a sidecar's limit, for this second
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

// credentials are good and bad ones of every kind.
type credentials struct {
	user       string
	wrongUsers map[string]reply // tokens that are no person's, with what they get
	secret     []byte
	confused   []string // tokens of services that are signed with what is no secret
}

// newCredentials needs a key that auth-service publishes and that is ours: one that it no longer signs with, as after a
// rotation. It returns once every service has learnt of the key.
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
		INSERT INTO signing_keys (kid, public_key, private_key, not_before, retired_at) VALUES ($1, $2, '', '2000-01-01', now())`, kid, []byte(public))
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
			sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "payment-service", "type": "SERVICE", "exp": time.Now().Add(-time.Minute).Unix()}),
			sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "payment-service", "type": "USER", "exp": time.Now().Add(time.Minute).Unix()}),
			string(person.Token),
		},
	}
	for app, path := range map[string]string{
		"auth-service": "/api/auth/me", "event-service": "/api/events/mine", "ticket-service": "/api/tickets/mine",
		"payment-service": "/api/payments/orders", "notification-service": "/api/notifications", "analytics-service": "/api/analytics/events",
	} {
		_, err := demo.Await(ctx, func() (reply, error) {
			return ask(t, checked(t), http.MethodGet, system.App(app).URL()+path, header{"Authorization": "Bearer " + expired}, ""), nil
		}, func(got reply) bool { return got.Code == "TOKEN_EXPIRED" })
		require.NoError(t, err, "%s learns the key", app)
	}
	return c
}

// shown is how a service shows a token, by the name of app.
func shown(token, app string) header { return header{"X-Service-Token": token, "X-Service-Name": app} }

// of gives a good service token of an app's.
func (c credentials) of(t *testing.T, app string) string {
	t.Helper()
	token, err := identity.SignServiceToken(c.secret, app)
	require.NoError(t, err)
	return token
}

// attempt is a request's headers with the answer that it has to get.
type attempt struct {
	name string
	header
	want reply
}

// attempts gives what is tried on an operation, the first way around the sidecar or the second through it.
func (c credentials) attempts(t *testing.T, o contracttest.Operation, around bool) []attempt {
	t.Helper()
	invalid, missing := reply{401, "SERVICE_TOKEN_INVALID"}, reply{401, "TOKEN_MISSING"}
	forbidden, sidecarOnly := reply{403, "SERVICE_FORBIDDEN"}, reply{401, "SIDECAR_ONLY"}
	good := c.of(t, "payment-service")
	var all []attempt
	switch o.Security {
	case contracttest.ForUsers:
		all = append(all, attempt{"ServiceTokenInItsScheme", header{"Authorization": "Service-Token " + good}, missing})
		if !o.Optional {
			all = append(all,
				attempt{"NoToken", nil, missing},
				attempt{"UserTokenInTheServiceHeader", shown(c.user, "payment-service"), missing},
				attempt{"ServiceTokenInTheServiceHeader", shown(good, "payment-service"), missing},
				attempt{"TheSidecarsToken", header{"dapr-api-token": system.APIToken()}, missing})
		}
		for token, want := range c.wrongUsers {
			all = append(all, attempt{"Bearer " + token, header{"Authorization": "Bearer " + token}, want})
		}
	case contracttest.ForServices:
		bySidecar := header{}
		if around {
			bySidecar = header{"dapr-api-token": system.APIToken()}
			all = append(all,
				attempt{"AroundTheSidecar", shown(good, "payment-service"), sidecarOnly},
				attempt{"GuessOfTheSidecarsToken", shown(good, "payment-service").and(header{"dapr-api-token": "a guess"}), sidecarOnly},
				attempt{"NothingAtAll", nil, sidecarOnly})
		}
		all = append(all,
			attempt{"NoToken", bySidecar, invalid},
			attempt{"UserTokenAsBearer", bySidecar.and(header{"Authorization": "Bearer " + c.user}), invalid},
			attempt{"ServiceTokenAsBearer", bySidecar.and(header{"Authorization": "Bearer " + good}), invalid},
			attempt{"AnothersName", bySidecar.and(shown(good, "notification-service")), invalid},
			attempt{"NoName", bySidecar.and(header{"X-Service-Token": good}), invalid})
		for _, token := range c.confused {
			all = append(all,
				attempt{"X-Service-Token " + token, bySidecar.and(shown(token, "payment-service")), invalid},
				attempt{"Service-Token " + token, bySidecar.and(header{"Authorization": "Service-Token " + token}), invalid})
		}
		for _, app := range append(contracttest.Services(), "example-caller", "nobody") {
			// example-caller is a reader of EVENT_READERS.
			if callers.May(app, o.Method, o.Path) || (app == "example-caller" && o.Path == "/api/events/internal/{eventId}") {
				continue
			}
			token := c.of(t, app)
			all = append(all,
				attempt{"X-Service-Token of " + app, bySidecar.and(shown(token, app)), forbidden},
				attempt{"Service-Token of " + app, bySidecar.and(header{"Authorization": "Service-Token " + token}), forbidden})
		}
	case contracttest.ForSidecar:
		all = append(all,
			attempt{"NothingAtAll", nil, sidecarOnly},
			attempt{"GuessOfTheSidecarsToken", header{"dapr-api-token": "a guess"}, sidecarOnly},
			attempt{"User", header{"Authorization": "Bearer " + c.user}, sidecarOnly},
			attempt{"Service", shown(good, "payment-service"), sidecarOnly})
		if !around {
			// Whoever invokes through a sidecar may have the token, and is still no queue and no clock.
			all = append(all, attempt{"TheSidecarsToken", header{"dapr-api-token": system.APIToken()}, sidecarOnly})
		}
	}
	return all
}

var pathVariable = regexp.MustCompile(`\{\w+\}`)

// Every route of every service is tried with every kind of wrong credentials, both ways. Each answer is known.
func TestEveryRouteAsksWhoIsCalling(t *testing.T) {
	t.Parallel()
	c := newCredentials(t)
	for _, service := range contracttest.Services() {
		operations, err := contracttest.Operations(service)
		require.NoError(t, err)
		for _, o := range operations {
			if o.Security == contracttest.ForAnybody {
				continue
			}
			t.Run(o.Method+" "+service+o.Path, func(t *testing.T) {
				t.Parallel()
				path := pathVariable.ReplaceAllString(o.Path, uuid.NewString())
				httpClient := checked(t)
				for _, w := range ways() {
					attempts := c.attempts(t, o, w.around)
					require.NotEmpty(t, attempts)
					for _, a := range attempts {
						require.Equal(t, a.want, ask(t, httpClient, o.Method, w.url(service)+path, a.header, "{}"), "%s: %s", w.name, a.name)
					}
				}
			})
		}
	}
}

// Whoever is in the table of internal routes gets in, with the token in either place.
func TestCallersGetIn(t *testing.T) {
	t.Parallel()
	c := credentials{secret: system.ServiceSecret()}
	httpClient := checked(t)
	for _, r := range callers.Table() {
		path := pathVariable.ReplaceAllString(r.Path, uuid.NewString())
		for _, app := range r.Callers {
			token := c.of(t, app)
			for _, h := range []header{shown(token, app), {"Authorization": "Service-Token " + token}} {
				got := ask(t, httpClient, r.Method, ways()[1].url(r.Service)+path, h, "{}")
				require.Contains(t, []int{400, 404, 200}, got.Status, "%s calls %s %s: %s", app, r.Method, r.Path, got.Code)
			}
		}
	}
}

// A person with a good token of their own, who is an organizer even, gets nowhere with what is others'.
func TestWhatIsAnothersStaysTheirs(t *testing.T) {
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
	noTicket, noOrder, noEvent := reply{404, "TICKET_NOT_FOUND"}, reply{404, "ORDER_NOT_FOUND"}, reply{404, "EVENT_NOT_FOUND"}
	const reason = `{"reason":"None"}`
	others := map[string]struct {
		body string
		want reply
	}{
		"PUT /api/auth/users/{userId}/roles":                      {`{"roles":["USER"]}`, forbidden},
		"PATCH /api/events/{eventId}":                             {`{"name":"Mine"}`, forbidden},
		"POST /api/events/{eventId}/publish":                      {``, forbidden},
		"POST /api/events/{eventId}/postpone":                     {`{"eventDate":"2040-01-01T00:00:00Z","reason":"None"}`, forbidden},
		"POST /api/events/{eventId}/cancel":                       {reason, forbidden},
		"POST /api/tickets/types":                                 {`{"eventId":"` + event + `","name":"Mine","price":1,"currency":"USD","capacity":1}`, notTheirs},
		"PATCH /api/tickets/types/{ticketTypeId}":                 {`{"price":1}`, notTheirs},
		"GET /api/tickets/events/{eventId}/attendees.csv":         {``, notTheirs},
		"POST /api/tickets/check-in":                              {`{"code":"` + admission(t, ticket, event, 1) + `"}`, notTheirs},
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
	// These know nothing but the caller's own, or make something new for them.
	own := map[string]bool{
		"GET /api/auth/me": true, "PATCH /api/auth/me": true, "POST /api/auth/me/password": true,
		"POST /api/auth/me/organizer": true, "POST /api/auth/verify-email/resend": true,
		"POST /api/events": true, "GET /api/events/mine": true, "GET /api/events/{eventId}": true, // a draft's case is below
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
			require.True(t, known, "%s: what does somebody else get?", name)
			path := pathVariable.ReplaceAllString(variables.Replace(o.Path), uuid.NewString())
			for _, w := range ways() {
				require.Equal(t, other.want, ask(t, httpClient, o.Method, w.url(service)+path, bearer, other.body), "%s %s", w.name, name)
			}
		}
	}
	for _, w := range ways() {
		url := w.url("event-service") + "/api/events/" + draft.EventID.String()
		require.Equal(t, noEvent, ask(t, httpClient, http.MethodGet, url, bearer, ""), w.name)
	}

	after, err := s.Tickets(ctx, s.buyer)
	require.NoError(t, err)
	require.Equal(t, tickets, after)
	var now demo.Event
	require.NoError(t, s.Do(ctx, get("event-service", "/api/events/"+event, ""), &now))
	require.Equal(t, s.event, now)
	require.Equal(t, 4, s.left(t))
}

// admission makes the code of a ticket, as its QR code of that version has it. The key is read as ticket-service reads it, from its
// sidecar.
func admission(t *testing.T, ticket, event string, version int) string {
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

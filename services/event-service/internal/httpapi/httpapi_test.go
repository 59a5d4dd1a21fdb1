package httpapi_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/event-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const (
	serviceSecret = "a secret that services share"
	appAPIToken   = "a token that sidecars show"
)

type bundle struct {
	url                        string
	pool                       *pgxpool.Pool
	key                        ed25519.PrivateKey
	tickets                    *ticketService
	organizer, stranger, admin uuid.UUID
}

// ticketService answers every call alike.
type ticketService struct {
	answer string
	err    error
	asked  []string // "app method path", in order; one request at a time asks
}

func (s *ticketService) Send(_ context.Context, r calls.Request) ([]byte, error) {
	s.asked = append(s.asked, r.Route.App+" "+r.Route.Method+" "+r.URL())
	return []byte(s.answer), s.err
}

func setup(t *testing.T) *bundle {
	t.Helper()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	router := web.NewRouter()
	tickets := &ticketService{answer: `{"ticketCount":150}`}
	httpapi.API{Store: store.New(pool), Services: tickets}.Route(router, identity.Guard{
		Verifier: identity.Verifier{Keys: func(context.Context) jwt.Keyfunc {
			return func(*jwt.Token) (any, error) { return public, nil }
		}},
		ServiceSecret: []byte(serviceSecret), AppAPIToken: appAPIToken,
	})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return &bundle{
		url: server.URL, pool: pool, key: private, tickets: tickets,
		organizer: uuid.New(), stranger: uuid.New(), admin: uuid.New(),
	}
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

// sign makes an access token of the user's claims, changed, in a way of its own.
func sign(t *testing.T, method jwt.SigningMethod, key any, user uuid.UUID, role identity.Role, change func(*identity.AccessClaims)) http.Header {
	t.Helper()
	claims := identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: user.String(),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
		},
		Name: "Ann O'Hara", Roles: []identity.Role{role},
	}
	change(&claims)
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	require.NoError(t, err)
	return http.Header{"Authorization": {"Bearer " + token}}
}

// as gives the headers that a person's request arrives with.
func (b *bundle) as(t *testing.T, user uuid.UUID, role identity.Role) http.Header {
	t.Helper()
	return sign(t, jwt.SigningMethodEdDSA, b.key, user, role, func(*identity.AccessClaims) {})
}

// from gives the headers that a service's call arrives with.
func from(t *testing.T, service string) http.Header {
	t.Helper()
	token, err := identity.SignServiceToken([]byte(serviceSecret), service)
	require.NoError(t, err)
	return http.Header{"X-Service-Token": {token}, "X-Service-Name": {service}, "Dapr-Api-Token": {appAPIToken}}
}

func request(change map[string]any) string {
	fields := map[string]any{
		"name": "Summer Music Festival", "description": "Annual outdoor festival", "eventDate": "2099-07-15T20:00:00+02:00",
		"venueName": "Central Park Amphitheater", "venueAddress": "123 Park Ave, New York, NY 10001", "category": "MUSIC",
	}
	maps.Copy(fields, change)
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err) // of strings and numbers
	}
	return string(body)
}

// create makes a draft of the bundle's organizer.
func (b *bundle) create(t *testing.T) string {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/api/events", request(nil), b.as(t, b.organizer, identity.RoleOrganizer))
	require.Equal(t, http.StatusCreated, status, body)
	var e struct{ EventID string }
	require.NoError(t, json.Unmarshal([]byte(body), &e))
	return e.EventID
}

func (b *bundle) publish(t *testing.T, id string) {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/api/events/"+id+"/publish", "", b.as(t, b.organizer, identity.RoleOrganizer))
	require.Equal(t, http.StatusOK, status, body)
}

// details is the contract's "Get Event Details" of what request asks for.
func (b *bundle) details(id, status string) string {
	return `{"eventId":"` + id + `","organizerId":"` + b.organizer.String() + `","name":"Summer Music Festival",
		"description":"Annual outdoor festival","eventDate":"2099-07-15T18:00:00Z",
		"venueName":"Central Park Amphitheater","venueAddress":"123 Park Ave, New York, NY 10001",
		"category":"MUSIC","status":"` + status + `"}`
}

func requireFailure(t *testing.T, body, code, field string) {
	t.Helper()
	var f struct{ Error, Message, Field string }
	require.NoError(t, json.Unmarshal([]byte(body), &f), body)
	require.Equal(t, code, f.Error, body)
	require.NotEmpty(t, f.Message)
	require.Equal(t, field, f.Field)
}

func TestCreate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	image := "https://cdn.example.com/events/770e8400.jpg"
	status, body := b.send(t, http.MethodPost, "/api/events", request(map[string]any{"imageUrl": image}),
		b.as(t, b.organizer, identity.RoleOrganizer))
	require.Equal(t, http.StatusCreated, status, body)
	var got struct{ EventID, ImageURL string }
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Equal(t, image, got.ImageURL)
	require.JSONEq(t, b.details(got.EventID, "DRAFT"), strings.Replace(body, `,"imageUrl":"`+image+`"`, "", 1))
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	organizer := b.as(t, b.organizer, identity.RoleOrganizer)
	for _, tt := range []struct {
		name, body  string
		status      int
		code, field string
	}{
		{"Empty", "", 400, "MALFORMED_JSON", ""},
		{"MalformedJSON", `{"name":`, 400, "MALFORMED_JSON", ""},
		{"Array", `[]`, 400, "MALFORMED_JSON", ""},
		{"BrokenUTF8", "{\"name\":\"\xff\"}", 400, "MALFORMED_JSON", ""},
		{"UnknownField", request(map[string]any{"status": "PUBLISHED"}), 400, "VALIDATION_ERROR", "status"},
		{"WrongType", request(map[string]any{"name": 7}), 400, "VALIDATION_ERROR", "name"},
		{"NULInName", request(map[string]any{"name": "a\x00b"}), 400, "VALIDATION_ERROR", "name"},
		{"NoDate", request(map[string]any{"eventDate": ""}), 400, "VALIDATION_ERROR", "eventDate"},
		{"DateAsNumber", request(map[string]any{"eventDate": 4087900800}), 400, "VALIDATION_ERROR", "eventDate"},
		{"DateWithoutZone", request(map[string]any{"eventDate": "2099-07-15T18:00:00"}), 400, "VALIDATION_ERROR", "eventDate"},
		{"DateOfNoCalendar", request(map[string]any{"eventDate": "2099-02-30T18:00:00Z"}), 400, "VALIDATION_ERROR", "eventDate"},
		{"DateInThePast", request(map[string]any{"eventDate": "2001-07-15T18:00:00Z"}), 400, "VALIDATION_ERROR", "eventDate"},
		{"DateBeyondTheFormat", request(map[string]any{"eventDate": "9999-12-31T23:59:59-23:00"}), 400, "VALIDATION_ERROR", "eventDate"},
		{"UnknownCategory", request(map[string]any{"category": "OPERA"}), 400, "VALIDATION_ERROR", "category"},
		{"RelativeImage", request(map[string]any{"imageUrl": "/a.jpg"}), 400, "VALIDATION_ERROR", "imageUrl"},
		{"TooLarge", request(map[string]any{"description": strings.Repeat("a", web.MaxBody)}), 413, "BODY_TOO_LARGE", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/events", tt.body, organizer)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestPersonsAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t)
	unchanged := func(*identity.AccessClaims) {}
	_, forger, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	signed := func(method jwt.SigningMethod, key any, change func(*identity.AccessClaims)) http.Header {
		return sign(t, method, key, b.organizer, identity.RoleOrganizer, change)
	}
	public, ok := b.key.Public().(ed25519.PublicKey)
	require.True(t, ok)
	service, err := identity.SignServiceToken([]byte(serviceSecret), "ticket-service")
	require.NoError(t, err)
	for _, route := range []struct{ method, path, body string }{
		{http.MethodPost, "/api/events", request(nil)},
		{http.MethodPost, "/api/events/" + id + "/publish", ""},
		{http.MethodPost, "/api/events/" + id + "/postpone", `{"eventDate":"2099-07-16T18:00:00Z","reason":"Storm"}`},
		{http.MethodPost, "/api/events/" + id + "/cancel", `{"reason":"Storm"}`},
		{http.MethodPatch, "/api/events/" + id, `{"name":"Winter Festival"}`},
		{http.MethodGet, "/api/events/mine", ""},
		{http.MethodGet, "/api/events/" + id, ""},
	} {
		for _, tt := range []struct {
			name   string
			header http.Header
			code   string
		}{
			{"Expired", signed(jwt.SigningMethodEdDSA, b.key, func(c *identity.AccessClaims) {
				c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute))
			}), "TOKEN_EXPIRED"},
			{"NeverExpires", signed(jwt.SigningMethodEdDSA, b.key, func(c *identity.AccessClaims) { c.ExpiresAt = nil }), "TOKEN_INVALID"},
			{"OtherIssuer", signed(jwt.SigningMethodEdDSA, b.key, func(c *identity.AccessClaims) { c.Issuer = "someone" }), "TOKEN_INVALID"},
			{"OtherAudience", signed(jwt.SigningMethodEdDSA, b.key, func(c *identity.AccessClaims) { c.Audience = nil }), "TOKEN_INVALID"},
			{"NoUser", signed(jwt.SigningMethodEdDSA, b.key, func(c *identity.AccessClaims) { c.Subject = "ann" }), "TOKEN_INVALID"},
			{"AnothersSignature", signed(jwt.SigningMethodEdDSA, forger, unchanged), "TOKEN_INVALID"},
			{"AlgNone", signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, unchanged), "TOKEN_INVALID"},
			{"HS256UnderThePublicKey", signed(jwt.SigningMethodHS256, []byte(public), unchanged), "TOKEN_INVALID"},
			{"ServiceToken", http.Header{"Authorization": {"Bearer " + service}}, "TOKEN_INVALID"},
			{"NoBearer", http.Header{"Authorization": {"Basic YW5uOmFubg=="}}, "TOKEN_MISSING"},
			{"NoJWT", http.Header{"Authorization": {"Bearer a.b.c"}}, "TOKEN_INVALID"},
		} {
			t.Run(route.method+route.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, route.method, route.path, route.body, tt.header)
				require.Equal(t, http.StatusUnauthorized, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
	}
	for _, route := range []struct{ method, path string }{
		{http.MethodPost, "/api/events"},
		{http.MethodPost, "/api/events/" + id + "/publish"},
		{http.MethodPost, "/api/events/" + id + "/postpone"},
		{http.MethodPost, "/api/events/" + id + "/cancel"},
		{http.MethodPatch, "/api/events/" + id},
		{http.MethodGet, "/api/events/mine"},
	} {
		t.Run(route.method+route.path+"/NoToken", func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, route.method, route.path, request(nil), nil)
			require.Equal(t, http.StatusUnauthorized, status)
			requireFailure(t, body, "TOKEN_MISSING", "")
		})
	}
	for _, role := range []identity.Role{identity.RoleUser, identity.RoleAdmin} {
		t.Run("CreateAs"+string(role), func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/events", request(nil), b.as(t, b.stranger, role))
			require.Equal(t, http.StatusForbidden, status)
			requireFailure(t, body, "FORBIDDEN", "")
		})
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		name   string
		user   uuid.UUID
		role   identity.Role
		change string // SQL
		status int
		code   string // empty when it succeeds
	}{
		{"ByItsOrganizer", b.organizer, identity.RoleOrganizer, ``, 200, ""},
		{"ByAnAdmin", b.admin, identity.RoleAdmin, ``, 200, ""},
		{"Again", b.organizer, identity.RoleOrganizer, `UPDATE events SET status = 'PUBLISHED' WHERE id = $1`, 200, ""},
		{"AnothersDraft", b.stranger, identity.RoleOrganizer, ``, 404, "EVENT_NOT_FOUND"},
		{"AnothersPublished", b.stranger, identity.RoleOrganizer, `UPDATE events SET status = 'PUBLISHED' WHERE id = $1`, 403, "FORBIDDEN"},
		{"Cancelled", b.organizer, identity.RoleOrganizer, `UPDATE events SET status = 'CANCELLED' WHERE id = $1`, 409, "EVENT_NOT_DRAFT"},
		{"DatePassed", b.organizer, identity.RoleOrganizer, `UPDATE events SET event_date = now() WHERE id = $1`, 409, "EVENT_DATE_PASSED"},
		{"Unknown", b.organizer, identity.RoleOrganizer, `DELETE FROM events WHERE id = $1`, 404, "EVENT_NOT_FOUND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id := b.create(t)
			if tt.change != "" {
				_, err := b.pool.Exec(t.Context(), tt.change, id)
				require.NoError(t, err)
			}
			status, body := b.send(t, http.MethodPost, "/api/events/"+id+"/publish", "", b.as(t, tt.user, tt.role))
			require.Equal(t, tt.status, status, body)
			if tt.code != "" {
				requireFailure(t, body, tt.code, "")
				return
			}
			require.JSONEq(t, b.details(id, "PUBLISHED"), body)
		})
	}
	t.Run("NoUUID", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodPost, "/api/events/1/publish", "", b.as(t, b.organizer, identity.RoleOrganizer))
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "eventId")
	})
}

func TestGet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	draft, published := b.create(t), b.create(t)
	b.publish(t, published)
	for _, tt := range []struct {
		name, id string
		header   http.Header
		status   string // empty when it does not exist for the reader
	}{
		{"PublishedByAnybody", published, nil, "PUBLISHED"},
		{"PublishedByAUser", published, b.as(t, b.stranger, identity.RoleUser), "PUBLISHED"},
		{"DraftByItsOrganizer", draft, b.as(t, b.organizer, identity.RoleOrganizer), "DRAFT"},
		{"DraftByAnAdmin", draft, b.as(t, b.admin, identity.RoleAdmin), "DRAFT"},
		{"DraftByAnybody", draft, nil, ""},
		{"DraftByAnotherOrganizer", draft, b.as(t, b.stranger, identity.RoleOrganizer), ""},
		{"Unknown", uuid.NewString(), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/events/"+tt.id, "", tt.header)
			if tt.status == "" {
				require.Equal(t, http.StatusNotFound, status)
				require.JSONEq(t, `{"error":"EVENT_NOT_FOUND","message":"Event with ID `+tt.id+` not found"}`, body)
				return
			}
			require.Equal(t, http.StatusOK, status)
			require.JSONEq(t, b.details(tt.id, tt.status), body)
		})
	}
	for _, id := range []string{"1", "internal", "batch", "%00", strings.Repeat("a", 5000)} {
		t.Run("NoUUID", func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/events/"+id, "", nil)
			require.Equal(t, http.StatusBadRequest, status)
			requireFailure(t, body, "VALIDATION_ERROR", "eventId")
		})
	}
}

const published, cancelled = `UPDATE events SET status = 'PUBLISHED' WHERE id = $1`, `UPDATE events SET status = 'CANCELLED' WHERE id = $1`

func TestChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		name   string
		user   uuid.UUID
		role   identity.Role
		change string // SQL
		body   string
		status int
		code   string // empty when it succeeds
		field  string
	}{
		{"Draft", b.organizer, identity.RoleOrganizer, ``, `{"description":"Bring a hat.","eventDate":"2099-08-15T18:00:00Z"}`, 200, "", ""},
		{"Published", b.organizer, identity.RoleOrganizer, published, `{"description":"Bring a hat."}`, 200, "", ""},
		{"ByAnAdmin", b.admin, identity.RoleAdmin, published, `{"description":"Bring a hat."}`, 200, "", ""},
		{"Nothing", b.organizer, identity.RoleOrganizer, published, `{}`, 200, "", ""},
		{"PublishedDate", b.organizer, identity.RoleOrganizer, published, `{"eventDate":"2099-08-15T18:00:00Z"}`, 400, "VALIDATION_ERROR", "eventDate"},
		{"PastDate", b.organizer, identity.RoleOrganizer, ``, `{"eventDate":"2001-08-15T18:00:00Z"}`, 400, "VALIDATION_ERROR", "eventDate"},
		{"NoDate", b.organizer, identity.RoleOrganizer, ``, `{"eventDate":"tomorrow"}`, 400, "VALIDATION_ERROR", "eventDate"},
		{"Null", b.organizer, identity.RoleOrganizer, ``, `{"name":null}`, 400, "VALIDATION_ERROR", "name"},
		{"WrongType", b.organizer, identity.RoleOrganizer, ``, `{"category":7}`, 400, "VALIDATION_ERROR", "category"},
		{"BlankName", b.organizer, identity.RoleOrganizer, ``, `{"name":" "}`, 400, "VALIDATION_ERROR", "name"},
		{"Status", b.organizer, identity.RoleOrganizer, ``, `{"status":"PUBLISHED"}`, 400, "VALIDATION_ERROR", "status"},
		{"NoBody", b.organizer, identity.RoleOrganizer, ``, ``, 400, "MALFORMED_JSON", ""},
		{"Cancelled", b.organizer, identity.RoleOrganizer, cancelled, `{"name":"A"}`, 409, "EVENT_CANCELLED", ""},
		{"AnothersDraft", b.stranger, identity.RoleOrganizer, ``, `{"name":"A"}`, 404, "EVENT_NOT_FOUND", ""},
		{"AnothersPublished", b.stranger, identity.RoleOrganizer, published, `{"name":"A"}`, 403, "FORBIDDEN", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id := b.create(t)
			if tt.change != "" {
				_, err := b.pool.Exec(t.Context(), tt.change, id)
				require.NoError(t, err)
			}
			status, body := b.send(t, http.MethodPatch, "/api/events/"+id, tt.body, b.as(t, tt.user, tt.role))
			require.Equal(t, tt.status, status, body)
			if tt.code != "" {
				requireFailure(t, body, tt.code, tt.field)
				return
			}
			var asked, got map[string]any
			require.NoError(t, json.Unmarshal([]byte(tt.body), &asked))
			require.NoError(t, json.Unmarshal([]byte(body), &got))
			for field, value := range asked {
				require.Equal(t, value, got[field])
			}
			require.Equal(t, "Summer Music Festival", got["name"])
		})
	}
}

func TestPostpone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const later = `{"eventDate":"2099-08-15T18:00:00Z","reason":"Storm"}`
	for _, tt := range []struct {
		name   string
		change string // SQL
		body   string
		status int
		code   string // empty when it succeeds
		field  string
	}{
		{"Published", published, later, 200, "", ""},
		{"Draft", ``, later, 409, "EVENT_NOT_PUBLISHED", ""},
		{"Cancelled", cancelled, later, 409, "EVENT_CANCELLED", ""},
		{"ToThePast", published, `{"eventDate":"2001-08-15T18:00:00Z","reason":"Storm"}`, 400, "VALIDATION_ERROR", "eventDate"},
		{"NoDate", published, `{"reason":"Storm"}`, 400, "VALIDATION_ERROR", "eventDate"},
		{"NoReason", published, `{"eventDate":"2099-08-15T18:00:00Z"}`, 400, "VALIDATION_ERROR", "reason"},
		{"NULInReason", published, `{"eventDate":"2099-08-15T18:00:00Z","reason":"a\u0000"}`, 400, "VALIDATION_ERROR", "reason"},
		{"UnknownField", published, `{"date":"2099-08-15T18:00:00Z"}`, 400, "VALIDATION_ERROR", "date"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id := b.create(t)
			if tt.change != "" {
				_, err := b.pool.Exec(t.Context(), tt.change, id)
				require.NoError(t, err)
			}
			status, body := b.send(t, http.MethodPost, "/api/events/"+id+"/postpone", tt.body, b.as(t, b.organizer, identity.RoleOrganizer))
			require.Equal(t, tt.status, status, body)
			if tt.code != "" {
				requireFailure(t, body, tt.code, tt.field)
				return
			}
			want := strings.NewReplacer("2099-07-15", "2099-08-15", `"PUBLISHED"`, `"PUBLISHED","postponedFrom":"2099-07-15T18:00:00Z"`).
				Replace(b.details(id, "PUBLISHED"))
			require.JSONEq(t, want, body)
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  string // SQL
		answer  string
		err     error
		status  int
		code    string // empty when it succeeds
		tickets int    // announced
	}{
		{"Draft", ``, ``, errors.New("not to be asked"), 200, "", 0},
		{"Published", published, `{"eventId":"550e8400-e29b-41d4-a716-446655440000","ticketCount":150}`, nil, 200, "", 150},
		{"PublishedWithoutTickets", published, `{"ticketCount":0}`, nil, 200, "", 0},
		{"NobodySellsTickets", published, ``, problem.New(problem.NotFound, "EVENT_NOT_FOUND", "no"), 200, "", 0},
		{"NoAnswer", published, ``, sidecar.ErrUnavailable, 503, "SERVICE_UNAVAILABLE", 0},
		{"Refused", published, ``, identity.ErrServiceForbidden, 503, "SERVICE_UNAVAILABLE", 0},
		{"AnswerWithoutCount", published, `{}`, nil, 503, "SERVICE_UNAVAILABLE", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.tickets.answer, b.tickets.err = tt.answer, tt.err
			id := b.create(t)
			if tt.change != "" {
				_, err := b.pool.Exec(t.Context(), tt.change, id)
				require.NoError(t, err)
			}
			status, body := b.send(t, http.MethodPost, "/api/events/"+id+"/cancel", `{"reason":"Storm"}`, b.as(t, b.organizer, identity.RoleOrganizer))
			require.Equal(t, tt.status, status, body)
			rows, err := b.pool.Query(t.Context(), `
				SELECT (cloud_event->'data'->'payload'->>'affectedTicketCount')::int FROM outbox
				WHERE cloud_event->>'type' = 'EVENT_CANCELLED' AND topic = 'event-events'`)
			require.NoError(t, err)
			announced, err := pgx.CollectRows(rows, pgx.RowTo[int])
			require.NoError(t, err)
			if tt.code != "" {
				requireFailure(t, body, tt.code, "")
				require.Empty(t, announced)
				_, body = b.send(t, http.MethodGet, "/api/events/"+id, "", nil)
				require.JSONEq(t, b.details(id, "PUBLISHED"), body)
				return
			}
			want := strings.Replace(b.details(id, "CANCELLED"), `"CANCELLED"`, `"CANCELLED","cancellationReason":"Storm"`, 1)
			require.JSONEq(t, want, body)
			require.Equal(t, []int{tt.tickets}, announced)
			if tt.change == published {
				require.Equal(t, []string{"ticket-service GET /api/tickets/internal/events/" + id + "/ticket-count"}, b.tickets.asked)
			}

			// Again, and for another reason: nothing is asked and nothing changes.
			asked := len(b.tickets.asked)
			status, body = b.send(t, http.MethodPost, "/api/events/"+id+"/cancel", `{"reason":"Rain"}`, b.as(t, b.admin, identity.RoleAdmin))
			require.Equal(t, http.StatusOK, status)
			require.JSONEq(t, want, body)
			require.Len(t, b.tickets.asked, asked)

			// What other services get is the contract's and nothing more.
			_, body = b.send(t, http.MethodGet, "/api/events/internal/"+id, "", from(t, "ticket-service"))
			require.JSONEq(t, b.details(id, "CANCELLED"), body)
		})
	}
}

func TestCancelRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	t.Cleanup(func() { require.Empty(t, b.tickets.asked) })
	draft, public := b.create(t), b.create(t)
	b.publish(t, public)
	for _, tt := range []struct {
		name, id, body string
		user           uuid.UUID
		status         int
		code, field    string
	}{
		{"AnothersDraft", draft, `{"reason":"Storm"}`, b.stranger, 404, "EVENT_NOT_FOUND", ""},
		{"AnothersPublished", public, `{"reason":"Storm"}`, b.stranger, 403, "FORBIDDEN", ""},
		{"Unknown", uuid.NewString(), `{"reason":"Storm"}`, b.organizer, 404, "EVENT_NOT_FOUND", ""},
		{"NoUUID", "mine", `{"reason":"Storm"}`, b.organizer, 400, "VALIDATION_ERROR", "eventId"},
		{"NoReason", public, `{}`, b.organizer, 400, "VALIDATION_ERROR", "reason"},
		{"LongReason", public, `{"reason":"` + strings.Repeat("a", 501) + `"}`, b.organizer, 400, "VALIDATION_ERROR", "reason"},
		{"NoBody", public, ``, b.organizer, 400, "MALFORMED_JSON", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/events/"+tt.id+"/cancel", tt.body, b.as(t, tt.user, identity.RoleOrganizer))
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

type list struct {
	Events     []struct{ EventID, Status string }
	NextCursor string
}

func (b *bundle) list(t *testing.T, path string, header http.Header) list {
	t.Helper()
	status, body := b.send(t, http.MethodGet, path, "", header)
	require.Equal(t, http.StatusOK, status, body)
	var l list
	require.NoError(t, json.Unmarshal([]byte(body), &l))
	return l
}

func TestSearch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	public := b.create(t)
	b.create(t) // a draft is not found
	b.publish(t, public)
	for _, tt := range []struct {
		query string
		found int
	}{
		{"", 1},
		{"?category=&q=&from=&to=", 1},
		{"?category=MUSIC&q=amphitheater%20SUMMER&from=2099-07-15T20:00:00%2B02:00&to=2099-07-16T00:00:00Z&limit=1", 1},
		{"?category=SPORTS", 0},
		{"?q=winter", 0},
		{"?to=2099-07-15T18:00:00Z", 0},
		{"?from=2099-07-15T18:00:01Z", 0},
		{"?from=9999-12-31T23:59:59-23:00", 0},
		{"?from=0000-01-01T00:00:00%2B23:00", 1},
	} {
		t.Run(tt.query, func(t *testing.T) {
			t.Parallel()
			l := b.list(t, "/api/events"+tt.query, nil)
			require.Len(t, l.Events, tt.found)
			require.Empty(t, l.NextCursor)
			for _, e := range l.Events {
				require.Equal(t, public, e.EventID)
			}
		})
	}
	t.Run("NobodyHasNull", func(t *testing.T) {
		t.Parallel()
		_, body := b.send(t, http.MethodGet, "/api/events?q=winter", "", nil)
		require.JSONEq(t, `{"events":[]}`, body)
	})
	for _, tt := range []struct{ query, field string }{
		{"?category=OPERA", "category"},
		{"?q=a%00", "q"},
		{"?q=%ff", "q"},
		{"?q=" + strings.Repeat("a", 5000), "q"},
		{"?from=tomorrow", "from"},
		{"?to=2099-02-30T18:00:00Z", "to"},
		{"?from=2099-07-16T00:00:00Z&to=2099-07-15T00:00:00Z", "to"},
		{"?limit=0", "limit"},
		{"?limit=101", "limit"},
		{"?limit=many", "limit"},
		{"?cursor=%27%3BDROP", "cursor"},
	} {
		t.Run("Refuses"+tt.query[:min(40, len(tt.query))], func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/events"+tt.query, "", nil)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
}

func TestMine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := map[string]string{}
	for i := range 5 {
		id := b.create(t)
		want[id] = "DRAFT"
		if i%2 == 0 {
			b.publish(t, id)
			want[id] = "PUBLISHED"
		}
	}
	got, path := map[string]string{}, "/api/events/mine?limit=2"
	for pages := 1; ; pages++ {
		l := b.list(t, path, b.as(t, b.organizer, identity.RoleOrganizer))
		for _, e := range l.Events {
			got[e.EventID] = e.Status
		}
		if l.NextCursor == "" {
			require.Equal(t, 3, pages)
			break
		}
		path = "/api/events/mine?limit=2&cursor=" + l.NextCursor
	}
	require.Equal(t, want, got)
	require.Empty(t, b.list(t, "/api/events/mine", b.as(t, b.admin, identity.RoleAdmin)).Events)
}

func TestGetInternal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	draft, unknown := b.create(t), uuid.NewString()
	t.Run("Draft", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodGet, "/api/events/internal/"+draft, "", from(t, "ticket-service"))
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, b.details(draft, "DRAFT"), body)
	})
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodGet, "/api/events/internal/"+unknown, "", from(t, "ticket-service"))
		require.Equal(t, http.StatusNotFound, status)
		require.JSONEq(t, `{"error":"EVENT_NOT_FOUND","message":"Event with ID `+unknown+` not found"}`, body)
	})
	t.Run("NoUUID", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodGet, "/api/events/internal/batch", "", from(t, "ticket-service"))
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "eventId")
	})
}

func TestValidateOrganizer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t)
	ask := func(t *testing.T, eventID, userID string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodGet, "/api/events/internal/"+eventID+"/validate-organizer/"+userID, "", from(t, "ticket-service"))
	}
	t.Run("Organizer", func(t *testing.T) {
		t.Parallel()
		status, body := ask(t, id, b.organizer.String())
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"isOrganizer":true,"eventId":"`+id+`","userId":"`+b.organizer.String()+`"}`, body)
	})
	t.Run("NotOrganizer", func(t *testing.T) {
		t.Parallel()
		status, body := ask(t, id, b.stranger.String())
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"isOrganizer":false,"eventId":"`+id+`","userId":"`+b.stranger.String()+`"}`, body)
	})
	for _, tt := range []struct {
		name, eventID, userID string
		status                int
		code, field           string
	}{
		{"UnknownEvent", uuid.NewString(), b.organizer.String(), 404, "EVENT_NOT_FOUND", ""},
		{"EventNoUUID", "1", b.organizer.String(), 400, "VALIDATION_ERROR", "eventId"},
		{"UserNoUUID", id, "1", 400, "VALIDATION_ERROR", "userId"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := ask(t, tt.eventID, tt.userID)
			require.Equal(t, tt.status, status)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.create(t), b.create(t)
	b.publish(t, second)
	ask := func(t *testing.T, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/events/internal/batch", body, from(t, "notification-service"))
	}
	t.Run("KeepsTheOrderAndLeavesOutUnknown", func(t *testing.T) {
		t.Parallel()
		status, body := ask(t, `{"eventIds":["`+second+`","`+uuid.NewString()+`","`+first+`"]}`)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"events":[
			{"eventId":"`+second+`","name":"Summer Music Festival","eventDate":"2099-07-15T18:00:00Z","status":"PUBLISHED"},
			{"eventId":"`+first+`","name":"Summer Music Festival","eventDate":"2099-07-15T18:00:00Z","status":"DRAFT"}]}`, body)
	})
	t.Run("None", func(t *testing.T) {
		t.Parallel()
		status, body := ask(t, `{"eventIds":[]}`)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"events":[]}`, body)
	})
	for _, tt := range []struct{ name, body, field string }{
		{"TooMany", `{"eventIds":["` + strings.Repeat(first+`","`, 100) + first + `"]}`, "eventIds"},
		{"NoUUID", `{"eventIds":["` + first + `","1"]}`, "eventIds[1]"},
		{"Missing", `{}`, "eventIds"},
		{"WrongType", `{"eventIds":7}`, "eventIds"},
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
	id := b.create(t)
	for _, route := range []struct {
		method, path, body string
		others             []string // services without this route
	}{
		{http.MethodGet, "/api/events/internal/" + id, "", []string{"analytics-service", "auth-service"}},
		{
			http.MethodGet, "/api/events/internal/" + id + "/validate-organizer/" + b.organizer.String(), "",
			[]string{"notification-service", "analytics-service"},
		},
		{http.MethodPost, "/api/events/internal/batch", `{"eventIds":[]}`, []string{"analytics-service", "email-service"}},
	} {
		headers := func(change func(h http.Header)) http.Header {
			h := from(t, "ticket-service")
			change(h)
			return h
		}
		signed := func(method jwt.SigningMethod, key any, kind string, life time.Duration) http.Header {
			token, err := jwt.NewWithClaims(method, jwt.MapClaims{
				"sub": "ticket-service", "type": kind, "exp": time.Now().Add(life).Unix(),
			}).SignedString(key)
			require.NoError(t, err)
			return headers(func(h http.Header) { h.Set("X-Service-Token", token) })
		}
		person := b.as(t, b.admin, identity.RoleAdmin)
		for _, tt := range []struct {
			name   string
			header http.Header
			code   string
		}{
			{"NoToken", headers(func(h http.Header) { h.Del("X-Service-Token") }), "SERVICE_TOKEN_INVALID"},
			{"NotThroughTheSidecar", headers(func(h http.Header) { h.Del("Dapr-Api-Token") }), "SIDECAR_ONLY"},
			{"AnothersName", headers(func(h http.Header) { h.Set("X-Service-Name", "payment-service") }), "SERVICE_TOKEN_INVALID"},
			{"UserToken", headers(func(h http.Header) {
				h.Set("X-Service-Token", strings.TrimPrefix(person.Get("Authorization"), "Bearer "))
			}), "SERVICE_TOKEN_INVALID"},
			{"UserTokenAsBearer", http.Header{
				"Authorization": person["Authorization"], "Dapr-Api-Token": {appAPIToken},
			}, "SERVICE_TOKEN_INVALID"},
			{"WrongSecret", signed(jwt.SigningMethodHS256, []byte("a guess"), "SERVICE", time.Minute), "SERVICE_TOKEN_INVALID"},
			{"AlgNone", signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "SERVICE", time.Minute), "SERVICE_TOKEN_INVALID"},
			{"Expired", signed(jwt.SigningMethodHS256, []byte(serviceSecret), "SERVICE", -time.Minute), "SERVICE_TOKEN_INVALID"},
			{"OtherType", signed(jwt.SigningMethodHS256, []byte(serviceSecret), "USER", time.Minute), "SERVICE_TOKEN_INVALID"},
		} {
			t.Run(route.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, route.method, route.path, route.body, tt.header)
				require.Equal(t, http.StatusUnauthorized, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
		for _, service := range route.others {
			t.Run(route.path+"/By"+service, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, route.method, route.path, route.body, from(t, service))
				require.Equal(t, http.StatusForbidden, status, body)
				requireFailure(t, body, "SERVICE_FORBIDDEN", "")
			})
		}
		t.Run(route.path+"/AuthorizationHeader", func(t *testing.T) {
			t.Parallel()
			token, err := identity.SignServiceToken([]byte(serviceSecret), "ticket-service")
			require.NoError(t, err)
			status, body := b.send(t, route.method, route.path, route.body,
				http.Header{"Authorization": {"Service-Token " + token}, "Dapr-Api-Token": {appAPIToken}})
			require.Equal(t, http.StatusOK, status, body)
		})
	}
}

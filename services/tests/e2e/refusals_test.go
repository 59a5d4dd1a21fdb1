package e2e_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newSale(t, 5)
	buyer, organizer := s.buyer.Token, s.organizer.Token
	rival, err := s.Join(t.Context(), "Rita", "Vale", true)
	require.NoError(t, err)
	good := s.purchase(1, demo.GoodCard)
	order := func(change func(*demo.Purchase)) demo.Request {
		p := s.purchase(1, demo.GoodCard)
		change(&p)
		return p.Request(s.buyer)
	}
	raw := func(body string) demo.Request {
		req := good.Request(s.buyer)
		req.Body = []byte(body)
		return req
	}
	withoutKey := good.Request(s.buyer)
	withoutKey.Header = nil
	withoutToken := good.Request(demo.Person{})
	otherMethod := raw(`{"eventId":"` + s.event.EventID.String() + `","ticketRequests":[{"ticketTypeId":"` +
		s.tickets.TicketTypeID.String() + `","quantity":1}],"paymentMethod":"BARTER","paymentToken":"pm_card_visa"}`)
	registration := func(email, password string) map[string]string {
		return map[string]string{"email": email, "password": password, "firstName": "Eve", "lastName": "Moss"}
	}

	for _, tt := range []struct {
		name        string
		req         demo.Request
		status      int
		code, field string
	}{
		{"MalformedJSON", raw(`{"eventId":`), 400, "MALFORMED_JSON", ""},
		{"EmptyBody", raw(``), 400, "MALFORMED_JSON", ""},
		{"UnknownField", raw(`{"price":0.01}`), 400, "VALIDATION_ERROR", "price"},
		{"UnknownPaymentMethod", otherMethod, 400, "VALIDATION_ERROR", "paymentMethod"},
		{"UnknownCard", order(func(p *demo.Purchase) { p.Card = "pm_card_nonsense" }), 400, "UNKNOWN_PAYMENT_METHOD", "paymentToken"},
		{"NoTickets", order(func(p *demo.Purchase) { p.Quantity = 0 }), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"LessThanNoTickets", order(func(p *demo.Purchase) { p.Quantity = -1 }), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"UnknownEvent", order(func(p *demo.Purchase) { p.Event = uuid.New() }), 404, "EVENT_NOT_FOUND", ""},
		{"UnknownTicketType", order(func(p *demo.Purchase) { p.TicketType = uuid.New() }), 404, "TICKET_TYPE_NOT_FOUND", ""},
		{"NoIdempotencyKey", withoutKey, 400, "VALIDATION_ERROR", "Idempotency-Key"},
		{"NoToken", withoutToken, 401, "TOKEN_MISSING", ""},
		{"ForgedToken", get("ticket-service", "/api/tickets/mine", buyer+"x"), 401, "TOKEN_INVALID", ""},
		{"BadUUID", get("payment-service", "/api/payments/orders/42", buyer), 400, "VALIDATION_ERROR", "orderId"},
		{"UnknownOrder", get("payment-service", "/api/payments/orders/"+uuid.NewString(), buyer), 404, "ORDER_NOT_FOUND", ""},
		{"UnknownPath", get("event-service", "/api/nothing", buyer), 404, "NOT_FOUND", ""},
		{"WrongHTTPMethod", demo.Request{Method: http.MethodDelete, App: "event-service", Path: "/api/events", Token: organizer}, 405, "METHOD_NOT_ALLOWED", ""},
		{"ABuyerIsNoOrganizer", post("event-service", "/api/events", buyer, map[string]string{"name": "x"}), 403, "FORBIDDEN", ""},
		{"SomebodyElsesEvent", post("ticket-service", "/api/tickets/types", rival.Token, map[string]any{
			"eventId": s.event.EventID, "name": "Fake", "price": 1, "currency": "USD", "capacity": 1,
		}), 403, "NOT_EVENT_ORGANIZER", ""},
		{"BadEmail", post("auth-service", "/api/auth/register", "", registration("not an address", demo.Password)), 400, "VALIDATION_ERROR", "email"},
		{"ShortPassword", post("auth-service", "/api/auth/register", "", registration("eve@example.com", "short")), 400, "VALIDATION_ERROR", "password"},
		{"TakenEmail", post("auth-service", "/api/auth/register", "", registration(s.buyer.Email, demo.Password)), 409, "EMAIL_TAKEN", ""},
		{"WrongPassword", post("auth-service", "/api/auth/login", "", map[string]string{"email": s.buyer.Email, "password": "not this one"}), 401, "INVALID_CREDENTIALS", ""},
		{"BodyTooLarge", post("auth-service", "/api/auth/login", "", bytes.Repeat([]byte(" "), 1<<20+1)), 413, "BODY_TOO_LARGE", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := refusal(t, s.Client, tt.req)
			require.Equal(t, tt.status, got.Status, got)
			require.Equal(t, tt.code, got.Code)
			require.Equal(t, tt.field, got.Field)
			require.NotEmpty(t, got.Message)
		})
	}
	_, err = demo.Await(t.Context(), func() (demo.Availability, error) { return s.Availability(t.Context(), s.event.EventID) },
		func(a demo.Availability) bool { return a.Of(s.tickets.TicketTypeID) == 5 })
	require.NoError(t, err, "nothing of it holds a ticket")
}

func TestAnExpiredTokenIsNoToken(t *testing.T) {
	t.Parallel()
	s := newSale(t, 1)
	// A key that auth-service still publishes and no longer signs with, as after a rotation.
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	kid := uuid.NewString()
	db, err := pgx.Connect(t.Context(), system.DatabaseURL("auth-service"))
	require.NoError(t, err)
	defer db.Close(t.Context())
	_, err = db.Exec(t.Context(), `
		INSERT INTO signing_keys (kid, public_key, private_key, not_before, retired_at) VALUES ($1, $2, '', '2000-01-01', now())`, kid, []byte(public))
	require.NoError(t, err)
	sign := func(expires time.Time) demo.Token {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
			"iss": "auth-service", "aud": "event-booking", "sub": s.buyer.UserID, "roles": []string{"USER"}, "exp": expires.Unix(),
		})
		token.Header["kid"] = kid
		signed, err := token.SignedString(private)
		require.NoError(t, err)
		return demo.Token(signed)
	}

	for app, path := range map[string]string{
		"ticket-service":    "/api/tickets/mine",
		"payment-service":   "/api/payments/orders/" + uuid.NewString(),
		"event-service":     "/api/events/" + s.event.EventID.String(),
		"analytics-service": "/api/analytics/events/" + uuid.NewString() + "/sales",
	} {
		_, err := demo.Await(t.Context(), func() (string, error) {
			if err := s.Do(t.Context(), get(app, path, sign(time.Now().Add(time.Minute))), nil); err != nil {
				return err.(*demo.Refusal).Code, nil //nolint:errorlint // Do returns it so
			}
			return "", nil
		}, func(code string) bool { return code != "TOKEN_INVALID" })
		require.NoError(t, err, "%s learns the key", app)
		expired := refusal(t, s.Client, get(app, path, sign(time.Now().Add(-time.Minute))))
		require.Equal(t, http.StatusUnauthorized, expired.Status, app)
		require.Equal(t, "TOKEN_EXPIRED", expired.Code, app)
	}
}

func TestInternalRoutesAreInternal(t *testing.T) {
	t.Parallel()
	c := client()
	person, err := c.Join(t.Context(), "Mallory", "Wood", true)
	require.NoError(t, err)
	forged, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "payment-service", "type": "SERVICE", "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString([]byte("a guess"))
	require.NoError(t, err)
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{
		"sub": "payment-service", "type": "SERVICE", "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	asService := func(token string) map[string]string {
		return map[string]string{"X-Service-Token": token, "X-Service-Name": "payment-service"}
	}
	id := uuid.NewString()

	for _, route := range []struct{ method, app, path string }{
		{http.MethodPost, "auth-service", "/api/auth/internal/validate-token"},
		{http.MethodGet, "auth-service", "/api/auth/internal/users/" + id},
		{http.MethodPost, "auth-service", "/api/auth/internal/users/batch"},
		{http.MethodGet, "event-service", "/api/events/internal/" + id},
		{http.MethodPost, "event-service", "/api/events/internal/batch"},
		{http.MethodGet, "event-service", "/api/events/internal/" + id + "/validate-organizer/" + id},
		{http.MethodPost, "ticket-service", "/api/tickets/internal/check-availability"},
		{http.MethodPost, "ticket-service", "/api/tickets/internal/reserve"},
		{http.MethodPost, "ticket-service", "/api/tickets/internal/confirm-purchase"},
		{http.MethodPost, "ticket-service", "/api/tickets/internal/release-reservation"},
		{http.MethodGet, "ticket-service", "/api/tickets/internal/" + id},
		{http.MethodGet, "ticket-service", "/api/tickets/internal/" + id + "/ticket.pdf"},
		{http.MethodGet, "payment-service", "/api/payments/internal/orders/" + id},
		{http.MethodPost, "payment-gateway", "/api/gateway/internal/charges"},
		{http.MethodGet, "payment-gateway", "/api/gateway/internal/charges?attemptKey=x"},
		{http.MethodPost, "payment-gateway", "/api/gateway/internal/refunds"},
		{http.MethodPost, "email-service", "/api/email/internal/messages"},
	} {
		t.Run(route.app+" "+route.path, func(t *testing.T) {
			t.Parallel()
			for name, req := range map[string]demo.Request{
				"no token":       {},
				"forged":         {Header: asService(forged)},
				"alg none":       {Header: asService(none)},
				"user's":         {Header: asService(string(person.Token))},
				"user as bearer": {Token: person.Token},
			} {
				req.Method, req.App, req.Path, req.Body = route.method, route.app, route.path, []byte("{}")
				got := refusal(t, c, req)
				require.Equal(t, http.StatusUnauthorized, got.Status, name)
				require.Equal(t, "SERVICE_TOKEN_INVALID", got.Code, name)
			}
			require.Equal(t, http.StatusUnauthorized, around(t, route.method, route.app, route.path))
		})
	}
	// What a sidecar brings from a queue or a clock cannot be brought by anybody else.
	for app, paths := range map[string][]string{
		"ticket-service":       {"/events/payment-completed", "/events/unknown", "/bindings/expire-reservations"},
		"payment-service":      {"/events/tickets-generated", "/bindings/resume-sagas"},
		"notification-service": {"/events/tickets-generated"},
		"analytics-service":    {"/events/payment-completed"},
	} {
		for _, path := range paths {
			require.Equal(t, http.StatusUnauthorized, around(t, http.MethodPost, app, path), app+path)
		}
	}
}

// around calls an app at its own port, around its sidecar, and gives the status.
func around(t *testing.T, method, app, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, system.App(app).URL()+path, bytes.NewReader([]byte("{}")))
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

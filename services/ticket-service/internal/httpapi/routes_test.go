package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

type route struct{ method, path string }

func TestInternalRoutesAreGuarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, user := b.newType(t, b.event, "VIP", "10"), uuid.New()
	id := b.buy(t, user, kind, "1")[0].TicketID.String()
	// Headers are made in the subtests: a service token expires after a minute, and subtests may wait that long.
	type change = func(t *testing.T, good http.Header) http.Header
	without := func(name string) change {
		return func(t *testing.T, header http.Header) http.Header {
			t.Helper()
			header.Del(name)
			return header
		}
	}
	with := func(name, value string) change {
		return func(t *testing.T, header http.Header) http.Header {
			t.Helper()
			header.Set(name, value)
			return header
		}
	}
	as := func(service string) change {
		return func(t *testing.T, _ http.Header) http.Header {
			t.Helper()
			return from(t, service)
		}
	}
	sign := func(method jwt.SigningMethod, key any, service, kind string, expiry time.Duration) string {
		token, err := jwt.NewWithClaims(method, jwt.MapClaims{
			"sub": service, "type": kind, "exp": time.Now().Add(expiry).Unix(),
		}).SignedString(key)
		require.NoError(t, err)
		return token
	}
	const (
		event        = "event-service"
		payment      = "payment-service"
		notification = "notification-service"
	)
	secret := []byte(serviceSecret)
	for _, r := range []struct {
		route
		caller, other string // may call the route; may only call other routes
	}{
		{route{http.MethodPost, "/api/tickets/internal/check-availability"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/reserve"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/confirm-purchase"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/release-reservation"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/extend-reservation"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/cancel"}, payment, notification},
		{route{http.MethodGet, "/api/tickets/internal/events/" + b.event.String() + "/ticket-count"}, event, payment},
		{route{http.MethodGet, "/api/tickets/internal/events/" + b.event.String() + "/holders"}, notification, payment},
		{route{http.MethodGet, "/api/tickets/internal/orders/" + id + "/tickets"}, payment, event},
		{route{http.MethodGet, "/api/tickets/internal/" + id}, notification, payment},
		{route{http.MethodGet, "/api/tickets/internal/" + id + "/ticket.pdf"}, notification, payment},
		{route{http.MethodGet, "/api/tickets/internal/orders/" + id + "/pdf"}, notification, payment},
	} {
		hs256 := func(key []byte, kind string, expiry time.Duration) string {
			return sign(jwt.SigningMethodHS256, key, r.caller, kind, expiry)
		}
		none := sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, r.caller, "SERVICE", time.Hour)
		const token = "X-Service-Token"
		for _, tt := range []struct {
			name   string
			change change
			status int
			code   string
		}{
			{"NoHeaders", func(*testing.T, http.Header) http.Header { return nil }, 401, "SIDECAR_ONLY"},
			{"NotThroughTheSidecar", without("Dapr-Api-Token"), 401, "SIDECAR_ONLY"},
			{"WrongSidecarToken", with("Dapr-Api-Token", "a guess"), 401, "SIDECAR_ONLY"},
			{"NoToken", without(token), 401, "SERVICE_TOKEN_INVALID"},
			{"NoName", without("X-Service-Name"), 401, "SERVICE_TOKEN_INVALID"},
			{"NameOfAnother", with("X-Service-Name", r.other), 401, "SERVICE_TOKEN_INVALID"},
			{"WrongSecret", with(token, hs256([]byte("a guess"), "SERVICE", time.Hour)), 401, "SERVICE_TOKEN_INVALID"},
			{"AlgNone", with(token, none), 401, "SERVICE_TOKEN_INVALID"},
			{"Expired", with(token, hs256(secret, "SERVICE", -time.Minute)), 401, "SERVICE_TOKEN_INVALID"},
			{"OtherType", with(token, hs256(secret, "USER", time.Hour)), 401, "SERVICE_TOKEN_INVALID"},
			{"Admin", func(t *testing.T, _ http.Header) http.Header {
				t.Helper()
				return with("Dapr-Api-Token", appAPIToken)(t, b.as(t, user, identity.RoleAdmin))
			}, 401, "SERVICE_TOKEN_INVALID"},
			{"OtherService", as(r.other), 403, "SERVICE_FORBIDDEN"},
			{"Itself", as("ticket-service"), 403, "SERVICE_FORBIDDEN"},
		} {
			t.Run(r.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, r.method, r.path, "{}", tt.change(t, from(t, r.caller)))
				require.Equal(t, tt.status, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
		t.Run(r.path+"/AuthorizationHeader", func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, r.method, r.path, "{}", http.Header{
				"Authorization":  {"Service-Token " + from(t, r.caller).Get(token)},
				"Dapr-Api-Token": {appAPIToken},
			})
			require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, status, body)
		})
	}
}

func TestPersonalRoutesAreGuarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	user := uuid.New()
	kind := b.newType(t, b.event, "VIP", "10")
	id := b.buy(t, user, kind, "1")[0].TicketID.String()
	claims := jwt.MapClaims{
		"iss": identity.Issuer, "aud": identity.Audience, "sub": user.String(), "exp": time.Now().Add(-time.Hour).Unix(),
	}
	expired, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims).SignedString(b.key)
	require.NoError(t, err)
	claims["exp"] = time.Now().Add(time.Hour).Unix()
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	code, err := b.signer.Code(ticket.Ticket{ID: uuid.MustParse(id)})
	require.NoError(t, err)
	for _, r := range []route{
		{http.MethodPost, "/api/tickets/types"},
		{http.MethodPatch, "/api/tickets/types/" + kind.String()},
		{http.MethodGet, "/api/tickets/events/" + b.event.String() + "/attendees.csv"},
		{http.MethodPost, "/api/tickets/check-in"},
		{http.MethodGet, "/api/tickets/" + id + "/check-ins"},
		{http.MethodPost, "/api/tickets/" + id + "/check-in/undo"},
		{http.MethodGet, "/api/tickets/mine"},
		{http.MethodGet, "/api/tickets/" + id},
		{http.MethodGet, "/api/tickets/" + id + "/qr.png"},
		{http.MethodGet, "/api/tickets/" + id + "/ticket.pdf"},
		{http.MethodPost, "/api/tickets/" + id + "/transfer"},
		{http.MethodPost, "/api/tickets/" + id + "/cancel"},
	} {
		for _, tt := range []struct {
			name   string
			header http.Header
			code   string
		}{
			{"NoToken", nil, "TOKEN_MISSING"},
			{"OtherScheme", http.Header{"Authorization": {"Basic YW5uOmFubg=="}}, "TOKEN_MISSING"},
			{"Expired", http.Header{"Authorization": {"Bearer " + expired}}, "TOKEN_EXPIRED"},
			{"AlgNone", http.Header{"Authorization": {"Bearer " + none}}, "TOKEN_INVALID"},
			{"QRCode", http.Header{"Authorization": {"Bearer " + code}}, "TOKEN_INVALID"},
			{"Service", from(t, "notification-service"), "TOKEN_MISSING"},
		} {
			t.Run(r.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, r.method, r.path, "{}", tt.header)
				require.Equal(t, http.StatusUnauthorized, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
	}
}

func TestSidecarRoutesAreGuarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{
		"/events", "/events/payment-completed", "/events/unknown", "/bindings/expire-reservations",
	} {
		for name, header := range map[string]http.Header{
			"NoHeaders":  nil,
			"WrongToken": {"Dapr-Api-Token": {"a guess"}},
			"Admin":      b.as(t, uuid.New(), identity.RoleAdmin),
		} {
			t.Run(path+"/"+name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, http.MethodPost, path, "{}", header)
				require.Equal(t, http.StatusUnauthorized, status, body)
				requireFailure(t, body, "SIDECAR_ONLY", "")
			})
		}
	}
}

// The routes of organizers require the role, and that the user organizes the event.
func TestOrganizerRoutesAreGuarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, b.event, "VIP", "10")
	id := b.buy(t, uuid.New(), kind, "1")[0].TicketID
	code, err := b.signer.Code(b.ticket(t, id))
	require.NoError(t, err)
	for _, r := range []struct {
		route
		body string
	}{
		{route{http.MethodPost, "/api/tickets/types"}, typeBody(b.event)},
		{route{http.MethodPatch, "/api/tickets/types/" + kind.String()}, `{"capacity":11}`},
		{route{http.MethodGet, "/api/tickets/events/" + b.event.String() + "/attendees.csv"}, ""},
		{route{http.MethodPost, "/api/tickets/check-in"}, `{"code":"` + code + `"}`},
		{route{http.MethodGet, "/api/tickets/" + id.String() + "/check-ins"}, ""},
		{route{http.MethodPost, "/api/tickets/" + id.String() + "/check-in/undo"}, `{"reason":"Mistake"}`},
	} {
		for _, tt := range []struct {
			name   string
			header http.Header
			code   string
		}{
			{"Buyer", b.as(t, uuid.New(), identity.RoleUser), "FORBIDDEN"},
			{"OrganizerWithoutRole", b.as(t, b.organizer, identity.RoleUser), "FORBIDDEN"},
			{"OrganizerOfAnotherEvent", b.as(t, uuid.New(), identity.RoleOrganizer), "NOT_EVENT_ORGANIZER"},
		} {
			t.Run(r.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, r.method, r.path, r.body, tt.header)
				require.Equal(t, http.StatusForbidden, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
	}
}

// Paths that resemble both an internal and a public route reach the intended one.
func TestSimilarRoutesAreDistinguished(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apps = nil // the document has no such paths
	const (
		tickets  = "/api/tickets"
		internal = tickets + "/internal"
	)
	person := func(t *testing.T) http.Header { t.Helper(); return b.as(t, b.organizer, identity.RoleUser) }
	service := func(t *testing.T) http.Header { t.Helper(); return from(t, "notification-service") }
	for _, tt := range []struct {
		name         string
		method, path string
		header       func(t *testing.T) http.Header
		status       int
		code, field  string
	}{
		{"InternalAsTicketPDF", http.MethodGet, internal + "/ticket.pdf", person, 401, "SIDECAR_ONLY", ""},
		{"InternalAsQRCode", http.MethodGet, internal + "/qr.png", person, 401, "SIDECAR_ONLY", ""},
		{"ReserveAsTicketID", http.MethodGet, internal + "/reserve", service, 400, "VALIDATION_ERROR", "ticketId"},
		{"DoubleSlash", http.MethodGet, tickets + "//internal/" + uuid.NewString(), person, 401, "SIDECAR_ONLY", ""},
		{"DotDot", http.MethodGet, tickets + "/mine/../internal/" + uuid.NewString(), person, 401, "SIDECAR_ONLY", ""},
		{"OtherMethod", http.MethodDelete, tickets + "/mine", person, 405, "METHOD_NOT_ALLOWED", ""},
		{
			"OtherMethodOfInternal", http.MethodPost, internal + "/" + uuid.NewString(), person,
			405, "METHOD_NOT_ALLOWED", "",
		},
		{"NoRoute", http.MethodGet, tickets, person, 404, "NOT_FOUND", ""},
		{"InternalAsTransfer", http.MethodPost, internal + "/transfer", person, 400, "MALFORMED_JSON", ""},
		{"InternalCancel", http.MethodPost, internal + "/cancel", person, 401, "SIDECAR_ONLY", ""},
		{
			"InternalTicketCount", http.MethodGet, internal + "/events/" + uuid.NewString() + "/ticket-count", person,
			401, "SIDECAR_ONLY", "",
		},
		{"MineAsTicketID", http.MethodPost, tickets + "/mine/cancel", person, 400, "VALIDATION_ERROR", "ticketId"},
		{"TypesAsTicketID", http.MethodGet, tickets + "/types", person, 400, "VALIDATION_ERROR", "ticketId"},
		{"UnknownFile", http.MethodGet, tickets + "/" + uuid.NewString() + "/ticket.exe", person, 404, "NOT_FOUND", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, tt.method, tt.path, "", tt.header(t))
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestHealthyServiceIsReady(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"", "/ready", "/live"} {
		status, body := b.send(t, http.MethodGet, "/actuator/health"+path, "", nil)
		require.Equal(t, http.StatusOK, status, body)
	}
}

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
	without := func(header http.Header, name string) http.Header {
		changed := header.Clone()
		changed.Del(name)
		return changed
	}
	with := func(header http.Header, name, value string) http.Header {
		changed := header.Clone()
		changed.Set(name, value)
		return changed
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
	for _, r := range []struct {
		route
		caller, other string // who may call it, and who may call only others
	}{
		{route{http.MethodPost, "/api/tickets/internal/check-availability"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/reserve"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/confirm-purchase"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/release-reservation"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/extend-reservation"}, payment, notification},
		{route{http.MethodPost, "/api/tickets/internal/cancel"}, payment, notification},
		{route{http.MethodGet, "/api/tickets/internal/events/" + b.event.String() + "/ticket-count"}, event, payment},
		{route{http.MethodGet, "/api/tickets/internal/events/" + b.event.String() + "/holders"}, notification, payment},
		{route{http.MethodGet, "/api/tickets/internal/" + id}, notification, payment},
		{route{http.MethodGet, "/api/tickets/internal/" + id + "/ticket.pdf"}, notification, payment},
	} {
		good := from(t, r.caller)
		secret := []byte(serviceSecret)
		for _, tt := range []struct {
			name   string
			header http.Header
			status int
			code   string
		}{
			{"Nothing", nil, 401, "SIDECAR_ONLY"},
			{"NotThroughTheSidecar", without(good, "Dapr-Api-Token"), 401, "SIDECAR_ONLY"},
			{"WrongSidecarToken", with(good, "Dapr-Api-Token", "a guess"), 401, "SIDECAR_ONLY"},
			{"NoToken", without(good, "X-Service-Token"), 401, "SERVICE_TOKEN_INVALID"},
			{"NoName", without(good, "X-Service-Name"), 401, "SERVICE_TOKEN_INVALID"},
			{"AnothersName", with(good, "X-Service-Name", r.other), 401, "SERVICE_TOKEN_INVALID"},
			{"WrongSecret", with(good, "X-Service-Token", sign(jwt.SigningMethodHS256, []byte("a guess"), r.caller, "SERVICE", time.Minute)), 401, "SERVICE_TOKEN_INVALID"},
			{"AlgNone", with(good, "X-Service-Token", sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, r.caller, "SERVICE", time.Minute)), 401, "SERVICE_TOKEN_INVALID"},
			{"Expired", with(good, "X-Service-Token", sign(jwt.SigningMethodHS256, secret, r.caller, "SERVICE", -time.Minute)), 401, "SERVICE_TOKEN_INVALID"},
			{"OtherType", with(good, "X-Service-Token", sign(jwt.SigningMethodHS256, secret, r.caller, "USER", time.Minute)), 401, "SERVICE_TOKEN_INVALID"},
			{"Admin", with(b.as(t, user, identity.RoleAdmin), "Dapr-Api-Token", appAPIToken), 401, "SERVICE_TOKEN_INVALID"},
			{"OtherService", from(t, r.other), 403, "SERVICE_FORBIDDEN"},
			{"Itself", from(t, "ticket-service"), 403, "SERVICE_FORBIDDEN"},
		} {
			t.Run(r.path+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, body := b.send(t, r.method, r.path, "{}", tt.header)
				require.Equal(t, tt.status, status, body)
				requireFailure(t, body, tt.code, "")
			})
		}
		t.Run(r.path+"/AuthorizationHeader", func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, r.method, r.path, "{}", http.Header{
				"Authorization":  {"Service-Token " + good.Get("X-Service-Token")},
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
		"/events/payment-completed", "/events/payment-failed", "/events/event-created", "/events/event-updated",
		"/events/event-published", "/events/event-cancelled", "/events/unknown", "/bindings/expire-reservations",
	} {
		for name, header := range map[string]http.Header{
			"Nothing":    nil,
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

// Roles open what is an organizer's; being the organizer of the event opens its things.
func TestOrganizersRoutes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, b.event, "VIP", "10")
	code, err := b.signer.Code(b.ticket(t, b.buy(t, uuid.New(), kind, "1")[0].TicketID))
	require.NoError(t, err)
	for _, r := range []struct {
		route
		body string
	}{
		{route{http.MethodPost, "/api/tickets/types"}, typeBody(b.event)},
		{route{http.MethodPatch, "/api/tickets/types/" + kind.String()}, `{"capacity":11}`},
		{route{http.MethodGet, "/api/tickets/events/" + b.event.String() + "/attendees.csv"}, ""},
		{route{http.MethodPost, "/api/tickets/check-in"}, `{"code":"` + code + `"}`},
	} {
		for _, tt := range []struct {
			name   string
			header http.Header
			code   string
		}{
			{"Buyer", b.as(t, uuid.New(), identity.RoleUser), "FORBIDDEN"},
			{"OrganizerWithoutTheRole", b.as(t, b.organizer, identity.RoleUser), "FORBIDDEN"},
			{"OrganizerOfAnotherEvent", b.as(t, uuid.New(), identity.RoleUser, identity.RoleOrganizer), "NOT_EVENT_ORGANIZER"},
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

// What a public route's {ticketId} could swallow stays internal, and the reverse.
func TestRoutesThatLookAlike(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apps = nil // the document has no such paths
	user := b.as(t, b.organizer, identity.RoleUser)
	for _, tt := range []struct {
		name string
		route
		header http.Header
		status int
		code   string
		field  string
	}{
		{"InternalAsATicketOfMine", route{http.MethodGet, "/api/tickets/internal/ticket.pdf"}, user, 401, "SIDECAR_ONLY", ""},
		{"InternalAsAQRCodeOfMine", route{http.MethodGet, "/api/tickets/internal/qr.png"}, user, 401, "SIDECAR_ONLY", ""},
		{"TicketNamedReserve", route{http.MethodGet, "/api/tickets/internal/reserve"}, from(t, "notification-service"), 400, "VALIDATION_ERROR", "ticketId"},
		{"DoubleSlash", route{http.MethodGet, "/api/tickets//internal/" + uuid.NewString()}, user, 401, "SIDECAR_ONLY", ""},
		{"DotDot", route{http.MethodGet, "/api/tickets/mine/../internal/" + uuid.NewString()}, user, 401, "SIDECAR_ONLY", ""},
		{"OtherMethod", route{http.MethodDelete, "/api/tickets/mine"}, user, 405, "METHOD_NOT_ALLOWED", ""},
		{"OtherMethodInside", route{http.MethodPost, "/api/tickets/internal/" + uuid.NewString()}, user, 405, "METHOD_NOT_ALLOWED", ""},
		{"Nowhere", route{http.MethodGet, "/api/tickets"}, user, 404, "NOT_FOUND", ""},
		{"InternalAsATransferOfMine", route{http.MethodPost, "/api/tickets/internal/transfer"}, user, 400, "MALFORMED_JSON", ""},
		{"CancelOfMineAsInternal", route{http.MethodPost, "/api/tickets/internal/cancel"}, user, 401, "SIDECAR_ONLY", ""},
		{"CountAsATicketOfMine", route{http.MethodGet, "/api/tickets/internal/events/" + uuid.NewString() + "/ticket-count"}, user, 401, "SIDECAR_ONLY", ""},
		{"TicketNamedMine", route{http.MethodPost, "/api/tickets/mine/cancel"}, user, 400, "VALIDATION_ERROR", "ticketId"},
		{"TicketNamedTypes", route{http.MethodGet, "/api/tickets/types"}, user, 400, "VALIDATION_ERROR", "ticketId"},
		{"UnknownFile", route{http.MethodGet, "/api/tickets/" + uuid.NewString() + "/ticket.exe"}, user, 404, "NOT_FOUND", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, tt.method, tt.path, "", tt.header)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"", "/ready", "/live"} {
		status, body := b.send(t, http.MethodGet, "/actuator/health"+path, "", nil)
		require.Equal(t, http.StatusOK, status, body)
	}
}

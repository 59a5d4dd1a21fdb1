// Package httpapi is the HTTP interface of auth-service: the public API, the internal endpoints of the contract, and
// the cron tick of the sidecar. A handler decodes a request, calls package access or package store, and encodes the
// result.
package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/access"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Deps is what the API depends on.
type Deps struct {
	Store  *store.Store
	Access *access.Access
	Guard  identity.Guard
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is trusted.
	TrustedProxies []netip.Prefix
	Database       web.Check // the health of the database
}

type api struct {
	store   *store.Store
	access  *access.Access
	guard   identity.Guard
	proxies []netip.Prefix
}

// New returns the router.
func New(deps Deps) *mux.Router {
	a := api{deps.Store, deps.Access, deps.Guard, deps.TrustedProxies}
	r := web.NewRouter()
	web.Health(r, deps.Database)
	web.Docs(r, "auth-service")
	handle := func(method, path string, h web.Handler) { r.Handle(path, h).Methods(method) }
	get := func(path string, h web.Handler) { handle(http.MethodGet, path, h) }
	post := func(path string, h web.Handler) { handle(http.MethodPost, path, h) }

	// For everyone.
	post("/api/auth/register", a.register)
	post("/api/auth/login", countedSignIn("password", a.login))
	post("/api/auth/refresh", countedSignIn("refresh-token", a.refresh))
	post("/api/auth/logout", a.logout)
	post("/api/auth/verify-email", a.verifyEmail)
	post("/api/auth/forgot-password", a.forgotPassword)
	post("/api/auth/reset-password", a.resetPassword)
	get("/api/auth/.well-known/jwks.json", a.keys)

	// For people who are logged in.
	get("/api/auth/me", a.person(a.me))
	handle(http.MethodPatch, "/api/auth/me", a.person(a.changeMe))
	post("/api/auth/me/password", a.person(a.changePassword))
	post("/api/auth/me/organizer", a.person(a.becomeOrganizer))
	post("/api/auth/verify-email/resend", a.person(a.resendVerification))

	// For admins.
	handle(http.MethodPut, "/api/auth/users/{userId}/roles", a.person(a.setRoles, identity.RoleAdmin))

	// For the cron binding of the sidecar.
	post("/bindings/rotate-keys", a.guard.Sidecar(a.rotateKeys))

	// For services.
	a.guard.Service(r, calls.ValidateToken.Route, a.validateToken)
	a.guard.Service(r, calls.Users.Route, a.users)
	a.guard.Service(r, calls.User.Route, a.user)
	a.guard.Service(r, calls.AccountMail.Route, a.mail)
	return r
}

// caller is the authenticated user of a request, and the session of the access token.
type caller struct {
	account.User
	session uuid.UUID
}

// person calls h for requests with an access token of an open session. If there are roles, the user must have one of
// them now; the roles in the token do not count. It returns identity.ErrNoToken, identity.ErrForbidden or an error of
// access.Access.Authenticate.
func (a api) person(
	h func(http.ResponseWriter, *http.Request, caller) error, roles ...identity.Role,
) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !found {
			return identity.ErrNoToken
		}
		claims, user, err := a.access.Authenticate(r.Context(), token)
		if err != nil {
			return err
		}
		permitted := func(role identity.Role) bool { return slices.Contains(user.Roles, role) }
		if len(roles) > 0 && !slices.ContainsFunc(roles, permitted) {
			return identity.ErrForbidden
		}
		return h(w, r, caller{User: user, session: claims.Session})
	}
}

// writeUser writes an account as its owner and admins see it.
func writeUser(w http.ResponseWriter, status int, user account.User) error {
	return web.WriteJSON(w, status, struct {
		calls.UserSummary
		Roles         []identity.Role `json:"roles"`
		EmailVerified bool            `json:"emailVerified"`
		CreatedAt     time.Time       `json:"createdAt"`
	}{summarize(user), user.Roles, user.EmailVerified, user.CreatedAt})
}

// summarize returns the fields that every response about a user has.
func summarize(u account.User) calls.UserSummary {
	return calls.UserSummary{UserID: u.ID, Email: string(u.Email), FirstName: u.FirstName, LastName: u.LastName}
}

// rotateKeys runs once an hour.
func (a api) rotateKeys(w http.ResponseWriter, r *http.Request) error {
	if err := a.access.RotateKeys(r.Context()); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct{}{})
}

// Package httpapi is auth-service's HTTP API.
package httpapi

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// maxBatch is how many users one call may ask for.
const maxBatch = 100

// API answers auth-service's routes.
type API struct {
	Store      *store.Store
	Passwords  *account.Passwords
	Vault      keyring.Vault
	MailTokens account.MailTokens
	// TrustedProxies are those whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	guard identity.Guard
}

// Route adds the API's routes to router.
func (a API) Route(router *mux.Router, guard identity.Guard) {
	a.guard = guard
	web.Docs(router, "auth-service")
	for _, route := range []struct {
		method, path string
		handler      web.Handler
	}{
		{http.MethodPost, "/api/auth/register", a.register},
		{http.MethodPost, "/api/auth/login", countedSignIn("password", a.login)},
		{http.MethodPost, "/api/auth/refresh", countedSignIn("refresh-token", a.refresh)},
		{http.MethodPost, "/api/auth/logout", a.logout},
		{http.MethodGet, "/api/auth/me", a.person(a.me)},
		{http.MethodPatch, "/api/auth/me", a.person(a.changeMe)},
		{http.MethodPost, "/api/auth/me/password", a.person(a.changePassword)},
		{http.MethodPost, "/api/auth/me/organizer", a.person(a.becomeOrganizer)},
		{http.MethodPost, "/api/auth/verify-email", a.verifyEmail},
		{http.MethodPost, "/api/auth/verify-email/resend", a.person(a.resendVerification)},
		{http.MethodPost, "/api/auth/forgot-password", a.forgotPassword},
		{http.MethodPost, "/api/auth/reset-password", a.resetPassword},
		{http.MethodPut, "/api/auth/users/{userId}/roles", a.person(a.setRoles, identity.RoleAdmin)},
		{http.MethodGet, "/api/auth/.well-known/jwks.json", a.keys},
		{http.MethodPost, "/bindings/rotate-keys", guard.Sidecar(a.rotateKeys)},
	} {
		router.Handle(route.path, route.handler).Methods(route.method)
	}

	// For services.
	guard.Service(router, calls.ValidateToken.Route, a.validateToken)
	guard.Service(router, calls.Users.Route, a.users)
	guard.Service(router, calls.User.Route, a.user)
	guard.Service(router, calls.AccountMail.Route, a.mail)
}

func (a API) register(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email     string `json:"email"`
		Password  string `json:"password"`
		FirstName string `json:"firstName"`
		LastName  string `json:"lastName"`
		Organizer bool   `json:"organizer"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	user, err := account.Registration(in).Check()
	if err != nil {
		return err
	}
	hash, err := a.Passwords.Hash(r.Context(), in.Password)
	if err != nil {
		return err
	}
	if user, err = a.Store.Register(r.Context(), user, hash); err != nil {
		return err
	}
	return writeUser(w, http.StatusCreated, user)
}

// writeUser answers with what users see of themselves, and admins of others.
func writeUser(w http.ResponseWriter, status int, user account.User) error {
	return web.WriteJSON(w, status, struct {
		calls.UserSummary
		Roles         []identity.Role `json:"roles"`
		EmailVerified bool            `json:"emailVerified"`
		CreatedAt     time.Time       `json:"createdAt"`
	}{summarize(user), user.Roles, user.EmailVerified, user.CreatedAt})
}

func (a API) keys(w http.ResponseWriter, r *http.Request) error {
	keys, err := a.Store.PublishedKeys(r.Context())
	if err != nil {
		return err
	}
	set, err := keyring.KeySet(keys)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, set)
}

func (a API) validateToken(w http.ResponseWriter, r *http.Request) error {
	var in calls.ValidateTokenRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if in.Token == "" {
		return problem.Field("token", "token is required")
	}
	claims, user, err := a.authenticate(r.Context(), in.Token)
	if problem.KindOf(err) == problem.Unauthenticated {
		return writeInvalid(w, r, err)
	}
	if err != nil {
		return err
	}
	roles := make([]calls.Role, len(claims.Roles))
	for i, role := range claims.Roles {
		roles[i] = calls.Role(role)
	}
	return web.WriteJSON(w, http.StatusOK, calls.ValidateTokenAnswer{
		Valid: true, UserID: user.ID, Email: string(user.Email), Roles: roles, ExpiresAt: claims.ExpiresAt.UTC(),
	})
}

// writeInvalid refuses a token in the contract's form, which has one field more than the common one.
func writeInvalid(w http.ResponseWriter, r *http.Request, err error) error {
	p := web.Problem(r, err)
	return web.WriteJSON(w, web.Status(p.Kind), calls.ValidateTokenRefused{
		Refused: calls.Refused{Error: p.Code, Message: p.Message},
	})
}

func (a API) user(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "userId")
	if err != nil {
		return err
	}
	users, err := a.Store.Users(r.Context(), id)
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return account.NotFound(id)
	}
	return web.WriteJSON(w, http.StatusOK, calls.UserAnswer{
		UserSummary: summarize(users[0]), EmailVerified: users[0].EmailVerified, CreatedAt: users[0].CreatedAt,
	})
}

func (a API) users(w http.ResponseWriter, r *http.Request) error {
	var in calls.UsersRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	ids, err := web.ParseIDs("userIds", in.UserIDs, maxBatch)
	if err != nil {
		return err
	}
	users, err := a.Store.Users(r.Context(), ids...)
	if err != nil {
		return err
	}
	summaries := make([]calls.UserSummary, len(users))
	for i, user := range users {
		summaries[i] = summarize(user)
	}
	return web.WriteJSON(w, http.StatusOK, calls.UsersAnswer{Users: summaries})
}

// summarize returns the part that every answer about a user begins with.
func summarize(u account.User) calls.UserSummary {
	return calls.UserSummary{UserID: u.ID, Email: string(u.Email), FirstName: u.FirstName, LastName: u.LastName}
}

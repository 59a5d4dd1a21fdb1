package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func (a API) login(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	email, err := account.ParseEmail(in.Email)
	if err != nil {
		return err
	}
	if in.Password == "" {
		return problem.Field("password", "password is required")
	}
	attempt := account.Attempt{Email: email, Address: a.address(r)}
	hash, err := a.prove(r.Context(), attempt, in.Password)
	if err != nil {
		return err
	}
	key, err := a.Store.CurrentKey(r.Context())
	if err != nil {
		return err
	}
	token := account.NewRefreshToken()
	user, session, err := a.Store.Login(r.Context(), attempt, hash, account.HashToken(token))
	if err != nil {
		return err
	}
	return a.writeTokens(w, key, user, session, token)
}

// prove checks a password and gives the hash that it fits. What it does and answers is the same for an
// address that is nobody's. It returns account.ErrInvalidCredentials, account.ErrTooManyAttempts or
// account.ErrBusy.
func (a API) prove(ctx context.Context, attempt account.Attempt, password string) (string, error) {
	if err := a.Store.CheckLimits(ctx, attempt); err != nil {
		return "", err
	}
	_, hash, err := a.Store.Credentials(ctx, attempt.Email)
	// Without an account the hash is empty, and checking it takes its time like any other.
	if err != nil && !errors.Is(err, account.ErrInvalidCredentials) {
		return "", err
	}
	matches, err := a.Passwords.Matches(ctx, password, hash)
	if err != nil {
		return "", err
	}
	if !matches {
		if err := a.Store.RecordFailure(ctx, attempt); err != nil {
			return "", err
		}
		return "", account.ErrInvalidCredentials
	}
	return hash, nil
}

func (a API) refresh(w http.ResponseWriter, r *http.Request) error {
	used, err := readRefreshToken(w, r)
	if err != nil {
		return err
	}
	// Before the token is used up: without a key the session would be lost.
	key, err := a.Store.CurrentKey(r.Context())
	if err != nil {
		return err
	}
	next := account.NewRefreshToken()
	user, session, err := a.Store.Refresh(r.Context(), account.HashToken(used), account.HashToken(next))
	if errors.Is(err, account.ErrRefreshTokenReused) {
		slog.WarnContext(r.Context(), "a refresh token was used twice, its session has been ended")
	}
	if err != nil {
		return err
	}
	return a.writeTokens(w, key, user, session, next)
}

func (a API) logout(w http.ResponseWriter, r *http.Request) error {
	token, err := readRefreshToken(w, r)
	if err != nil {
		return err
	}
	if err := a.Store.Logout(r.Context(), account.HashToken(token)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func readRefreshToken(w http.ResponseWriter, r *http.Request) (string, error) {
	var in struct {
		RefreshToken string `json:"refreshToken"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return "", err
	}
	if in.RefreshToken == "" {
		return "", problem.Field("refreshToken", "refreshToken is required")
	}
	return in.RefreshToken, nil
}

func (a API) writeTokens(
	w http.ResponseWriter, key keyring.Key, user account.User, session account.Session, refreshToken string,
) error {
	token, expiresAt, err := a.Vault.Sign(key, user, session.ID, time.Now())
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, http.StatusOK, struct {
		AccessToken      string    `json:"accessToken"`
		TokenType        string    `json:"tokenType"`
		ExpiresIn        int       `json:"expiresIn"`
		ExpiresAt        time.Time `json:"expiresAt"`
		RefreshToken     string    `json:"refreshToken"`
		RefreshExpiresAt time.Time `json:"refreshExpiresAt"`
	}{token, "Bearer", int(keyring.TokenLifetime.Seconds()), expiresAt, refreshToken, session.RefreshExpiresAt})
}

// authenticate gives what an access token says and the user as they are now. Unlike other services it knows
// when the token's session has ended. It returns identity.ErrTokenInvalid, identity.ErrTokenExpired or
// account.ErrTokenRevoked.
func (a API) authenticate(ctx context.Context, token string) (identity.AccessClaims, account.User, error) {
	keys, err := a.Store.PublishedKeys(ctx)
	if err != nil { // and not that the token is bad: nobody must take our trouble for that
		return identity.AccessClaims{}, account.User{}, err
	}
	claims, id, err := keyring.Verifier(keys).Claims(ctx, token)
	if err != nil {
		return identity.AccessClaims{}, account.User{}, err
	}
	user, err := a.Store.SessionUser(ctx, id, claims.Session)
	return claims, user, err
}

// caller is the person behind a request and the session that it was made in.
type caller struct {
	account.User
	session uuid.UUID
}

// person lets a request with an access token of an open session through to h; if roles are named, only a
// user who has one of them now, whatever the token says.
func (a API) person(h func(http.ResponseWriter, *http.Request, caller) error, roles ...identity.Role) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !found {
			return identity.ErrNoToken
		}
		claims, user, err := a.authenticate(r.Context(), token)
		if err != nil {
			return err
		}
		if len(roles) > 0 && !slices.ContainsFunc(roles, func(role identity.Role) bool { return slices.Contains(user.Roles, role) }) {
			return identity.ErrForbidden
		}
		return h(w, r, caller{User: user, session: claims.Session})
	}
}

// ipv6Site is how much of an IPv6 address tells one customer from another; the rest is theirs to vary.
const ipv6Site = 64

// address gives where a request comes from, for counting.
//
// That is the peer, unless the peer is our sidecar, which APP_API_TOKEN shows, or a trusted proxy. Those
// append to X-Forwarded-For whom they had it from, so the last entry is true, and the one before it only
// if the last is a trusted proxy's in turn. What stands further left anybody can have written.
//
// A calling sidecar appends the address of its own machine (daprd 1.18, messaging.addForwardedHeaders). To
// count the people behind it one by one, the machine of the calling app, a gateway say, has to be in
// TRUSTED_PROXIES, and that app has to set the header. A call through our own sidecar, which only processes
// on this machine can make, has nothing appended: they can name any address, and are held by the limit of
// the account alone.
func (a API) address(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // net/http always gives one; a test server may not
	}
	from := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i, believed := len(hops)-1, a.guard.BySidecar(r) || a.trusts(from); i >= 0 && believed; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		from = hop.Unmap().WithZone("")
		believed = a.trusts(from)
	}
	if from.Is4() {
		return from.String()
	}
	return netip.PrefixFrom(from, ipv6Site).Masked().String()
}

func (a API) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(a.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(address) })
}

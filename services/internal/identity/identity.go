// Package identity establishes who is calling: a person, a service or the sidecar.
//
//   - A person shows an access token: an EdDSA JWT of auth-service's, checked here against its
//     published keys (JWKS), so that no request has to ask auth-service.
//   - A service shows a service token: an HS256 JWT of one minute whose subject is its app-id and
//     whose type is SERVICE (the contract's "Service-to-Service JWT").
//   - The sidecar shows APP_API_TOKEN, so that routes meant for it alone cannot be reached around it.
package identity

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Issuer and Audience are the iss and aud of access tokens.
const (
	Issuer   = "auth-service"
	Audience = "event-booking"
)

// Role is what a user may do beyond owning their own things.
type Role string

// The roles of the contract's tokens.
const (
	RoleUser      Role = "USER"
	RoleOrganizer Role = "ORGANIZER"
	RoleAdmin     Role = "ADMIN"
)

// User is the person behind a request.
type User struct {
	ID    uuid.UUID
	Name  string // "First Last"
	Roles []Role
}

// Has reports whether the user has the role.
func (u User) Has(role Role) bool { return slices.Contains(u.Roles, role) }

// Errors that a caller without the right token gets.
var (
	ErrNoToken      = problem.New(problem.Unauthenticated, "TOKEN_MISSING", "An access token is required")
	ErrTokenInvalid = problem.New(problem.Unauthenticated, "TOKEN_INVALID", "The access token is not valid")
	ErrTokenExpired = problem.New(problem.Unauthenticated, "TOKEN_EXPIRED", "JWT token has expired")
	// ErrKeysUnavailable says nothing about the token: it may be good, and be tried again.
	ErrKeysUnavailable = &problem.Error{
		Kind: problem.Unavailable, Code: "SERVICE_UNAVAILABLE", Message: "The access token cannot be checked just now", RetryAfter: 5 * time.Second,
	}
	ErrForbidden = problem.New(problem.Forbidden, "FORBIDDEN", "You may not do this")

	ErrServiceTokenInvalid = problem.New(problem.Unauthenticated, "SERVICE_TOKEN_INVALID", "Invalid service token")
	ErrServiceForbidden    = problem.New(problem.Forbidden, "SERVICE_FORBIDDEN", "This service may not call this route")
	ErrNotSidecar          = problem.New(problem.Unauthenticated, "SIDECAR_ONLY", "Only the sidecar may call this route")
)

// AccessClaims are the claims of an access token.
type AccessClaims struct {
	jwt.RegisteredClaims
	Name    string    `json:"name"`
	Roles   []Role    `json:"roles"`
	Session uuid.UUID `json:"sid"` // that the token was issued in
}

// Verifier checks access tokens. Keys finds the public key of a token, by its kid.
type Verifier struct {
	Keys func(ctx context.Context) jwt.Keyfunc
}

// leeway is how far two machines' clocks may differ.
const leeway = 5 * time.Second

// Verify gives the user that an access token was issued to. It returns ErrTokenExpired,
// ErrTokenInvalid or ErrKeysUnavailable.
func (v Verifier) Verify(ctx context.Context, token string) (User, error) {
	claims, id, err := v.Claims(ctx, token)
	if err != nil {
		return User{}, err
	}
	return User{ID: id, Name: claims.Name, Roles: claims.Roles}, nil
}

// Claims gives all that an access token says and the id of the user that it was issued to. Its errors
// are Verify's.
func (v Verifier) Claims(ctx context.Context, token string) (AccessClaims, uuid.UUID, error) {
	var claims AccessClaims
	_, err := jwt.ParseWithClaims(token, &claims, v.Keys(ctx),
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), // never what the token says
		jwt.WithIssuer(Issuer), jwt.WithAudience(Audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(leeway))
	if errors.Is(err, jwt.ErrTokenExpired) {
		return AccessClaims{}, uuid.Nil, ErrTokenExpired.Because(err)
	}
	if errors.Is(err, ErrKeysUnavailable) {
		return AccessClaims{}, uuid.Nil, err
	}
	if err != nil {
		return AccessClaims{}, uuid.Nil, ErrTokenInvalid.Because(err)
	}
	id, err := uuid.Parse(claims.Subject)
	if err != nil {
		return AccessClaims{}, uuid.Nil, ErrTokenInvalid.Because(err)
	}
	return claims, id, nil
}

const (
	serviceTokenType = "SERVICE"
	serviceTokenLife = time.Minute
)

type serviceClaims struct {
	jwt.RegisteredClaims
	Type string `json:"type"`
}

// SignServiceToken makes a service token for the app-id.
func SignServiceToken(secret []byte, service string) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, serviceClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject:   service,
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(serviceTokenLife)),
		},
		Type: serviceTokenType,
	}).SignedString(secret)
}

// VerifyServiceToken gives the app-id that a service token speaks for. It returns
// ErrServiceTokenInvalid for anything but an unexpired HS256 token of type SERVICE under secret.
func VerifyServiceToken(secret []byte, token string) (string, error) {
	var claims serviceClaims
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return secret, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(), jwt.WithLeeway(leeway))
	if err != nil {
		return "", ErrServiceTokenInvalid.Because(err)
	}
	if claims.Type != serviceTokenType || claims.Subject == "" {
		return "", ErrServiceTokenInvalid
	}
	return claims.Subject, nil
}

// Package identity authenticates the callers of a service: users, other services and the sidecar.
//
//   - A user sends an access token: an EdDSA JWT that auth-service has signed. It is verified here with the published
//     keys of auth-service (JWKS), so that no request needs a call of auth-service.
//   - A service sends a service token: an HS256 JWT that is valid for a minute, with the app-id as its subject and the
//     type SERVICE (the contract's "Service-to-Service JWT").
//   - The sidecar sends APP_API_TOKEN, so that routes for the sidecar alone accept requests from nothing else.
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

// Role permits a user more than access to what they own.
type Role string

// The roles that the contract defines.
const (
	RoleUser      Role = "USER"
	RoleOrganizer Role = "ORGANIZER"
	RoleAdmin     Role = "ADMIN"
)

// User is the authenticated user of a request.
type User struct {
	ID    uuid.UUID
	Name  string // "First Last"
	Roles []Role
}

// Has reports whether the user has the role.
func (u User) Has(role Role) bool { return slices.Contains(u.Roles, role) }

// Errors for requests without a valid token, or without permission.
var (
	ErrNoToken      = problem.New(problem.Unauthenticated, "TOKEN_MISSING", "An access token is required")
	ErrTokenInvalid = problem.New(problem.Unauthenticated, "TOKEN_INVALID", "The access token is not valid")
	ErrTokenExpired = problem.New(problem.Unauthenticated, "TOKEN_EXPIRED", "JWT token has expired")
	// ErrKeysUnavailable means that the token could not be verified. It may be valid, and the request may be retried.
	ErrKeysUnavailable = &problem.Error{
		Kind: problem.Unavailable, Code: "SERVICE_UNAVAILABLE", Message: "The access token cannot be verified at the moment",
		RetryAfter: 5 * time.Second,
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
	Session uuid.UUID `json:"sid"` // in which the token was issued
}

// Verifier verifies access tokens. Keys returns the public key of a token, by its kid.
type Verifier struct {
	Keys func(ctx context.Context) jwt.Keyfunc
}

// leeway is how much the clocks of two machines may differ.
const leeway = 5 * time.Second

// Verify returns the user that an access token was issued to. Its errors are ErrTokenExpired, ErrTokenInvalid and
// ErrKeysUnavailable.
func (v Verifier) Verify(ctx context.Context, token string) (User, error) {
	claims, id, err := v.Claims(ctx, token)
	if err != nil {
		return User{}, err
	}
	return User{ID: id, Name: claims.Name, Roles: claims.Roles}, nil
}

// Claims returns the claims of an access token and the id of the user that it was issued to. Its errors are those of
// Verify.
func (v Verifier) Claims(ctx context.Context, token string) (AccessClaims, uuid.UUID, error) {
	var claims AccessClaims
	_, err := jwt.ParseWithClaims(token, &claims, v.Keys(ctx),
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), // never the algorithm that the token names
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

// SignServiceToken returns a service token for the app-id.
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

// VerifyServiceToken returns the app-id that a service token was signed for. It returns ErrServiceTokenInvalid unless
// the token is HS256, signed with secret, of type SERVICE and not expired.
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

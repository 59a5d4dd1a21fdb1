package account

import (
	"crypto/rand"
	"crypto/sha256"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Errors of sessions.
var (
	ErrRefreshTokenInvalid = problem.New(problem.Unauthenticated, "REFRESH_TOKEN_INVALID",
		"The refresh token is unknown, expired or revoked; log in again")
	ErrRefreshTokenReused = problem.New(problem.Unauthenticated, "REFRESH_TOKEN_REUSED",
		"The refresh token was used before, so its session has been revoked; log in again")
	// ErrTokenRevoked is the error for an access token whose session has ended.
	ErrTokenRevoked = problem.New(problem.Unauthenticated, "TOKEN_REVOKED", "The access token's session has ended")
)

// RefreshLifetime is how long a refresh token is valid. A session without a refresh expires after it.
const RefreshLifetime = 30 * 24 * time.Hour

// Session is the result of a login. It lasts until it expires or is revoked.
type Session struct {
	ID               uuid.UUID
	RefreshExpiresAt time.Time
}

// NewRefreshToken returns a random refresh token.
func NewRefreshToken() string { return rand.Text() }

// HashToken returns the form in which a refresh token is stored. It has no salt, because a token has at least 128
// random bits, which cannot be enumerated.
func HashToken(token string) []byte {
	hash := sha256.Sum256([]byte(token))
	return hash[:]
}

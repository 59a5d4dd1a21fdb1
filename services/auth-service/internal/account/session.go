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
		"The refresh token is unknown, expired or revoked: log in again")
	ErrRefreshTokenReused = problem.New(problem.Unauthenticated, "REFRESH_TOKEN_REUSED",
		"The refresh token was used before, so its session has been ended: log in again")
	// ErrTokenRevoked is the error of an access token whose session has ended.
	ErrTokenRevoked = problem.New(problem.Unauthenticated, "TOKEN_REVOKED", "The access token's session has ended")
)

// RefreshLife is how long a refresh token can be used, and so how long a session lasts that nobody uses.
const RefreshLife = 30 * 24 * time.Hour

// Session is a login that lasts.
type Session struct {
	ID               uuid.UUID
	RefreshExpiresAt time.Time
}

// NewRefreshToken makes a refresh token.
func NewRefreshToken() string { return rand.Text() }

// HashToken gives what is stored of a refresh token. No salt: nobody can list 128 random bits.
func HashToken(token string) []byte {
	hash := sha256.Sum256([]byte(token))
	return hash[:]
}

package calls

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// The internal routes of auth-service.
var (
	// ValidateToken checks a person's access token.
	ValidateToken = Endpoint[ValidateTokenRequest, ValidateTokenAnswer]{Route{
		App: authService, Method: http.MethodPost, Path: "/api/auth/internal/validate-token",
		Callers: []string{eventService, ticketService, paymentService, notificationService},
	}}
	// User returns a user.
	User = Endpoint[None, UserAnswer]{Route{
		App: authService, Method: http.MethodGet, Path: "/api/auth/internal/users/{userId}",
		Callers:  []string{ticketService, notificationService},
		Refusals: []problem.Kind{problem.NotFound},
	}}
	// Users returns the users with the given ids. It leaves out unknown ids.
	Users = Endpoint[UsersRequest, UsersAnswer]{Route{
		App: authService, Method: http.MethodPost, Path: "/api/auth/internal/users/batch",
		Callers: []string{ticketService, notificationService},
	}}
	// AccountMail returns the content of a requested account mail, including its token.
	AccountMail = Endpoint[None, AccountMailAnswer]{Route{
		App: authService, Method: http.MethodGet, Path: "/api/auth/internal/account-mails/{requestId}",
		Callers:  []string{notificationService},
		Refusals: []problem.Kind{problem.NotFound},
	}}
)

// Role is a role of a user, such as ORGANIZER.
type Role string

// ValidateTokenRequest is the request of [ValidateToken].
type ValidateTokenRequest struct {
	Token string `json:"token"`
}

// ValidateTokenAnswer is the answer of [ValidateToken] for a valid token. Roles are those of the token, not
// the current roles of the user: the answer equals that of a check against the key set.
type ValidateTokenAnswer struct {
	Valid     bool      `json:"valid"`
	UserID    uuid.UUID `json:"userId"`
	Email     string    `json:"email"`
	Roles     []Role    `json:"roles"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// ValidateTokenRefused is the refusal of an invalid token.
type ValidateTokenRefused struct {
	Valid bool `json:"valid"` // false
	Refused
}

// UserSummary is a user in a list.
type UserSummary struct {
	UserID    uuid.UUID `json:"userId"`
	Email     string    `json:"email"`
	FirstName string    `json:"firstName"`
	LastName  string    `json:"lastName"`
}

// UserAnswer is the answer of [User].
type UserAnswer struct {
	UserSummary
	EmailVerified bool      `json:"emailVerified"`
	CreatedAt     time.Time `json:"createdAt"`
}

// UsersRequest is the request of [Users].
type UsersRequest struct {
	UserIDs []string `json:"userIds"`
}

// UsersAnswer is the answer of [Users].
type UsersAnswer struct {
	Users []UserSummary `json:"users"`
}

// AccountMailKind is the kind of an account mail.
type AccountMailKind string

// AccountMailAnswer is the answer of [AccountMail].
type AccountMailAnswer struct {
	RequestID uuid.UUID       `json:"requestId"`
	UserID    uuid.UUID       `json:"userId"`
	Email     string          `json:"email"`
	FirstName string          `json:"firstName"`
	Kind      AccountMailKind `json:"kind"`
	Token     string          `json:"token"`
	ExpiresAt time.Time       `json:"expiresAt"`
}

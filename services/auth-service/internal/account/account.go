package account

import (
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// The limits on lengths: of the e-mail address in bytes (RFC 5321), of the others in characters.
const (
	maxEmail    = 254
	maxName     = 100
	minPassword = 12
	maxPassword = 128
)

// Errors of registration, login and administration.
var (
	ErrEmailTaken = problem.New(problem.Conflict, "EMAIL_TAKEN", "An account with this e-mail address exists already")
	// ErrInvalidCredentials does not say which of the two is wrong, so that it does not reveal which accounts exist.
	ErrInvalidCredentials = problem.New(problem.Unauthenticated, "INVALID_CREDENTIALS",
		"The e-mail address or the password is wrong")
	// ErrWrongPassword is for a user who is logged in. It is not Unauthenticated, because the access token is valid.
	ErrWrongPassword = problem.Field("currentPassword", "currentPassword is not the account's password")
	// ErrOwnAdmin prevents the last admin from leaving the system without one by mistake.
	ErrOwnAdmin = problem.New(problem.Conflict, "OWN_ADMIN_ROLE", "An admin cannot remove their own ADMIN role")
)

// NotFound returns the error for a user id without an account.
func NotFound(id uuid.UUID) *problem.Error {
	return problem.New(problem.NotFound, "USER_NOT_FOUND", "User with ID %s not found", id)
}

// Email is a normalized e-mail address: all spellings of an account's address are equal.
type Email string

// ParseEmail returns the normalized address. It returns a *problem.Error that names the field email.
func ParseEmail(value string) (Email, error) {
	value = strings.ToLower(strings.TrimSpace(value))
	if len(value) > maxEmail {
		return "", problem.Field("email", "email must not exceed %d bytes", maxEmail)
	}
	parsed, err := mail.ParseAddress(value)
	// ParseAddress also accepts a display name, comments and quotes, with which one address has many spellings.
	if err != nil || parsed.Address != value {
		return "", problem.Field("email", "email must be an e-mail address").Because(err)
	}
	return Email(value), nil
}

// Decode implements envconfig.Decoder. Its errors are those of ParseEmail.
func (e *Email) Decode(value string) error {
	email, err := ParseEmail(value)
	*e = email
	return err
}

// User is an account.
type User struct {
	ID            uuid.UUID
	Email         Email
	FirstName     string
	LastName      string
	Roles         []identity.Role
	EmailVerified bool
	CreatedAt     time.Time
}

// Name returns the user's full name, as it appears on tickets and in e-mails.
func (u User) Name() string { return u.FirstName + " " + u.LastName }

// Registration is a request for an account.
type Registration struct {
	Email     string
	Password  string
	FirstName string
	LastName  string
	Organizer bool
}

// Check validates the registration and returns the account to create, without ID and CreatedAt, which the database
// sets. It returns a *problem.Error that names the first invalid field.
func (r Registration) Check() (User, error) {
	email, err := ParseEmail(r.Email)
	if err != nil {
		return User{}, err
	}
	if err := CheckPassword("password", r.Password); err != nil {
		return User{}, err
	}
	firstName, err := CheckName("firstName", r.FirstName)
	if err != nil {
		return User{}, err
	}
	lastName, err := CheckName("lastName", r.LastName)
	if err != nil {
		return User{}, err
	}
	roles := []identity.Role{identity.RoleUser}
	if r.Organizer {
		roles = append(roles, identity.RoleOrganizer)
	}
	return User{Email: email, FirstName: firstName, LastName: lastName, Roles: roles}, nil
}

// CheckPassword validates a new password. It returns a *problem.Error that names the field.
func CheckPassword(field, password string) error {
	if n := utf8.RuneCountInString(password); n < minPassword || n > maxPassword {
		return problem.Field(field, "%s must have %d to %d characters", field, minPassword, maxPassword)
	}
	return nil
}

// CheckName validates a first or last name and returns it trimmed. It returns a *problem.Error that names the field.
func CheckName(field, value string) (string, error) {
	value = strings.TrimSpace(value)
	if n := utf8.RuneCountInString(value); n < 1 || n > maxName {
		return "", problem.Field(field, "%s must have 1 to %d characters", field, maxName)
	}
	// Names are written to e-mail headers and on printed tickets.
	if strings.ContainsFunc(value, unicode.IsControl) {
		return "", problem.Field(field, "%s must not contain control characters", field)
	}
	return value, nil
}

// ParseRoles returns the roles with these names as they are stored: in the order of allRoles, and always with USER. It
// returns a *problem.Error that names the field if a name is unknown or repeated, or if there are none.
func ParseRoles(names []string) ([]identity.Role, error) {
	if len(names) == 0 {
		return nil, problem.Field("roles", "roles must have at least one entry")
	}
	for i, name := range names {
		field := "roles[" + strconv.Itoa(i) + "]"
		if !slices.Contains(allRoles, identity.Role(name)) {
			return nil, problem.Field(field, "%s must be one of %v", field, allRoles)
		}
		if slices.Contains(names[:i], name) {
			return nil, problem.Field(field, "%s is a duplicate", field)
		}
	}
	var roles []identity.Role
	for _, role := range allRoles {
		if role == identity.RoleUser || slices.Contains(names, string(role)) {
			roles = append(roles, role)
		}
	}
	return roles, nil
}

// allRoles are the roles in the order in which they are stored.
var allRoles = []identity.Role{identity.RoleUser, identity.RoleOrganizer, identity.RoleAdmin}

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

// Bounds on what a person may register with, in characters but for the e-mail address: its bound is
// RFC 5321's, in bytes.
const (
	maxEmail    = 254
	maxName     = 100
	minPassword = 12
	maxPassword = 128
)

// Errors of registering and logging in.
var (
	ErrEmailTaken = problem.New(problem.Conflict, "EMAIL_TAKEN", "There is an account with this e-mail address already")
	// ErrInvalidCredentials does not say which of the two is wrong, so that nobody can find out who has
	// an account.
	ErrInvalidCredentials = problem.New(problem.Unauthenticated, "INVALID_CREDENTIALS",
		"The e-mail address or the password is wrong")
	// ErrWrongPassword is for somebody who is logged in, and whose token is not what is wrong.
	ErrWrongPassword = problem.Field("currentPassword", "currentPassword is not the account's password")
	// ErrOwnAdmin keeps an admin from leaving the system without one by mistake.
	ErrOwnAdmin = problem.New(problem.Conflict, "OWN_ADMIN_ROLE", "An admin cannot remove their own ADMIN role")
)

// NotFound is the error for a user id that nobody has.
func NotFound(id uuid.UUID) *problem.Error {
	return problem.New(problem.NotFound, "USER_NOT_FOUND", "User with ID %s not found", id)
}

// Email is a normalised e-mail address: two spellings of one account's are equal.
type Email string

// ParseEmail normalises an address. It returns a *problem.Error that names the field email.
func ParseEmail(value string) (Email, error) {
	value = strings.ToLower(strings.TrimSpace(value))
	if len(value) > maxEmail {
		return "", problem.Field("email", "email must not exceed %d bytes", maxEmail)
	}
	parsed, err := mail.ParseAddress(value)
	// ParseAddress also takes a display name, comments and quotes, which would make one address many.
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

// Name is the user's name as tickets and letters show it.
func (u User) Name() string { return u.FirstName + " " + u.LastName }

// Registration is what a person registers with.
type Registration struct {
	Email     string
	Password  string
	FirstName string
	LastName  string
	Organizer bool
}

// Check gives the account that the registration asks for, without id and time, which the database
// gives. It returns a *problem.Error that names the first field at fault.
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

// CheckPassword refuses what may not be a password with a *problem.Error that names the field.
func CheckPassword(field, password string) error {
	if n := utf8.RuneCountInString(password); n < minPassword || n > maxPassword {
		return problem.Field(field, "%s must have %d to %d characters", field, minPassword, maxPassword)
	}
	return nil
}

// CheckName gives a first or last name as it will be kept, or a *problem.Error that names the field.
func CheckName(field, value string) (string, error) {
	value = strings.TrimSpace(value)
	if n := utf8.RuneCountInString(value); n < 1 || n > maxName {
		return "", problem.Field(field, "%s must have 1 to %d characters", field, maxName)
	}
	// Names end up in mail headers and on printed tickets.
	if strings.ContainsFunc(value, unicode.IsControl) {
		return "", problem.Field(field, "%s must not contain control characters", field)
	}
	return value, nil
}

// ParseRoles gives the roles of these names as they are kept: each once, in one order, USER among them.
// It returns a *problem.Error that names the field.
func ParseRoles(names []string) ([]identity.Role, error) {
	if len(names) == 0 {
		return nil, problem.Field("roles", "roles must have an entry")
	}
	for i, name := range names {
		field := "roles[" + strconv.Itoa(i) + "]"
		if !slices.Contains(allRoles, identity.Role(name)) {
			return nil, problem.Field(field, "%s must be one of %v", field, allRoles)
		}
		if slices.Contains(names[:i], name) {
			return nil, problem.Field(field, "%s is there already", field)
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

// allRoles are the roles in the order in which they are kept.
var allRoles = []identity.Role{identity.RoleUser, identity.RoleOrganizer, identity.RoleAdmin}

package account_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

func TestParseEmailNormalizesOneAddress(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("a", 242) + "@example.com"
	for _, tt := range []struct {
		name, value string
		email       account.Email // empty if invalid
	}{
		{"Plain", "ann@example.com", "ann@example.com"},
		{"SpacesAndCapitals", "  Ann.O'Hara+x@Example.COM ", "ann.o'hara+x@example.com"},
		{"Longest", longest, account.Email(longest)},
		{"TooLong", "a" + longest, ""},
		{"Empty", "", ""},
		{"NoAt", "ann.example.com", ""},
		{"TwoAddresses", "ann@example.com, bob@example.com", ""},
		{"DisplayName", "Ann <ann@example.com>", ""},
		{"AngleBrackets", "<ann@example.com>", ""},
		{"Comment", "ann@example.com (home)", ""},
		{"QuotedLocalPart", `"ann"@example.com`, ""},
		{"HeaderInjection", "ann@example.com\r\nBcc: bob@example.com", ""},
		{"NUL", "ann\x00@example.com", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			email, err := account.ParseEmail(tt.value)
			require.Equal(t, tt.email, email)
			if tt.email != "" {
				require.NoError(t, err)
				return
			}
			requireField(t, "email", err)
		})
	}
}

func TestRegistrationCheckNamesTheInvalidField(t *testing.T) {
	t.Parallel()
	valid := account.Registration{
		Email: "Ann@example.com", Password: "correct horse battery", FirstName: " Ann ", LastName: "O'Hara",
	}
	for _, tt := range []struct {
		name   string
		change func(r *account.Registration)
		field  string // empty if valid
	}{
		{"Valid", func(*account.Registration) {}, ""},
		{"BadEmail", func(r *account.Registration) { r.Email = "ann" }, "email"},
		{"ShortestPassword", func(r *account.Registration) { r.Password = strings.Repeat("ü", 12) }, ""},
		{"PasswordTooShort", func(r *account.Registration) { r.Password = strings.Repeat("ü", 11) }, "password"},
		{"LongestPassword", func(r *account.Registration) { r.Password = strings.Repeat("ü", 128) }, ""},
		{"PasswordTooLong", func(r *account.Registration) { r.Password = strings.Repeat("ü", 129) }, "password"},
		{"NoFirstName", func(r *account.Registration) { r.FirstName = "" }, "firstName"},
		{"BlankFirstName", func(r *account.Registration) { r.FirstName = " \t " }, "firstName"},
		{"LongestLastName", func(r *account.Registration) { r.LastName = strings.Repeat("ü", 100) }, ""},
		{"LastNameTooLong", func(r *account.Registration) { r.LastName = strings.Repeat("ü", 101) }, "lastName"},
		{"NULInLastName", func(r *account.Registration) { r.LastName = "O\x00Hara" }, "lastName"},
		{"LineBreakInFirstName", func(r *account.Registration) { r.FirstName = "Ann\r\nBcc: x" }, "firstName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			registration := valid
			tt.change(&registration)
			user, err := registration.Check()
			if tt.field != "" {
				requireField(t, tt.field, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, account.Email("ann@example.com"), user.Email)
			require.Equal(t, "Ann", user.FirstName)
		})
	}
}

func TestOrganizersRegisterWithTwoRoles(t *testing.T) {
	t.Parallel()
	registration := account.Registration{
		Email: "ann@example.com", Password: "correct horse battery", FirstName: "Ann", LastName: "O'Hara",
	}
	user, err := registration.Check()
	require.NoError(t, err)
	require.Equal(t, []identity.Role{identity.RoleUser}, user.Roles)
	require.Equal(t, "Ann O'Hara", user.Name())

	registration.Organizer = true
	user, err = registration.Check()
	require.NoError(t, err)
	require.Equal(t, []identity.Role{identity.RoleUser, identity.RoleOrganizer}, user.Roles)
}

func TestParseRolesReturnsTheStoredOrder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		names []string
		roles []identity.Role
		field string // empty if valid
	}{
		{"One", []string{"USER"}, []identity.Role{identity.RoleUser}, ""},
		{
			"All",
			[]string{"ADMIN", "ORGANIZER", "USER"},
			[]identity.Role{identity.RoleUser, identity.RoleOrganizer, identity.RoleAdmin},
			"",
		},
		{"AlwaysWithUser", []string{"ADMIN"}, []identity.Role{identity.RoleUser, identity.RoleAdmin}, ""},
		{"Missing", nil, nil, "roles"},
		{"None", []string{}, nil, "roles"},
		{"Unknown", []string{"USER", "ROOT"}, nil, "roles[1]"},
		{"LowerCase", []string{"admin"}, nil, "roles[0]"},
		{"Twice", []string{"USER", "ADMIN", "USER"}, nil, "roles[2]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			roles, err := account.ParseRoles(tt.names)
			require.Equal(t, tt.roles, roles)
			if tt.field == "" {
				require.NoError(t, err)
				return
			}
			requireField(t, tt.field, err)
		})
	}
}

// requireField asserts that err is a *problem.Error that names the field.
func requireField(t *testing.T, field string, err error) {
	t.Helper()
	p, ok := errors.AsType[*problem.Error](err)
	require.True(t, ok, "%v is not a *problem.Error", err)
	require.Equal(t, problem.Invalid, p.Kind)
	require.Equal(t, field, p.Field)
}

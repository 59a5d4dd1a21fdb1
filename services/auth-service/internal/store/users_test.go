package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

func TestRegisterStoresTheAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	user := b.register(t, "ann@example.com")
	require.NotEqual(t, uuid.Nil, user.ID)
	require.False(t, user.EmailVerified)
	require.WithinDuration(t, time.Now(), user.CreatedAt, time.Minute)
	require.Equal(t, time.UTC, user.CreatedAt.Location())

	found, hash, err := b.store.Credentials(t.Context(), "ann@example.com")
	require.NoError(t, err)
	require.Equal(t, user, found)
	require.Equal(t, "hash of ann@example.com", hash)

	t.Run("EmailTaken", func(t *testing.T) {
		_, err := b.store.Register(t.Context(), user, "another hash")
		require.ErrorIs(t, err, account.ErrEmailTaken)
	})
	t.Run("NoSuchAccount", func(t *testing.T) {
		_, hash, err := b.store.Credentials(t.Context(), "bob@example.com")
		require.ErrorIs(t, err, account.ErrInvalidCredentials)
		require.Empty(t, hash)
	})
}

func TestConcurrentRegistrationsOfAnAddressCreateOneAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	errs := make([]error, 8)
	race(func(i int) {
		_, errs[i] = b.store.Register(t.Context(), account.User{
			Email: "ann@example.com", FirstName: "Ann", LastName: "O'Hara", Roles: []identity.Role{identity.RoleUser},
		}, "hash")
	})
	created := 0
	for _, err := range errs {
		if err == nil {
			created++
			continue
		}
		require.ErrorIs(t, err, account.ErrEmailTaken)
	}
	require.Equal(t, 1, created)
}

func TestUsersReturnsTheKnownAccounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.register(t, "ann@example.com"), b.register(t, "bob@example.com")
	for _, tt := range []struct {
		name  string
		ids   []uuid.UUID
		users []account.User
	}{
		{"InTheOrderOfTheIDs", []uuid.UUID{bob.ID, ann.ID}, []account.User{bob, ann}},
		{"UnknownLeftOut", []uuid.UUID{uuid.New(), ann.ID, uuid.New()}, []account.User{ann}},
		{"SameIDTwice", []uuid.UUID{ann.ID, ann.ID}, []account.User{ann, ann}},
		{"None", nil, []account.User{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users, err := b.store.Users(t.Context(), tt.ids...)
			require.NoError(t, err)
			require.Equal(t, tt.users, users)
		})
	}
}

func TestEnsureAdminCreatesOneAdmin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := account.User{
		Email: "admin@example.com", FirstName: "First", LastName: "Admin",
		Roles: []identity.Role{identity.RoleUser, identity.RoleAdmin},
	}
	b.register(t, "ann@example.com")
	taken := admin
	taken.Email = "ann@example.com"
	require.ErrorIs(t, b.store.EnsureAdmin(t.Context(), taken, "hash"), account.ErrEmailTaken)

	errs := make([]error, 8)
	race(func(i int) { errs[i] = b.store.EnsureAdmin(t.Context(), admin, "hash") })
	for _, err := range errs {
		require.NoError(t, err)
	}
	found, hash, err := b.store.Credentials(t.Context(), admin.Email)
	require.NoError(t, err)
	require.Equal(t, "hash", hash)
	require.Equal(t, admin.Roles, found.Roles)
	require.True(t, found.EmailVerified)

	// With an admin, another address or password in the configuration has no effect.
	require.NoError(t, b.store.EnsureAdmin(t.Context(), taken, "hash"))
	require.NoError(t, b.store.EnsureAdmin(t.Context(), admin, "another hash"))
	_, hash, err = b.store.Credentials(t.Context(), admin.Email)
	require.NoError(t, err)
	require.Equal(t, "hash", hash)
}

func TestRenameSetsTheGivenNames(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := b.register(t, "ann@example.com")
	same, err := b.store.Rename(t.Context(), want.ID, nil, nil)
	require.NoError(t, err)
	require.Equal(t, want, same)
	want.LastName = "Smith"
	renamed, err := b.store.Rename(t.Context(), want.ID, nil, new("Smith"))
	require.NoError(t, err)
	require.Equal(t, want, renamed)
	_, err = b.store.Rename(t.Context(), uuid.New(), nil, nil)
	require.ErrorIs(t, err, account.NotFound(uuid.Nil))
}

func TestBecomeOrganizerKeepsOtherRoles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct{ before, after []identity.Role }{
		{[]identity.Role{"USER"}, []identity.Role{"USER", "ORGANIZER"}},
		{[]identity.Role{"USER", "ORGANIZER"}, []identity.Role{"USER", "ORGANIZER"}},
		{[]identity.Role{"USER", "ADMIN"}, []identity.Role{"USER", "ORGANIZER", "ADMIN"}},
	} {
		user, err := b.store.Register(t.Context(), account.User{
			Email: account.Email(uuid.NewString()), Roles: tt.before,
		}, "hash")
		require.NoError(t, err)
		user, err = b.store.BecomeOrganizer(t.Context(), user.ID)
		require.NoError(t, err)
		require.Equal(t, tt.after, user.Roles)
	}
}

func TestSetRolesRevokesSessions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, ann := b.register(t, "admin@example.com"), b.register(t, "ann@example.com")
	b.exec(t, `UPDATE users SET roles = '{USER,ADMIN}' WHERE id = $1`, admin.ID)
	user, organizer := []identity.Role{"USER"}, []identity.Role{"USER", "ORGANIZER"}
	session := b.login(t, ann.Email, "1")

	same, err := b.store.SetRoles(t.Context(), admin.ID, ann.ID, organizer)
	require.NoError(t, err)
	require.Equal(t, ann, same)
	_, err = b.store.SessionUser(t.Context(), ann.ID, session.ID)
	require.NoError(t, err, "the roles are the same")

	changed, err := b.store.SetRoles(t.Context(), admin.ID, ann.ID, user)
	require.NoError(t, err)
	require.Equal(t, user, changed.Roles)
	_, err = b.store.SessionUser(t.Context(), ann.ID, session.ID)
	require.ErrorIs(t, err, account.ErrTokenRevoked)

	_, err = b.store.SetRoles(t.Context(), admin.ID, uuid.New(), user)
	require.ErrorIs(t, err, account.NotFound(uuid.Nil))
	_, err = b.store.SetRoles(t.Context(), admin.ID, admin.ID, user)
	require.ErrorIs(t, err, account.ErrOwnAdmin)
	_, err = b.store.SetRoles(t.Context(), ann.ID, admin.ID, user)
	require.ErrorIs(t, err, identity.ErrForbidden)
	_, err = b.store.SetRoles(t.Context(), admin.ID, admin.ID, []identity.Role{"USER", "ORGANIZER", "ADMIN"})
	require.NoError(t, err)
}

// Of two admins who demote each other concurrently, one remains.
func TestConcurrentSetRolesLeavesOneAdmin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admins := []account.User{b.register(t, "a@example.com"), b.register(t, "b@example.com")}
	b.exec(t, `UPDATE users SET roles = '{USER,ADMIN}'`)
	errs := make([]error, 8)
	race(func(i int) {
		_, errs[i] = b.store.SetRoles(t.Context(), admins[i%2].ID, admins[(i+1)%2].ID, []identity.Role{"USER"})
	})
	for i, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, identity.ErrForbidden, i)
		}
	}
	var remaining int
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT count(*) FROM users WHERE 'ADMIN' = ANY (roles)`).Scan(&remaining))
	require.Equal(t, 1, remaining)
}

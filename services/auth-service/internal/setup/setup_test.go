package setup_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/setup"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

type secrets map[string]string

func (s secrets) Secret(_ context.Context, name string) (string, error) {
	if s[name] == "" {
		return "", errors.New("no secret " + name)
	}
	return s[name], nil
}

func keySecret(letter string) secrets {
	key := []byte(strings.Repeat(letter, 32))
	return secrets{"auth-service-key-encryption-key": base64.StdEncoding.EncodeToString(key)}
}

func newStore(t *testing.T) *store.Store {
	t.Helper()
	return store.New(postgrestest.New(t, messaging.Migrations(), store.Migrations()), 50)
}

func TestKeysCreatesOneKeyAndKeepsIt(t *testing.T) {
	t.Parallel()
	db := newStore(t)
	_, _, err := setup.Keys(t.Context(), db, keySecret("a"))
	require.NoError(t, err)
	created, err := db.CurrentKey(t.Context())
	require.NoError(t, err)

	vault, _, err := setup.Keys(t.Context(), db, keySecret("a"))
	require.NoError(t, err)
	current, err := db.CurrentKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, created.ID, current.ID)
	require.NoError(t, vault.Check(current))
}

func TestKeysRejectsAChangedSecret(t *testing.T) {
	t.Parallel()
	db := newStore(t)
	_, _, err := setup.Keys(t.Context(), db, keySecret("a"))
	require.NoError(t, err)
	_, _, err = setup.Keys(t.Context(), db, keySecret("b"))
	require.ErrorIs(t, err, keyring.ErrWrongSecret)
	require.ErrorContains(t, err, "auth-service-key-encryption-key")
}

func TestKeysNamesAnInvalidSecret(t *testing.T) {
	t.Parallel()
	_, _, err := setup.Keys(t.Context(), newStore(t), secrets{"auth-service-key-encryption-key": "short"})
	require.ErrorContains(t, err, "auth-service-key-encryption-key")
	require.NotContains(t, err.Error(), "short")
}

func TestAdminIsCreatedOnce(t *testing.T) {
	t.Parallel()
	db := newStore(t)
	passwords, err := account.NewPasswords()
	require.NoError(t, err)
	password := secrets{"auth-service-admin-password": "correct horse battery staple"}
	require.NoError(t, setup.Admin(t.Context(), db, passwords, password, "admin@example.com"))
	require.NoError(t, setup.Admin(t.Context(), db, passwords, password, "other@example.com"))

	admin, _, err := db.Credentials(t.Context(), "admin@example.com")
	require.NoError(t, err)
	require.Contains(t, admin.Roles, identity.RoleAdmin)
	_, _, err = db.Credentials(t.Context(), "other@example.com")
	require.ErrorIs(t, err, account.ErrInvalidCredentials)
}

func TestAdminRejectsTheAddressOfAUser(t *testing.T) {
	t.Parallel()
	db := newStore(t)
	passwords, err := account.NewPasswords()
	require.NoError(t, err)
	_, err = db.Register(t.Context(), account.User{
		Email: "ann@example.com", FirstName: "Ann", LastName: "O'Hara", Roles: []identity.Role{identity.RoleUser},
	}, "hash")
	require.NoError(t, err)
	err = setup.Admin(t.Context(), db, passwords,
		secrets{"auth-service-admin-password": "correct horse battery staple"}, "ann@example.com")
	require.ErrorIs(t, err, account.ErrEmailTaken)
	require.ErrorContains(t, err, "ADMIN_EMAIL")
}

func TestAdminNamesAnInvalidPassword(t *testing.T) {
	t.Parallel()
	passwords, err := account.NewPasswords()
	require.NoError(t, err)
	err = setup.Admin(t.Context(), newStore(t), passwords,
		secrets{"auth-service-admin-password": "short"}, "admin@example.com")
	require.ErrorContains(t, err, "auth-service-admin-password")
}

package store_test

import (
	"encoding/base64"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

const failuresPerAddress = 8

type bundle struct {
	store *store.Store
	pool  *pgxpool.Pool
	vault keyring.Vault
}

func setup(t *testing.T) *bundle {
	t.Helper()
	pool := postgrestest.New(t, messaging.Migrations(), store.Migrations())
	vault, err := keyring.OpenVault(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	require.NoError(t, err)
	return &bundle{store: store.New(pool, failuresPerAddress), pool: pool, vault: vault}
}

func (b *bundle) newKey(t *testing.T) keyring.Key {
	t.Helper()
	key, err := b.vault.NewKey()
	require.NoError(t, err)
	return key
}

// register registers Ann O'Hara, an organizer, with an address.
func (b *bundle) register(t *testing.T, email account.Email) account.User {
	t.Helper()
	user, err := b.store.Register(t.Context(), account.User{
		Email: email, FirstName: "Ann", LastName: "O'Hara",
		Roles: []identity.Role{identity.RoleUser, identity.RoleOrganizer},
	}, "hash of "+string(email))
	require.NoError(t, err)
	return user
}

// race runs eight workers concurrently.
func race(worker func(i int)) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { worker(i) })
	}
	wg.Wait()
}

func TestPurgeDeletesOnlyExpiredRows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.register(t, "ann@example.com")
	b.login(t, ann.Email, "expired")
	_, _, err := b.store.Refresh(t.Context(), []byte("expired"), []byte("expired too"))
	require.NoError(t, err)
	require.NoError(t, b.store.RecordFailure(t.Context(), from(ann.Email)))
	b.exec(t, `UPDATE sessions SET expires_at = expires_at - interval '31 days 1 hour'`)
	b.exec(t, `UPDATE refresh_tokens SET expires_at = expires_at - interval '31 days 1 hour'`)
	b.exec(t, `UPDATE login_failures SET failed_at = failed_at - interval '25 hours'`)
	b.exec(t, `UPDATE account_mails SET expires_at = expires_at - interval '73 hours'`)
	kept := b.login(t, ann.Email, "kept")
	require.NoError(t, b.store.RecordFailure(t.Context(), from(ann.Email)))
	require.NoError(t, b.store.RequestMail(t.Context(), account.PasswordReset, ann.Email))

	require.NoError(t, b.store.Purge(t.Context()))
	for _, table := range []string{"sessions", "refresh_tokens", "login_failures", "account_mails"} {
		var rows int
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&rows))
		require.Equal(t, 1, rows, table)
	}
	_, err = b.store.SessionUser(t.Context(), ann.ID, kept.ID)
	require.NoError(t, err)
}

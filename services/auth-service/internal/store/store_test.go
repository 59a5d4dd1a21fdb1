package store_test

import (
	"encoding/base64"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

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
	return &bundle{store: store.New(pool, 8), pool: pool, vault: vault}
}

func (b *bundle) newKey(t *testing.T) keyring.Key {
	t.Helper()
	key, err := b.vault.NewKey()
	require.NoError(t, err)
	return key
}

// register makes a user with this address, who is Ann O'Hara as far as the rest goes.
func (b *bundle) register(t *testing.T, email account.Email) account.User {
	t.Helper()
	user, err := b.store.Register(t.Context(), account.User{
		Email: email, FirstName: "Ann", LastName: "O'Hara",
		Roles: []identity.Role{identity.RoleUser, identity.RoleOrganizer},
	}, "hash of "+string(email))
	require.NoError(t, err)
	return user
}

// race runs eight workers at once.
func race(worker func(i int)) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { worker(i) })
	}
	wg.Wait()
}

func TestRegister(t *testing.T) {
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

func TestRegisterRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	errs := make([]error, 8)
	race(func(i int) {
		_, errs[i] = b.store.Register(t.Context(), account.User{
			Email: "ann@example.com", FirstName: "Ann", LastName: "O'Hara", Roles: []identity.Role{identity.RoleUser},
		}, "hash")
	})
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, account.ErrEmailTaken)
	}
	require.Equal(t, 1, won)
}

func TestUsers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.register(t, "ann@example.com"), b.register(t, "bob@example.com")
	for _, tt := range []struct {
		name  string
		ids   []uuid.UUID
		users []account.User
	}{
		{"InTheOrderAskedFor", []uuid.UUID{bob.ID, ann.ID}, []account.User{bob, ann}},
		{"UnknownLeftOut", []uuid.UUID{uuid.New(), ann.ID, uuid.New()}, []account.User{ann}},
		{"SameTwice", []uuid.UUID{ann.ID, ann.ID}, []account.User{ann, ann}},
		{"None", nil, []account.User{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users, err := b.store.Users(t.Context(), tt.ids...)
			require.NoError(t, err)
			require.Equal(t, tt.users, users)
		})
	}
}

// Replicas that start together each bring a key of their own: one is kept, and all sign with it.
func TestEnsureKeyRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	current := make([]keyring.Key, 8)
	errs := make([]error, 8)
	race(func(i int) {
		candidate, err := b.vault.NewKey()
		if err == nil {
			err = b.store.EnsureKey(t.Context(), candidate)
		}
		if err == nil {
			current[i], err = b.store.CurrentKey(t.Context())
		}
		errs[i] = err
	})
	for i := range errs {
		require.NoError(t, errs[i])
		require.Equal(t, current[0], current[i])
	}
	require.NoError(t, b.vault.Check(current[0]))
	published, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []keyring.Key{current[0]}, published)
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	next, current, retired, forgotten := b.newKey(t), b.newKey(t), b.newKey(t), b.newKey(t)
	for _, k := range []struct {
		key                  keyring.Key
		notBefore, retiredAt string // intervals from now
	}{
		{next, "1 hour", "infinity"},
		{current, "-1 hour", "infinity"},
		{retired, "-2 hours", "-1 minute"},
		{forgotten, "-3 hours", "-1 hour"},
	} {
		_, err := b.pool.Exec(t.Context(), `
			INSERT INTO signing_keys (kid, public_key, private_key, not_before, retired_at)
			VALUES ($1, $2, $3, now() + $4::interval, now() + nullif($5, 'infinity')::interval)`,
			k.key.ID, k.key.Public, k.key.Private, k.notBefore, k.retiredAt)
		require.NoError(t, err)
	}

	found, err := b.store.CurrentKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, current, found)
	published, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []keyring.Key{next, current, retired}, published)

	// There is one to sign with already, and one to follow it.
	require.NoError(t, b.store.EnsureKey(t.Context(), b.newKey(t)))
	found, err = b.store.CurrentKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, current, found)
	again, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, published, again)

	require.NoError(t, b.store.Forget(t.Context()))
	_, err = b.pool.Exec(t.Context(), `UPDATE signing_keys SET retired_at = now() - interval '25 hours' WHERE kid = $1`, forgotten.ID)
	require.NoError(t, err)
	require.NoError(t, b.store.Forget(t.Context()))
	var kept int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM signing_keys`).Scan(&kept))
	require.Equal(t, 3, kept)
}

// age makes everything about a key so much older.
func (b *bundle) age(t *testing.T, by time.Duration) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `
		UPDATE signing_keys SET not_before = not_before - $1::interval, retired_at = retired_at - $1::interval`, by)
	require.NoError(t, err)
}

// A key that is old gets one successor, whichever replica brings it. It is published before it signs, and
// the old one goes on until then and is published until its last token has expired.
func TestKeyIsReplacedWhenOld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.newKey(t)
	require.NoError(t, b.store.EnsureKey(t.Context(), old))
	b.age(t, keyring.KeyLife-time.Minute)
	require.NoError(t, b.store.EnsureKey(t.Context(), b.newKey(t)))
	published, err := b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []keyring.Key{old}, published, "not old yet")

	b.age(t, time.Minute)
	errs := make([]error, 8)
	race(func(i int) {
		candidate, err := b.vault.NewKey()
		if err == nil {
			err = b.store.EnsureKey(t.Context(), candidate)
		}
		errs[i] = err
	})
	for _, err := range errs {
		require.NoError(t, err)
	}
	published, err = b.store.PublishedKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, published, 2)
	next := published[0]
	require.Equal(t, []keyring.Key{next, old}, published)
	for _, step := range []struct {
		after     time.Duration
		current   keyring.Key
		published []keyring.Key
	}{
		{0, old, []keyring.Key{next, old}},
		{keyring.PublishedAhead - time.Minute, old, []keyring.Key{next, old}},
		{time.Minute, next, []keyring.Key{next, old}},
		{keyring.TokenLife + time.Minute, next, []keyring.Key{next, old}}, // its last token is over, by our clock
		{keyring.TokenLife, next, []keyring.Key{next}},
	} {
		b.age(t, step.after)
		require.NoError(t, b.store.EnsureKey(t.Context(), b.newKey(t)))
		current, err := b.store.CurrentKey(t.Context())
		require.NoError(t, err)
		require.Equal(t, step.current, current)
		published, err := b.store.PublishedKeys(t.Context())
		require.NoError(t, err)
		require.Equal(t, step.published, published)
	}
}

// Where everything stood still for longer than a key lives, the old one signs until its successor may.
func TestKeyLongSinceOld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.newKey(t)
	require.NoError(t, b.store.EnsureKey(t.Context(), old))
	b.age(t, 10*keyring.KeyLife)
	require.NoError(t, b.store.EnsureKey(t.Context(), b.newKey(t)))
	current, err := b.store.CurrentKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, old, current)
}

func TestEnsureAdmin(t *testing.T) {
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

	// There is one: neither another nor another password is wanted, whatever the configuration says now.
	require.NoError(t, b.store.EnsureAdmin(t.Context(), taken, "hash"))
	require.NoError(t, b.store.EnsureAdmin(t.Context(), admin, "another hash"))
	_, hash, err = b.store.Credentials(t.Context(), admin.Email)
	require.NoError(t, err)
	require.Equal(t, "hash", hash)
}

func TestRename(t *testing.T) {
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

func TestBecomeOrganizer(t *testing.T) {
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

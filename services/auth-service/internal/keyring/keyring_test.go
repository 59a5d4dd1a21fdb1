package keyring_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

type bundle struct {
	vault keyring.Vault
	key   keyring.Key
	user  account.User
}

func setup(t *testing.T) *bundle {
	t.Helper()
	vault := openVault(t, "a")
	key, err := vault.NewKey()
	require.NoError(t, err)
	return &bundle{vault: vault, key: key, user: account.User{
		ID: uuid.New(), FirstName: "Ann", LastName: "O'Hara", Roles: []identity.Role{identity.RoleUser},
	}}
}

func openVault(t *testing.T, fill string) keyring.Vault {
	t.Helper()
	vault, err := keyring.OpenVault(base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fill, 32))))
	require.NoError(t, err)
	return vault
}

func TestOpenVaultRejectsWithoutQuotingTheSecret(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{
		"NotBase64": "not base64!", "TooShort": base64.StdEncoding.EncodeToString(make([]byte, 16)), "Empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := keyring.OpenVault(secret)
			require.Error(t, err)
			if secret != "" {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestVaultDetectsForeignAndDamagedKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(b *bundle)
		err    error
	}{
		{"Unchanged", func(*bundle) {}, nil},
		{"OtherSecret", func(b *bundle) { b.vault = openVault(t, "b") }, keyring.ErrWrongSecret},
		{"PrivateHalfOfAnotherKey", func(b *bundle) { b.key.Private = setup(t).key.Private }, keyring.ErrWrongSecret},
		{"IDOfAnotherKey", func(b *bundle) { b.key.ID = uuid.NewString() }, keyring.ErrWrongSecret},
		{"PublicHalfOfAnotherKey", func(b *bundle) { b.key.Public = setup(t).key.Public }, keyring.ErrWrongSecret},
		{"Damaged", func(b *bundle) { b.key.Private[len(b.key.Private)-1] ^= 1 }, keyring.ErrWrongSecret},
		{"Truncated", func(b *bundle) { b.key.Private = b.key.Private[:4] }, keyring.ErrWrongSecret},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tt.change(b)
			require.ErrorIs(t, b.vault.Check(b.key), tt.err)
			_, _, err := b.vault.Sign(b.key, b.user, uuid.New(), time.Now())
			require.ErrorIs(t, err, tt.err)
		})
	}
}

func TestPrivateHalfIsEncrypted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token, _, err := b.vault.Sign(b.key, b.user, uuid.New(), time.Now())
	require.NoError(t, err)
	require.NotEmpty(t, token)
	require.NotContains(t, string(b.key.Private), string(b.key.Public))
	require.Greater(t, len(b.key.Private), ed25519.SeedSize) // with nonce and tag
}

func TestVerifierAcceptsSignedTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now, session := time.Now(), uuid.New()
	token, expiresAt, err := b.vault.Sign(b.key, b.user, session, now)
	require.NoError(t, err)
	require.WithinDuration(t, now.Add(keyring.TokenLifetime), expiresAt, time.Second)

	// Two keys are published during a rotation.
	older, err := b.vault.NewKey()
	require.NoError(t, err)
	claims, id, err := keyring.Verifier([]keyring.Key{older, b.key}).Claims(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, b.user.ID, id)
	require.Equal(t, "Ann O'Hara", claims.Name)
	require.Equal(t, b.user.Roles, claims.Roles)
	require.Equal(t, session, claims.Session)
	require.True(t, expiresAt.Equal(claims.ExpiresAt.Time))

	t.Run("KeyNotPublished", func(t *testing.T) {
		t.Parallel()
		_, _, err := keyring.Verifier([]keyring.Key{older}).Claims(t.Context(), token)
		require.ErrorIs(t, err, identity.ErrTokenInvalid)
	})
	t.Run("Expired", func(t *testing.T) {
		t.Parallel()
		old, _, err := b.vault.Sign(b.key, b.user, session, now.Add(-2*keyring.TokenLifetime))
		require.NoError(t, err)
		_, _, err = keyring.Verifier([]keyring.Key{b.key}).Claims(t.Context(), old)
		require.ErrorIs(t, err, identity.ErrTokenExpired)
	})
}

func TestKeySetHasThePublicHalves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	set, err := keyring.KeySet([]keyring.Key{b.key})
	require.NoError(t, err)
	body, err := json.Marshal(set)
	require.NoError(t, err)
	require.JSONEq(t, `{"keys":[{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"`+jwt.SigningMethodEdDSA.Alg()+`",
		"kid":"`+b.key.ID+`","x":"`+base64.RawURLEncoding.EncodeToString(b.key.Public)+`"}]}`, string(body))

	empty, err := keyring.KeySet(nil)
	require.NoError(t, err)
	body, err = json.Marshal(empty)
	require.NoError(t, err)
	require.JSONEq(t, `{"keys":[]}`, string(body))
}

func TestDerivedKeysDependOnThePurpose(t *testing.T) {
	t.Parallel()
	secret := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a", 32)))
	mails, err := keyring.Derive(secret, "mails")
	require.NoError(t, err)
	require.Len(t, mails, 32)
	again, err := keyring.Derive(secret, "mails")
	require.NoError(t, err)
	require.Equal(t, mails, again)
	other, err := keyring.Derive(secret, "another purpose")
	require.NoError(t, err)
	require.NotEqual(t, mails, other)
	require.NotEqual(t, []byte(strings.Repeat("a", 32)), mails)
	_, err = keyring.Derive("too short", "mails")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "too short")
}

// Package keyring is the keys that access tokens are signed with.
//
// A key is made, published, used, retired and forgotten:
//
//   - made: the private half leaves the process that made it only sealed (AES-256-GCM under a secret
//     of the secret store), so that a copy of the database signs nothing;
//   - published: its public half is in the key set from then on, before its not_before, so that every
//     verifier can know it before the first token that needs it;
//   - used: from not_before until retired_at, the newest such key signs;
//   - retired: it signs nothing more, but stays published until the last token it signed has expired.
//
// A key retires when its successor begins to sign, which is made as soon as the key is KeyLife old.
//
// Keys are read from the database at each use. That costs one short query and saves every question
// about which replica knows which key.
package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// TokenLife is how long an access token is valid. Only those who ask hear that its session has ended, so
// it is short.
const TokenLife = 15 * time.Minute

// KeyLife is how long a key signs before it is replaced.
const KeyLife = 30 * 24 * time.Hour

// PublishedAhead is how long a successor is in the key set before it signs: longer than verifiers keep a
// copy of the set (identity.FetchKeys).
const PublishedAhead = 15 * time.Minute

// Key is a signing key as it is stored.
type Key struct {
	ID      string // the kid of its tokens
	Public  ed25519.PublicKey
	Private []byte // sealed; only a Vault opens it
}

// Vault seals and opens private keys.
type Vault struct{ aead cipher.AEAD }

// secretLength is that of an AES-256 key.
const secretLength = 32

// OpenVault makes the Vault of a secret, 32 bytes in base64.
func OpenVault(secret string) (Vault, error) {
	key, err := decode(secret)
	if err != nil {
		return Vault{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return Vault{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return Vault{}, err
	}
	return Vault{aead: aead}, nil
}

func decode(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(key) != secretLength {
		return nil, fmt.Errorf("must be the base64 form of %d bytes", secretLength) // and not err: it quotes the secret
	}
	return key, nil
}

// Derive makes another key of the same secret as the Vault's, for the purpose and no other.
func Derive(secret, purpose string) ([]byte, error) {
	key, err := decode(secret)
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, key, nil, purpose, secretLength)
}

// NewKey makes a key.
func (v Vault) NewKey() (Key, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return Key{}, fmt.Errorf("generate a signing key: %w", err)
	}
	id := uuid.NewString()
	// With the id as additional data, a sealed half cannot be moved to another row.
	sealed := v.aead.Seal(nil, nil, private.Seed(), []byte(id)) //nolint:gosec // this AEAD makes the nonce itself
	return Key{ID: id, Public: public, Private: sealed}, nil
}

// ErrWrongSecret means that a private key was sealed under another secret than this vault's, or
// tampered with.
var ErrWrongSecret = errors.New("the signing key does not open with this key-encryption key")

// Check reports whether the vault can sign with the key. It returns ErrWrongSecret.
func (v Vault) Check(key Key) error {
	_, err := v.open(key)
	return err
}

func (v Vault) open(key Key) (ed25519.PrivateKey, error) {
	seed, err := v.aead.Open(nil, nil, key.Private, []byte(key.ID))
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", key.ID, ErrWrongSecret)
	}
	private := ed25519.NewKeyFromSeed(seed)
	if !key.Public.Equal(private.Public()) {
		return nil, fmt.Errorf("key %s: %w", key.ID, ErrWrongSecret)
	}
	return private, nil
}

// Sign gives an access token for the user in the session, valid from now, and when it expires. It
// returns ErrWrongSecret.
func (v Vault) Sign(key Key, user account.User, session uuid.UUID, now time.Time) (string, time.Time, error) {
	private, err := v.open(key)
	if err != nil {
		return "", time.Time{}, err
	}
	expires := jwt.NewNumericDate(now.Add(TokenLife).UTC())
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    identity.Issuer,
			Audience:  jwt.ClaimStrings{identity.Audience},
			Subject:   user.ID.String(),
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: expires,
		},
		Name:    user.Name(),
		Roles:   user.Roles,
		Session: session,
	})
	token.Header["kid"] = key.ID
	signed, err := token.SignedString(private)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign an access token: %w", err)
	}
	return signed, expires.Time, nil
}

// Verifier checks access tokens against these keys.
func Verifier(keys []Key) identity.Verifier {
	find := func(token *jwt.Token) (any, error) {
		for _, k := range keys {
			if k.ID == token.Header["kid"] {
				return k.Public, nil
			}
		}
		return nil, errors.New("no key has the token's kid")
	}
	return identity.Verifier{Keys: func(context.Context) jwt.Keyfunc { return find }}
}

// Publish gives the keys' public halves as a JSON Web Key Set.
func Publish(keys []Key) (jwkset.JWKSMarshal, error) {
	set := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for _, k := range keys {
		jwk, err := jwkset.NewJWKFromKey(k.Public, jwkset.JWKOptions{
			Metadata: jwkset.JWKMetadataOptions{KID: k.ID, ALG: jwkset.AlgEdDSA, USE: jwkset.UseSig},
		})
		if err != nil {
			return jwkset.JWKSMarshal{}, fmt.Errorf("publish key %s: %w", k.ID, err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	return set, nil
}

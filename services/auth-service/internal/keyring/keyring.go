// Package keyring creates the keys that sign access tokens, signs with them, and publishes their public halves.
//
// A key goes through these states:
//
//   - created: the private half leaves the process only encrypted (AES-256-GCM, with a key from the secret store), so
//     that a copy of the database cannot sign anything;
//   - published: the public half is in the key set from then on, PublishedAhead before not_before, so that every
//     verifier knows it before the first token that needs it;
//   - signing: from not_before until retired_at, the newest such key signs;
//   - retired: it signs no more, but stays published until the last token that it signed has expired.
//
// When a key is KeyLifetime old, its successor is created. The key retires when the successor starts to sign.
//
// Keys are read from the database for every use. This costs one short query, and replicas need no protocol to agree on
// the current key.
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

// TokenLifetime is how long an access token is valid. It is short, because services that verify tokens offline do not
// learn that a session has ended.
const TokenLifetime = 15 * time.Minute

// KeyLifetime is how long a key signs before it is replaced.
const KeyLifetime = 30 * 24 * time.Hour

// PublishedAhead is how long a successor is in the key set before it signs. It is longer than verifiers cache the set
// (identity.FetchKeys).
const PublishedAhead = 15 * time.Minute

// Key is a signing key in its stored form.
type Key struct {
	ID      string // the kid of its tokens
	Public  ed25519.PublicKey
	Private []byte // encrypted by a Vault
}

// Vault encrypts and decrypts private keys.
type Vault struct{ aead cipher.AEAD }

// secretLength is the length of an AES-256 key in bytes.
const secretLength = 32

// OpenVault returns the Vault with the key secret, 32 bytes in base64.
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
		return nil, fmt.Errorf("must be %d bytes in base64", secretLength) // without err, which quotes the secret
	}
	return key, nil
}

// Derive returns another key of 32 bytes from the secret of a Vault, for one purpose only.
func Derive(secret, purpose string) ([]byte, error) {
	key, err := decode(secret)
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, key, nil, purpose, secretLength)
}

// NewKey returns a new random key.
func (v Vault) NewKey() (Key, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return Key{}, fmt.Errorf("generate a signing key: %w", err)
	}
	id := uuid.NewString()
	// The id is additional data, so that an encrypted half cannot be moved to another row.
	sealed := v.aead.Seal(nil, nil, private.Seed(), []byte(id)) //nolint:gosec // this AEAD generates the nonce
	return Key{ID: id, Public: public, Private: sealed}, nil
}

// ErrWrongSecret reports that a private key was encrypted with another secret than the Vault's, or tampered with.
var ErrWrongSecret = errors.New("the signing key cannot be decrypted with this key-encryption key")

// Check returns nil if the vault can sign with the key, and ErrWrongSecret otherwise.
func (v Vault) Check(key Key) error {
	_, err := v.decrypt(key)
	return err
}

func (v Vault) decrypt(key Key) (ed25519.PrivateKey, error) {
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

// Sign returns an access token for the user in the session, valid from now, and the time at which it expires. It
// returns ErrWrongSecret.
func (v Vault) Sign(key Key, user account.User, session uuid.UUID, now time.Time) (string, time.Time, error) {
	private, err := v.decrypt(key)
	if err != nil {
		return "", time.Time{}, err
	}
	expires := jwt.NewNumericDate(now.Add(TokenLifetime).UTC())
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

// Verifier returns a verifier of access tokens that were signed with these keys.
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

// KeySet returns the public halves of the keys as a JSON Web Key Set (RFC 7517).
func KeySet(keys []Key) (jwkset.JWKSMarshal, error) {
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

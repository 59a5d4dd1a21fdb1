package ticket

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// Signer makes the tokens in QR codes: EdDSA JWTs (RFC 8037) that a scanner with the public key can
// check without a network. A token names the ticket, its event and its code version, and no person.
type Signer struct {
	key   ed25519.PrivateKey
	keyID string
}

// NewSigner makes a Signer from a base64 Ed25519 seed.
func NewSigner(seed string) (*Signer, error) {
	raw, err := base64.StdEncoding.DecodeString(seed)
	if err != nil || len(raw) != ed25519.SeedSize {
		return nil, fmt.Errorf("must be %d bytes in base64", ed25519.SeedSize)
	}
	key := ed25519.NewKeyFromSeed(raw)
	sum := sha256.Sum256(key.Public().(ed25519.PublicKey))
	return &Signer{key: key, keyID: base64.RawURLEncoding.EncodeToString(sum[:8])}, nil
}

// codeAudience keeps a ticket's token from passing as any other of our tokens, and the reverse.
const codeAudience = "check-in"

type codeClaims struct {
	jwt.RegisteredClaims
	Event   string `json:"evt"`
	Version int    `json:"ver"`
}

// Code gives the token for the ticket's QR code: the same for the same ticket and version.
func (s *Signer) Code(t Ticket) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, codeClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: t.ID.String(), Audience: jwt.ClaimStrings{codeAudience}, IssuedAt: jwt.NewNumericDate(t.CreatedAt),
		},
		Event: t.EventID.String(), Version: t.CodeVersion,
	})
	token.Header["kid"] = s.keyID
	return token.SignedString(s.key)
}

// ErrCode reports a token that is not one of ours for a ticket.
var ErrCode = errors.New("not a ticket's code")

// Verify checks a scanned token's signature and gives the ticket id and code version that it speaks
// for. It returns ErrCode.
func (s *Signer) Verify(code string) (ticketID string, version int, err error) {
	var claims codeClaims
	if _, err := jwt.ParseWithClaims(code, &claims,
		func(*jwt.Token) (any, error) { return s.key.Public(), nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithAudience(codeAudience)); err != nil {
		return "", 0, fmt.Errorf("%w: %w", ErrCode, err)
	}
	return claims.Subject, claims.Version, nil
}

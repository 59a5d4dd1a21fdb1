package ticket

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
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
var ErrCode = &problem.Error{
	Kind: problem.Invalid, Code: "INVALID_CODE", Message: "This is not the code of a ticket", Field: "code",
}

// Verify checks a scanned token's signature and gives the ticket id and code version that it speaks
// for. It returns ErrCode.
func (s *Signer) Verify(code string) (ticketID uuid.UUID, version int, err error) {
	var claims codeClaims
	if _, err := jwt.ParseWithClaims(code, &claims,
		func(*jwt.Token) (any, error) { return s.key.Public(), nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithAudience(codeAudience)); err != nil {
		return uuid.Nil, 0, ErrCode.Because(err)
	}
	if ticketID, err = uuid.Parse(claims.Subject); err != nil {
		return uuid.Nil, 0, ErrCode.Because(err)
	}
	return ticketID, claims.Version, nil
}

// PublicKeys gives what a scanner without a network checks tokens against, as a JSON Web Key Set.
func (s *Signer) PublicKeys() (jwkset.JWKSMarshal, error) {
	key, err := jwkset.NewJWKFromKey(s.key.Public(), jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{KID: s.keyID, ALG: jwkset.AlgEdDSA, USE: jwkset.UseSig},
	})
	if err != nil {
		return jwkset.JWKSMarshal{}, fmt.Errorf("publish key %s: %w", s.keyID, err)
	}
	return jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{key.Marshal()}}, nil
}

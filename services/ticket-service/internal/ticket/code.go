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

// Signer signs and verifies the tokens in QR codes: EdDSA JWTs (RFC 8037), which a scanner that has the public key
// can verify offline. A token contains the ids of the ticket and its event and the version of the code, and no
// personal data.
type Signer struct {
	key   ed25519.PrivateKey
	keyID string
}

// NewSigner returns a Signer for an Ed25519 seed in base64. Its error does not contain the seed.
func NewSigner(seed string) (*Signer, error) {
	raw, err := base64.StdEncoding.DecodeString(seed)
	if err != nil || len(raw) != ed25519.SeedSize {
		return nil, fmt.Errorf("the seed that signs tickets must be %d bytes in base64", ed25519.SeedSize)
	}
	key := ed25519.NewKeyFromSeed(raw)
	sum := sha256.Sum256(key.Public().(ed25519.PublicKey))
	return &Signer{key: key, keyID: base64.RawURLEncoding.EncodeToString(sum[:8])}, nil
}

// codeAudience prevents a ticket's token from being accepted as another kind of token, and vice versa.
const codeAudience = "check-in"

type codeClaims struct {
	jwt.RegisteredClaims
	Event   string `json:"evt"`
	Version int    `json:"ver"`
}

// Code returns the token of the ticket's QR code. The same ticket and version always have the same token.
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

// ErrInvalidCode reports a scanned text that is not a token of Signer.Code.
var ErrInvalidCode = &problem.Error{
	Kind: problem.Invalid, Code: "INVALID_CODE", Message: "This is not the code of a ticket", Field: "code",
}

// Verify checks the signature of a scanned token and returns the ticket's id and the version of its code. It
// returns ErrInvalidCode.
func (s *Signer) Verify(code string) (ticketID uuid.UUID, version int, err error) {
	var claims codeClaims
	if _, err := jwt.ParseWithClaims(code, &claims,
		func(*jwt.Token) (any, error) { return s.key.Public(), nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithAudience(codeAudience)); err != nil {
		return uuid.Nil, 0, ErrInvalidCode.Because(err)
	}
	if ticketID, err = uuid.Parse(claims.Subject); err != nil {
		return uuid.Nil, 0, ErrInvalidCode.Because(err)
	}
	return ticketID, claims.Version, nil
}

// PublicKeys returns the JSON Web Key Set with which a scanner verifies tokens offline.
func (s *Signer) PublicKeys() (jwkset.JWKSMarshal, error) {
	key, err := jwkset.NewJWKFromKey(s.key.Public(), jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{KID: s.keyID, ALG: jwkset.AlgEdDSA, USE: jwkset.UseSig},
	})
	if err != nil {
		return jwkset.JWKSMarshal{}, fmt.Errorf("publish key %s: %w", s.keyID, err)
	}
	return jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{key.Marshal()}}, nil
}

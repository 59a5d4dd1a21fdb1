package ticket_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// seed gives a base64 Ed25519 seed.
func seed(fill string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fill, ed25519.SeedSize)))
}

func newSigner(t *testing.T, fill string) *ticket.Signer {
	t.Helper()
	signer, err := ticket.NewSigner(seed(fill))
	require.NoError(t, err)
	return signer
}

func newTicket() ticket.Ticket {
	return ticket.Ticket{ID: uuid.New(), EventID: uuid.New(), HolderName: "Ann O'Hara", CodeVersion: 3, CreatedAt: time.Now()}
}

func TestNewSignerRefuses(t *testing.T) {
	t.Parallel()
	for name, seed := range map[string]string{
		"Empty": "", "NoBase64": "not base64!", "TooShort": base64.StdEncoding.EncodeToString(make([]byte, 31)),
		"TooLong": base64.StdEncoding.EncodeToString(make([]byte, 64)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ticket.NewSigner(seed)
			require.Error(t, err)
			if seed != "" {
				require.NotContains(t, err.Error(), seed)
			}
		})
	}
}

func TestCode(t *testing.T) {
	t.Parallel()
	signer, admission := newSigner(t, "a"), newTicket()
	code, err := signer.Code(admission)
	require.NoError(t, err)

	id, version, err := signer.Verify(code)
	require.NoError(t, err)
	require.Equal(t, admission.ID, id)
	require.Equal(t, 3, version)

	t.Run("NamesNoPerson", func(t *testing.T) {
		t.Parallel()
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(code, ".")[1])
		require.NoError(t, err)
		require.NotContains(t, string(payload), "Ann")
		require.Contains(t, string(payload), admission.EventID.String())
	})
	t.Run("SameTicketSameCode", func(t *testing.T) {
		t.Parallel()
		again := admission
		again.CreatedAt = admission.CreatedAt.In(time.FixedZone("elsewhere", 3600))
		same, err := newSigner(t, "a").Code(again)
		require.NoError(t, err)
		require.Equal(t, code, same)
	})
	t.Run("OtherVersionOtherCode", func(t *testing.T) {
		t.Parallel()
		next := admission
		next.CodeVersion++
		other, err := signer.Code(next)
		require.NoError(t, err)
		require.NotEqual(t, code, other)
	})
}

// The published key checks codes, and signs none.
func TestPublicKeys(t *testing.T) {
	t.Parallel()
	set, err := newSigner(t, "a").PublicKeys()
	require.NoError(t, err)
	require.Len(t, set.Keys, 1)
	key := set.Keys[0]
	require.Equal(t, "OKP Ed25519 EdDSA sig", strings.Join([]string{key.KTY.String(), key.CRV.String(), key.ALG.String(), key.USE.String()}, " "))
	require.Empty(t, key.D)
	public := ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", ed25519.SeedSize))).Public().(ed25519.PublicKey)
	require.Equal(t, base64.RawURLEncoding.EncodeToString(public), key.X)

	code, err := newSigner(t, "a").Code(newTicket())
	require.NoError(t, err)
	token, _, err := jwt.NewParser().ParseUnverified(code, jwt.MapClaims{})
	require.NoError(t, err)
	require.Equal(t, token.Header["kid"], key.KID)
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	signer, admission := newSigner(t, "a"), newTicket()
	code, err := signer.Code(admission)
	require.NoError(t, err)
	another, err := newSigner(t, "b").Code(admission)
	require.NoError(t, err)
	part := strings.Split(code, ".")

	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", ed25519.SeedSize)))
	public := []byte(key.Public().(ed25519.PublicKey))
	signFor := func(subject string, method jwt.SigningMethod, key any, audience string) string {
		token, err := jwt.NewWithClaims(method, jwt.MapClaims{
			"sub": subject, "aud": audience, "evt": admission.EventID.String(), "ver": 3,
		}).SignedString(key)
		require.NoError(t, err)
		return token
	}
	sign := func(method jwt.SigningMethod, key any, audience string) string {
		return signFor(admission.ID.String(), method, key, audience)
	}
	// The ways below differ from a good code in the one thing that each is about.
	_, _, err = signer.Verify(sign(jwt.SigningMethodEdDSA, key, "check-in"))
	require.NoError(t, err)

	for name, bad := range map[string]string{
		"Empty":                  "",
		"NoJWT":                  "a.b.c",
		"TicketID":               admission.ID.String(),
		"OtherKey":               another,
		"TamperedPayload":        part[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"`+uuid.NewString()+`","aud":["check-in"],"ver":1}`)) + "." + part[2],
		"AnothersSignature":      part[0] + "." + part[1] + "." + strings.Split(another, ".")[2],
		"SignatureCutOff":        part[0] + "." + part[1] + ".",
		"AlgNone":                sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "check-in"),
		"HS256UnderThePublicKey": sign(jwt.SigningMethodHS256, public, "check-in"),
		"NoTicketID":             signFor("VIP", jwt.SigningMethodEdDSA, key, "check-in"),
		"AccessToken":            sign(jwt.SigningMethodEdDSA, key, "event-booking"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, version, err := signer.Verify(bad)
			require.ErrorIs(t, err, ticket.ErrCode)
			require.Empty(t, id)
			require.Zero(t, version)
		})
	}
}

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

// seed returns an Ed25519 seed in base64.
func seed(fill string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fill, ed25519.SeedSize)))
}

func newSigner(tb testing.TB, fill string) *ticket.Signer {
	tb.Helper()
	signer, err := ticket.NewSigner(seed(fill))
	require.NoError(tb, err)
	return signer
}

func newTicket() ticket.Ticket {
	return ticket.Ticket{
		ID: uuid.New(), EventID: uuid.New(), HolderName: "Ann O'Hara", CodeVersion: 3, CreatedAt: time.Now(),
	}
}

func TestNewSignerRefusesBadSeed(t *testing.T) {
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

func TestCodeNamesTicketAndVersion(t *testing.T) {
	t.Parallel()
	signer, admission := newSigner(t, "a"), newTicket()
	code, err := signer.Code(admission)
	require.NoError(t, err)

	id, version, err := signer.Verify(code)
	require.NoError(t, err)
	require.Equal(t, admission.ID, id)
	require.Equal(t, 3, version)

	t.Run("HasNoPersonalData", func(t *testing.T) {
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

// The published key set verifies codes and cannot sign them.
func TestPublicKeysVerifyCodes(t *testing.T) {
	t.Parallel()
	set, err := newSigner(t, "a").PublicKeys()
	require.NoError(t, err)
	require.Len(t, set.Keys, 1)
	key := set.Keys[0]
	require.Equal(t, []string{"OKP", "Ed25519", "EdDSA", "sig"},
		[]string{key.KTY.String(), key.CRV.String(), key.ALG.String(), key.USE.String()})
	require.Empty(t, key.D)
	public := ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", ed25519.SeedSize))).Public().(ed25519.PublicKey)
	require.Equal(t, base64.RawURLEncoding.EncodeToString(public), key.X)

	code, err := newSigner(t, "a").Code(newTicket())
	require.NoError(t, err)
	token, _, err := jwt.NewParser().ParseUnverified(code, jwt.MapClaims{})
	require.NoError(t, err)
	require.Equal(t, token.Header["kid"], key.KID)
}

func TestVerifyRefusesForeignCodes(t *testing.T) {
	t.Parallel()
	signer, admission := newSigner(t, "a"), newTicket()
	code, err := signer.Code(admission)
	require.NoError(t, err)
	another, err := newSigner(t, "b").Code(admission)
	require.NoError(t, err)
	part := strings.Split(code, ".")
	tampered := base64.RawURLEncoding.EncodeToString([]byte(
		`{"sub":"` + uuid.NewString() + `","aud":["check-in"],"ver":1}`))

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
	// Each code below differs from this good one in a single way.
	_, _, err = signer.Verify(sign(jwt.SigningMethodEdDSA, key, "check-in"))
	require.NoError(t, err)

	for name, bad := range map[string]string{
		"Empty":                  "",
		"NoJWT":                  "a.b.c",
		"TicketID":               admission.ID.String(),
		"OtherKey":               another,
		"TamperedPayload":        part[0] + "." + tampered + "." + part[2],
		"OtherSignature":         part[0] + "." + part[1] + "." + strings.Split(another, ".")[2],
		"SignatureCutOff":        part[0] + "." + part[1] + ".",
		"AlgNone":                sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "check-in"),
		"HS256UnderThePublicKey": sign(jwt.SigningMethodHS256, public, "check-in"),
		"NoTicketID":             signFor("VIP", jwt.SigningMethodEdDSA, key, "check-in"),
		"AccessToken":            sign(jwt.SigningMethodEdDSA, key, "event-booking"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, version, err := signer.Verify(bad)
			require.ErrorIs(t, err, ticket.ErrInvalidCode)
			require.Empty(t, id)
			require.Zero(t, version)
		})
	}
}

// FuzzVerify checks that no scanned text makes Verify panic, and that Verify accepts only what its key has signed.
func FuzzVerify(f *testing.F) {
	signer := newSigner(f, "a")
	public := ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", ed25519.SeedSize))).Public().(ed25519.PublicKey)
	code, err := signer.Code(newTicket())
	require.NoError(f, err)
	other, err := newSigner(f, "b").Code(newTicket())
	require.NoError(f, err)
	part := strings.Split(code, ".")
	for _, text := range []string{
		code, other, "", ".", "..", "...", part[0] + "." + part[1] + ".", part[0] + ".." + part[2], " " + code, code + "\n",
		part[0] + "." + part[1] + "." + strings.Split(other, ".")[2], "TKT-2026-000042", "https://tickets.test/" + code,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, _, err := signer.Verify(text)
		if err != nil {
			require.ErrorIs(t, err, ticket.ErrInvalidCode)
			require.Zero(t, id)
			return
		}
		part := strings.Split(text, ".")
		require.Len(t, part, 3)
		signature, err := base64.RawURLEncoding.DecodeString(part[2])
		require.NoError(t, err)
		require.True(t, ed25519.Verify(public, []byte(part[0]+"."+part[1]), signature))
	})
}

// FuzzCode checks that Verify returns what Code has signed, and that another key's Signer refuses it.
func FuzzCode(f *testing.F) {
	signer, other := newSigner(f, "a"), newSigner(f, "b")
	f.Add([]byte("0123456789abcdef"), 1, int64(1_900_000_000))
	f.Add(make([]byte, 16), -1, int64(0))
	f.Fuzz(func(t *testing.T, id []byte, version int, created int64) {
		ticketID, err := uuid.FromBytes(id)
		if err != nil {
			t.Skip("not the bytes of a UUID")
		}
		const yearTenThousand = 253_402_300_800
		code, err := signer.Code(ticket.Ticket{
			ID: ticketID, CodeVersion: version, CreatedAt: time.Unix(created%yearTenThousand, 0),
		})
		require.NoError(t, err)
		verifiedID, verifiedVersion, err := signer.Verify(code)
		require.NoError(t, err)
		require.Equal(t, ticketID, verifiedID)
		require.Equal(t, version, verifiedVersion)
		_, _, err = other.Verify(code)
		require.ErrorIs(t, err, ticket.ErrInvalidCode)
	})
}

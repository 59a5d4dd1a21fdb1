package identity_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
)

const kid = "key-1"

// issuer stands in for auth-service: it has a signing key and publishes its key set.
type issuer struct {
	private ed25519.PrivateKey
	public  ed25519.PublicKey
	keys    string       // URL of the key set
	up      *atomic.Bool // whether that URL answers
	fetched *atomic.Int32
}

func newIssuer(t *testing.T) issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{KID: kid, ALG: jwkset.AlgEdDSA, USE: jwkset.UseSig},
	})
	require.NoError(t, err)
	set := jwkset.NewMemoryStorage()
	require.NoError(t, set.KeyWrite(t.Context(), key))
	body, err := set.JSONPublic(t.Context())
	require.NoError(t, err)

	up, fetched := &atomic.Bool{}, &atomic.Int32{}
	up.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write(body)
		fetched.Add(1)
	}))
	t.Cleanup(server.Close)
	return issuer{private, public, server.URL, up, fetched}
}

func (i issuer) verifier(t *testing.T) identity.Verifier {
	t.Helper()
	v, err := identity.FetchKeys(t.Context(), http.DefaultClient, i.keys)
	require.NoError(t, err)
	return v
}

func TestKeyFetchesAreNotAbandoned(t *testing.T) {
	t.Parallel()
	var fetches, abandoned atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetches.Add(1)
		select {
		case <-r.Context().Done():
			abandoned.Add(1)
		case <-time.After(300 * time.Millisecond):
			_, _ = w.Write([]byte(`{"keys":[]}`))
		}
	}))
	t.Cleanup(server.Close)
	v := issuer{keys: server.URL}.verifier(t)
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	token := sign(t, jwt.SigningMethodEdDSA, key, "unknown", claims(nil))
	// After the burst that the rate limit allows, a fetch waits for almost as long as it may.
	require.Eventually(t, func() bool {
		_, err := v.Verify(t.Context(), token)
		require.ErrorIs(t, err, identity.ErrKeysUnavailable)
		return fetches.Load() >= 7
	}, 20*time.Second, 10*time.Millisecond)
	require.Zero(t, abandoned.Load(), "of %d fetches", fetches.Load())
}

var ada = identity.User{
	ID: uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"), Name: "Ada Lovelace",
	Roles: []identity.Role{identity.RoleUser, identity.RoleOrganizer},
}

func claims(change func(*identity.AccessClaims)) identity.AccessClaims {
	now := time.Now()
	c := identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: ada.ID.String(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(15 * time.Minute)),
		},
		Name: ada.Name, Roles: ada.Roles,
	}
	if change != nil {
		change(&c)
	}
	return c
}

// sign returns a token whose header has the key id.
func sign(t *testing.T, method jwt.SigningMethod, key crypto.PrivateKey, id string, c jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = id
	signed, err := token.SignedString(key)
	require.NoError(t, err)
	return signed
}

func TestVerifyReturnsTheUser(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	got, err := issuer.verifier(t).Verify(t.Context(), sign(t, jwt.SigningMethodEdDSA, issuer.private, kid, claims(nil)))
	require.NoError(t, err)
	require.Equal(t, ada, got)
	require.True(t, got.Has(identity.RoleOrganizer))
	require.False(t, got.Has(identity.RoleAdmin))
}

func TestVerifyRejects(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	verifier := issuer.verifier(t)
	good := sign(t, jwt.SigningMethodEdDSA, issuer.private, kid, claims(nil))
	_, mallory, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	publicDER, err := x509.MarshalPKIXPublicKey(issuer.public)
	require.NoError(t, err)
	ours := func(change func(*identity.AccessClaims)) string {
		return sign(t, jwt.SigningMethodEdDSA, issuer.private, kid, claims(change))
	}
	signed := func(method jwt.SigningMethod, key crypto.PrivateKey) string {
		return sign(t, method, key, kid, claims(nil))
	}
	service, err := identity.SignServiceToken([]byte("secret"), "payment-service")
	require.NoError(t, err)

	for _, tt := range []struct {
		name, token string
		want        error
	}{
		{"Empty", "", identity.ErrTokenInvalid},
		{"Garbage", "not.a.token", identity.ErrTokenInvalid},
		{"CutOff", good[:len(good)-4], identity.ErrTokenInvalid},
		{"Expired", ours(func(c *identity.AccessClaims) {
			c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute))
		}), identity.ErrTokenExpired},
		{"WithoutExpiry", ours(func(c *identity.AccessClaims) { c.ExpiresAt = nil }), identity.ErrTokenInvalid},
		{"NotYetValid", ours(func(c *identity.AccessClaims) {
			c.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Hour))
		}), identity.ErrTokenInvalid},
		{"OtherIssuer", ours(func(c *identity.AccessClaims) { c.Issuer = "evil" }), identity.ErrTokenInvalid},
		{"NoIssuer", ours(func(c *identity.AccessClaims) { c.Issuer = "" }), identity.ErrTokenInvalid},
		{"OtherAudience", ours(func(c *identity.AccessClaims) {
			c.Audience = jwt.ClaimStrings{"other"}
		}), identity.ErrTokenInvalid},
		{"NoAudience", ours(func(c *identity.AccessClaims) { c.Audience = nil }), identity.ErrTokenInvalid},
		{"SubjectNotAUser", ours(func(c *identity.AccessClaims) { c.Subject = "admin" }), identity.ErrTokenInvalid},
		{"OtherKeyUnderOurKid", signed(jwt.SigningMethodEdDSA, mallory), identity.ErrTokenInvalid},
		{"AlgNone", signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType), identity.ErrTokenInvalid},
		{"HS256WithThePublicKey", signed(jwt.SigningMethodHS256, []byte(issuer.public)), identity.ErrTokenInvalid},
		{"HS256WithThePublicKeyAsDER", signed(jwt.SigningMethodHS256, publicDER), identity.ErrTokenInvalid},
		{"RS256", signed(jwt.SigningMethodRS256, rsaKey), identity.ErrTokenInvalid},
		{"ServiceToken", service, identity.ErrTokenInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := verifier.Verify(t.Context(), tt.token)
			require.ErrorIs(t, err, tt.want)
		})
	}
}

func TestVerifierRecoversWhenKeysArrive(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	issuer.up.Store(false)
	verifier := issuer.verifier(t)
	token := sign(t, jwt.SigningMethodEdDSA, issuer.private, kid, claims(nil))
	_, err := verifier.Verify(t.Context(), token)
	require.ErrorIs(t, err, identity.ErrKeysUnavailable, "the token is valid, so its user must not have to sign in again")

	issuer.up.Store(true)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := verifier.Verify(t.Context(), token)
		require.NoError(c, err)
	}, 15*time.Second, 50*time.Millisecond)

	// The unknown key id may be that of a new key of auth-service.
	issuer.up.Store(false)
	_, err = verifier.Verify(t.Context(), sign(t, jwt.SigningMethodEdDSA, issuer.private, "new", claims(nil)))
	require.ErrorIs(t, err, identity.ErrKeysUnavailable)
	_, err = verifier.Verify(t.Context(), token)
	require.NoError(t, err, "a known key needs no fetch")
}

func TestKeysAreFetchedWithoutWaitingForAToken(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	issuer.up.Store(false)
	verifier := issuer.verifier(t)
	issuer.up.Store(true)
	require.Eventually(t, func() bool { return issuer.fetched.Load() > 0 }, 15*time.Second, 50*time.Millisecond)
	issuer.up.Store(false)
	token := sign(t, jwt.SigningMethodEdDSA, issuer.private, kid, claims(nil))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := verifier.Verify(t.Context(), token)
		require.NoError(c, err, "the keys were fetched before auth-service went down")
	}, 15*time.Second, 50*time.Millisecond)
}

func TestVerifyServiceTokenRejects(t *testing.T) {
	t.Parallel()
	secret := []byte("the secret of all services")
	issuer := newIssuer(t)
	type serviceClaims struct {
		jwt.RegisteredClaims
		Type string `json:"type,omitempty"`
	}
	with := func(change func(*serviceClaims)) serviceClaims {
		c := serviceClaims{jwt.RegisteredClaims{
			Subject: "payment-service", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
		}, "SERVICE"}
		change(&c)
		return c
	}
	good, err := identity.SignServiceToken(secret, "payment-service")
	require.NoError(t, err)
	service, err := identity.VerifyServiceToken(secret, good)
	require.NoError(t, err)
	require.Equal(t, "payment-service", service)

	for _, tt := range []struct{ name, token string }{
		{"Empty", ""},
		{"Garbage", "a.b.c"},
		{"OtherSecret", sign(t, jwt.SigningMethodHS256, []byte("guess"), kid, with(func(*serviceClaims) {}))},
		{"OtherAlgorithm", sign(t, jwt.SigningMethodHS512, secret, kid, with(func(*serviceClaims) {}))},
		{"AlgNone", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid, with(func(*serviceClaims) {}))},
		{"Expired", sign(t, jwt.SigningMethodHS256, secret, kid, with(func(c *serviceClaims) {
			c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute))
		}))},
		{"WithoutExpiry", sign(t, jwt.SigningMethodHS256, secret, kid, with(func(c *serviceClaims) { c.ExpiresAt = nil }))},
		{"WithoutType", sign(t, jwt.SigningMethodHS256, secret, kid, with(func(c *serviceClaims) { c.Type = "" }))},
		{"OtherType", sign(t, jwt.SigningMethodHS256, secret, kid, with(func(c *serviceClaims) { c.Type = "USER" }))},
		{"WithoutSubject", sign(t, jwt.SigningMethodHS256, secret, kid, with(func(c *serviceClaims) { c.Subject = "" }))},
		{"UserToken", sign(t, jwt.SigningMethodEdDSA, issuer.private, kid, claims(nil))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := identity.VerifyServiceToken(secret, tt.token)
			require.ErrorIs(t, err, identity.ErrServiceTokenInvalid)
		})
	}
}

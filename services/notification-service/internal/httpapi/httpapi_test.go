package httpapi_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/httpapi"
)

const appAPIToken = "app API token of this test"

// bundle is the service over HTTP.
type bundle struct {
	*couriertest.Bundle
	url string
	key ed25519.PrivateKey
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	b := &bundle{Bundle: couriertest.New(t), key: private}
	deps := httpapi.Deps{
		Store: b.Store, Courier: b.Courier,
		Guard: identity.Guard{
			Verifier: identity.Verifier{Keys: func(context.Context) jwt.Keyfunc {
				return func(*jwt.Token) (any, error) { return public, nil }
			}},
			AppAPIToken: appAPIToken,
		},
		Database: web.Check{Name: "database", Probe: b.Pool.Ping},
	}
	server := httptest.NewServer(router(b.Pool, deps))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// router returns the routes of the service with those of its consumer, as main does.
func router(pool *pgxpool.Pool, deps httpapi.Deps) *mux.Router {
	r := httpapi.New(deps)
	app.Consumer{
		Config: deadletter.Config{
			Service: "notification-service", API: "/api/notifications",
			Queues: messaging.Queues{Main: "notification-queue"},
		},
		Pool: pool, Handlers: deps.Courier.Handlers(),
	}.Mount(r, deps.Guard)
	return r
}

// send sends a request of the user, or one without a token if userID is empty. It returns the status and the body of
// the response.
func (b *bundle) send(t *testing.T, method, path, userID string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, nil)
	require.NoError(t, err)
	if userID != "" {
		token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: userID,
				ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
			},
		}).SignedString(b.key)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return do(t, req)
}

// sendEvent sends a body as the sidecar delivers events, with its token.
func (b *bundle) sendEvent(t *testing.T, path, token, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("dapr-api-token", token)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	status, _ := do(t, req)
	return status
}

func do(t *testing.T, req *http.Request) (status int, body string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(content)
}

// page is a page of a user's notifications.
type page struct {
	Notifications []struct {
		NotificationID, Kind, Status, OrderID string
		CreatedAt                             time.Time
		SentAt                                *time.Time
	}
	NextCursor string
}

// list returns a page of the user's notifications.
func (b *bundle) list(t *testing.T, userID, query string) page {
	t.Helper()
	status, body := b.send(t, http.MethodGet, "/api/notifications"+query, userID)
	require.Equal(t, http.StatusOK, status, body)
	var p page
	require.NoError(t, json.Unmarshal([]byte(body), &p))
	return p
}

// resend requests a resend. It returns the status and, of a refusal, the error code.
func (b *bundle) resend(t *testing.T, userID, id string) (status int, code string) {
	t.Helper()
	status, body := b.send(t, http.MethodPost, "/api/notifications/"+id+"/resend", userID)
	var refusal struct{ Error string }
	if body != "" {
		require.NoError(t, json.Unmarshal([]byte(body), &refusal))
	}
	return status, refusal.Error
}

// requireResend requests a resend that must be accepted.
func (b *bundle) requireResend(t *testing.T, userID, id string) {
	t.Helper()
	status, code := b.resend(t, userID, id)
	require.Equal(t, http.StatusAccepted, status, code)
}

// requireResendRefused requests a resend that must be refused.
func (b *bundle) requireResendRefused(t *testing.T, userID, id string, status int, code string) {
	t.Helper()
	gotStatus, gotCode := b.resend(t, userID, id)
	require.Equal(t, status, gotStatus)
	require.Equal(t, code, gotCode)
}

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	deps := httpapi.Deps{Courier: courier.New(nil, nil, courier.Config{})}
	contracttest.Routes(t, router(nil, deps), "notification-service")
}

package identity

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/mux"
	"golang.org/x/time/rate"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Guard protects routes. Its methods wrap a handler and return an error to callers without access.
type Guard struct {
	Verifier      Verifier
	ServiceSecret []byte
	AppAPIToken   string
}

const (
	// keysInterval is the pause between fetches until there are keys, and between fetches because of unknown key ids.
	keysInterval = 3 * time.Second
	// keysTimeout bounds a fetch of the keys. It is longer than all attempts of the sidecar.
	keysTimeout = 10 * time.Second
)

// FetchKeys returns a Verifier with a copy of auth-service's key set, which it keeps up to date until ctx is done. url
// is the key set's URL at the sidecar, and client authenticates to the sidecar. The set is fetched again every 10
// minutes, and when a token has an unknown key id, for that reason at most every 3 s on average. auth-service may start
// later: until there are keys, they are fetched every 3 s, and Verify returns ErrKeysUnavailable.
func FetchKeys(ctx context.Context, client *http.Client, url string) (Verifier, error) {
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{url}, keyfunc.Override{
		Client:            &http.Client{Transport: detached{client}},
		HTTPTimeout:       keysTimeout,
		RefreshInterval:   10 * time.Minute,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(keysInterval), 3),
		RateLimitWaitMax:  keysInterval,
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(ctx context.Context, err error) {
				slog.WarnContext(ctx, "fetch keys of auth-service failed", "error", err.Error())
				if failed, ok := ctx.Value(fetchFailed{}).(*bool); ok {
					*failed = true
				}
			}
		},
	})
	if err != nil {
		return Verifier{}, err
	}
	go func() {
		for {
			if known, err := keys.Storage().KeyReadAll(ctx); err == nil && len(known) > 0 {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(keysInterval):
				_, _ = keys.Storage().KeyRead(ctx, "") // an unknown key id causes a fetch
			}
		}
	}()
	return Verifier{Keys: func(ctx context.Context) jwt.Keyfunc {
		return func(token *jwt.Token) (any, error) {
			failed := false
			key, err := keys.KeyfuncCtx(context.WithValue(ctx, fetchFailed{}, &failed))(token)
			if err == nil {
				return key, nil
			}
			// Without keys, or when the fetch for this one failed, the token may be valid.
			known, listErr := keys.Storage().KeyReadAll(ctx)
			if failed || listErr != nil || len(known) == 0 {
				return nil, ErrKeysUnavailable.Because(err)
			}
			return nil, err
		}
	}}, nil
}

// detached completes requests whose caller was cancelled, for example because its deadline passed while it waited for
// the rate limit of fetches. A sidecar counts an abandoned call as a failure. If it was the trial call of a half-open
// circuit breaker, the breaker opens again, and no keys can be fetched for another 30 s.
type detached struct{ client *http.Client }

// RoundTrip reads the whole response, within keysTimeout.
func (d detached) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), keysTimeout)
	defer cancel()
	res, err := d.client.Do(r.WithContext(ctx)) //nolint:gosec // to the URL that FetchKeys was called with
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// fetchFailed is the key of a *bool in a context. A fetch with this context sets it when it fails.
type fetchFailed struct{}

type userKey struct{}

// CurrentUser returns the user that Person has authenticated. In a handler without Person, which is a bug, it returns
// the zero User, who owns nothing.
func CurrentUser(ctx context.Context) User {
	u, _ := ctx.Value(userKey{}).(User)
	return u
}

// Person calls h for requests with a valid access token. If there are roles, the user must have one of them. It returns
// ErrNoToken, ErrForbidden or an error of Verify.
func (g Guard) Person(h web.Handler, roles ...Role) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !found {
			return ErrNoToken
		}
		user, err := g.Verifier.Verify(r.Context(), token)
		if err != nil {
			return err
		}
		if len(roles) > 0 && !slices.ContainsFunc(roles, user.Has) {
			return ErrForbidden
		}
		return h(w, r.WithContext(context.WithValue(r.Context(), userKey{}, user)))
	}
}

// Service registers route on router. It calls h for a request that comes through the sidecar with the service token of
// one of the route's callers or of an app in others. The token is in X-Service-Token, with the app-id in
// X-Service-Name, or in the header "Authorization: Service-Token ...". Other requests are answered with ErrNotSidecar,
// ErrServiceTokenInvalid or ErrServiceForbidden.
func (g Guard) Service(router *mux.Router, route calls.Route, h web.Handler, others ...string) {
	guarded := func(w http.ResponseWriter, r *http.Request) error {
		if !g.BySidecar(r) {
			return ErrNotSidecar
		}
		token, inAuthorization := strings.CutPrefix(r.Header.Get("Authorization"), "Service-Token ")
		if !inAuthorization {
			token = r.Header.Get("X-Service-Token")
		}
		service, err := VerifyServiceToken(g.ServiceSecret, token)
		if err != nil {
			return err
		}
		if !inAuthorization && r.Header.Get("X-Service-Name") != service {
			return ErrServiceTokenInvalid
		}
		if !slices.Contains(route.Callers, service) && !slices.Contains(others, service) {
			return ErrServiceForbidden
		}
		return h(w, r)
	}
	// In this order: if mux matches the method first, it answers 404 instead of 405 on the other routes.
	router.Path(route.Path).Methods(route.Method).Handler(web.Handler(guarded))
}

// Sidecar calls h for requests of the sidecar itself: messages and triggers of bindings. They have APP_API_TOKEN. So do
// requests that the sidecar forwards for other apps, but these name the app, and Sidecar returns ErrNotSidecar for
// them.
func (g Guard) Sidecar(h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		// Dapr sets these headers on every forwarded request, and replaces what the caller has sent.
		invoked := len(r.Header.Values("Dapr-Caller-App-Id")) > 0 || len(r.Header.Values("Dapr-Callee-App-Id")) > 0
		if invoked || !g.BySidecar(r) {
			return ErrNotSidecar
		}
		return h(w, r)
	}
}

// BySidecar reports whether a request has the sidecar's APP_API_TOKEN.
func (g Guard) BySidecar(r *http.Request) bool {
	// Dapr sends it in this header (Dapr docs, "Authenticate requests from Dapr using token authentication").
	token := r.Header.Get("dapr-api-token")
	// If no token is configured, a request without one must not pass.
	return g.AppAPIToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(g.AppAPIToken)) == 1
}

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

	"github.com/eventbooking/eventbooking/services/contracts/callers"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Guard protects routes. It wraps handlers of web's kind.
type Guard struct {
	Verifier      Verifier
	ServiceSecret []byte
	AppAPIToken   string
}

const (
	// keysAgain is how soon one who has no keys asks again, and how often at most somebody asks because of a token.
	keysAgain = 3 * time.Second
	// keysTimeout is how long a look at the keys may take: longer than a sidecar tries.
	keysTimeout = 10 * time.Second
)

// FetchKeys keeps a copy of the key set at url, which leads through the sidecar to auth-service, until
// ctx ends; client is what the sidecar lets in. A token with a key id not seen before makes it look again, every few seconds at most.
// auth-service need not be up yet: until there are keys, it looks every few seconds without a token too, and tokens are
// answered ErrKeysUnavailable.
func FetchKeys(ctx context.Context, client *http.Client, url string) (Verifier, error) {
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{url}, keyfunc.Override{
		Client:            &http.Client{Transport: finishing{client}},
		HTTPTimeout:       keysTimeout,
		RefreshInterval:   10 * time.Minute,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(keysAgain), 3),
		RateLimitWaitMax:  keysAgain,
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(ctx context.Context, err error) {
				slog.WarnContext(ctx, "auth-service's keys not fetched, trying again", "error", err.Error())
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
			case <-time.After(keysAgain):
				_, _ = keys.Storage().KeyRead(ctx, "") // no key's id, which makes it look
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
			// Who has no keys at all, or could not look for this one, cannot call a token invalid.
			known, listErr := keys.Storage().KeyReadAll(ctx)
			if failed || listErr != nil || len(known) == 0 {
				return nil, ErrKeysUnavailable.Because(err)
			}
			return nil, err
		}
	}}, nil
}

// finishing sees requests through whose caller has no time left for them, since it spent that waiting for its turn. A
// sidecar takes a call that is given up for a failure, and if that was the one by which its circuit breaker, half open, was to learn
// that auth-service is back, nobody gets keys for another half a minute.
type finishing struct{ client *http.Client }

// RoundTrip reads the answer whole.
func (f finishing) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), keysTimeout)
	defer cancel()
	res, err := f.client.Do(r.WithContext(ctx)) //nolint:gosec // to where FetchKeys was told to look
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

// fetchFailed is the key of a context's *bool that a fetch on its behalf sets when it fails.
type fetchFailed struct{}

type userKey struct{}

// CurrentUser gives the person that Person let through. Calling it behind no Person is a bug and
// gives the zero User, who owns nothing.
func CurrentUser(ctx context.Context) User {
	u, _ := ctx.Value(userKey{}).(User)
	return u
}

// Person lets a request with a valid access token through to h; if roles are named, only a user who
// has one of them.
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

// Service lets a request of a service that package callers names for the route, or of one of those
// named here as well, through to h, if it came by the sidecar. The route is mux's. The token comes in
// X-Service-Token with X-Service-Name, or as "Authorization: Service-Token ...".
func (g Guard) Service(h web.Handler, others ...string) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !g.BySidecar(r) {
			return ErrNotSidecar
		}
		token, alone := strings.CutPrefix(r.Header.Get("Authorization"), "Service-Token ")
		if !alone {
			token = r.Header.Get("X-Service-Token")
		}
		service, err := VerifyServiceToken(g.ServiceSecret, token)
		if err != nil {
			return err
		}
		if !alone && r.Header.Get("X-Service-Name") != service {
			return ErrServiceTokenInvalid
		}
		path, err := mux.CurrentRoute(r).GetPathTemplate()
		if err != nil {
			return fmt.Errorf("which route this is: %w", err)
		}
		if !callers.May(service, r.Method, path) && !slices.Contains(others, service) {
			return ErrServiceForbidden
		}
		return h(w, r)
	}
}

// Sidecar lets a request through to h only if it shows the sidecar's APP_API_TOKEN and is the sidecar's
// own: a message or a tick of a clock. The sidecar shows its token with what it hands on for other
// services as well; those it names.
func (g Guard) Sidecar(h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		// Dapr sets these on every invocation from elsewhere, whatever the caller sends by that name.
		invoked := len(r.Header.Values("Dapr-Caller-App-Id")) > 0 || len(r.Header.Values("Dapr-Callee-App-Id")) > 0
		if invoked || !g.BySidecar(r) {
			return ErrNotSidecar
		}
		return h(w, r)
	}
}

// BySidecar reports whether a request shows the sidecar's APP_API_TOKEN.
func (g Guard) BySidecar(r *http.Request) bool {
	// Dapr sends it in this header (Dapr docs, "Authenticate requests from Dapr using token authentication").
	shown := r.Header.Get("dapr-api-token")
	// Without a token configured nothing is the sidecar: no token would equal no token.
	return g.AppAPIToken != "" && subtle.ConstantTimeCompare([]byte(shown), []byte(g.AppAPIToken)) == 1
}

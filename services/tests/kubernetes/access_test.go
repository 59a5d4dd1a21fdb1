//go:build kubernetes

package kubernetes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

var pathVariable = regexp.MustCompile(`\{[^}]*\}`)

// example replaces the variables of a path with an id.
func example(path string) string {
	return pathVariable.ReplaceAllString(path, "550e8400-e29b-41d4-a716-446655440000")
}

// refusal is the answer to a request that is refused.
type refusal struct {
	status int
	code   string // the error code of the contract, or Dapr's
	body   string
}

// request sends an empty JSON object and returns the answer.
func request(ctx context.Context, method, url string, header map[string]string) (refusal, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("{}"))
	if err != nil {
		return refusal{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return refusal{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	var code struct{ Error, ErrorCode string } // of the contract, and of Dapr
	_ = json.Unmarshal(body, &code)
	return refusal{status: res.StatusCode, code: code.Error + code.ErrorCode, body: string(body)}, err
}

// sidecarsRefuseOtherCallers calls each internal route from the pod of each other service. The callee's sidecar has to
// refuse callers that the table of calls does not list. It has to forward the calls of the others to the app, which
// refuses them for their missing token.
func (c *cluster) sidecarsRefuseOtherCallers(ctx context.Context, t *testing.T) {
	t.Helper()
	header := map[string]string{"dapr-api-token": string(c.secret(ctx, t, "dapr-api-token", "token"))}
	forwarding, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	for _, caller := range contracttest.Services() {
		sidecar := "http://" + c.forward(forwarding, t, "deployment/"+caller, 3500)
		group.Go(func() error {
			for _, r := range calls.Table() {
				if r.App == caller {
					continue
				}
				url := sidecar + "/v1.0/invoke/" + r.App + "/method" + example(r.Path)
				got, err := request(ctx, r.Method, url, header)
				if err != nil {
					return err
				}
				call := fmt.Sprintf("%s calls %s %s: %s", caller, r.Method, r.Path, got.body)
				if calls.May(caller, r.Method, r.Path) {
					assert.Equal(t, http.StatusUnauthorized, got.status, call)
					assert.Equal(t, "SERVICE_TOKEN_INVALID", got.code, call)
					continue
				}
				assert.Equal(t, http.StatusForbidden, got.status, call)
				assert.Contains(t, got.body, "access control policy has denied access", call)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	sidecar := "http://" + c.forward(forwarding, t, "deployment/ticket-service", 3500)
	got, err := request(ctx, http.MethodGet, sidecar+"/v1.0/metadata", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, got.status, "a call without the sidecar's token: %s", got.body)
}

// appsRefuseCallsPastSidecars calls each internal route at the app's own port, with the token of a service that may
// call it but without the sidecar's token.
func (c *cluster) appsRefuseCallsPastSidecars(ctx context.Context, t *testing.T) {
	t.Helper()
	var secrets map[string]string
	require.NoError(t, json.Unmarshal(c.secret(ctx, t, "ticket-service-secrets", "secrets.json"), &secrets))
	forwarding, stop := context.WithCancel(ctx)
	defer stop()
	apps := map[string]string{}
	for _, app := range contracttest.Services() {
		apps[app] = "http://" + c.forward(forwarding, t, "service/"+app, 80)
	}
	for _, r := range calls.Table() {
		token, err := identity.SignServiceToken([]byte(secrets["service-auth-secret"]), r.Callers[0])
		require.NoError(t, err)
		got, err := request(ctx, r.Method, apps[r.App]+example(r.Path),
			map[string]string{"X-Service-Name": r.Callers[0], "X-Service-Token": token})
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, got.status, "%s %s: %s", r.Method, r.Path, got.body)
		require.Equal(t, "SIDECAR_ONLY", got.code)
	}
}

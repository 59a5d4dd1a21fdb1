//go:build kubernetes

package kubernetes_test

import (
	"context"
	"encoding/json"
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

var variable = regexp.MustCompile(`\{[^}]*\}`)

// example is a path as it is called.
func example(path string) string {
	return variable.ReplaceAllString(path, "550e8400-e29b-41d4-a716-446655440000")
}

// ask makes a request of no content, and gives the status and what is said of it.
func ask(ctx context.Context, method, url string, header map[string]string) (status int, code, message string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("{}"))
	if err != nil {
		return 0, "", "", err
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	var answer struct{ Error, ErrorCode string } // the contract's, and Dapr's
	_ = json.Unmarshal(body, &answer)
	return res.StatusCode, answer.Error + answer.ErrorCode, string(body), err
}

// refuseAtTheSidecars calls each internal route from each other service's pod. The callee's sidecar has to refuse whom the table
// of callers does not name, and to pass the others on to its app, which misses their token.
func (c *cluster) refuseAtTheSidecars(ctx context.Context, t *testing.T) {
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
				status, code, message, err := ask(ctx, r.Method, sidecar+"/v1.0/invoke/"+r.App+"/method"+example(r.Path), header)
				if err != nil {
					return err
				}
				if calls.May(caller, r.Method, r.Path) {
					assert.Equal(t, http.StatusUnauthorized, status, "%s calls %s %s: %s", caller, r.Method, r.Path, message)
					assert.Equal(t, "SERVICE_TOKEN_INVALID", code)
					continue
				}
				assert.Equal(t, http.StatusForbidden, status, "%s calls %s %s: %s", caller, r.Method, r.Path, message)
				assert.Contains(t, message, "access control policy has denied access")
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	status, _, message, err := ask(ctx, http.MethodGet, "http://"+c.forward(forwarding, t, "deployment/ticket-service", 3500)+"/v1.0/metadata", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, status, "a sidecar whose token nobody shows says: %s", message)
}

// refuseAtTheApps calls each internal route at the app's own port with the token of a service that may call it, and which only
// lacks the sidecar's.
func (c *cluster) refuseAtTheApps(ctx context.Context, t *testing.T) {
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
		status, code, message, err := ask(ctx, r.Method, apps[r.App]+example(r.Path),
			map[string]string{"X-Service-Name": r.Callers[0], "X-Service-Token": token})
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, status, "%s %s: %s", r.Method, r.Path, message)
		require.Equal(t, "SIDECAR_ONLY", code)
	}
}

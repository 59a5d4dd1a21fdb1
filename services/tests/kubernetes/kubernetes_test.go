//go:build kubernetes

// Package kubernetes_test installs the system on a real cluster with the shell lines of deploy/kubernetes/README.md,
// and tests it there: users buy through the ingress, sidecars refuse calls that the table of calls does not list, apps
// refuse calls that bypass their sidecars, and neither a rollout nor a crash loses a purchase.
//
// The cluster is temporary and has a single node (package node). It has no registry, so the test builds the images. It
// has no ingress controller, so the test forwards requests by the rules of the Ingress. It has no network plugin that
// enforces policies, so requests that network policies would drop arrive, and the apps have to refuse them.
//
// `make test-kubernetes` runs it, as root. With KEEP=1 the node's directory stays, with the logs of the node and the
// pods.
package kubernetes_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/tests/kubernetes/node"
)

func TestMain(m *testing.M) {
	if err := node.Requirements(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "kubernetes: NOT RUN: a node cannot run on this machine:\n%v\n", err)
		if os.Getenv("IF_POSSIBLE") != "" {
			os.Exit(0)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// progress prints a line about the progress of the test.
func progress(format string, args ...any) {
	fmt.Printf("kubernetes: "+format+"\n", args...)
}

// Each step depends on the steps before it.
func TestSystemOnACluster(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := start(ctx, t)
	for _, step := range []struct {
		name string
		run  func(context.Context, *testing.T)
	}{
		{"Dapr", c.installDapr},
		{"System", c.installSystem},
		{"Demo", c.runDemo},
		{"Readme", c.buyAsInTheReadme},
		{"Ingress", c.ingressRefusesInternalRoutes},
		{"AccessControl", c.sidecarsRefuseOtherCallers},
		{"PastTheSidecars", c.appsRefuseCallsPastSidecars},
		{"Rollout", c.rollOut},
		{"Crashes", c.crash},
		{"Audit", c.audit},
	} {
		began := time.Now()
		progress("%s ...", step.name)
		if !t.Run(step.name, func(t *testing.T) { step.run(ctx, t) }) {
			return
		}
		progress("%s: passed after %s", step.name, time.Since(began).Round(100*time.Millisecond))
	}
}

// installDapr installs Dapr's chart with the values of the README, but without actors and jobs, which the system does
// not use.
func (c *cluster) installDapr(ctx context.Context, t *testing.T) {
	t.Helper()
	values := regexp.MustCompile(`dapr init -k .*--set (\S+)`).FindStringSubmatch(readme(t, "dapr init -k"))
	require.NotNil(t, values)
	for _, part := range []struct {
		chart []string
		wait  string
	}{
		{[]string{"-crds"}, "--for=condition=Established crd"},
		{
			[]string{"-set", values[1], "-set", "global.actors.enabled=false,global.scheduler.enabled=false"},
			"--for=condition=Available -n dapr-system deployment",
		},
	} {
		render := append([]string{"run", "-C", "tools/dapr-chart", "."}, part.chart...)
		manifests, err := c.program(ctx, "go", render...).Output()
		require.NoError(t, err)
		_, err = c.KubectlIn(ctx, bytes.NewReader(manifests), "apply", "--server-side", "-f", "-")
		require.NoError(t, err)
		c.kubectl(ctx, t, append([]string{"wait", "--all", "--timeout=5m"}, strings.Fields(part.wait)...)...)
	}
}

// installSystem runs the lines of the README that come after the installation of Dapr and the images. It waits until
// all services accept access tokens.
func (c *cluster) installSystem(ctx context.Context, t *testing.T) {
	t.Helper()
	_, lines, found := strings.Cut(readme(t, "kubectl apply -k"), "done\n")
	require.True(t, found, "no lines follow the images")
	c.shell(ctx, t, lines)
	for _, pod := range c.pods(ctx, t) {
		require.ElementsMatch(t, []string{"app", "daprd"}, pod.ready(), pod.Metadata.Name)
	}
	c.serveIngress(ctx, t)
	c.mail = demo.Sink("http://" + c.forward(ctx, t, "service/mail", 1080))
	// An app fetches auth-service's keys when it starts. If it looks up the name before any pod is ready, the name stays
	// unknown for 30 s, which is how long the cluster's DNS caches an answer.
	user, err := c.people.Join(ctx, "Ben", "Ito", false)
	require.NoError(t, err)
	for _, path := range []string{
		"/api/events/mine", "/api/tickets/mine", "/api/payments/orders", "/api/notifications", "/api/analytics/events",
	} {
		c.await(ctx, t, "tokens to be accepted at "+path, func() error {
			err := c.people.Do(ctx, demo.Request{Method: http.MethodGet, Path: path, Token: user.Token}, nil)
			got, refused := errors.AsType[*demo.Refusal](err)
			if refused && got.Status < http.StatusInternalServerError {
				return nil
			}
			return err
		})
	}
}

// runDemo runs the steps of `make demo` through the ingress.
func (c *cluster) runDemo(ctx context.Context, t *testing.T) {
	t.Helper()
	var output bytes.Buffer
	_, err := demo.Run(ctx, demo.Config{Ingress: c.people.Ingress, Mail: c.mail, Out: &output})
	require.NoError(t, err, output.String())
}

// buyAsInTheReadme runs the lines of the README that buy a ticket. It uses other local ports, because a stack may be
// running on this machine.
func (c *cluster) buyAsInTheReadme(ctx context.Context, t *testing.T) {
	t.Helper()
	lines := readme(t, "kubectl -n eventbooking port-forward")
	lines = regexp.MustCompile(`\b808(\d)\b`).ReplaceAllString(lines, "1808$1")
	require.Contains(t, c.shell(ctx, t, lines), `"paymentStatus":"COMPLETED"`)
}

// ingressRefusesInternalRoutes requests internal routes through the ingress. No app may answer them.
func (c *cluster) ingressRefusesInternalRoutes(ctx context.Context, t *testing.T) {
	t.Helper()
	requireRefusal := func(method, path string, want ...int) {
		err := c.people.Do(ctx, demo.Request{Method: method, Path: path}, nil)
		var got *demo.Refusal
		require.ErrorAs(t, err, &got, path)
		require.Equal(t, demo.NotFromApp, got.Code, "an app answered %s: %s", path, got.Message)
		require.Contains(t, want, got.Status, path)
	}
	for _, r := range calls.Table() {
		requireRefusal(r.Method, example(r.Path), http.StatusServiceUnavailable, http.StatusNotFound)
	}
	for _, path := range []string{"/", "/metrics", "/docs", "/actuator/health", "/events", "/bindings/dead-letters"} {
		requireRefusal(http.MethodPost, path, http.StatusNotFound)
	}
}

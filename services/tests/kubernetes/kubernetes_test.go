//go:build kubernetes

// Package kubernetes_test puts the system on a real cluster as a reader of the README does, with the very lines that are
// there, and holds it to its promises: people buy through the ingress, sidecars refuse what the table of
// callers does not allow, apps refuse what comes past their sidecars, and neither a rollout nor a crash loses a purchase.
//
// The cluster is a throwaway one of a single node (package node) with images that are built here, since it has no registry.
// It has neither an ingress controller nor a network plugin that enforces policies: an ingress of the test's own goes by the
// Ingress, and what network policies would keep out comes in, which apps have to refuse all the same.
//
// `make test-kubernetes` runs it, as root. With KEEP=1 the node's directory stays, with its logs and those of the pods.
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
		fmt.Fprintf(os.Stderr, "kubernetes: NOT RUN: no node can run on this machine:\n%v\n", err)
		if os.Getenv("IF_POSSIBLE") != "" {
			os.Exit(0)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// say tells somebody who watches.
func say(format string, args ...any) {
	fmt.Printf("kubernetes: "+format+"\n", args...)
}

// Each step builds on those before it.
func TestTheSystemOnACluster(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := start(ctx, t)
	for _, step := range []struct {
		name string
		take func(context.Context, *testing.T)
	}{
		{"Dapr", c.installDapr},
		{"System", c.apply},
		{"Story", c.tellStory},
		{"Readme", c.buyAsTheReadmeSays},
		{"Ingress", c.refuseAtTheIngress},
		{"AccessControl", c.refuseAtTheSidecars},
		{"PastTheSidecars", c.refuseAtTheApps},
		{"Rollout", c.rollOut},
		{"Crashes", c.crash},
		{"Books", c.balance},
	} {
		began := time.Now()
		say("%s ...", step.name)
		if !t.Run(step.name, func(t *testing.T) { step.take(ctx, t) }) {
			return
		}
		say("%s: passed after %s", step.name, time.Since(began).Round(100*time.Millisecond))
	}
}

// installDapr gives Dapr's chart the values of the README, and leaves out what nothing of ours uses: actors and jobs.
func (c *cluster) installDapr(ctx context.Context, t *testing.T) {
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
		manifests, err := c.program(ctx, "go", append([]string{"run", "-C", "tools/dapr-chart", "."}, part.chart...)...).Output()
		require.NoError(t, err)
		_, err = c.KubectlIn(ctx, bytes.NewReader(manifests), "apply", "--server-side", "-f", "-")
		require.NoError(t, err)
		c.kubectl(ctx, t, append([]string{"wait", "--all", "--timeout=5m"}, strings.Fields(part.wait)...)...)
	}
}

// apply does what the README says once there are Dapr and the images.
func (c *cluster) apply(ctx context.Context, t *testing.T) {
	_, lines, found := strings.Cut(readme(t, "kubectl apply -k"), "done\n")
	require.True(t, found, "the images are not followed by anything")
	c.shell(ctx, t, lines)
	for _, pod := range c.pods(ctx, t) {
		require.ElementsMatch(t, []string{"app", "daprd"}, pod.ready(), pod.Metadata.Name)
	}
	c.serveIngress(ctx, t)
	c.mail = demo.Sink("http://" + c.forward(ctx, t, "service/mail", 1080))
	// An app asks for auth-service's keys when it starts. A name that is asked for before any pod is ready is unknown for half a
	// minute: that is how long a cluster's DNS keeps an answer.
	somebody, err := c.people.Join(ctx, "Ben", "Ito", false)
	require.NoError(t, err)
	for _, path := range []string{"/api/events/mine", "/api/tickets/mine", "/api/payments/orders", "/api/notifications", "/api/analytics/events"} {
		c.await(ctx, t, "good tokens to be known at "+path, func() error {
			err := c.people.Do(ctx, demo.Request{Method: http.MethodGet, Path: path, Token: somebody.Token}, nil)
			if refusal, refused := errors.AsType[*demo.Refusal](err); refused && refusal.Status < http.StatusInternalServerError {
				return nil
			}
			return err
		})
	}
}

func (c *cluster) tellStory(ctx context.Context, t *testing.T) {
	var told bytes.Buffer
	_, err := demo.Run(ctx, demo.Config{Ingress: c.people.Ingress, Mail: c.mail, Out: &told})
	require.NoError(t, err, told.String())
}

// buyAsTheReadmeSays follows its lines to the first purchase, on other ports, since a stack may be up on this machine.
func (c *cluster) buyAsTheReadmeSays(ctx context.Context, t *testing.T) {
	lines := regexp.MustCompile(`\b808(\d)\b`).ReplaceAllString(readme(t, "kubectl -n eventbooking port-forward"), "1808$1")
	require.Contains(t, c.shell(ctx, t, lines), `"paymentStatus":"COMPLETED"`)
}

// refuseAtTheIngress asks from outside for what is not for people.
func (c *cluster) refuseAtTheIngress(ctx context.Context, t *testing.T) {
	ask := func(method, path string, want ...int) {
		err := c.people.Do(ctx, demo.Request{Method: method, Path: path}, nil)
		var refusal *demo.Refusal
		require.ErrorAs(t, err, &refusal, path)
		require.Equal(t, demo.NotFromApp, refusal.Code, "an app answered %s: %s", path, refusal.Message)
		require.Contains(t, want, refusal.Status, path)
	}
	for _, r := range calls.Table() {
		ask(r.Method, example(r.Path), http.StatusServiceUnavailable, http.StatusNotFound)
	}
	for _, path := range []string{"/", "/metrics", "/docs", "/actuator/health", "/events", "/bindings/dead-letters"} {
		ask(http.MethodPost, path, http.StatusNotFound)
	}
}

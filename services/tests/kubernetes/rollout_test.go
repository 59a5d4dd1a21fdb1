//go:build kubernetes

package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts"
	"github.com/eventbooking/eventbooking/services/tests/audit"
)

// rollOut replaces every pod of the services while buyers buy. No purchase may fail.
func (c *cluster) rollOut(ctx context.Context, t *testing.T) {
	t.Helper()
	buying := c.during(ctx, t, func() {
		old := []string{"-n", namespace, "wait", "--for=delete", "--timeout=5m"}
		for _, pod := range c.pods(ctx, t) {
			old = append(old, "pod/"+pod.Metadata.Name)
		}
		c.restart(ctx, t, "app.kubernetes.io/component=service")
		c.kubectl(ctx, t, old...)
	})
	require.Empty(t, buying.failures, "of %d purchases", len(buying.orders))
}

// restart restarts the deployments that a label selects, and waits until all deployments are rolled out.
func (c *cluster) restart(ctx context.Context, t *testing.T, label string) {
	t.Helper()
	c.kubectl(ctx, t, "-n", namespace, "rollout", "restart", "deployment", "-l", label)
	c.kubectl(ctx, t, "-n", namespace, "rollout", "status", "deployment", "--timeout=5m")
}

// crash kills pods of services, and restarts the servers that they use, which keep only their volumes. Meanwhile buyers
// buy, and retry.
func (c *cluster) crash(ctx context.Context, t *testing.T) {
	t.Helper()
	c.during(ctx, t, func() {
		for _, app := range []string{"ticket-service", "payment-service"} {
			c.kubectl(ctx, t, "-n", namespace, "delete", "pod", "-l", "app.kubernetes.io/name="+app,
				"--grace-period=0", "--force")
			c.kubectl(ctx, t, "-n", namespace, "rollout", "status", "deployment", app, "--timeout=5m")
		}
		c.restart(ctx, t, "app.kubernetes.io/component!=service")
	})
}

// audit waits until two consecutive exact audits find no discrepancy. The second shows that the system stays idle.
func (c *cluster) audit(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, settlingTime)
	defer cancel()
	sources := audit.Sources{
		Databases: map[string]*pgxpool.Pool{},
		Stripe:    "http://" + c.forward(ctx, t, "service/stripe-simulator", 12111),
		AWS:       "http://" + c.forward(ctx, t, "service/snssqs", 4566),
	}
	var err error
	sources.Subscriptions, err = contracts.Subscriptions()
	require.NoError(t, err)
	postgres := c.forward(ctx, t, "service/postgres", 5432)
	for _, service := range audit.Services {
		var secrets map[string]string
		require.NoError(t, json.Unmarshal(c.secret(ctx, t, service+"-secrets", "secrets.json"), &secrets))
		database, err := url.Parse(secrets[service+"-database-url"])
		require.NoError(t, err)
		database.Host = postgres
		pool, err := pgxpool.New(ctx, database.String())
		require.NoError(t, err)
		defer pool.Close()
		sources.Databases[service] = pool
	}
	for clean := 0; clean < 2; clean++ {
		report, err := sources.Audit(ctx, true)
		found := report.Discrepancies()
		if err != nil || len(found) > 0 {
			clean = -1
		}
		if pauseErr := pause(ctx, time.Second); pauseErr != nil {
			require.NoError(t, report.Print(os.Stdout))
			require.NoError(t, errors.Join(err, pauseErr), "the audit is not clean after %s", settlingTime)
		}
	}
}

//go:build kubernetes

package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts"
	"github.com/eventbooking/eventbooking/services/tests/audit"
)

// rollOut replaces every pod of ours while people buy. Nobody may notice.
func (c *cluster) rollOut(ctx context.Context, t *testing.T) {
	crowd := c.during(ctx, t, func() {
		old := []string{"-n", namespace, "wait", "--for=delete", "--timeout=5m"}
		for _, pod := range c.pods(ctx, t) {
			old = append(old, "pod/"+pod.Metadata.Name)
		}
		c.kubectl(ctx, t, strings.Fields("-n eventbooking rollout restart deployment -l app.kubernetes.io/component=service")...)
		c.kubectl(ctx, t, strings.Fields("-n eventbooking rollout status deployment --timeout=5m")...)
		c.kubectl(ctx, t, old...)
	})
	require.Empty(t, crowd.failures, "of %d purchases", len(crowd.orders))
}

// crash has pods vanish, and the servers beside ours come back empty-handed but for their volumes, while people buy, who then
// have to ask again.
func (c *cluster) crash(ctx context.Context, t *testing.T) {
	c.during(ctx, t, func() {
		for _, app := range []string{"ticket-service", "payment-service"} {
			c.kubectl(ctx, t, "-n", namespace, "delete", "pod", "-l", "app.kubernetes.io/name="+app, "--grace-period=0", "--force")
			c.kubectl(ctx, t, "-n", namespace, "rollout", "status", "deployment", app, "--timeout=5m")
		}
		c.kubectl(ctx, t, strings.Fields("-n eventbooking rollout restart deployment -l app.kubernetes.io/component!=service")...)
		c.kubectl(ctx, t, strings.Fields("-n eventbooking rollout status deployment --timeout=5m")...)
	})
}

// balance waits until an exact audit finds nothing, twice: what is at rest stays so.
func (c *cluster) balance(ctx context.Context, t *testing.T) {
	ctx, cancel := context.WithTimeout(ctx, settlingTime)
	defer cancel()
	books := audit.Sources{
		Databases: map[string]*pgxpool.Pool{},
		Stripe:    "http://" + c.forward(ctx, t, "service/stripe-simulator", 12111),
		AWS:       "http://" + c.forward(ctx, t, "service/snssqs", 4566),
	}
	var err error
	books.Subscriptions, err = contracts.Subscriptions()
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
		books.Databases[service] = pool
	}
	for clean := 0; clean < 2; clean++ {
		report, err := books.Audit(ctx, true)
		found := report.Discrepancies()
		if err != nil || len(found) > 0 {
			clean = -1
		}
		if pauseErr := pause(ctx, time.Second); pauseErr != nil {
			require.NoError(t, report.Print(os.Stdout))
			require.NoError(t, errors.Join(err, pauseErr), "no rest after %s", settlingTime)
		}
	}
}

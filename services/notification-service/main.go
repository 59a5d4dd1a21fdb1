// Notification-service tells people what happened to their orders, tickets and accounts, and operations
// what the system cannot put right itself, by e-mail.
package main

import (
	"context"
	"fmt"
	"net/mail"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

const appID = "notification-service"

type config struct {
	web.Config
	messaging.Settings
	// PublicURL is where people reach us; the links in account mails start with it.
	PublicURL string `envconfig:"PUBLIC_URL" default:"http://127.0.0.1:8082"`
	// OperationsEmail is who hears of what the system cannot put right itself.
	OperationsEmail string `envconfig:"OPERATIONS_EMAIL" default:"operations@eventbooking.example"`
}

func main() { web.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	if u, err := url.Parse(cfg.PublicURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("PUBLIC_URL must be an absolute http or https URL, not %q", cfg.PublicURL)
	}
	if a, err := mail.ParseAddress(cfg.OperationsEmail); err != nil || a.Address != cfg.OperationsEmail {
		return fmt.Errorf("OPERATIONS_EMAIL must be an e-mail address, not %q", cfg.OperationsEmail)
	}
	sc, err := sidecar.Connect(ctx, appID, cfg.DaprHTTPPort, cfg.DaprGRPCPort)
	if err != nil {
		return err
	}
	defer sc.Close()
	databaseURL, err := sc.Secret(ctx, appID+"-database-url")
	if err != nil {
		return err
	}
	serviceSecret, err := sc.Secret(ctx, "service-auth-secret")
	if err != nil {
		return err
	}
	sc.Authenticate(func() (string, error) { return identity.SignServiceToken([]byte(serviceSecret), appID) })
	pool, err := postgres.Open(ctx, databaseURL, messaging.Migrations(), store.Migrations())
	if err != nil {
		return err
	}
	defer pool.Close()
	prometheus.MustRegister(postgres.Collector(pool, messaging.Gauges("notification-queue"), store.Gauges))
	verifier, err := identity.FetchKeys(ctx, sc.HTTP, sc.URL("auth-service", "/api/auth/.well-known/jwks.json"))
	if err != nil {
		return err
	}
	c := courier.Courier{
		Store:      store.Store{Pool: pool},
		Services:   sc,
		PublicURL:  strings.TrimSuffix(cfg.PublicURL, "/"),
		Operations: cfg.OperationsEmail,
		Woken:      make(chan struct{}, 1),
	}
	// No service secret in the guard: no service calls us.
	guard := identity.Guard{Verifier: verifier, AppAPIToken: cfg.AppAPIToken}
	return web.Serve(ctx, cfg.Config, httpapi.API{Courier: c, Guard: guard}.Router(), c.Run,
		messaging.Purge{Pool: pool, Settings: cfg.Settings}.Run)
}

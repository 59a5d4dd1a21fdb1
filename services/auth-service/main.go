// Command auth-service owns users, their roles and sessions, and the keys that sign their access tokens. It publishes
// user-events. Every hour its sidecar triggers the replacement of an old signing key.
package main

import (
	"context"
	"net/netip"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/access"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/setup"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
)

const appID = "auth-service"

type config struct {
	app.Config
	messaging.Settings
	// AdminEmail is the address of the first admin, whose password is the secret auth-service-admin-password. Neither has
	// an effect once there is an admin.
	AdminEmail account.Email `envconfig:"ADMIN_EMAIL" default:"admin@eventbooking.example"`
	// FailuresPerAddress is how many logins from one address may fail in 15 minutes. Where many users share an address it
	// has to be higher.
	FailuresPerAddress app.Positive `envconfig:"LOGIN_FAILURES_PER_ADDRESS" default:"50"`
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is trusted.
	TrustedProxies []netip.Prefix `envconfig:"TRUSTED_PROXIES"`
}

func main() { app.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	service, err := app.Open(ctx, appID, cfg.Config, app.Database{Migrations: store.Migrations(), Settings: cfg.Settings},
		app.AcceptsServices)
	if err != nil {
		return err
	}
	defer service.Close()
	accounts := store.New(service.Pool, int(cfg.FailuresPerAddress))
	passwords, err := account.NewPasswords()
	if err != nil {
		return err
	}
	vault, mailTokens, err := setup.Keys(ctx, accounts, service.Sidecar)
	if err != nil {
		return err
	}
	if err := setup.Admin(ctx, accounts, passwords, service.Sidecar, cfg.AdminEmail); err != nil {
		return err
	}
	return service.Serve(ctx, httpapi.New(httpapi.Deps{
		Store: accounts, Access: access.New(accounts, passwords, vault, mailTokens),
		Guard: service.Guard, TrustedProxies: cfg.TrustedProxies, Database: service.DatabaseHealth,
	}))
}

// Command auth-service owns users, their roles and sessions, and the keys that their access tokens are signed
// with.
//
// It publishes user-events, and its sidecar wakes it every hour to replace a signing key that is old.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const service = "auth-service"

type config struct {
	web.Config
	messaging.Settings
	// AdminEmail is the address of the first admin, whose password is the secret
	// auth-service-admin-password. They are of no meaning once there is an admin.
	AdminEmail string `envconfig:"ADMIN_EMAIL" default:"admin@eventbooking.example"`
	// FailuresPerAddress is how many failed logins may come from one address in 15 minutes. Where many
	// people share one it has to be more.
	FailuresPerAddress int `envconfig:"LOGIN_FAILURES_PER_ADDRESS" default:"50"`
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `envconfig:"TRUSTED_PROXIES"`
}

func main() { web.Main(service, run) }

func run(ctx context.Context, cfg config) error {
	adminEmail, err := account.ParseEmail(cfg.AdminEmail)
	if err != nil {
		return fmt.Errorf("ADMIN_EMAIL: %w", err)
	}
	if cfg.FailuresPerAddress < 1 {
		return fmt.Errorf("LOGIN_FAILURES_PER_ADDRESS must be at least 1, not %d", cfg.FailuresPerAddress)
	}
	sc, err := sidecar.Connect(ctx, service, cfg.DaprHTTPPort, cfg.DaprGRPCPort)
	if err != nil {
		return err
	}
	defer sc.Close()
	secret := map[string]string{}
	for _, key := range []string{
		"auth-service-database-url", "service-auth-secret", "auth-service-key-encryption-key", "auth-service-admin-password",
	} {
		if secret[key], err = sc.Secret(ctx, key); err != nil {
			return err
		}
	}

	pool, err := postgres.Open(ctx, secret["auth-service-database-url"], messaging.Migrations(), store.Migrations())
	if err != nil {
		return err
	}
	defer pool.Close()
	prometheus.MustRegister(postgres.Collector(pool, messaging.Gauges()))
	db := store.New(pool, cfg.FailuresPerAddress)
	vault, err := keyring.OpenVault(secret["auth-service-key-encryption-key"])
	if err != nil {
		return fmt.Errorf("secret auth-service-key-encryption-key: %w", err)
	}
	candidate, err := vault.NewKey()
	if err != nil {
		return err
	}
	if err := db.EnsureKey(ctx, candidate); err != nil {
		return err
	}
	// A changed secret must stop us here and not at the first login.
	current, err := db.CurrentKey(ctx)
	if err != nil {
		return err
	}
	if err := vault.Check(current); err != nil {
		return fmt.Errorf("secret auth-service-key-encryption-key: %w", err)
	}
	mailKey, err := keyring.Derive(secret["auth-service-key-encryption-key"], "tokens in account mails")
	if err != nil {
		return fmt.Errorf("secret auth-service-key-encryption-key: %w", err)
	}
	passwords, err := account.NewPasswords()
	if err != nil {
		return err
	}
	if err := ensureAdmin(ctx, db, passwords, adminEmail, secret["auth-service-admin-password"]); err != nil {
		return err
	}

	router := web.NewRouter()
	web.Health(router, web.Check{Name: "database", Probe: pool.Ping})
	httpapi.API{
		Store: db, Passwords: passwords, Vault: vault, MailTokens: account.NewMailTokens(mailKey),
		TrustedProxies: cfg.TrustedProxies,
	}.Route(router, identity.Guard{ServiceSecret: []byte(secret["service-auth-secret"]), AppAPIToken: cfg.AppAPIToken})
	return web.Serve(ctx, cfg.Config, router,
		messaging.Relay{Pool: pool, Publisher: sc.Dapr, PubSub: sidecar.PubSub}.Run,
		messaging.Purge{Pool: pool, Settings: cfg.Settings}.Run)
}

// ensureAdmin creates the first admin.
func ensureAdmin(
	ctx context.Context, db *store.Store, passwords *account.Passwords, email account.Email, password string,
) error {
	if err := account.CheckPassword("password", password); err != nil {
		return fmt.Errorf("secret auth-service-admin-password: %w", err)
	}
	hash, err := passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	err = db.EnsureAdmin(ctx, account.User{
		Email: email, FirstName: "First", LastName: "Admin", Roles: []identity.Role{identity.RoleUser, identity.RoleAdmin},
	}, hash)
	if errors.Is(err, account.ErrEmailTaken) {
		return fmt.Errorf("there is no admin, and ADMIN_EMAIL is somebody's who registered with it: %w", err)
	}
	return err
}

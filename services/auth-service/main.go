// Command auth-service owns users, their roles and the keys that their access tokens are signed with.
package main

import (
	"context"
	"fmt"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/account"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/keyring"
	"github.com/eventbooking/eventbooking/services/auth-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const service = "auth-service"

type config struct{ web.Config }

func main() { web.Main(service, run) }

func run(ctx context.Context, cfg config) error {
	sc, err := sidecar.Connect(ctx, service, cfg.DaprHTTPPort, cfg.DaprGRPCPort)
	if err != nil {
		return err
	}
	defer sc.Close()
	secret := map[string]string{}
	for _, key := range []string{"auth-service-database-url", "service-auth-secret", "auth-service-key-encryption-key"} {
		if secret[key], err = sc.Secret(ctx, key); err != nil {
			return err
		}
	}

	pool, err := postgres.Open(ctx, secret["auth-service-database-url"], store.Migrations())
	if err != nil {
		return err
	}
	defer pool.Close()
	db := store.New(pool)
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
	passwords, err := account.NewPasswords()
	if err != nil {
		return err
	}

	router := web.NewRouter()
	web.Health(router, web.Check{Name: "database", Probe: pool.Ping})
	httpapi.API{Store: db, Passwords: passwords, Vault: vault}.Route(router, identity.Guard{
		ServiceSecret: []byte(secret["service-auth-secret"]), AppAPIToken: cfg.AppAPIToken,
	})
	return web.Serve(ctx, cfg.Config, router)
}

// Analytics-service shows organizers what their events sold.
package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/analytics-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const appID = "analytics-service"

type config struct {
	web.Config
	messaging.Settings
}

func main() { web.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	sc, err := sidecar.Connect(ctx, appID, cfg.DaprHTTPPort, cfg.DaprGRPCPort)
	if err != nil {
		return err
	}
	defer sc.Close()
	databaseURL, err := sc.Secret(ctx, appID+"-database-url")
	if err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, databaseURL, messaging.Migrations(), store.Migrations())
	if err != nil {
		return err
	}
	defer pool.Close()
	prometheus.MustRegister(postgres.Collector(pool, messaging.Gauges("analytics-queue")))
	verifier, err := identity.FetchKeys(ctx, sc.HTTP, sc.URL("auth-service", "/api/auth/.well-known/jwks.json"))
	if err != nil {
		return err
	}
	// No service secret: no service calls us, and we call none.
	api := httpapi.API{
		Store: store.Store{Pool: pool},
		Guard: identity.Guard{Verifier: verifier, AppAPIToken: cfg.AppAPIToken},
	}
	relay := messaging.Relay{Pool: pool, Publisher: sc.Dapr, PubSub: sidecar.PubSub}
	return web.Serve(ctx, cfg.Config, api.Router(), relay.Run, messaging.Purge{Pool: pool, Settings: cfg.Settings}.Run)
}

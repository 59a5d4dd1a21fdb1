// Command event-service owns events and their lifecycle.
package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/event-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const service = "event-service"

type config struct {
	web.Config
	messaging.Settings
	// Readers are the app-ids of services from elsewhere that may read an event, so that one can join
	// without a change here.
	Readers []string `envconfig:"EVENT_READERS"`
}

func main() { web.Main(service, run) }

func run(ctx context.Context, cfg config) error {
	sc, err := sidecar.Connect(ctx, service, cfg.DaprHTTPPort, cfg.DaprGRPCPort)
	if err != nil {
		return err
	}
	defer sc.Close()
	url, err := sc.Secret(ctx, "event-service-database-url")
	if err != nil {
		return err
	}
	secret, err := sc.Secret(ctx, "service-auth-secret")
	if err != nil {
		return err
	}
	sc.Authenticate(func() (string, error) { return identity.SignServiceToken([]byte(secret), service) })

	pool, err := postgres.Open(ctx, url, messaging.Migrations(), store.Migrations())
	if err != nil {
		return err
	}
	defer pool.Close()
	prometheus.MustRegister(postgres.Collector(pool, messaging.Gauges()))
	verifier, err := identity.FetchKeys(ctx, sc.HTTP, sc.URL("auth-service", "/api/auth/.well-known/jwks.json"))
	if err != nil {
		return err
	}

	router := web.NewRouter()
	web.Health(router, web.Check{Name: "database", Probe: pool.Ping})
	httpapi.API{Store: store.New(pool), Services: sc, Readers: cfg.Readers}.Route(router,
		identity.Guard{Verifier: verifier, ServiceSecret: []byte(secret), AppAPIToken: cfg.AppAPIToken})
	return web.Serve(ctx, cfg.Config, router,
		messaging.Relay{
			Pool: pool, Publisher: sc.Dapr, PubSub: sidecar.PubSub,
			Ordered: map[string]string{events.TopicEventUpdates: "event-updates"},
		}.Run,
		messaging.Purge{Pool: pool, Settings: cfg.Settings}.Run)
}

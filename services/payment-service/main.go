// Command payment-service owns orders, the purchase saga and refunds. Package order holds the saga's
// states, package saga drives it.
//
// It publishes payment-events, and saga-compensation-failed where people have to look; it hears
// ticket-events and event-events on payment-processing-queue; and its sidecar wakes it every few seconds
// to resume sagas that stopped moving. It drives so many orders at once, and a crowd waits in line before anything is done
// for it.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

const service = "payment-service"

type config struct {
	web.Config
	messaging.Settings
	// How many orders are driven at once, how many wait for their turn, and for how long, at most: see httpapi.Bulkhead.
	OrdersAtOnce int           `envconfig:"ORDERS_AT_ONCE" default:"32"`
	OrdersLine   int           `envconfig:"ORDERS_LINE" default:"256"`
	OrdersWait   time.Duration `envconfig:"ORDERS_WAIT" default:"15s"`
	// payment-gateway takes 50 from one caller (components/local/rate-limit-payment-gateway.yaml).
	ChargesPerSecond int `envconfig:"CHARGES_PER_SECOND" default:"40"`
}

func (c config) validate() error {
	for name, n := range map[string]int{
		"ORDERS_AT_ONCE": c.OrdersAtOnce, "ORDERS_LINE": c.OrdersLine, "ORDERS_WAIT": int(c.OrdersWait), "CHARGES_PER_SECOND": c.ChargesPerSecond,
	} {
		if n < 1 {
			return fmt.Errorf("%s must be positive", name)
		}
	}
	return nil
}

func main() { web.Main(service, run) }

func run(ctx context.Context, cfg config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	daprd, err := sidecar.Connect(ctx, service, cfg.DaprHTTPPort, cfg.DaprGRPCPort)
	if err != nil {
		return err
	}
	defer daprd.Close()
	serviceSecret, err := daprd.Secret(ctx, "service-auth-secret")
	if err != nil {
		return err
	}
	databaseURL, err := daprd.Secret(ctx, "payment-service-database-url")
	if err != nil {
		return err
	}
	daprd.Authenticate(func() (string, error) { return identity.SignServiceToken([]byte(serviceSecret), service) })
	pool, err := postgres.Open(ctx, databaseURL, messaging.Migrations(), store.Migrations())
	if err != nil {
		return err
	}
	defer pool.Close()
	prometheus.MustRegister(postgres.Collector(pool, messaging.Gauges("payment-processing-queue"), store.Gauges))
	verifier, err := identity.FetchKeys(ctx, daprd.HTTP, daprd.URL("auth-service", "/api/auth/.well-known/jwks.json"))
	if err != nil {
		return err
	}

	orders := store.Store{Pool: pool}
	api := httpapi.API{
		Store:    orders,
		Saga:     saga.Saga{Store: orders, Services: daprd, Charges: rate.NewLimiter(rate.Limit(cfg.ChargesPerSecond), 1)},
		Bulkhead: httpapi.NewBulkhead(cfg.OrdersAtOnce, cfg.OrdersLine, cfg.OrdersWait),
		Guard:    identity.Guard{Verifier: verifier, ServiceSecret: []byte(serviceSecret), AppAPIToken: cfg.AppAPIToken},
	}
	relay := messaging.Relay{Pool: pool, Publisher: daprd.Dapr, PubSub: sidecar.PubSub}
	return web.Serve(ctx, cfg.Config, api.Router(), relay.Run, messaging.Purge{Pool: pool, Settings: cfg.Settings}.Run)
}

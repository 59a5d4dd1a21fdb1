// Command ticket-service owns ticket types, inventory, reservations and tickets. Package ticket holds
// its rules.
//
// It hears payment-events and event-events on ticket-processing-queue, publishes ticket-events, and
// its sidecar wakes it every minute to end holds whose time is over and what is left of cancelled events.
package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/batching"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

const service = "ticket-service"

type config struct {
	web.Config
	messaging.Settings
	// PublicURL is the address of the public API; the URLs of QR codes start with it.
	PublicURL string `envconfig:"PUBLIC_URL" default:"http://127.0.0.1:8082"`
	// Limits of package batching.
	ReserveConcurrency int           `envconfig:"RESERVE_CONCURRENCY" default:"2"`
	ReserveBatchSize   int           `envconfig:"RESERVE_BATCH_SIZE" default:"50"`
	ReserveQueueSize   int           `envconfig:"RESERVE_QUEUE_SIZE" default:"1000"`
	ReserveMaxWait     time.Duration `envconfig:"RESERVE_MAX_WAIT" default:"1s"`
}

func (c config) validate() error {
	if u, err := url.Parse(c.PublicURL); err != nil || u.Scheme == "" || u.Host == "" {
		return fmt.Errorf("PUBLIC_URL must be an absolute URL, not %q", c.PublicURL)
	}
	for name, n := range map[string]int{
		"RESERVE_CONCURRENCY": c.ReserveConcurrency, "RESERVE_BATCH_SIZE": c.ReserveBatchSize,
		"RESERVE_QUEUE_SIZE": c.ReserveQueueSize, "RESERVE_MAX_WAIT": int(c.ReserveMaxWait),
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
	databaseURL, err := daprd.Secret(ctx, "ticket-service-database-url")
	if err != nil {
		return err
	}
	seed, err := daprd.Secret(ctx, "ticket-service-signing-seed")
	if err != nil {
		return err
	}
	daprd.Authenticate(func() (string, error) { return identity.SignServiceToken([]byte(serviceSecret), service) })
	signer, err := ticket.NewSigner(seed)
	if err != nil {
		return fmt.Errorf("secret ticket-service-signing-seed: %w", err)
	}
	pool, err := postgres.Open(ctx, databaseURL, messaging.Migrations(), store.Migrations())
	if err != nil {
		return err
	}
	defer pool.Close()
	prometheus.MustRegister(postgres.Collector(pool, messaging.Gauges("ticket-processing-queue", "event-updates.fifo"), store.Gauges))
	verifier, err := identity.FetchKeys(ctx, daprd.HTTP, daprd.URL("auth-service", "/api/auth/.well-known/jwks.json"))
	if err != nil {
		return err
	}

	tickets := store.Store{Pool: pool, QRCodeURL: func(id uuid.UUID) string {
		return strings.TrimSuffix(cfg.PublicURL, "/") + "/api/tickets/" + id.String() + "/qr.png"
	}}
	api := httpapi.API{
		Store: tickets,
		Batcher: batching.New(tickets.Reserve, batching.Limits{
			Concurrency: cfg.ReserveConcurrency, BatchSize: cfg.ReserveBatchSize,
			QueueSize: cfg.ReserveQueueSize, MaxWait: cfg.ReserveMaxWait,
		}),
		Signer:   signer,
		Services: daprd,
		Guard:    identity.Guard{Verifier: verifier, ServiceSecret: []byte(serviceSecret), AppAPIToken: cfg.AppAPIToken},
	}
	relay := messaging.Relay{Pool: pool, Publisher: daprd.Dapr, PubSub: sidecar.PubSub}
	return web.Serve(ctx, cfg.Config, api.Router(), relay.Run, messaging.Purge{Pool: pool, Settings: cfg.Settings}.Run)
}

// Command ticket-service owns ticket types, inventory, reservations and tickets. Package ticket holds its rules.
//
// It consumes payment-events and event-events from ticket-processing-queue and publishes ticket-events. Every minute
// its sidecar triggers a sweep that ends expired reservations and completes the cancellation of events.
package main

import (
	"context"
	"time"

	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/batching"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

const appID = "ticket-service"

type config struct {
	app.Config
	messaging.Settings
	PublicURL          app.URL              `envconfig:"PUBLIC_URL" default:"http://127.0.0.1:8082"`
	ReserveConcurrency app.Positive         `envconfig:"RESERVE_CONCURRENCY" default:"2"` // see batching.Limits
	ReserveBatchSize   app.Positive         `envconfig:"RESERVE_BATCH_SIZE" default:"50"`
	ReserveQueueSize   app.Positive         `envconfig:"RESERVE_QUEUE_SIZE" default:"1000"`
	ReserveMaxWait     app.PositiveDuration `envconfig:"RESERVE_MAX_WAIT" default:"1s"`
}

func main() { app.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	service, err := app.Open(ctx, appID, cfg.Config, app.Database{
		Migrations: store.Migrations(), Settings: cfg.Settings,
		Queues: messaging.Queues{Main: "ticket-processing-queue", Ordered: "event-updates.fifo"}, Gauges: store.Gauges,
	}, app.AcceptsUsers, app.AcceptsServices, app.CallsServices)
	if err != nil {
		return err
	}
	defer service.Close()
	seed, err := service.Sidecar.Secret(ctx, "ticket-service-signing-seed")
	if err != nil {
		return err
	}
	signer, err := ticket.NewSigner(seed)
	if err != nil {
		return err
	}
	publicURL := ticket.PublicURL(cfg.PublicURL)
	tickets := store.New(service.Pool, publicURL)
	selling := sales.New(tickets, batching.New(tickets.Reserve, batching.Limits{
		Concurrency: int(cfg.ReserveConcurrency), BatchSize: int(cfg.ReserveBatchSize),
		QueueSize: int(cfg.ReserveQueueSize), MaxWait: time.Duration(cfg.ReserveMaxWait),
	}), signer, service.Sidecar)
	router := httpapi.New(selling, tickets, publicURL, service.Guard, service.DatabaseHealth)
	service.Consume(router, "/api/tickets", selling.Handlers())
	service.Replays(router, "/api/tickets")
	return service.Serve(ctx, router)
}

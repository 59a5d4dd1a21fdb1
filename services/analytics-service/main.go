// Command analytics-service shows organizers how their events sell. Package sales holds its figures.
//
// It consumes event-events, payment-events and ticket-events from analytics-queue.
package main

import (
	"context"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/analytics-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
)

const appID = "analytics-service"

type config struct {
	app.Config
	messaging.Settings
}

func main() { app.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	service, err := app.Open(ctx, appID, cfg.Config, app.Database{
		Migrations: store.Migrations(), Settings: cfg.Settings, Queues: messaging.Queues{Main: "analytics-queue"},
	}, app.AcceptsUsers)
	if err != nil {
		return err
	}
	defer service.Close()
	figures := store.New(service.Pool)
	router := httpapi.New(httpapi.Deps{Store: figures, Guard: service.Guard, Database: service.DatabaseHealth})
	service.Consume(router, "/api/analytics", httpapi.Handlers(figures))
	return service.Serve(ctx, router)
}

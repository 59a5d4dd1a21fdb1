// Command event-service owns events and their lifecycle.
package main

import (
	"context"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/event-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const appID = "event-service"

type config struct {
	app.Config
	messaging.Settings
	// Readers are the app-ids of services from other systems that may read events, so that one can join without a change
	// here.
	Readers []string `envconfig:"EVENT_READERS"`
}

func main() { app.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	service, err := app.Open(ctx, appID, cfg.Config, app.Database{
		Migrations: store.Migrations(), Settings: cfg.Settings,
		Ordered: map[string]string{events.TopicEventUpdates: "event-updates"},
	}, app.AcceptsUsers, app.AcceptsServices, app.CallsServices)
	if err != nil {
		return err
	}
	defer service.Close()
	router := web.NewRouter()
	web.Health(router, service.DatabaseHealth)
	api := httpapi.API{Store: store.New(service.Pool), Services: service.Sidecar, Readers: cfg.Readers}
	api.Route(router, service.Guard)
	return service.Serve(ctx, router)
}

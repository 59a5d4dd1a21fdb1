// Command event-service owns events and their lifecycle. Package event holds its rules.
//
// It publishes event-events, and each change of an event also to event-updates.fifo, which keeps the order of changes.
package main

import (
	"context"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/event-service/internal/cancellation"
	"github.com/eventbooking/eventbooking/services/event-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
)

const appID = "event-service"

type config struct {
	app.Config
	messaging.Settings
	// Readers are the app-ids of services from other systems that may read events. A service can join without a change
	// of this one.
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
	stored := store.New(service.Pool)
	router := httpapi.New(httpapi.Deps{
		Store: stored, Canceller: cancellation.New(stored, service.Sidecar),
		Guard: service.Guard, Readers: cfg.Readers, Database: service.DatabaseHealth,
	})
	service.Replays(router, "/api/events")
	return service.Serve(ctx, router)
}

// Command notification-service sends e-mail: to users about their orders, tickets and accounts, and to operations about
// what the system cannot repair by itself.
package main

import (
	"context"

	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

const appID = "notification-service"

type config struct {
	app.Config
	messaging.Settings
	// PublicURL is where users reach the system. The links in account mails start with it.
	PublicURL app.URL `envconfig:"PUBLIC_URL" default:"http://127.0.0.1:8082"`
	// OperationsEmail receives what the system cannot repair by itself.
	OperationsEmail app.Address `envconfig:"OPERATIONS_EMAIL" default:"operations@eventbooking.example"`
}

func main() { app.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	service, err := app.Open(ctx, appID, cfg.Config, app.Database{
		Migrations: store.Migrations(), Settings: cfg.Settings,
		Queues: messaging.Queues{Main: "notification-queue"}, Gauges: store.Gauges, PublishesNothing: true,
	}, app.AcceptsUsers, app.CallsServices)
	if err != nil {
		return err
	}
	defer service.Close()
	c := courier.Courier{
		Store:      store.Store{Pool: service.Pool},
		Services:   service.Sidecar,
		PublicURL:  string(cfg.PublicURL),
		Operations: string(cfg.OperationsEmail),
		Woken:      make(chan struct{}, 1),
	}
	router := httpapi.API{Courier: c, Guard: service.Guard}.Router()
	service.Consume(router, "/api/notifications", c.Handlers())
	return service.Serve(ctx, router, c.Run)
}

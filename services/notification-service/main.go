// Command notification-service sends mails: to users about their orders, tickets and accounts, and to operations about
// what the system cannot repair by itself. Package notification holds the mails, package courier sends them.
//
// It consumes events from notification-queue and publishes none.
package main

import (
	"context"
	"time"

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
	// PublicURL is the start of the links in account mails.
	PublicURL app.URL `envconfig:"PUBLIC_URL" default:"http://127.0.0.1:8082"`
	// ChangeDelay is how long a mail about a changed event waits for further changes.
	ChangeDelay app.PositiveDuration `envconfig:"EVENT_CHANGE_DELAY" default:"1m"`
	// OperationsEmail is the address of operations.
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
	notifications := store.New(service.Pool)
	sender := courier.New(notifications, service.Sidecar, courier.Config{
		PublicURL: string(cfg.PublicURL), Operations: string(cfg.OperationsEmail),
		ChangeDelay: time.Duration(cfg.ChangeDelay),
	})
	router := httpapi.New(httpapi.Deps{
		Store: notifications, Courier: sender, Guard: service.Guard, Database: service.DatabaseHealth,
	})
	service.Consume(router, "/api/notifications", sender.Handlers())
	return service.Serve(ctx, router, sender.Run)
}

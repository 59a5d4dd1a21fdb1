// Command payment-service owns orders, the purchase saga and refunds. Package order holds the states of the saga,
// package saga drives it.
//
// It publishes payment-events, and saga-compensation-failed for sagas that need a person. It consumes ticket-events and
// event-events from payment-processing-queue. Every few seconds its sidecar triggers a sweep, which resumes stalled
// sagas.
package main

import (
	"context"
	"time"

	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

const appID = "payment-service"

type config struct {
	app.Config
	messaging.Settings
	// The limits of the order queue; see admission.Limits.
	OrdersConcurrency app.Positive         `envconfig:"ORDERS_CONCURRENCY" default:"32"`
	OrdersQueueSize   app.Positive         `envconfig:"ORDERS_QUEUE_SIZE" default:"256"`
	OrdersMaxWait     app.PositiveDuration `envconfig:"ORDERS_MAX_WAIT" default:"15s"`
	// payment-gateway accepts 50 a second from one caller (components/local/rate-limit-payment-gateway.yaml).
	ChargesPerSecond app.Positive `envconfig:"CHARGES_PER_SECOND" default:"40"`
}

func main() { app.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	service, err := app.Open(ctx, appID, cfg.Config, app.Database{
		Migrations: store.Migrations(), Settings: cfg.Settings,
		Queues: messaging.Queues{Main: "payment-processing-queue"}, Gauges: store.Gauges,
	}, app.AcceptsUsers, app.AcceptsServices, app.CallsServices)
	if err != nil {
		return err
	}
	defer service.Close()
	orders := store.New(service.Pool)
	driver := saga.Saga{
		Store: orders, Services: service.Sidecar,
		Charges: admission.NewPacer(time.Second/time.Duration(cfg.ChargesPerSecond), orders.TakeChargeSlots),
	}
	router := httpapi.New(httpapi.Deps{
		Store: orders, Saga: driver, Guard: service.Guard, Database: service.DatabaseHealth,
		Queue: admission.NewOrderQueue(admission.Limits{
			Concurrency: int(cfg.OrdersConcurrency), QueueSize: int(cfg.OrdersQueueSize),
			MaxWait: time.Duration(cfg.OrdersMaxWait),
		}),
	})
	service.Consume(router, "/api/payments", driver.Handlers())
	service.Replays(router, "/api/payments")
	return service.Serve(ctx, router)
}

// Command payment-service owns orders, the purchase saga and refunds. Package order holds the states of the saga, package
// saga drives it.
//
// It publishes payment-events, and saga-compensation-failed for what people have to settle; it consumes ticket-events and
// event-events from payment-processing-queue. Every few seconds its sidecar triggers a sweep that resumes stalled sagas.
package main

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

const appID = "payment-service"

type config struct {
	app.Config
	messaging.Settings
	// How many orders are driven at once, how many wait for their turn, and for how long, at most: see httpapi.Bulkhead.
	OrdersAtOnce app.Positive         `envconfig:"ORDERS_AT_ONCE" default:"32"`
	OrdersLine   app.Positive         `envconfig:"ORDERS_LINE" default:"256"`
	OrdersWait   app.PositiveDuration `envconfig:"ORDERS_WAIT" default:"15s"`
	// payment-gateway takes 50 from one caller (components/local/rate-limit-payment-gateway.yaml).
	ChargesPerSecond app.Positive `envconfig:"CHARGES_PER_SECOND" default:"40"`
}

func main() { app.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	service, err := app.Open(ctx, appID, cfg.Config, app.Database{
		Migrations: store.Migrations(), Settings: cfg.Settings,
		Queues: []string{"payment-processing-queue"}, Gauges: store.Gauges,
	}, app.AcceptsUsers, app.AcceptsServices, app.CallsServices)
	if err != nil {
		return err
	}
	defer service.Close()
	orders := store.New(service.Pool)
	return service.Serve(ctx, httpapi.API{
		Pool:  service.Pool,
		Store: orders,
		Saga: saga.Saga{
			Store: orders, Services: service.Sidecar, Charges: rate.NewLimiter(rate.Limit(cfg.ChargesPerSecond), 1),
		},
		Bulkhead: httpapi.NewBulkhead(int(cfg.OrdersAtOnce), int(cfg.OrdersLine), time.Duration(cfg.OrdersWait)),
		Guard:    service.Guard,
	}.Router())
}

// Command payment-gateway is the system's adapter to Stripe. It turns the charges and refunds of payment-service into
// calls of Stripe's PaymentIntents API, and verifies and translates Stripe's webhooks. It has no data of its own.
// Retries, circuit breaker, bulkhead and rate limit are the sidecars', on the hop to it.
package main

import (
	"context"

	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/gateway"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/httpapi"
)

const appID = "payment-gateway"

type config struct {
	app.Config
	// StripeAPIBase is the URL of Stripe's API; empty means Stripe itself.
	StripeAPIBase string `envconfig:"STRIPE_API_BASE"`
}

func main() { app.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	service, err := app.Connect(ctx, appID, cfg.Config, app.AcceptsServices)
	if err != nil {
		return err
	}
	defer service.Close()
	stripeKey, err := service.Sidecar.Secret(ctx, "payment-gateway-stripe-api-key")
	if err != nil {
		return err
	}
	webhookSecret, err := service.Sidecar.Secret(ctx, "payment-gateway-stripe-webhook-secret")
	if err != nil {
		return err
	}
	cards, err := gateway.New(cfg.StripeAPIBase, stripeKey)
	if err != nil {
		return err
	}
	return service.Serve(ctx, httpapi.New(httpapi.Deps{
		Cards: cards, Webhooks: gateway.Webhooks{Secret: webhookSecret}, Guard: service.Guard,
	}))
}

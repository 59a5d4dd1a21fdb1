// Command payment-gateway is Stripe as an app of this system: it takes charges and refunds from
// payment-service in the system's words and makes them with Stripe's PaymentIntents API, and it tells
// payment-service which webhooks are Stripe's and what they say. It owns no data. Retries, the breaker, the bulkhead and the rate limit are the sidecars' on the hop to it.
package main

import (
	"context"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/gateway"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/httpapi"
)

const service = "payment-gateway"

type config struct {
	web.Config
	// StripeAPIBase is where Stripe is; empty is the real one.
	StripeAPIBase string `envconfig:"STRIPE_API_BASE"`
}

func main() { web.Main(service, run) }

func run(ctx context.Context, cfg config) error {
	client, err := sidecar.Connect(ctx, service, cfg.DaprHTTPPort, cfg.DaprGRPCPort)
	if err != nil {
		return err
	}
	defer client.Close()
	serviceSecret, err := client.Secret(ctx, "service-auth-secret")
	if err != nil {
		return err
	}
	stripeKey, err := client.Secret(ctx, "payment-gateway-stripe-api-key")
	if err != nil {
		return err
	}
	webhookSecret, err := client.Secret(ctx, "payment-gateway-stripe-webhook-secret")
	if err != nil {
		return err
	}
	cards, err := gateway.New(cfg.StripeAPIBase, stripeKey)
	if err != nil {
		return err
	}
	guard := identity.Guard{ServiceSecret: []byte(serviceSecret), AppAPIToken: cfg.AppAPIToken}
	return web.Serve(ctx, cfg.Config, httpapi.New(cards, gateway.Webhooks{Secret: webhookSecret}, guard))
}

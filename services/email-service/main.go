// Command email-service is the system's adapter to an SMTP server. It receives messages with attachments from
// notification-service, encodes them in MIME and sends each one once. It stores only the ids of sent messages, in the
// Dapr state store. The sidecars apply retries, a circuit breaker and a bulkhead to the calls of this service.
package main

import (
	"context"
	"time"

	"github.com/eventbooking/eventbooking/services/email-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
	"github.com/eventbooking/eventbooking/services/email-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const appID = "email-service"

// stateStore is the name of the Dapr component and of its health check. The server behind it depends on the
// environment.
const stateStore = "statestore"

type config struct {
	app.Config
	SMTPHost     string `envconfig:"SMTP_HOST" required:"true"`
	SMTPPort     int    `envconfig:"SMTP_PORT" required:"true"`
	SMTPUsername string `envconfig:"SMTP_USERNAME"` // without one there is no authentication
	SMTPFrom     string `envconfig:"SMTP_FROM" default:"Event Booking <tickets@eventbooking.example>"`
	SMTPTLS      string `envconfig:"SMTP_TLS" default:"starttls"` // none, starttls or tls
}

func main() { app.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	service, err := app.Connect(ctx, appID, cfg.Config, app.AcceptsServices)
	if err != nil {
		return err
	}
	defer service.Close()
	server := email.Server{
		Host: cfg.SMTPHost, Port: cfg.SMTPPort, Username: cfg.SMTPUsername, From: cfg.SMTPFrom, TLS: cfg.SMTPTLS,
	}
	if server.Username != "" {
		if server.Password, err = service.Sidecar.Secret(ctx, "email-service-smtp-password"); err != nil {
			return err
		}
	}
	sender, err := email.NewSender(server, claim.Claims{
		States: service.Sidecar.Dapr, Store: stateStore, Consumer: appID, Lease: email.Lease, Keep: 24 * time.Hour,
	})
	if err != nil {
		return err
	}
	return service.Serve(ctx, httpapi.New(sender, service.Guard, web.Check{
		Name: stateStore, Degrades: true, Probe: func(ctx context.Context) error {
			_, err := service.Sidecar.Dapr.GetState(ctx, stateStore, "health-check", nil)
			return err
		},
	}), sender.Run)
}

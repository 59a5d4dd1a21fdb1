// Command email-service is an SMTP server as an app of this system: it takes a message with its
// attachments from notification-service, writes it as MIME and hands it to the SMTP server, each
// message once: which it sent is all that it keeps, in the Dapr state store. Retries, the breaker and the bulkhead are the sidecars' on the hop to it.
package main

import (
	"context"
	"time"

	"github.com/eventbooking/eventbooking/services/email-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
	"github.com/eventbooking/eventbooking/services/email-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const service = "email-service"

// stateStore is the Dapr component, and so the state store's name in the answer about health: what stands behind it is
// not the same everywhere.
const stateStore = "statestore"

type config struct {
	web.Config
	SMTPHost     string `envconfig:"SMTP_HOST" required:"true"`
	SMTPPort     int    `envconfig:"SMTP_PORT" required:"true"`
	SMTPUsername string `envconfig:"SMTP_USERNAME"` // empty: no authentication
	SMTPFrom     string `envconfig:"SMTP_FROM" default:"Event Booking <tickets@eventbooking.example>"`
	SMTPTLS      string `envconfig:"SMTP_TLS" default:"starttls"` // none, starttls or tls
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
	server := email.Server{
		Host:     cfg.SMTPHost,
		Port:     cfg.SMTPPort,
		Username: cfg.SMTPUsername,
		From:     cfg.SMTPFrom,
		TLS:      cfg.SMTPTLS,
	}
	if server.Username != "" {
		if server.Password, err = client.Secret(ctx, "email-service-smtp-password"); err != nil {
			return err
		}
	}
	sender, err := email.NewSender(server, claim.Claims{
		States: client.Dapr, Store: stateStore, Consumer: service, Lease: email.Lease, Keep: 24 * time.Hour,
	})
	if err != nil {
		return err
	}
	guard := identity.Guard{ServiceSecret: []byte(serviceSecret), AppAPIToken: cfg.AppAPIToken}
	states := web.Check{Name: stateStore, Degrades: true, Probe: func(ctx context.Context) error {
		_, err := client.Dapr.GetState(ctx, stateStore, "health-check", nil)
		return err
	}}
	return web.Serve(ctx, cfg.Config, httpapi.New(sender, guard, states))
}

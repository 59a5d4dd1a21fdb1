// Notification-service tells people what happened to their orders, by e-mail.
package main

import (
	"context"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

const appID = "notification-service"

type config struct{ web.Config }

func main() { web.Main(appID, run) }

func run(ctx context.Context, cfg config) error {
	sc, err := sidecar.Connect(ctx, appID, cfg.DaprHTTPPort, cfg.DaprGRPCPort)
	if err != nil {
		return err
	}
	defer sc.Close()
	databaseURL, err := sc.Secret(ctx, appID+"-database-url")
	if err != nil {
		return err
	}
	serviceSecret, err := sc.Secret(ctx, "service-auth-secret")
	if err != nil {
		return err
	}
	sc.Authenticate(func() (string, error) { return identity.SignServiceToken([]byte(serviceSecret), appID) })
	pool, err := postgres.Open(ctx, databaseURL, messaging.Migrations(), store.Migrations())
	if err != nil {
		return err
	}
	defer pool.Close()

	guard := identity.Guard{ServiceSecret: []byte(serviceSecret), AppAPIToken: cfg.AppAPIToken}
	return web.Serve(ctx, cfg.Config, newRouter(pool, guard, courier.Courier{
		Claims: claim.Claims{
			States: sc.Dapr, Store: "statestore", Consumer: appID,
			Lease: courier.Lease, Keep: 24 * time.Hour,
		},
		Store:    store.Store{Pool: pool},
		Services: sc,
	}))
}

func newRouter(pool *pgxpool.Pool, guard identity.Guard, c courier.Courier) *mux.Router {
	r := web.NewRouter()
	web.Health(r, web.Check{Name: "database", Probe: pool.Ping})
	for path, handler := range map[string]web.Handler{
		"/events/tickets-generated": messaging.Handle(pool, c.TicketsGenerated),
		"/events/payment-completed": messaging.Handle(pool, c.PaymentCompleted),
		"/events/payment-failed":    messaging.Handle(pool, c.PaymentFailed),
	} {
		r.Handle(path, guard.Sidecar(handler)).Methods(http.MethodPost)
	}
	// Every other event: those of the subscription's default route, and those that it has a route for
	// and we do not, which would otherwise be lost, since the sidecar takes a 404 for an order to drop.
	r.PathPrefix("/events/").Handler(guard.Sidecar(messaging.Unknown(pool))).Methods(http.MethodPost)
	return r
}

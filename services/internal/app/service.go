package app

import (
	"context"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/replay"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Service is a service that is connected to its sidecar and, if it has one, its database. [Service.Close] ends both
// connections.
type Service struct {
	Sidecar *sidecar.Client
	// Guard verifies the callers in the service's [Access], and always those of its own sidecar.
	Guard identity.Guard
	Pool  *pgxpool.Pool // nil without a database
	// DatabaseHealth checks the database. It is the zero Check without one.
	DatabaseHealth web.Check

	appID   string
	cfg     Config
	db      Database
	workers []Worker
}

// Database describes the database of a service.
type Database struct {
	// Migrations create the service's own tables. The tables of package messaging are created as well.
	Migrations postgres.Migrations
	// Settings determine how long messages are kept.
	Settings messaging.Settings
	// Queues are the queues that the service consumes; see Consume.
	Queues messaging.Queues
	// Gauges are the service's own, beside those of messaging.
	Gauges []postgres.Gauges
	// Ordered maps each topic whose events must keep their order to the component that they are published through.
	Ordered map[string]string
	// PublishesNothing is set for a service without events of its own. It needs no relay.
	PublishesNothing bool
}

// Access is what a service does with the identity of users and services. It decides which secrets and keys the service
// reads: without AcceptsServices and CallsServices it never reads the secret that signs service tokens.
type Access int

const (
	// AcceptsUsers verifies access tokens against the key set of auth-service.
	AcceptsUsers Access = iota
	// AcceptsServices verifies the service tokens of other services.
	AcceptsServices
	// CallsServices signs a service token for each call of another service.
	CallsServices
)

const (
	serviceSecret = "service-auth-secret"
	keySetPath    = "/api/auth/.well-known/jwks.json"
)

// Connect connects the service with this app-id, which has no database, to its sidecar. It waits up to a minute for the
// sidecar.
func Connect(ctx context.Context, appID string, cfg Config, access ...Access) (*Service, error) {
	client, err := sidecar.Connect(ctx, appID, cfg.DaprHTTPPort, cfg.DaprGRPCPort)
	if err != nil {
		return nil, err
	}
	s := &Service{Sidecar: client, Guard: identity.Guard{AppAPIToken: cfg.AppAPIToken}, appID: appID, cfg: cfg}
	if err := s.authenticate(ctx, appID, access); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Open connects the service with this app-id to its sidecar and to its database, whose URL is the secret
// <app-id>-database-url. It applies the migrations and registers the gauges. It waits up to a minute each for the
// sidecar and for the database.
func Open(ctx context.Context, appID string, cfg Config, db Database, access ...Access) (*Service, error) {
	s, err := Connect(ctx, appID, cfg, access...)
	if err != nil {
		return nil, err
	}
	if err := s.open(ctx, appID, db); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Service) authenticate(ctx context.Context, appID string, access []Access) error {
	accepts, calls := slices.Contains(access, AcceptsServices), slices.Contains(access, CallsServices)
	if accepts || calls {
		text, err := s.Sidecar.Secret(ctx, serviceSecret)
		if err != nil {
			return err
		}
		secret := []byte(text)
		if accepts {
			s.Guard.ServiceSecret = secret
		}
		if calls {
			s.Sidecar.Authenticate(func() (string, error) { return identity.SignServiceToken(secret, appID) })
		}
	}
	if slices.Contains(access, AcceptsUsers) {
		verifier, err := identity.FetchKeys(ctx, s.Sidecar.HTTP, s.Sidecar.URL("auth-service", keySetPath))
		if err != nil {
			return err
		}
		s.Guard.Verifier = verifier
	}
	return nil
}

func (s *Service) open(ctx context.Context, appID string, db Database) error {
	url, err := s.Sidecar.Secret(ctx, appID+"-database-url")
	if err != nil {
		return err
	}
	s.Pool, err = postgres.Open(ctx, url, messaging.Migrations(), db.Migrations)
	if err != nil {
		return err
	}
	s.db = db
	gauges := slices.Concat(outbox.Gauges, deadletter.Gauges(db.Queues), db.Gauges)
	if err := prometheus.Register(postgres.Collector(s.Pool, gauges)); err != nil {
		return err
	}
	s.DatabaseHealth = web.Check{Name: "database", Probe: s.Pool.Ping}
	if !db.PublishesNothing {
		relay := outbox.Relay{Pool: s.Pool, Publisher: s.Sidecar.Dapr, PubSub: sidecar.PubSub, Ordered: db.Ordered}
		s.workers = append(s.workers, relay.Run, replay.New(s.Pool, replay.Config{}).Run)
	}
	s.workers = append(s.workers, messaging.Purge{Pool: s.Pool, Settings: db.Settings}.Run)
	return nil
}

// Serve is the function [Serve] for this service. With a database, it also runs the relay of its outbox and the purge
// of old messages.
func (s *Service) Serve(ctx context.Context, handler http.Handler, workers ...Worker) error {
	return Serve(ctx, s.cfg, handler, slices.Concat(s.workers, workers)...)
}

// Close closes the connections to the database and to the sidecar.
func (s *Service) Close() {
	if s.Pool != nil {
		s.Pool.Close()
	}
	s.Sidecar.Close()
}

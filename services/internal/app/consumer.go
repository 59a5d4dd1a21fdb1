package app

import (
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging/deadletter"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
)

// Consume adds the routes of the consumer of the service's queues, and of its dead letters, to r. api is the prefix of
// the service's public paths, such as /api/tickets. Dead letters are announced by events if the service publishes any.
func (s *Service) Consume(r *mux.Router, api string, handlers []inbox.Handler) {
	Consumer{
		Config: deadletter.Config{
			Service: s.appID, Queues: s.db.Queues, API: api, Announce: !s.db.PublishesNothing,
		},
		Pool: s.Pool, Handlers: handlers,
	}.Mount(r, s.Guard)
}

// Consumer consumes the events of a service's queues and keeps its dead letters.
type Consumer struct {
	deadletter.Config
	Pool     *pgxpool.Pool
	Handlers []inbox.Handler
}

// Mount adds the routes of the consumer and of its dead letters to r.
func (c Consumer) Mount(r *mux.Router, guard identity.Guard) {
	consumer := inbox.New(c.Pool, c.Queues, c.Handlers...)
	archive := deadletter.New(c.Pool, consumer.Process, c.Config)
	consumer.SettingAside(archive.SetAside).Mount(r, guard)
	archive.Mount(r, guard)
}

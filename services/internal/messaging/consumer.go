package messaging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Consumer is a service's side of its queue: what it hears, and what becomes of that.
//
//   - An event that its handler takes is done.
//   - An event of a type or version that there is no handler for is recorded in unknown_events, and done.
//   - An event that cannot be read, or whose handler fails, is refused and comes again, until the queue's
//     receive limit moves it to the dead-letter queue. From there it gets into dead_letters.
//
// Good events end there, too: a sidecar that starts spends deliveries on topics that it has not subscribed
// to yet, and an outage of a minute and a half spends all three. So a dead letter's event is tried again at
// once, and twice more by the sweeps after that. Only when the first of these tries fails are operations
// alerted, with the reason, and in the end it is an admin who redrives or discards it. A try is counted
// before it is made: an event that kills the process does so a few times, and then waits for the admin too.
//
// Each time the event goes to the same handler, which sees by the inbox whether it took effect already.
type Consumer struct {
	Pool    *pgxpool.Pool
	Service string // the app-id
	Queue   string
	// Ordered is another queue, of ordered topics, if the service has one. Its dead letters come by the
	// binding ordered-dead-letters.
	Ordered string
	API     string // what the service's public paths start with: /api/tickets
	Guard   identity.Guard
	// Announce publishes DEAD_LETTER_ARCHIVED beside logging an alert. notification-service, which would
	// hear it, does not: it would write about its own queue into its own queue.
	Announce bool
	Handlers map[string]Handler // by event type
}

// Mount adds the consumer's routes to r: for the sidecar /events/..., named after the types in
// kebab-case, and the bindings dead-letters and monitor-dead-letters; for admins, API/admin/dead-letters.
func (c Consumer) Mount(r *mux.Router) {
	c.countFromZero()
	post := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodPost) }
	for eventType := range c.Handlers {
		post("/events/"+strings.ToLower(strings.ReplaceAll(eventType, "_", "-")), c.Guard.Sidecar(c.receive))
	}
	// Every other event: those of the subscription's default route, and those that it has a route for
	// and we do not, which would otherwise be lost, since the sidecar takes a 404 for an order to drop.
	r.PathPrefix("/events/").Handler(c.Guard.Sidecar(c.receive)).Methods(http.MethodPost)
	post("/bindings/dead-letters", c.Guard.Sidecar(c.archive(c.Queue)))
	if c.Ordered != "" {
		post("/bindings/ordered-dead-letters", c.Guard.Sidecar(c.archive(c.Ordered)))
	}
	post("/bindings/monitor-dead-letters", c.Guard.Sidecar(c.monitor))

	admin := func(h web.Handler) web.Handler { return c.Guard.Person(h, identity.RoleAdmin) }
	letters := c.API + "/admin/dead-letters"
	r.Handle(letters, admin(c.listLetters)).Methods(http.MethodGet)
	post(letters+"/redrive", admin(c.redriveAll))
	r.Handle(letters+"/{deadLetterId}", admin(c.showLetter)).Methods(http.MethodGet)
	post(letters+"/{deadLetterId}/redrive", admin(c.redriveOne))
	post(letters+"/{deadLetterId}/discard", admin(c.discardOne))
}

// receive answers a delivery of the sidecar's.
func (c Consumer) receive(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, web.MaxBody))
	if err != nil {
		return errMalformed.Because(err)
	}
	switch err := c.process(r.Context(), body); {
	case errors.Is(err, errMalformed):
		return err
	case err != nil:
		// Never the error's own status: a sidecar takes 404, which some lookup of the handler's may
		// have got, for "drop this event".
		return web.WriteJSON(w, http.StatusInternalServerError, map[string]string{"status": "RETRY"})
	}
	// As Dapr's pub/sub API asks: the event is done.
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "SUCCESS"})
}

// process gives an event to the handler of its type, and keeps one that has none: acknowledging it is the
// end of it at the broker.
func (c Consumer) process(ctx context.Context, body []byte) error {
	event, err := parseCloudEvent(body)
	if err == nil {
		err = errUnknown
		if handle, known := c.Handlers[event.Type]; known {
			err = handle(ctx, event)
		}
	}
	c.count(event, body, err)
	if !errors.Is(err, errUnknown) {
		return err
	}
	if _, err := c.Pool.Exec(ctx, `
		INSERT INTO unknown_events (event_id, type, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		storable(event.ID), storable(event.Type), storable(string(body))); err != nil {
		return fmt.Errorf("record unknown event %s: %w", event.ID, err)
	}
	slog.WarnContext(ctx, "event of unknown type or version recorded", "type", event.Type, "eventId", event.ID)
	return nil
}

// cleanupTimeout bounds what is written down after a request may have ended.
const cleanupTimeout = 3 * time.Second

// bounded is an error as it is kept.
func bounded(err error) string {
	text := []rune(storable(err.Error()))
	return string(text[:min(len(text), 1000)])
}

// storable is text without what PostgreSQL refuses in one.
func storable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
}

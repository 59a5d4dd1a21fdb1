package inbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Consumer processes the events that a service's sidecar receives from its queues.
//
//   - An event whose handler returns nil is acknowledged.
//   - An event without a handler for its type and version is stored in unknown_events and acknowledged.
//   - An event that cannot be read, or whose handler fails, is refused. The queue delivers it again, until
//     its receive limit moves it to the dead-letter queue; see package deadletter.
//   - On the ordered queue such an event would hold up all others for the three deliveries. With SettingAside it
//     becomes a dead letter at once, and the others do not wait for it. Handlers ignore an event that is older than
//     what they know, so that a later attempt does no harm.
type Consumer struct {
	pool     *pgxpool.Pool
	queues   messaging.Queues
	handlers map[string]Handler // by event type
	setAside SetAside           // nil without SettingAside
}

// SetAside stores an event that was refused, with the queue that it came from, and processes it later.
type SetAside func(ctx context.Context, queue string, cloudEvent []byte) error

const (
	// orderedTimeout bounds the handler of an event of the ordered queue, which all later events wait for.
	orderedTimeout = 10 * time.Second
	// setAsideTimeout bounds SetAside. Together they are shorter than the timeout of a delivery, 55 s.
	setAsideTimeout = 30 * time.Second
)

// New returns a consumer of the queues. It panics if two handlers have the same event type.
func New(pool *pgxpool.Pool, queues messaging.Queues, handlers ...Handler) Consumer {
	c := Consumer{pool: pool, queues: queues, handlers: map[string]Handler{}}
	for _, h := range handlers {
		if _, exists := c.handlers[h.eventType]; exists {
			panic("two handlers for events of type " + h.eventType)
		}
		c.handlers[h.eventType] = h
	}
	c.countFromZero()
	return c
}

// SettingAside returns a consumer that passes the refused events of the ordered queue to setAside, and acknowledges
// those that it stored.
func (c Consumer) SettingAside(setAside SetAside) Consumer {
	c.setAside = setAside
	return c
}

// Mount adds the route of the sidecar's deliveries to r. The path below /events is ignored, since Process
// routes an event by its type. Earlier versions of the subscriptions deliver to /events/<type>, and a sidecar
// drops an event that the app answers with 404.
func (c Consumer) Mount(r *mux.Router, guard identity.Guard) {
	receive := guard.Sidecar(c.receive)
	r.Handle("/events", receive).Methods(http.MethodPost)
	r.PathPrefix("/events/").Handler(receive).Methods(http.MethodPost)
}

// receive answers a delivery. Dapr acknowledges an event answered with SUCCESS, and retries one answered with
// another status than 200 and 404.
func (c Consumer) receive(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, web.MaxBody))
	if err != nil {
		return messaging.ErrMalformed.Because(err)
	}
	process := c.Process
	if c.setAside != nil && c.queueOf(body) == c.queues.Ordered {
		process = c.processOrdered
	}
	switch err := process(r.Context(), body); {
	case errors.Is(err, messaging.ErrMalformed):
		return err
	case err != nil:
		// Never the error's own status: if a lookup of the handler failed with 404, the sidecar would drop the event.
		return web.WriteJSON(w, http.StatusInternalServerError, map[string]string{"status": "RETRY"})
	}
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "SUCCESS"})
}

// processOrdered is Process for an event of the ordered queue. It returns an error only if the event was neither
// processed nor set aside.
func (c Consumer) processOrdered(ctx context.Context, body []byte) error {
	handling, cancel := context.WithTimeout(ctx, orderedTimeout)
	err := c.Process(handling, body)
	cancel()
	if err == nil {
		return nil
	}
	storing, cancel := web.Detach(ctx, setAsideTimeout)
	defer cancel()
	if err := c.setAside(storing, c.queues.Ordered, body); err != nil {
		return err
	}
	slog.WarnContext(ctx, "event of the ordered queue set aside", "queue", c.queues.Ordered, "error", err.Error())
	return nil
}

// Process passes an event to the handler of its type. It stores an event without a handler in unknown_events,
// because the broker forgets an acknowledged event. It returns messaging.ErrMalformed if body cannot be read, and
// the handler's error if that fails.
func (c Consumer) Process(ctx context.Context, body []byte) error {
	event, outcome, err := c.dispatch(ctx, body)
	if outcome == unknown {
		err = c.recordUnknown(ctx, event, body)
		if err != nil {
			outcome = refused
		}
	}
	c.count(event, body, outcome)
	return err
}

// dispatch passes an event to its handler.
func (c Consumer) dispatch(ctx context.Context, body []byte) (messaging.CloudEvent, outcome, error) {
	event, err := messaging.ParseCloudEvent(body)
	if err != nil {
		return event, refused, err
	}
	handler, found := c.handlers[event.Type]
	if !found {
		return event, unknown, nil
	}
	switch err := handler.process(ctx, event); {
	case errors.Is(err, errUnknown):
		return event, unknown, nil
	case err != nil:
		return event, refused, err
	}
	return event, processed, nil
}

func (c Consumer) recordUnknown(ctx context.Context, event messaging.CloudEvent, body []byte) error {
	if _, err := c.pool.Exec(ctx, `
		INSERT INTO unknown_events (event_id, type, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		messaging.Storable(event.ID), messaging.Storable(event.Type), messaging.Storable(string(body))); err != nil {
		return fmt.Errorf("record unknown event %s: %w", event.ID, err)
	}
	slog.WarnContext(ctx, "event of unknown type or version recorded", "type", event.Type, "eventId", event.ID)
	return nil
}

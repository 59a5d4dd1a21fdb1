package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Event is an event as a consumer gets it.
type Event[P any] struct {
	ID uuid.UUID // the message id, the same at every delivery
	Envelope[P]
}

var errMalformed = problem.New(problem.Unprocessable, "MALFORMED_EVENT", "The event cannot be read")

type cloudEvent struct {
	ID   string          `json:"id"`
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// Handle makes the handler of one event type. When handle returns an error, the delivery is refused
// and comes again, until the queue's receive limit moves it to the dead-letter queue; so does an
// event that cannot be read. One of another version than ours is recorded like an unknown type.
func Handle[P any](pool *pgxpool.Pool, handle func(ctx context.Context, event Event[P]) error) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, ce, err := readCloudEvent(w, r)
		if err != nil {
			return err
		}
		event := Event[P]{}
		if event.ID, err = uuid.Parse(ce.ID); err != nil {
			return errMalformed.Because(err)
		}
		var version struct{ Version, EventType string }
		if err := json.Unmarshal(ce.Data, &version); err != nil || version.EventType != ce.Type {
			return errMalformed.Because(err)
		}
		if version.Version != Version {
			return recordUnknown(w, r, pool, ce, body)
		}
		if err := json.Unmarshal(ce.Data, &event.Envelope); err != nil {
			return errMalformed.Because(err)
		}
		trace := telemetry.From(r.Context()) // the sidecar hands on the event's trace as headers
		trace.CorrelationID = event.CorrelationID
		ctx := telemetry.With(r.Context(), trace)
		if err := handle(ctx, event); err != nil {
			slog.ErrorContext(ctx, "event not processed", "type", ce.Type, "eventId", ce.ID, "error", err.Error())
			// Never the error's own status: a sidecar takes 404, which some lookup of the handler's may
			// have got, for "drop this event".
			return web.WriteJSON(w, http.StatusInternalServerError, map[string]string{"status": "RETRY"})
		}
		slog.InfoContext(ctx, "event processed", "type", ce.Type, "eventId", ce.ID)
		return acknowledge(w)
	}
}

// Unknown records events that no route is meant for, and acknowledges them: the default route of
// every subscription.
func Unknown(pool *pgxpool.Pool) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, ce, err := readCloudEvent(w, r)
		if err != nil {
			return err
		}
		return recordUnknown(w, r, pool, ce, body)
	}
}

func readCloudEvent(w http.ResponseWriter, r *http.Request) ([]byte, cloudEvent, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, web.MaxBody))
	if err != nil {
		return nil, cloudEvent{}, errMalformed.Because(err)
	}
	var ce cloudEvent
	if err := json.Unmarshal(body, &ce); err != nil {
		return nil, cloudEvent{}, errMalformed.Because(err)
	}
	if ce.ID == "" {
		return nil, cloudEvent{}, errMalformed.Because(errors.New("no id"))
	}
	return body, ce, nil
}

func recordUnknown(w http.ResponseWriter, r *http.Request, pool *pgxpool.Pool, ce cloudEvent, body []byte) error {
	if _, err := pool.Exec(r.Context(), `
		INSERT INTO unknown_events (event_id, type, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		ce.ID, ce.Type, string(body)); err != nil {
		return err
	}
	slog.WarnContext(r.Context(), "event of unknown type or version recorded", "type", ce.Type, "eventId", ce.ID)
	return acknowledge(w)
}

// acknowledge answers as Dapr's pub/sub API asks: the event is done.
func acknowledge(w http.ResponseWriter) error {
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "SUCCESS"})
}

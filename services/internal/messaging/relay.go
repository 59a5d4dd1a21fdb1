package messaging

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Publisher is what a Relay needs of the Dapr client.
type Publisher interface {
	PublishEvents(ctx context.Context, pubsub, topic string, events []any, opts ...dapr.PublishEventsOption) dapr.PublishEventsResponse
}

// Relay publishes a service's outbox. Any number of replicas may run one each: a lease on each row
// keeps them from publishing the same event twice unless one of them died.
type Relay struct {
	Pool      *pgxpool.Pool
	Publisher Publisher
	PubSub    string // the component to publish through
	// Ordered are the topics whose events keep their order, each with the component to publish through.
	Ordered map[string]string

	Batch int           // events published at once; 100 when zero
	Poll  time.Duration // how often to look without being woken; 2 s when zero
	Lease time.Duration // after this another relay takes over a batch; 30 s when zero
}

// Run publishes until ctx ends. It is woken when a transaction commits an event, and polls besides,
// for events that failed or whose relay died.
func (r Relay) Run(ctx context.Context) error {
	if r.Batch == 0 {
		r.Batch = 100
	}
	if r.Poll == 0 {
		r.Poll = 2 * time.Second
	}
	if r.Lease == 0 {
		r.Lease = 30 * time.Second
	}
	for ctx.Err() == nil {
		if err := r.listen(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "outbox relay lost its database, trying again", "error", err.Error())
			wait(ctx, r.Poll)
		}
	}
	return ctx.Err()
}

// listen publishes, then waits to be woken, on one connection.
func (r Relay) listen(ctx context.Context) error {
	return r.Pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		if _, err := c.Exec(ctx, `LISTEN outbox`); err != nil {
			return err
		}
		// The connection goes back to the pool: it must not go on listening there.
		defer func() { _, _ = c.Exec(context.WithoutCancel(ctx), `UNLISTEN outbox`) }()
		for {
			if err := r.publishOrdered(ctx); err != nil {
				return err
			}
			for {
				published, err := r.publishBatch(ctx)
				if err != nil {
					return err
				}
				if published < r.Batch { // the rest, if any, failed or is another relay's
					break
				}
			}
			woken, cancel := context.WithTimeout(ctx, r.Poll)
			_, err := c.Conn().WaitForNotification(woken)
			timeToPoll := woken.Err() != nil
			cancel()
			if err != nil && !timeToPoll || ctx.Err() != nil {
				return err
			}
		}
	})
}

type outboxRow struct {
	ID         uuid.UUID
	Topic      string
	CloudEvent json.RawMessage
}

// begin gives the row's event as it is published now: under a span in the trace of what added it, which the event names
// from here on. The caller ends the span.
func (row outboxRow) begin(ctx context.Context) (dapr.PublishEventsEvent, trace.Span, error) {
	var of cloudEvent
	var event map[string]json.RawMessage
	for _, into := range []any{&of, &event} {
		if err := json.Unmarshal(row.CloudEvent, into); err != nil {
			return dapr.PublishEventsEvent{}, nil, fmt.Errorf("read event %s of the outbox: %w", row.ID, err)
		}
	}
	ctx, span := telemetry.Resume(ctx, of.trace(), "publish "+row.Topic)
	if now := telemetry.From(ctx); now.Parent != "" {
		event["traceparent"], event["tracestate"] = strconv.AppendQuote(nil, now.Parent), strconv.AppendQuote(nil, now.State)
		// By its old name, too: of an event without it, the sidecar replaces both by a trace of its own (daprd 1.18.2).
		event["traceid"] = event["traceparent"]
	}
	body, err := json.Marshal(event)
	if err != nil {
		return dapr.PublishEventsEvent{}, nil, fmt.Errorf("write event %s of the outbox: %w", row.ID, err)
	}
	return dapr.PublishEventsEvent{EntryID: row.ID.String(), Data: body, ContentType: "application/cloudevents+json"}, span, nil
}

// publishBatch leases up to a batch of events, publishes them and marks those that the broker took.
// The others come again when their lease ends. It gives the number that was published.
func (r Relay) publishBatch(ctx context.Context) (int, error) {
	rows, err := r.lease(ctx)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	byTopic, spans := map[string][]any{}, map[string][]trace.Span{}
	for _, row := range rows {
		event, span, err := row.begin(ctx)
		if err != nil {
			return 0, err
		}
		byTopic[row.Topic], spans[row.Topic] = append(byTopic[row.Topic], event), append(spans[row.Topic], span)
	}
	failed := map[string]bool{}
	// What takes longer than the lease is another relay's by then.
	publishing, cancel := context.WithTimeout(ctx, r.Lease)
	defer cancel()
	for topic, events := range byTopic {
		// The sidecar's part in it, one call, is in the trace of the first.
		res := r.Publisher.PublishEvents(trace.ContextWithSpan(publishing, spans[topic][0]), r.PubSub, topic, events)
		for _, span := range spans[topic] {
			telemetry.End(span, res.Error)
		}
		if res.Error == nil {
			continue
		}
		slog.WarnContext(ctx, "events not published, they will be retried",
			"topic", topic, "failed", len(res.FailedEvents), "of", len(events), "error", res.Error.Error())
		for _, e := range res.FailedEvents {
			if event, ok := e.(dapr.PublishEventsEvent); ok {
				failed[event.EntryID] = true
			}
		}
	}
	var taken, refused []uuid.UUID
	for _, row := range rows {
		if failed[row.ID.String()] {
			refused = append(refused, row.ID)
		} else {
			taken = append(taken, row.ID)
			countPublished(row)
		}
	}
	// An event that failed waits a little longer each time, up to the length of a lease.
	if _, err := r.Pool.Exec(ctx, `
		UPDATE outbox
		SET published_at = CASE WHEN id = ANY($1) THEN now() END,
		    leased_until = CASE WHEN id = ANY($2)
		        THEN now() + least(attempts * interval '1 second', $3) ELSE leased_until END
		WHERE id = ANY($1) OR id = ANY($2)`, taken, refused, r.Lease); err != nil {
		return 0, fmt.Errorf("mark published events: %w", err)
	}
	return len(taken), nil
}

func (r Relay) lease(ctx context.Context) ([]outboxRow, error) {
	rows, err := r.Pool.Query(ctx, `
		UPDATE outbox SET leased_until = now() + $2, attempts = attempts + 1
		WHERE position IN (
			SELECT position FROM outbox
			WHERE published_at IS NULL AND leased_until < now() AND topic <> ALL ($3)
			ORDER BY position LIMIT $1
			FOR UPDATE SKIP LOCKED)
		RETURNING id, topic, cloud_event`, r.Batch, r.Lease, slices.AppendSeq([]string{}, maps.Keys(r.Ordered)))
	if err != nil {
		return nil, fmt.Errorf("lease events: %w", err)
	}
	leased, err := pgx.CollectRows(rows, pgx.RowToStructByPos[outboxRow])
	if err != nil {
		return nil, fmt.Errorf("lease events: %w", err)
	}
	return leased, nil
}

// wait pauses for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

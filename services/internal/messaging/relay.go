package messaging

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Publisher is what a Relay needs of the Dapr client.
type Publisher interface {
	PublishEvents(ctx context.Context, pubsub, topic string, events []any, opts ...dapr.PublishEventsOption) dapr.PublishEventsResponse
}

// Relay publishes a service's outbox. Any number of replicas may run one each: a lease on each row
// keeps them from publishing the same event twice unless one of them died.
//
// An event is published for the first time together with the others of its topic, in one call, which takes a third less of
// the processor's time than a call for each. If one of them is refused, the sidecar says no more than that, so all of
// them come again, under their ids, and from then on each alone: an event that nobody takes holds up no other, and
// waits for whoever looks after it. So does what a relay left that died.
type Relay struct {
	Pool      *pgxpool.Pool
	Publisher Publisher
	PubSub    string // the component to publish through
	// Ordered are the topics on which what is about one thing keeps its order, each with the component to publish through.
	Ordered map[string]string

	Batch int           // events published at once; 100 when zero
	Poll  time.Duration // how often to look without being woken; 2 s when zero
	Lease time.Duration // after this another relay takes over a batch; 30 s when zero
}

// Run publishes until ctx ends. It is woken when a transaction of this process commits an event, and looks every
// now and then besides: for events that failed, and for those of a replica that died.
//
// The database does not wake it: PostgreSQL lets transactions that notify somebody commit only one after the other, whatever
// they are about, each waiting for the disk alone.
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
	var g errgroup.Group
	g.Go(func() error { return r.whenever(ctx, r.publishNew) })
	g.Go(func() error { return r.every(ctx, nil, r.publishAgain) })
	if len(r.Ordered) > 0 {
		g.Go(func() error { return r.whenever(ctx, r.publishOrdered) })
	}
	return g.Wait()
}

// publishers is how many calls of the sidecar are made at a time.
const publishers = 20

// whenever publishes at once, whenever an event is committed, and every now and then.
func (r Relay) whenever(ctx context.Context, publish func(context.Context) error) error {
	woken := make(chan struct{}, 1)
	relays.Store(woken, nil)
	defer relays.Delete(woken)
	return r.every(ctx, woken, publish)
}

func (r Relay) every(ctx context.Context, woken <-chan struct{}, publish func(context.Context) error) error {
	for {
		if err := publish(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "outbox relay lost its database, trying again", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-woken:
		case <-time.After(r.Poll):
		}
	}
}

// relays has a channel for each part of a relay of this process that waits for events, with room for one signal.
var relays sync.Map

// wakeRelays lets them look for events.
func wakeRelays() {
	relays.Range(func(woken, _ any) bool {
		select {
		case woken.(chan struct{}) <- struct{}{}:
		default: // it will look anyway
		}
		return true
	})
}

type outboxRow struct {
	ID         uuid.UUID
	Topic      string
	CloudEvent json.RawMessage
	Attempts   int // this one included
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

// publishNew publishes what nobody has tried to publish, until there is no more. What is committed meanwhile wakes it
// again.
func (r Relay) publishNew(ctx context.Context) error {
	for more := true; more; {
		rows, err := r.lease(ctx, `attempts = 0`)
		if err != nil {
			return err
		}
		if _, err := r.publishLeased(ctx, r.PubSub, rows); err != nil {
			return err
		}
		more = len(rows) == r.Batch
	}
	return nil
}

// publishAgain publishes what was tried in vain and is due, as long as the broker takes any of it.
func (r Relay) publishAgain(ctx context.Context) error {
	for more := true; more; {
		rows, err := r.lease(ctx, `attempts > 0 AND leased_until < now()`)
		if err != nil {
			return err
		}
		refused, err := r.publishLeased(ctx, r.PubSub, rows)
		if err != nil {
			return err
		}
		more = len(rows) == r.Batch && len(refused) < len(rows)
	}
	return nil
}

// lease takes up to a batch of events of topics without an order, the oldest of those that are due.
func (r Relay) lease(ctx context.Context, due string) ([]outboxRow, error) {
	leased, err := r.update(ctx, `
		UPDATE outbox SET leased_until = now() + $2, attempts = attempts + 1
		WHERE position IN (
			SELECT position FROM outbox
			WHERE published_at IS NULL AND topic <> ALL ($3) AND `+due+`
			ORDER BY position LIMIT $1
			FOR UPDATE SKIP LOCKED)
		RETURNING id, topic, cloud_event, attempts`, r.Batch, r.Lease, slices.AppendSeq([]string{}, maps.Keys(r.Ordered)))
	if err != nil {
		return nil, fmt.Errorf("lease events: %w", err)
	}
	return leased, nil
}

// update changes rows of the outbox, and gives them if it is said to return them. Its commit does not wait for the disk: what
// a crash of the server takes back of it leads to nothing but the same event once more.
func (r Relay) update(ctx context.Context, sql string, args ...any) (updated []outboxRow, err error) {
	var batch pgx.Batch // one transaction
	batch.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
	batch.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		updated, err = pgx.CollectRows(rows, pgx.RowToStructByPos[outboxRow])
		return err
	})
	return updated, r.Pool.SendBatch(ctx, &batch).Close()
}

// publishLeased publishes events that are this relay's, marks those that the broker took, and gives the others. These
// wait a little longer each time, up to the length of a lease.
func (r Relay) publishLeased(ctx context.Context, pubsub string, rows []outboxRow) (refused []uuid.UUID, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	first := map[string][]outboxRow{} // attempts at these, by topic
	var calls [][]outboxRow
	for _, row := range rows {
		if row.Attempts == 1 {
			first[row.Topic] = append(first[row.Topic], row)
		} else {
			calls = append(calls, []outboxRow{row})
		}
	}
	calls = slices.AppendSeq(calls, maps.Values(first))

	// What takes longer than the lease is another relay's by then.
	publishing, cancel := context.WithTimeout(ctx, r.Lease)
	defer cancel()
	errs := make([]error, len(calls))
	var g errgroup.Group
	g.SetLimit(publishers)
	for i, call := range calls {
		g.Go(func() error {
			errs[i] = r.publish(publishing, pubsub, call)
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	var taken []uuid.UUID
	for i, call := range calls {
		for _, row := range call {
			if errs[i] == nil {
				taken = append(taken, row.ID)
			} else {
				refused = append(refused, row.ID)
			}
		}
	}
	// Also when this relay is being stopped: what it published need not come again.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if _, err := r.update(ctx, `
		UPDATE outbox
		SET published_at = CASE WHEN id = ANY ($1) THEN now() ELSE published_at END,
		    leased_until = CASE WHEN id = ANY ($2)
		        THEN now() + least(attempts * interval '1 second', $3) ELSE leased_until END
		WHERE id = ANY ($1::uuid[] || $2::uuid[])`, taken, refused, r.Lease); err != nil {
		return nil, fmt.Errorf("mark published events: %w", err)
	}
	return refused, nil
}

// publish publishes events of one topic in one call. If it fails, none of them may be taken for published, though
// some may be.
func (r Relay) publish(ctx context.Context, pubsub string, rows []outboxRow) error {
	events, spans := make([]any, len(rows)), make([]trace.Span, len(rows))
	var err error
	for i, row := range rows {
		if events[i], spans[i], err = row.begin(ctx); err != nil {
			break
		}
	}
	if err == nil {
		// The sidecar's part in it, one call, is in the trace of the first.
		err = r.Publisher.PublishEvents(trace.ContextWithSpan(ctx, spans[0]), pubsub, rows[0].Topic, events).Error
	}
	for _, span := range spans {
		if span != nil {
			telemetry.End(span, err)
		}
	}
	if err != nil {
		slog.WarnContext(ctx, "events not published, they will be retried",
			"topic", rows[0].Topic, "events", len(rows), "eventId", rows[0].ID, "attempts", rows[0].Attempts, "error", err.Error())
		return err
	}
	for _, row := range rows {
		countPublished(row)
	}
	return nil
}

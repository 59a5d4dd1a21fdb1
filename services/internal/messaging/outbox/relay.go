package outbox

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

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Publisher is the part of the Dapr client that a Relay uses.
type Publisher interface {
	PublishEvents(ctx context.Context, pubsub, topic string, events []any,
		opts ...dapr.PublishEventsOption) dapr.PublishEventsResponse
}

// Relay publishes a service's outbox. Every replica may run one: a lease on each row keeps two relays from
// publishing the same event, unless one of them died or lost its lease.
//
// The first attempt at an event is made in one call with other new events of its topic, which costs a
// third less processor time than one call for each event. The sidecar does not report which event of a call
// was refused. So after a failure every event of the call is retried, under its id, and each in a call of its
// own: an event that the broker always refuses does not hold up the others, and stays in the outbox until an
// operator removes its cause. The events that a dead relay left behind are also retried one by one.
//
// Refused events are retried in the order in which they are due, so that any number of them takes turns, and the
// more often an event was refused while others were accepted, the less often it is retried.
type Relay struct {
	Pool      *pgxpool.Pool
	Publisher Publisher
	PubSub    string // the component to publish through
	// Ordered maps each topic whose events keep their order per subject to the component to publish through.
	Ordered map[string]string

	Batch int           // events leased at once; 100 if zero
	Poll  time.Duration // the interval between polls; 2 s if zero
	Lease time.Duration // after this time another relay takes over a batch; 30 s if zero

	accepted *acceptances // set by Run
}

// Run publishes until ctx is done. A commit of this process that adds events wakes it. It also polls, for
// events to retry and for events of other replicas that died.
//
// The relay does not use LISTEN and NOTIFY: PostgreSQL serializes the commits of all transactions that notify,
// in all databases of a server, and each of these commits waits for the disk.
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
	r.accepted = &acceptances{at: map[string]time.Time{}}
	var g errgroup.Group
	g.Go(func() error { return r.runWoken(ctx, r.publishNew) })
	g.Go(func() error { return r.run(ctx, nil, r.retry) })
	if len(r.Ordered) > 0 {
		g.Go(func() error { return r.runWoken(ctx, r.publishOrdered) })
	}
	return g.Wait()
}

const (
	// publishers is the number of concurrent calls to the sidecar.
	publishers = 20
	// maxCall is the size in bytes up to which events share a call. A sidecar accepts 4 MiB (daprd 1.18.2).
	maxCall = 1 << 20
	// cleanupTimeout bounds the statements that run after ctx is done.
	cleanupTimeout = 3 * time.Second
)

// runWoken calls publish after every commit that adds events, and on every poll.
func (r Relay) runWoken(ctx context.Context, publish func(context.Context) error) error {
	woken := make(chan struct{}, 1)
	relays.Store(woken, nil)
	defer relays.Delete(woken)
	return r.run(ctx, woken, publish)
}

// run calls publish on every poll and whenever woken is signalled, until ctx is done.
func (r Relay) run(ctx context.Context, woken <-chan struct{}, publish func(context.Context) error) error {
	for {
		if err := publish(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "relay outbox failed", "retryIn", r.Poll, "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-woken:
		case <-time.After(r.Poll):
		}
	}
}

// relays holds a channel, with room for one signal, for each loop of this process that commits wake.
var relays sync.Map

// wakeRelays signals that events were committed.
func wakeRelays() {
	relays.Range(func(woken, _ any) bool {
		select {
		case woken.(chan struct{}) <- struct{}{}:
		default: // a signal is pending already
		}
		return true
	})
}

type outboxRow struct {
	ID         uuid.UUID
	Topic      string
	CloudEvent json.RawMessage
	Attempts   int // including the one that is being made
}

// begin starts a span in the trace of the request that added the event, and returns the event to publish,
// which names this span as its parent. The caller ends the span.
func (row outboxRow) begin(ctx context.Context) (dapr.PublishEventsEvent, trace.Span, error) {
	var parsed messaging.CloudEvent
	var event map[string]json.RawMessage
	for _, into := range []any{&parsed, &event} {
		if err := json.Unmarshal(row.CloudEvent, into); err != nil {
			return dapr.PublishEventsEvent{}, nil, fmt.Errorf("read event %s of the outbox: %w", row.ID, err)
		}
	}
	ctx, span := telemetry.Resume(ctx, parsed.Trace(), "publish "+row.Topic)
	if now := telemetry.From(ctx); now.Parent != "" {
		event["traceparent"] = strconv.AppendQuote(nil, now.Parent)
		event["tracestate"] = strconv.AppendQuote(nil, now.State)
		// The sidecar replaces the trace of an event that lacks this older attribute (daprd 1.18.2).
		event["traceid"] = event["traceparent"]
	}
	body, err := json.Marshal(event)
	if err != nil {
		return dapr.PublishEventsEvent{}, nil, fmt.Errorf("write event %s of the outbox: %w", row.ID, err)
	}
	return dapr.PublishEventsEvent{
		EntryID: row.ID.String(), Data: body, ContentType: "application/cloudevents+json",
	}, span, nil
}

// publishNew publishes events that no relay attempted before, until none is left.
func (r Relay) publishNew(ctx context.Context) error {
	for more := true; more; {
		rows, err := r.lease(ctx, untried)
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

// retry publishes events that were attempted before and are due: those of relays that died, and then those that the
// broker refused. It stops early when the broker refuses a whole batch.
func (r Relay) retry(ctx context.Context) error {
	for _, due := range []string{abandoned, refusedDue} {
		for more := true; more; {
			rows, err := r.lease(ctx, due)
			if err != nil {
				return err
			}
			refused, err := r.publishLeased(ctx, r.PubSub, rows)
			if err != nil {
				return err
			}
			more = len(rows) == r.Batch && len(refused) < len(rows)
		}
	}
	return nil
}

// Conditions of lease, with the order in which the events are leased.
const (
	untried    = `retry_at IS NULL AND attempts = 0 ORDER BY position`
	abandoned  = `retry_at IS NULL AND attempts > 0 AND leased_until < now() ORDER BY position`
	refusedDue = `retry_at <= now() AND leased_until <= now() ORDER BY retry_at`
)

// lease leases up to a batch of unpublished events of unordered topics that meet a condition, the first in its order.
func (r Relay) lease(ctx context.Context, due string) ([]outboxRow, error) {
	leased, err := r.update(ctx, `
		UPDATE outbox SET leased_until = now() + $2, attempts = attempts + 1
		WHERE position IN (
			SELECT position FROM outbox
			WHERE published_at IS NULL AND topic <> ALL ($3) AND `+due+` LIMIT $1
			FOR UPDATE SKIP LOCKED)
		RETURNING id, topic, cloud_event, attempts`,
		r.Batch, r.Lease, slices.AppendSeq([]string{}, maps.Keys(r.Ordered)))
	if err != nil {
		return nil, fmt.Errorf("lease events: %w", err)
	}
	return leased, nil
}

// update runs a statement in a transaction of its own and returns the rows that the statement returns. The
// commit does not wait for the disk: if the database server crashes and loses it, events are published again.
func (r Relay) update(ctx context.Context, sql string, args ...any) (updated []outboxRow, err error) {
	var batch pgx.Batch // one transaction
	batch.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
	batch.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		updated, err = pgx.CollectRows(rows, pgx.RowToStructByPos[outboxRow])
		return err
	})
	return updated, r.Pool.SendBatch(ctx, &batch).Close()
}

// publishLeased publishes events that this relay has leased, marks those that the broker accepted, and postpones and
// returns those that it refused.
func (r Relay) publishLeased(ctx context.Context, pubsub string, rows []outboxRow) (refused []outboxRow, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	calls := callsFor(rows)

	// After the lease another relay may publish the same events.
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
	_ = g.Wait() // the functions return no error
	var accepted []uuid.UUID
	for i, call := range calls {
		for _, row := range call {
			if errs[i] == nil {
				accepted = append(accepted, row.ID)
			} else {
				refused = append(refused, row)
			}
		}
	}
	// Marks them even if ctx is done, so that they are not published again.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if len(accepted) > 0 {
		if _, err := r.update(ctx, `UPDATE outbox SET published_at = now() WHERE id = ANY ($1)`, accepted); err != nil {
			return nil, fmt.Errorf("mark published events: %w", err)
		}
	}
	if len(refused) > 0 {
		if err := r.postpone(ctx, refused); err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// callsFor divides events into the calls that publish them: one for each event that was attempted before, and for the
// others those of a topic together, up to maxCall bytes.
func callsFor(rows []outboxRow) (calls [][]outboxRow) {
	first, sizes := map[string][]outboxRow{}, map[string]int{} // first attempts, by topic
	for _, row := range rows {
		size := len(row.CloudEvent)
		switch {
		case row.Attempts > 1:
			calls = append(calls, []outboxRow{row})
			continue
		case sizes[row.Topic]+size > maxCall && sizes[row.Topic] > 0:
			calls = append(calls, first[row.Topic])
			first[row.Topic], sizes[row.Topic] = nil, 0
		}
		first[row.Topic] = append(first[row.Topic], row)
		sizes[row.Topic] += size
	}
	return slices.AppendSeq(calls, maps.Values(first))
}

// publish publishes events of one topic in one call. After an error the broker may have accepted some of them.
func (r Relay) publish(ctx context.Context, pubsub string, rows []outboxRow) error {
	events, spans := make([]any, len(rows)), make([]trace.Span, len(rows))
	var err error
	for i, row := range rows {
		if events[i], spans[i], err = row.begin(ctx); err != nil {
			break
		}
	}
	if err == nil {
		// One call has one trace: the sidecar's spans join the trace of the first event.
		err = r.Publisher.PublishEvents(trace.ContextWithSpan(ctx, spans[0]), pubsub, rows[0].Topic, events).Error
	}
	for _, span := range spans {
		if span != nil {
			telemetry.End(span, err)
		}
	}
	if err != nil {
		slog.WarnContext(ctx, "publish events failed", "topic", rows[0].Topic, "events", len(rows),
			"eventId", rows[0].ID, "attempts", rows[0].Attempts, "error", err.Error())
		return err
	}
	r.accepted.note(rows[0].Topic)
	for _, row := range rows {
		countPublished(row)
	}
	return nil
}

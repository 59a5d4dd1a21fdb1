// Package deadletter stores the events that a service could not process, retries them, and alerts operations.
//
// SQS moves a message to the dead-letter queue after three failed deliveries. The sidecar passes it from there
// to an Archive, which stores it as an open dead letter in dead_letters and processes its event again at once.
// Processable events also arrive there: a sidecar that starts wastes deliveries on topics that it has not
// subscribed to yet, and an outage of 90 seconds fails all three deliveries. So each sweep processes the event
// again, up to three attempts in total.
//
// When an attempt fails, operations are alerted with the reason, at most once an hour for each dead letter.
// After the third attempt only an admin redrives the event, or discards it. An attempt is counted before it is
// made, so an event that kills the process is also retried at most three times.
//
// An event of the ordered queue is stored when it fails for the first time, so that the events behind it do not wait.
//
// Every attempt passes the event to the same handler as a delivery, and the inbox reports to the handler whether the
// event took effect before.
package deadletter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// State is the state of a dead letter.
type State string

// The states of a dead letter. A redriven or discarded one is opened again if its event arrives in the
// dead-letter queue once more.
const (
	Open      State = "OPEN"
	Redriven  State = "REDRIVEN"
	Discarded State = "DISCARDED"
)

const (
	// realertAfter is the time between two alerts of a dead letter that stays open.
	realertAfter = time.Hour
	// sweepBatch bounds the dead letters that one sweep raises alerts for, and those that it processes again.
	sweepBatch = 100
	// maxTries bounds the attempts at an event without an admin's request.
	maxTries = 3
	// The attempt ends before the message becomes visible in the dead-letter queue again, after SQS's default of 30 s.
	// The lease ends later than the attempt, so that two handlers never run at once.
	redriveTimeout = 20 * time.Second
	redriveLease   = 30 * time.Second
	// cleanupTimeout bounds the statements that run after a request may have ended.
	cleanupTimeout = 3 * time.Second
	// maxReason is the length of a stored reason, in characters.
	maxReason = 1000
	// maxName is the length of a stored id and type, in characters. A message may have any.
	maxName = 200
)

// The errors of the admin routes.
var (
	errNotFound = problem.New(problem.NotFound, "DEAD_LETTER_NOT_FOUND", "No such dead letter")
	errNotOpen  = problem.New(problem.Conflict, "DEAD_LETTER_NOT_OPEN", "The dead letter was redriven or discarded")
	errRunning  = problem.New(problem.Conflict, "REDRIVE_RUNNING", "The dead letter is being redriven")
	errFailed   = problem.New(problem.Conflict, "REDRIVE_FAILED", "The event failed again; the dead letter says why")
)

// Config configures an Archive.
type Config struct {
	Service string // the app-id
	Queues  messaging.Queues
	API     string // the prefix of the service's public paths: /api/tickets
	// Announce publishes DEAD_LETTER_ARCHIVED with every alert. Without it alerts are only logged.
	// notification-service, which consumes that event, must not publish it: alerts of its own dead letters would
	// arrive in its own queue.
	Announce bool
}

// Archive stores a service's dead letters.
type Archive struct {
	pool    *pgxpool.Pool
	process func(ctx context.Context, cloudEvent []byte) error
	cfg     Config
}

// New returns an archive that processes events with process, which is inbox.Consumer.Process.
func New(pool *pgxpool.Pool, process func(ctx context.Context, cloudEvent []byte) error, cfg Config) Archive {
	for _, queue := range cfg.Queues.Names() {
		archived.WithLabelValues(queue) // starts at 0
	}
	return Archive{pool: pool, process: process, cfg: cfg}
}

// message is a message of a dead-letter queue.
type message struct {
	id      string // the topic's, which changes each time that the event is published; empty if not from a topic
	eventID string // of a body without an id, or with one that is too long, a hash
	typ     string // empty if unknown
	body    []byte // the CloudEvent
}

// readMessage reads a message, without the frame that the topic puts around the event. Every body is a message: the
// attempt to process it reports what is wrong with it.
func readMessage(body []byte) message {
	var frame struct{ MessageID, Message string }
	if json.Unmarshal(body, &frame) == nil && frame.Message != "" {
		body = []byte(frame.Message)
	}
	event, _ := messaging.ParseCloudEvent(body)
	if event.ID == "" || len(event.ID) > maxName {
		sum := sha256.Sum256(body)
		event.ID = "sha256:" + hex.EncodeToString(sum[:])
	}
	return message{id: frame.MessageID, eventID: event.ID, typ: beginning(event.Type, maxName), body: body}
}

// archive stores a message of a queue's dead-letter queue as an open dead letter, and then processes its event
// again. The sidecar deletes the message from the queue once archive returns nil. If that fails, the same message
// is delivered again and changes nothing.
func (a Archive) archive(ctx context.Context, queue string, m message) error {
	var id uuid.UUID
	// A new message with the event of a closed dead letter opens it again: closing it was wrong.
	err := a.pool.QueryRow(ctx, `
		INSERT INTO dead_letters AS d (queue, event_id, type, body, message_id, reason) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (event_id) DO UPDATE
		SET body = excluded.body, message_id = excluded.message_id, reason = excluded.reason, tries = 0,
		    times = d.times + 1, last_seen = now(), state = 'OPEN', handled_at = NULL
		WHERE d.message_id <> excluded.message_id
		RETURNING id`,
		queue, messaging.Storable(m.eventID), messaging.Storable(m.typ), messaging.Storable(string(m.body)),
		messaging.Storable(m.id), "Unknown: the process ended during the attempt to process the event").Scan(&id)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // the same message
		return nil
	case err != nil:
		return fmt.Errorf("archive dead letter: %w", err)
	}
	archived.WithLabelValues(queue).Inc()
	a.retry(ctx, id)
	return nil
}

// SetAside stores an event of a queue that its handler refused, as if the event had arrived in the dead-letter queue,
// and then processes it again. It returns an error if the event is not stored.
func (a Archive) SetAside(ctx context.Context, queue string, cloudEvent []byte) error {
	m := readMessage(cloudEvent)
	m.id = uuid.NewString() // each delivery counts: the event is open again if a closed dead letter has it
	return a.archive(ctx, queue, m)
}

// retry redrives a dead letter without an admin's request. The next sweep retries what failed.
func (a Archive) retry(ctx context.Context, id uuid.UUID) {
	if err := a.redrive(ctx, id); err != nil {
		slog.WarnContext(ctx, "retry dead letter failed", "deadLetterId", id, "error", err.Error())
		return
	}
	slog.InfoContext(ctx, "dead letter processed", "deadLetterId", id)
}

// alert is the content of an alert.
type alert struct {
	ID, Queue, EventID, Type, Reason string
	FirstSeen                        time.Time
}

const alertColumns = `id::text, queue, event_id, type, reason, first_seen`

// alertTx alerts operations about a dead letter: by a log record for each call, and by an event at most once an hour.
func (a Archive) alertTx(ctx context.Context, tx pgx.Tx, l alert) error {
	postgres.AfterCommit(tx, func() {
		slog.ErrorContext(ctx, "dead letter needs an operator", "queue", l.Queue, "deadLetterId", l.ID, "eventId", l.EventID,
			"type", l.Type, "reason", l.Reason, "firstSeen", l.FirstSeen)
	})
	tag, err := tx.Exec(ctx, `
		UPDATE dead_letters SET alerted_at = now() WHERE id::text = $1 AND alerted_at <= now() - $2::interval`,
		l.ID, realertAfter)
	if err != nil || tag.RowsAffected() == 0 || !a.cfg.Announce {
		return err
	}
	return outbox.AddTx(ctx, tx, a.cfg.Service, events.DeadLetterArchived{
		Service: a.cfg.Service, Queue: l.Queue, DeadLetterID: l.ID, EventID: l.EventID, EventType: l.Type,
		Reason: l.Reason, FirstSeen: l.FirstSeen.UTC(),
	})
}

// beginning returns the first n characters of text.
func beginning(text string, n int) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), n)])
}

// sweep alerts operations about open dead letters whose last alert is an hour old or that have none, including those
// whose attempt killed its process. Then it processes again those that have attempts left. It returns the number of
// dead letters that are open afterwards, and the number of alerts.
func (a Archive) sweep(ctx context.Context) (open, alerted int, err error) {
	if err := postgres.InTx(ctx, a.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT `+alertColumns+` FROM dead_letters
			WHERE state = 'OPEN' AND redriven_until < now() AND alerted_at <= now() - $1::interval
			ORDER BY first_seen, id LIMIT $2
			FOR UPDATE SKIP LOCKED`, realertAfter, sweepBatch)
		if err != nil {
			return err
		}
		due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[alert])
		if err != nil {
			return err
		}
		alerted = len(due)
		for _, l := range due {
			if err := a.alertTx(ctx, tx, l); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return 0, 0, fmt.Errorf("alert about dead letters: %w", err)
	}
	ids, err := a.ids(ctx, `
		SELECT id FROM dead_letters WHERE state = 'OPEN' AND redriven_until < now() AND tries < $1
		ORDER BY first_seen, id LIMIT $2`, maxTries, sweepBatch)
	if err != nil {
		return 0, 0, err
	}
	for _, id := range ids {
		a.retry(ctx, id)
	}
	if err := a.pool.QueryRow(ctx, `SELECT count(*) FROM dead_letters WHERE state = 'OPEN'`).Scan(&open); err != nil {
		return 0, 0, fmt.Errorf("count dead letters: %w", err)
	}
	if open > 0 {
		slog.ErrorContext(ctx, "dead letters need an operator", "open", open)
	}
	return open, alerted, nil
}

func (a Archive) ids(ctx context.Context, query string, args ...any) ([]uuid.UUID, error) {
	rows, err := a.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list open dead letters: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("list open dead letters: %w", err)
	}
	return ids, nil
}

// redrive processes a dead letter's event again. Of concurrent calls for one dead letter, one does. If the event
// fails, redrive alerts operations, unless they were alerted within the hour. It returns errNotFound, errNotOpen,
// errRunning, or errFailed with the handler's error.
func (a Archive) redrive(ctx context.Context, id uuid.UUID) error {
	var body string
	err := a.pool.QueryRow(ctx, `
		UPDATE dead_letters SET redriven_until = now() + $2::interval, tries = tries + 1
		WHERE id = $1 AND state = 'OPEN' AND redriven_until < now()
		RETURNING body`, id, redriveLease).Scan(&body)
	if errors.Is(err, pgx.ErrNoRows) {
		return a.whyNot(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("redrive dead letter: %w", err)
	}
	handling, cancel := context.WithTimeout(ctx, redriveTimeout)
	defer cancel()
	event, _ := messaging.ParseCloudEvent([]byte(body)) // a body that cannot be read has no trace either
	handling, span := telemetry.Resume(handling, event.Trace(), "redrive event")
	failure := a.process(handling, []byte(body))
	telemetry.End(span, failure)

	// Stores the outcome even if the caller is gone.
	ctx, cancelCleanup := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancelCleanup()
	if failure != nil {
		if err := a.fail(ctx, id, failure); err != nil {
			return fmt.Errorf("redrive dead letter: %w", err)
		}
		return errFailed.Because(failure)
	}
	if _, err := a.pool.Exec(ctx, `
		UPDATE dead_letters SET state = 'REDRIVEN', handled_at = now(), redriven_until = '-infinity'
		WHERE id = $1`, id); err != nil {
		return fmt.Errorf("redrive dead letter: %w", err)
	}
	return nil
}

// fail stores why an attempt failed, and alerts operations.
func (a Archive) fail(ctx context.Context, id uuid.UUID, failure error) error {
	reason := beginning(messaging.Storable(failure.Error()), maxReason)
	return postgres.InTx(ctx, a.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE dead_letters SET reason = $2, redriven_until = '-infinity' WHERE id = $1
			RETURNING `+alertColumns, id, reason)
		if err != nil {
			return err
		}
		l, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[alert])
		if err != nil {
			return err
		}
		return a.alertTx(ctx, tx, l)
	})
}

// whyNot returns why a dead letter could be neither redriven nor discarded.
func (a Archive) whyNot(ctx context.Context, id uuid.UUID) error {
	var state State
	err := a.pool.QueryRow(ctx, `SELECT state FROM dead_letters WHERE id = $1`, id).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errNotFound
	case err != nil:
		return fmt.Errorf("find dead letter: %w", err)
	case state != Open:
		return errNotOpen
	}
	return errRunning
}

// redriveAll redrives the dead letters that are open now, the oldest first, until ctx is done.
func (a Archive) redriveAll(ctx context.Context) (redriven, failed int, err error) {
	ids, err := a.ids(ctx, `SELECT id FROM dead_letters WHERE state = 'OPEN' ORDER BY first_seen, id`)
	if err != nil {
		return 0, 0, err
	}
	for _, id := range ids {
		err := a.redrive(ctx, id)
		switch {
		case err == nil:
			redriven++
		case errors.Is(err, errFailed):
			failed++
		case errors.Is(err, errNotOpen), errors.Is(err, errRunning): // another caller handles it
		default:
			return redriven, failed, err
		}
	}
	return redriven, failed, nil
}

// discard closes a dead letter without processing its event. It returns errNotFound, errNotOpen or errRunning.
func (a Archive) discard(ctx context.Context, id uuid.UUID) error {
	tag, err := a.pool.Exec(ctx, `
		UPDATE dead_letters SET state = 'DISCARDED', handled_at = now()
		WHERE id = $1 AND state = 'OPEN' AND redriven_until < now()`, id)
	if err != nil {
		return fmt.Errorf("discard dead letter: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return a.whyNot(ctx, id)
	}
	return nil
}

package messaging

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// State is how a dead letter stands.
type State string

// The states of a dead letter. What is not open is open again when the event comes to lie in the
// dead-letter queue once more.
const (
	Open      State = "OPEN"
	Redriven  State = "REDRIVEN"
	Discarded State = "DISCARDED"
)

const (
	// maxDeadLetter leaves room for the frame in which the topic put the event, with its every quote
	// escaped.
	maxDeadLetter = 2 * web.MaxBody
	// realertAfter is how long nobody hears again of a letter that is still open.
	realertAfter = time.Hour
	// alertBatch bounds how many letters one sweep alerts of, and how many it tries.
	alertBatch = 100
	// maxTries is how often we try a letter's event by ourselves.
	maxTries = 3
	// A letter's event is tried while its message still lies hidden in the dead-letter queue, for SQS's usual 30 s.
	// The lease ends after that, so that a handler has ended when another one may start.
	redriveTimeout = 20 * time.Second
	redriveLease   = 30 * time.Second
)

// Errors that an admin gets.
var (
	errLetterNotFound = problem.New(problem.NotFound, "DEAD_LETTER_NOT_FOUND", "No such dead letter")
	errLetterNotOpen  = problem.New(problem.Conflict, "DEAD_LETTER_NOT_OPEN", "The dead letter was redriven or discarded")
	errRedriveRunning = problem.New(problem.Conflict, "REDRIVE_RUNNING", "The dead letter is being redriven")
	errRedriveFailed  = problem.New(problem.Conflict, "REDRIVE_FAILED", "The event failed again; the dead letter says why")
)

// alert is what operations hear of a letter.
type alert struct {
	ID, Queue, EventID, Type, Reason string
	FirstSeen                        time.Time
}

const alertColumns = `id::text, queue, event_id, type, reason, first_seen`

// archive takes a message out of a queue's dead-letter queue, and tries its event once more. The sidecar
// deletes the message there once it is committed here; should that fail, the same message comes again and
// changes nothing.
func (c Consumer) archive(queue string) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx := r.Context()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDeadLetter))
		if err != nil {
			return errMalformed.Because(err)
		}
		var frame struct{ MessageID, Message string }
		if json.Unmarshal(body, &frame) == nil && frame.Message != "" {
			body = []byte(frame.Message)
		}
		event, _ := parseCloudEvent(body) // what cannot be read is kept as well; the try says what is wrong with it
		if event.ID == "" {
			sum := sha256.Sum256(body)
			event.ID = "sha256:" + hex.EncodeToString(sum[:])
		}
		// What was handled before and lies in the queue again was not handled well: it is open again.
		var id uuid.UUID
		err = c.Pool.QueryRow(ctx, `
			INSERT INTO dead_letters AS d (queue, event_id, type, body, message_id, reason) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (event_id) DO UPDATE
			SET body = excluded.body, message_id = excluded.message_id, reason = excluded.reason, tries = 0,
			    times = d.times + 1, last_seen = now(), state = 'OPEN', handled_at = NULL
			WHERE d.message_id <> excluded.message_id
			RETURNING id`,
			queue, storable(event.ID), storable(event.Type), storable(string(body)), storable(frame.MessageID),
			"Not known: the process that tried it once more ended in the middle of that").Scan(&id)
		switch {
		case errors.Is(err, pgx.ErrNoRows): // the same message
		case err != nil:
			return fmt.Errorf("archive dead letter: %w", err)
		default:
			archived.WithLabelValues(queue).Inc()
			c.tryAgain(ctx, id)
		}
		return web.WriteJSON(w, http.StatusOK, map[string]bool{"archived": true})
	}
}

// tryAgain redrives a letter that nobody asked to redrive. What goes wrong with that is the next sweep's.
func (c Consumer) tryAgain(ctx context.Context, id uuid.UUID) {
	if err := c.redrive(ctx, id); err != nil {
		slog.WarnContext(ctx, "dead letter tried again in vain", "deadLetterId", id, "error", err.Error())
		return
	}
	slog.InfoContext(ctx, "dead letter processed after all", "deadLetterId", id)
}

// alertTx tells operations of a letter: always in the log, and by an event at most once an hour.
func (c Consumer) alertTx(ctx context.Context, tx pgx.Tx, a alert) error {
	slog.ErrorContext(ctx, "dead letter waits for somebody", "queue", a.Queue, "deadLetterId", a.ID, "eventId", a.EventID,
		"type", a.Type, "reason", a.Reason, "firstSeen", a.FirstSeen)
	tag, err := tx.Exec(ctx, `UPDATE dead_letters SET alerted_at = now() WHERE id::text = $1 AND alerted_at <= now() - $2::interval`,
		a.ID, realertAfter)
	if err != nil || tag.RowsAffected() == 0 || !c.Announce {
		return err
	}
	return AddTx(ctx, tx, c.Service, events.DeadLetterArchived{
		Service: c.Service, Queue: a.Queue, DeadLetterID: a.ID, EventID: a.EventID, EventType: a.Type,
		Reason: a.Reason, FirstSeen: a.FirstSeen.UTC(),
	})
}

// monitor alerts of what nobody handled, also of a letter whose try killed its process, and then tries again
// what has tries left.
func (c Consumer) monitor(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	var out struct {
		Open    int `json:"open"`
		Alerted int `json:"alerted"`
	}
	err := postgres.InTx(ctx, c.Pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT `+alertColumns+` FROM dead_letters
			WHERE state = 'OPEN' AND redriven_until < now() AND alerted_at <= now() - $1::interval
			ORDER BY first_seen, id LIMIT $2
			FOR UPDATE SKIP LOCKED`, realertAfter, alertBatch)
		if err != nil {
			return err
		}
		due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[alert])
		if err != nil {
			return err
		}
		out.Alerted = len(due)
		for _, a := range due {
			if err := c.alertTx(ctx, tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("alert of dead letters: %w", err)
	}
	rows, err := c.Pool.Query(ctx, `
		SELECT id FROM dead_letters WHERE state = 'OPEN' AND redriven_until < now() AND tries < $1
		ORDER BY first_seen, id LIMIT $2`, maxTries, alertBatch)
	if err != nil {
		return fmt.Errorf("list dead letters to try again: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("list dead letters to try again: %w", err)
	}
	for _, id := range ids {
		c.tryAgain(ctx, id)
	}
	if err := c.Pool.QueryRow(ctx, `SELECT count(*) FROM dead_letters WHERE state = 'OPEN'`).Scan(&out.Open); err != nil {
		return fmt.Errorf("count dead letters: %w", err)
	}
	if out.Open > 0 {
		slog.ErrorContext(ctx, "dead letters wait for somebody", "open", out.Open)
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// redrive gives a letter's event to its handler again. Of several at once, one runs. When it fails, operations
// are alerted unless they were within the hour. It returns errLetterNotFound, errLetterNotOpen,
// errRedriveRunning, or errRedriveFailed with the handler's error.
func (c Consumer) redrive(ctx context.Context, id uuid.UUID) error {
	var body string
	err := c.Pool.QueryRow(ctx, `
		UPDATE dead_letters SET redriven_until = now() + $2::interval, tries = tries + 1
		WHERE id = $1 AND state = 'OPEN' AND redriven_until < now()
		RETURNING body`, id, redriveLease).Scan(&body)
	if errors.Is(err, pgx.ErrNoRows) {
		return c.whyNot(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("redrive dead letter: %w", err)
	}
	handling, cancel := context.WithTimeout(ctx, redriveTimeout)
	defer cancel()
	event, _ := parseCloudEvent([]byte(body)) // what cannot be read has no trace either
	handling, span := telemetry.Resume(handling, event.trace(), "redrive event")
	failure := c.process(handling, []byte(body))
	telemetry.End(span, failure)

	// Whoever asked may be gone: what became of the letter is written down all the same.
	ctx, cancelWriting := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancelWriting()
	if failure != nil {
		if err := postgres.InTx(ctx, c.Pool, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `
				UPDATE dead_letters SET reason = $2, redriven_until = '-infinity' WHERE id = $1
				RETURNING `+alertColumns, id, bounded(failure))
			if err != nil {
				return err
			}
			a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[alert])
			if err != nil {
				return err
			}
			return c.alertTx(ctx, tx, a)
		}); err != nil {
			return fmt.Errorf("redrive dead letter: %w", err)
		}
		return errRedriveFailed.Because(failure)
	}
	if _, err := c.Pool.Exec(ctx, `
		UPDATE dead_letters SET state = 'REDRIVEN', handled_at = now(), redriven_until = '-infinity' WHERE id = $1`, id); err != nil {
		return fmt.Errorf("redrive dead letter: %w", err)
	}
	return nil
}

// whyNot says why a letter could be neither redriven nor discarded.
func (c Consumer) whyNot(ctx context.Context, id uuid.UUID) error {
	var state State
	err := c.Pool.QueryRow(ctx, `SELECT state FROM dead_letters WHERE id = $1`, id).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errLetterNotFound
	case err != nil:
		return fmt.Errorf("find dead letter: %w", err)
	case state != Open:
		return errLetterNotOpen
	}
	return errRedriveRunning
}

// discard closes a letter whose event nobody needs. It returns errLetterNotFound, errLetterNotOpen or
// errRedriveRunning.
func (c Consumer) discard(ctx context.Context, id uuid.UUID) error {
	tag, err := c.Pool.Exec(ctx, `
		UPDATE dead_letters SET state = 'DISCARDED', handled_at = now()
		WHERE id = $1 AND state = 'OPEN' AND redriven_until < now()`, id)
	if err != nil {
		return fmt.Errorf("discard dead letter: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return c.whyNot(ctx, id)
	}
	return nil
}

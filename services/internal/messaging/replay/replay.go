// Package replay publishes stored events again, for consumers whose queues lost them.
//
// SQS keeps a message for four days, in a queue and again in its dead-letter queue. The outbox keeps an event for 30
// days after its publication. An admin requests a replay of the events of a topic from a time on. A worker marks them
// in batches as not published, and the relay publishes them under their ids. All consumers of the topic receive them.
// A consumer that has processed an event finds its id in its inbox, which keeps ids for eight days longer than the
// outbox keeps events, so that the event takes effect once.
//
// New events do not wait for replayed ones: the relay treats those like refused events that are due.
package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

const (
	// batch is how many events the worker marks at once, every pause. So it replays 250 events a second at most.
	batch = 500
	pause = 2 * time.Second
)

var errNotFound = problem.New(problem.NotFound, "REPLAY_NOT_FOUND", "No such replay")

// Config configures Replays.
type Config struct {
	API  string        // the prefix of the service's public paths: /api/payments
	Kept time.Duration // how long the outbox keeps events, which the inboxes of all consumers exceed
	// Batch and Pause replace the defaults of the worker, 500 events every 2 s, unless they are zero.
	Batch int
	Pause time.Duration
}

// Replays are the replays of a service's outbox.
type Replays struct {
	pool *pgxpool.Pool
	cfg  Config
}

// New returns the replays of the outbox in the database.
func New(pool *pgxpool.Pool, cfg Config) Replays {
	if cfg.Batch == 0 {
		cfg.Batch = batch
	}
	if cfg.Pause == 0 {
		cfg.Pause = pause
	}
	return Replays{pool, cfg}
}

// replay is a request to publish the events of a topic again that were added from Since on and before Until.
type replay struct {
	ID           uuid.UUID
	Topic        string
	Since, Until time.Time
	Events       int // marked so far
	CreatedAt    time.Time
	CompletedAt  *time.Time
}

const columns = `id, topic, since AT TIME ZONE 'UTC', until AT TIME ZONE 'UTC', events,
	created_at AT TIME ZONE 'UTC', completed_at AT TIME ZONE 'UTC'`

// request stores a replay. If until is nil, it ends now.
func (r Replays) request(ctx context.Context, topic string, since time.Time, until *time.Time) (replay, error) {
	rows, err := r.pool.Query(ctx, `
		INSERT INTO replays (topic, since, until) VALUES ($1, $2, coalesce($3, now())) RETURNING `+columns,
		topic, since, until)
	if err != nil {
		return replay{}, fmt.Errorf("request a replay: %w", err)
	}
	requested, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[replay])
	if err != nil {
		return replay{}, fmt.Errorf("request a replay: %w", err)
	}
	return requested, nil
}

// find returns a replay, or errNotFound.
func (r Replays) find(ctx context.Context, id uuid.UUID) (replay, error) {
	rows, err := r.pool.Query(ctx, `SELECT `+columns+` FROM replays WHERE id = $1`, id)
	if err != nil {
		return replay{}, fmt.Errorf("find replay: %w", err)
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[replay])
	if errors.Is(err, pgx.ErrNoRows) {
		return replay{}, errNotFound
	}
	if err != nil {
		return replay{}, fmt.Errorf("find replay: %w", err)
	}
	return found, nil
}

// Run executes the requested replays, the oldest first, until ctx is done.
func (r Replays) Run(ctx context.Context) error {
	for {
		if err := r.step(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "replay events failed", "retryIn", r.cfg.Pause, "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(r.cfg.Pause):
		}
	}
}

// step marks the next batch of the oldest replay as not published, in one transaction. It does nothing while the
// batches before are not published. A replay contains only events that had been published before it was requested: the
// relay publishes the others anyway. So it does not contain those that it has published itself.
func (r Replays) step(ctx context.Context) error {
	return postgres.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		var next replay
		var reached pgtype.Timestamptz // may be infinite
		err := tx.QueryRow(ctx, `
			SELECT id, topic, since, until, reached, created_at FROM replays
			WHERE completed_at IS NULL AND $1 > (
				SELECT count(*) FROM (
					SELECT FROM outbox WHERE published_at IS NULL AND retry_at <= now() LIMIT $1) due)
			ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED`, r.cfg.Batch).
			Scan(&next.ID, &next.Topic, &next.Since, &next.Until, &reached, &next.CreatedAt)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find a replay: %w", err)
		}
		var events int
		var completed bool
		if err := tx.QueryRow(ctx, `
			WITH chosen AS (
				SELECT position, published_at FROM outbox
				WHERE published_at >= greatest($3::timestamptz, $6) AND published_at < $5
				AND topic = $7 AND created_at >= $3 AND created_at < $4
				ORDER BY published_at LIMIT $2
				FOR UPDATE),
			marked AS (
				UPDATE outbox
				SET published_at = NULL, replayed_at = now(),
				    retry_at = now(), leased_until = '-infinity', attempts = 0, refusals = 0
				WHERE position IN (SELECT position FROM chosen)
				RETURNING position)
			UPDATE replays
			SET events = events + (SELECT count(*) FROM marked),
			    reached = greatest(reached, (SELECT max(published_at) FROM chosen)),
			    completed_at = CASE WHEN (SELECT count(*) FROM marked) < $2 THEN now() END
			WHERE id = $1 RETURNING events, completed_at IS NOT NULL`,
			next.ID, r.cfg.Batch, next.Since, next.Until, next.CreatedAt, reached, next.Topic).
			Scan(&events, &completed); err != nil {
			return fmt.Errorf("replay events: %w", err)
		}
		if completed {
			postgres.AfterCommit(tx, func() {
				slog.InfoContext(ctx, "replay completed", "replayId", next.ID, "events", events)
			})
		}
		return nil
	})
}

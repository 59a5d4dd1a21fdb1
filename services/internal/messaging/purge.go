package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

const (
	// redelivery is the time after its publication in which an event can be delivered: four days in its queue and four
	// days in the dead-letter queue. After that it can only be redriven from dead_letters.
	redelivery = 8 * 24 * time.Hour
	// minRetention leaves operators time to look up an event.
	minRetention = 24 * time.Hour
	// purgeEvery is the interval between two sweeps.
	purgeEvery = 10 * time.Minute
)

// Settings is the part of a service's configuration that concerns its messages.
type Settings struct {
	// EventRetention is the time for which an event is kept after its publication.
	EventRetention Retention `envconfig:"EVENT_RETENTION" default:"720h"`
}

// Retention is a duration of at least one day.
type Retention time.Duration

// Decode implements envconfig.Decoder.
func (r *Retention) Decode(value string) error {
	d, err := time.ParseDuration(value)
	if err != nil {
		return err
	}
	if d < minRetention {
		return fmt.Errorf("must be at least %s", minRetention)
	}
	*r = Retention(d)
	return nil
}

// Purge deletes expired messages from a service's database.
//
// Published events, unknown events and completed replays expire after the retention. The inbox and closed dead letters
// expire eight days later, when no queue can deliver their events any more. The inbox row of an event with an open dead
// letter does not expire, because a redrive has to know whether the event took effect. Purge does not touch
// saga_events, which are a history.
//
// Before it deletes rows, Purge stores in the table purged up to which time. An auditor can conclude nothing from a
// missing row that is older.
//
// One case of a repeated effect remains: the relay dies between the broker's answer and the mark, and no relay runs
// until the event has expired from the inbox.
type Purge struct {
	Pool     *pgxpool.Pool
	Settings Settings
}

// Run sweeps every 10 minutes until ctx is done.
func (p Purge) Run(ctx context.Context) error {
	for {
		if err := p.Sweep(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "purge messages failed", "retryIn", purgeEvery, "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(purgeEvery):
		}
	}
}

// Sweep deletes the rows that have expired by now.
func (p Purge) Sweep(ctx context.Context) error {
	kept := time.Duration(p.Settings.EventRetention)
	for _, expired := range []struct {
		table, column, condition string
		keep                     time.Duration
	}{
		{"outbox", "published_at", "", kept},
		{"unknown_events", "received_at", "", kept},
		{"replays", "completed_at", "", kept},
		{"inbox", "processed_at", `NOT EXISTS (
			SELECT FROM dead_letters d WHERE d.event_id = inbox.event_id::text AND d.state = 'OPEN')`, kept + redelivery},
		{"dead_letters", "handled_at", `state <> 'OPEN'`, kept + redelivery},
	} {
		var before time.Time
		if err := p.Pool.QueryRow(ctx, `
			INSERT INTO purged AS p (relation, before) VALUES ($1, now() - $2::interval)
			ON CONFLICT (relation) DO UPDATE SET before = greatest(p.before, excluded.before)
			RETURNING before`, expired.table, expired.keep).Scan(&before); err != nil {
			return fmt.Errorf("purge %s: %w", expired.table, err)
		}
		rows, err := postgres.Purge(ctx, p.Pool, expired.table, expired.column, before, expired.condition)
		if err != nil {
			return err
		}
		if rows > 0 {
			slog.InfoContext(ctx, "messages purged", "table", expired.table, "rows", rows, "before", before)
		}
	}
	return nil
}

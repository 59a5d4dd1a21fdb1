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
	// redelivery is how long after it was published an event may still come: it lies in its queue for four days, and in the
	// queue's dead-letter queue for as long. After that it can come only out of dead_letters.
	redelivery = 8 * 24 * time.Hour
	// minRetention leaves time to see what became of an event.
	minRetention = 24 * time.Hour
	// purgeEvery is how often we look for what is over.
	purgeEvery = 10 * time.Minute
)

// Settings are the part of a service's configuration that is about its messages.
type Settings struct {
	// EventRetention is how long an event is kept after it was published.
	EventRetention Retention `envconfig:"EVENT_RETENTION" default:"720h"`
}

// Retention is a duration of a day at least.
type Retention time.Duration

// Decode reads the retention from its variable.
func (r *Retention) Decode(value string) error {
	d, err := time.ParseDuration(value)
	if err != nil {
		return err
	}
	if d < minRetention {
		return fmt.Errorf("it must be %s at least", minRetention)
	}
	*r = Retention(d)
	return nil
}

// Purge deletes the messages that are over in a service's database: published events and those of unknown types once they
// have been kept for the retention, and the records of what was processed (the inbox, and dead letters that were handled)
// eight days later, when nothing can bring the event again. The record of an event that has an open dead letter stays as
// long as that: its redrive has to see whether the event took effect. saga_events are history, and none of this.
//
// How far it came is in the table purged, before anything goes: of what is older, its absence says nothing.
//
// An event whose publisher died between the broker's answer and the mark, and was away for longer than all that, would take
// effect again.
type Purge struct {
	Pool     *pgxpool.Pool
	Settings Settings
}

// Run purges every now and then until ctx ends.
func (p Purge) Run(ctx context.Context) error {
	for {
		if err := p.Sweep(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "messages not purged, trying again later", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(purgeEvery):
		}
	}
}

// Sweep purges what is over now.
func (p Purge) Sweep(ctx context.Context) error {
	kept := time.Duration(p.Settings.EventRetention)
	for _, over := range []struct {
		table, column, condition string
		keep                     time.Duration
	}{
		{"outbox", "published_at", "", kept},
		{"unknown_events", "received_at", "", kept},
		{"inbox", "processed_at", `NOT EXISTS (
			SELECT FROM dead_letters d WHERE d.event_id = inbox.event_id::text AND d.state = 'OPEN')`, kept + redelivery},
		{"dead_letters", "handled_at", `state <> 'OPEN'`, kept + redelivery},
	} {
		var before time.Time
		if err := p.Pool.QueryRow(ctx, `
			INSERT INTO purged AS p (relation, before) VALUES ($1, now() - $2::interval)
			ON CONFLICT (relation) DO UPDATE SET before = greatest(p.before, excluded.before)
			RETURNING before`, over.table, over.keep).Scan(&before); err != nil {
			return fmt.Errorf("purge %s: %w", over.table, err)
		}
		rows, err := postgres.Purge(ctx, p.Pool, over.table, over.column, before, over.condition)
		if err != nil {
			return err
		}
		if rows > 0 {
			slog.InfoContext(ctx, "messages purged", "table", over.table, "rows", rows, "before", before)
		}
	}
	return nil
}

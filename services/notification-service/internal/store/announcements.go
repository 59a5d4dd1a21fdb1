package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// Announce stores an announcement with the trace of ctx and marks its event as processed. It does nothing if the event
// was processed before.
func (s *Store) Announce(ctx context.Context, eventType string, a notification.Announcement) error {
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, a.ID, eventType); err != nil || !first {
			return err
		}
		trace := telemetry.From(ctx)
		_, err := tx.Exec(ctx, `
			INSERT INTO announcements (id, about, kind, facts, correlation_id, traceparent) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO NOTHING`, a.ID, a.About, a.Kind, a.Facts, trace.CorrelationID, trace.Parent)
		return err
	})
	if err != nil {
		return fmt.Errorf("announce %s: %w", a.ID, err)
	}
	return nil
}

// AnnounceChange adds a change to the announcement that collects the changes of its event, and marks the message about
// the change as processed. Without such an announcement it stores one. The announcement is due when no change was added
// for delay, at the latest after maxDelay. It collects no more once it is leased. AnnounceChange does nothing if the
// message was processed before.
func (s *Store) AnnounceChange(
	ctx context.Context, messageID uuid.UUID, messageType string, change notification.Change,
	delay, maxDelay time.Duration,
) error {
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, messageType); err != nil || !first {
			return err
		}
		facts, err := json.Marshal(change)
		if err != nil {
			return err
		}
		trace := telemetry.From(ctx)
		// Concurrent changes of the event wait here for each other. If a worker leases the announcement first, it is no
		// longer in the index, and the change gets an announcement of its own.
		var id uuid.UUID
		var stored json.RawMessage
		err = tx.QueryRow(ctx, `
			INSERT INTO announcements AS a (id, about, kind, facts, due_at, correlation_id, traceparent)
			SELECT $1::uuid, $2::uuid, 'EVENT_CHANGED', $3::json, now() + $4::interval, $6::text, $7::text
			WHERE NOT EXISTS (SELECT FROM announcements WHERE id = $1)
			ON CONFLICT (about) WHERE kind = 'EVENT_CHANGED' AND begun_at IS NULL
			DO UPDATE SET due_at = least(now() + $4::interval, a.created_at + $5::interval)
			RETURNING id, facts`,
			messageID, change.EventID, facts, delay, maxDelay, trace.CorrelationID, trace.Parent).Scan(&id, &stored)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		var collected notification.Change
		if err := json.Unmarshal(stored, &collected); err != nil {
			return err
		}
		if facts, err = json.Marshal(collected.With(change)); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE announcements SET facts = $2 WHERE id = $1`, id, facts)
		return err
	})
	if err != nil {
		return fmt.Errorf("announce change %s of event %s: %w", messageID, change.EventID, err)
	}
	return nil
}

// LeaseDueAnnouncement leases a due announcement with pages left to the caller. It is due again when the lease expires,
// unless a page is queued before. found is false if none is due.
func (s *Store) LeaseDueAnnouncement(
	ctx context.Context, lease time.Duration,
) (a notification.Announcement, found bool, err error) {
	err = s.pool.QueryRow(ctx, `
		UPDATE announcements SET due_at = now() + $1, begun_at = coalesce(begun_at, now())
		WHERE id = (
			SELECT id FROM announcements WHERE finished_at IS NULL AND due_at <= now()
			ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING id, about, kind, facts, cursor, correlation_id, traceparent`, lease).
		Scan(&a.ID, &a.About, &a.Kind, &a.Facts, &a.Cursor, &a.CorrelationID, &a.Parent)
	if errors.Is(err, pgx.ErrNoRows) {
		return a, false, nil
	}
	if err != nil {
		return a, false, fmt.Errorf("lease an announcement: %w", err)
	}
	return a, true, nil
}

// QueuePage queues the notifications of a to the holders on the page at a.Cursor, one for each user. In the same
// transaction it moves the cursor to next, or finishes a if next is empty. It does nothing if that page was queued
// before.
func (s *Store) QueuePage(
	ctx context.Context, a notification.Announcement, holders []notification.Holder, next string,
) error {
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE announcements SET cursor = $3, due_at = now(), finished_at = CASE WHEN $3 = '' THEN now() END
			WHERE id = $1 AND cursor = $2 AND finished_at IS NULL`, a.ID, a.Cursor, next)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		notifications := make([]notification.Notification, len(holders))
		for i, h := range holders {
			notifications[i] = notification.Notification{
				// A holder of several orders has one message id, so one notification is stored.
				MessageID: uuid.NewSHA1(a.ID, []byte(h.UserID.String())), EventID: a.ID,
				UserID: h.UserID, OrderID: h.OrderID, Kind: a.Kind,
				Class: notification.Bulk, Facts: a.Facts,
			}
		}
		return queueTx(ctx, tx, notifications)
	})
	if err != nil {
		return fmt.Errorf("queue a page of announcement %s: %w", a.ID, err)
	}
	return nil
}

// EndAnnouncement ends a at the page at a.Cursor, which cannot be read. It does nothing if that page was queued before.
func (s *Store) EndAnnouncement(ctx context.Context, a notification.Announcement) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE announcements SET finished_at = now() WHERE id = $1 AND cursor = $2 AND finished_at IS NULL`, a.ID, a.Cursor)
	if err != nil {
		return fmt.Errorf("end announcement %s: %w", a.ID, err)
	}
	if tag.RowsAffected() == 1 {
		attempts.WithLabelValues(string(a.Kind), string(notification.Failed)).Inc()
	}
	return nil
}

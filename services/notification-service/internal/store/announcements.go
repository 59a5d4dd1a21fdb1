package store

import (
	"context"
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

// Announce writes down that everybody who holds tickets of an event is to be told of it, and that it was heard. It
// does nothing for an event that was heard before.
func (s Store) Announce(ctx context.Context, eventType string, a notification.Announcement) error {
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
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

// DueAnnouncement gives an announcement with pages left, to nobody else for the length of the lease. There
// is none if found is false.
func (s Store) DueAnnouncement(ctx context.Context, lease time.Duration) (a notification.Announcement, found bool, err error) {
	err = s.Pool.QueryRow(ctx, `
		UPDATE announcements SET due_at = now() + $1
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

// QueuePage queues a's notifications to the holders of its page, each person once, and goes on to the page
// at next, or finishes a if that is empty. It does nothing when somebody else did that page.
func (s Store) QueuePage(ctx context.Context, a notification.Announcement, holders []notification.Holder, next string) error {
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE announcements SET cursor = $3, due_at = now(), finished_at = CASE WHEN $3 = '' THEN now() END
			WHERE id = $1 AND cursor = $2 AND finished_at IS NULL`, a.ID, a.Cursor, next)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		people := make([]notification.Notification, len(holders))
		for i, h := range holders {
			people[i] = notification.Notification{
				MessageID: uuid.NewSHA1(a.ID, []byte(h.UserID.String())), EventID: a.ID,
				UserID: h.UserID, OrderID: h.OrderID, Kind: a.Kind, Facts: a.Facts,
			}
		}
		return addTx(ctx, tx, people)
	})
	if err != nil {
		return fmt.Errorf("queue a page of announcement %s: %w", a.ID, err)
	}
	return nil
}

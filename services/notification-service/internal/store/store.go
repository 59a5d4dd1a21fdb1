// Package store keeps notifications and announcements in PostgreSQL. Each exported method is one transaction.
//
// A pending notification is due at due_at. A worker leases it by moving due_at ahead. A notification whose attempt was
// interrupted is therefore due again when the lease expires. Times are compared with the clock of the database, which
// all replicas share.
package store

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the migrations that create this service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "notification_version")
}

// Store is the database of notification-service.
type Store struct {
	pool *pgxpool.Pool
}

// New returns the Store in the database of pool, which has this package's migrations.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Queue stores the notifications of an event as pending and marks the event as processed. It does nothing if the event
// was processed before. It skips a notification that the user has already.
func (s *Store) Queue(
	ctx context.Context, eventID uuid.UUID, eventType string, notifications ...notification.Notification,
) error {
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, eventID, eventType); err != nil || !first {
			return err
		}
		return queueTx(ctx, tx, notifications)
	})
	if err != nil {
		return fmt.Errorf("queue notifications of %s %s: %w", eventType, eventID, err)
	}
	return nil
}

// queueTx stores the notifications as pending and due, with the trace of ctx. A notification is skipped if another one
// has the same message and user, or confirms the same order. The latter happens if another event announces the tickets
// of the order again.
func queueTx(ctx context.Context, tx pgx.Tx, notifications []notification.Notification) error {
	trace := telemetry.From(ctx)
	var batch pgx.Batch
	for _, n := range notifications {
		batch.Queue(`
			INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, class, facts, status, attempts, due_at,
			                           correlation_id, traceparent)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 'PENDING', 0, now(), $8, $9)
			ON CONFLICT DO NOTHING`,
			n.MessageID, n.EventID, n.UserID, uuid.NullUUID{UUID: n.OrderID, Valid: n.OrderID != uuid.Nil}, n.Kind,
			cmp.Or(n.Class, n.Kind.Class()), n.Facts, trace.CorrelationID, trace.Parent)
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// LeaseDue leases a due notification to the caller and counts the attempt: of the first of the classes in which any is
// due, the one that has been due longest. No classes means all, the most urgent first. The notification is due again
// when the lease expires, unless it is settled before. found is false if none is due.
func (s *Store) LeaseDue(
	ctx context.Context, lease time.Duration, classes ...notification.Class,
) (n notification.Notification, found bool, err error) {
	if len(classes) == 0 {
		classes = notification.Classes()
	}
	for _, class := range classes {
		if n, found, err = s.leaseDueOf(ctx, lease, class); err != nil || found {
			return n, found, err
		}
	}
	return n, false, nil
}

// leaseDueOf is LeaseDue for one class.
func (s *Store) leaseDueOf(
	ctx context.Context, lease time.Duration, class notification.Class,
) (n notification.Notification, found bool, err error) {
	rows, err := s.pool.Query(ctx, `
		UPDATE notifications SET due_at = now() + $1::interval, attempts = attempts + 1
		WHERE id = (
			SELECT id FROM notifications
			WHERE status = 'PENDING' AND class = $2 AND due_at <= now()
			ORDER BY due_at LIMIT 1
			FOR UPDATE SKIP LOCKED)
		RETURNING `+notificationColumns, lease, class)
	if err != nil {
		return n, false, fmt.Errorf("lease a notification: %w", err)
	}
	n, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[notification.Notification])
	if errors.Is(err, pgx.ErrNoRows) {
		return n, false, nil
	}
	if err != nil {
		return n, false, fmt.Errorf("lease a notification: %w", err)
	}
	return n, true, nil
}

// Settle stores the status of n after an attempt. If n is still pending, it is due again after its pause. If the lease
// of the attempt expired and another attempt has begun, Settle changes nothing, unless the mail was sent.
func (s *Store) Settle(ctx context.Context, n notification.Notification) error {
	// PENDING is an argument: with a constant, the planner might scan the partial index on pending rows.
	tag, err := s.pool.Exec(ctx, `
		UPDATE notifications
		SET status = $2, error_code = nullif($3, ''), sent_at = CASE WHEN $2 = 'SENT' THEN now() END,
		    due_at = now() + $4::interval
		WHERE id = $1 AND status = $6 AND ($2 = 'SENT' OR attempts = $5)`,
		n.ID, n.Status, n.ErrorCode, n.Pause(), n.Attempts, notification.Pending)
	if err != nil {
		return fmt.Errorf("settle notification %s: %w", n.ID, err)
	}
	if tag.RowsAffected() == 1 {
		attempts.WithLabelValues(string(n.Kind), string(n.Status)).Inc()
	}
	return nil
}

// List returns a page of the user's notifications, the newest first, and one more entry if there is a next page.
func (s *Store) List(ctx context.Context, userID uuid.UUID, page paging.Page) ([]notification.Summary, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, kind, status, order_id, created_at, sent_at FROM notifications
		WHERE user_id = $1 AND (created_at, id) < (coalesce($2::timestamptz, 'infinity'), $3)
		ORDER BY created_at DESC, id DESC LIMIT $4::integer + 1`,
		userID, page.After, page.AfterID, page.Limit)
	if err != nil {
		return nil, fmt.Errorf("list notifications of user %s: %w", userID, err)
	}
	summaries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[notification.Summary])
	if err != nil {
		return nil, fmt.Errorf("list notifications of user %s: %w", userID, err)
	}
	return summaries, nil
}

const notificationColumns = `
	id, message_id, event_id, user_id, coalesce(order_id, '00000000-0000-0000-0000-000000000000'), kind, class,
	facts, status, attempts, coalesce(error_code, ''), correlation_id, traceparent, ''`

// Get returns a notification of the user. It returns notification.ErrNotFound if the user has none with this id.
func (s *Store) Get(ctx context.Context, userID, id uuid.UUID) (notification.Notification, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+notificationColumns+` FROM notifications WHERE id = $1 AND user_id = $2`, id, userID)
	if err != nil {
		return notification.Notification{}, fmt.Errorf("get notification %s: %w", id, err)
	}
	n, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[notification.Notification])
	if errors.Is(err, pgx.ErrNoRows) {
		return notification.Notification{}, notification.ErrNotFound
	}
	if err != nil {
		return notification.Notification{}, fmt.Errorf("get notification %s: %w", id, err)
	}
	return n, nil
}

// Resend queues a notification of the user again, in the class Orders if it was in Bulk. It does nothing while an
// earlier resend is pending. It returns notification.ErrNotFound, notification.ErrNotResendable if the notification is
// pending or was stored before its facts were, and notification.ErrTooManyResends.
func (s *Store) Resend(ctx context.Context, userID, id uuid.UUID) error {
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// Every resend refers to the first notification. The lock on that row serializes concurrent requests.
		var first uuid.UUID
		var settled, known bool
		err := tx.QueryRow(ctx, `
			SELECT id, status <> 'PENDING', facts IS NOT NULL FROM notifications
			WHERE id = (SELECT coalesce(resend_of, id) FROM notifications WHERE id = $1 AND user_id = $2)
			FOR UPDATE`, id, userID).Scan(&first, &settled, &known)
		if errors.Is(err, pgx.ErrNoRows) {
			return notification.ErrNotFound
		}
		if err != nil {
			return err
		}
		if !settled || !known {
			return notification.ErrNotResendable
		}
		var resends int
		var pending bool
		if err := tx.QueryRow(ctx, `
			SELECT count(*), coalesce(bool_or(status = 'PENDING'), false) FROM notifications
			WHERE resend_of = $1`, first).Scan(&resends, &pending); err != nil {
			return err
		}
		switch {
		case pending:
			return nil
		case resends >= notification.MaxResends:
			return notification.ErrTooManyResends
		}
		trace := telemetry.From(ctx)
		_, err = tx.Exec(ctx, `
			INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, class, facts, status, attempts, resend_of,
			                           due_at, correlation_id, traceparent)
			SELECT gen_random_uuid(), event_id, user_id, order_id, kind, CASE class WHEN 'BULK' THEN 'ORDER' ELSE class END,
			       facts, 'PENDING', 0, id, now(), $2, $3
			FROM notifications WHERE id = $1`, first, trace.CorrelationID, trace.Parent)
		return err
	})
	if err != nil {
		return fmt.Errorf("resend notification %s: %w", id, err)
	}
	return nil
}

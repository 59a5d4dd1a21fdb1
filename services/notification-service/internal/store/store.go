// Package store keeps what people were told in PostgreSQL.
package store

import (
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

// Migrations creates the service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "notification_version")
}

// Store is the service's database. Each method is one transaction.
type Store struct{ Pool *pgxpool.Pool }

// Tell writes down what people are to be told of an event, and that it was heard. It does nothing for an event
// that was heard before, nor for somebody who is told the same already.
func (s Store) Tell(ctx context.Context, eventID uuid.UUID, eventType string, people ...notification.Notification) error {
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, eventID, eventType); err != nil || !first {
			return err
		}
		return addTx(ctx, tx, people)
	})
	if err != nil {
		return fmt.Errorf("tell of %s %s: %w", eventType, eventID, err)
	}
	return nil
}

// addTx writes down who is to be told, due at once, with the trace of ctx. Each has two keys: the message and its person, and, for a
// confirmation, the order, whose tickets may be announced again by another event.
func addTx(ctx context.Context, tx pgx.Tx, people []notification.Notification) error {
	trace := telemetry.From(ctx)
	var batch pgx.Batch
	for _, n := range people {
		batch.Queue(`
			INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, facts, status, attempts, due_at, correlation_id, traceparent)
			VALUES ($1, $2, $3, $4, $5, $6, 'PENDING', 0, now(), $7, $8)
			ON CONFLICT DO NOTHING`,
			n.MessageID, n.EventID, n.UserID, uuid.NullUUID{UUID: n.OrderID, Valid: n.OrderID != uuid.Nil}, n.Kind, n.Facts,
			trace.CorrelationID, trace.Parent)
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// Begin gives the notification that has been due longest, with one more attempt counted, to nobody else for the
// length of the lease. What is pending then is due again. There is none if found is false.
func (s Store) Begin(ctx context.Context, lease time.Duration) (n notification.Notification, found bool, err error) {
	rows, err := s.Pool.Query(ctx, `
		UPDATE notifications SET due_at = now() + $1::interval, attempts = attempts + 1
		WHERE id = (
			SELECT id FROM notifications
			WHERE status = 'PENDING' AND due_at <= now()
			ORDER BY due_at LIMIT 1
			FOR UPDATE SKIP LOCKED)
		RETURNING `+notificationColumns, lease)
	if err != nil {
		return n, false, fmt.Errorf("begin a notification: %w", err)
	}
	n, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[notification.Notification])
	if errors.Is(err, pgx.ErrNoRows) {
		return n, false, nil
	}
	if err != nil {
		return n, false, fmt.Errorf("begin a notification: %w", err)
	}
	return n, true, nil
}

// Settle writes down what became of the attempt at n; if it is still to be sent, it is due after its pause. That a
// mail is out holds whoever reports it. Any other end of an attempt that outlasted its lease changes nothing:
// another one has begun.
func (s Store) Settle(ctx context.Context, n notification.Notification) error {
	// The status is an argument: as part of the statement it would lead the database through all that is pending.
	tag, err := s.Pool.Exec(ctx, `
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

// List gives a page of what the user was told, the latest first, and one more entry if there is a next
// page.
func (s Store) List(ctx context.Context, userID uuid.UUID, page paging.Page) ([]notification.Summary, error) {
	rows, err := s.Pool.Query(ctx, `
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

const notificationColumns = `id, message_id, event_id, user_id, coalesce(order_id, '00000000-0000-0000-0000-000000000000'), kind,
	facts, status, attempts, coalesce(error_code, ''), correlation_id, traceparent, ''`

// Get gives a notification of the user's. It returns notification.ErrNotFound if there is none, or it is
// somebody else's.
func (s Store) Get(ctx context.Context, userID, id uuid.UUID) (notification.Notification, error) {
	rows, err := s.Pool.Query(ctx, `SELECT `+notificationColumns+` FROM notifications WHERE id = $1 AND user_id = $2`, id, userID)
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

// Resend writes down that a notification of the user's is to be sent again. Asking once more while that is
// still to happen changes nothing. It returns notification.ErrNotFound; notification.ErrNotResendable for
// one that was not sent yet, or is from before its facts were kept; and notification.ErrTooManyResends.
func (s Store) Resend(ctx context.Context, userID, id uuid.UUID) error {
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		// All resends are of the first one, whose lock lets one request at a time decide.
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
		var underWay bool
		if err := tx.QueryRow(ctx, `
			SELECT count(*), coalesce(bool_or(status = 'PENDING'), false) FROM notifications WHERE resend_of = $1`, first).
			Scan(&resends, &underWay); err != nil {
			return err
		}
		switch {
		case underWay:
			return nil
		case resends >= notification.MaxResends:
			return notification.ErrTooManyResends
		}
		trace := telemetry.From(ctx)
		_, err = tx.Exec(ctx, `
			INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, facts, status, attempts, resend_of, due_at,
			                           correlation_id, traceparent)
			SELECT gen_random_uuid(), event_id, user_id, order_id, kind, facts, 'PENDING', 0, id, now(), $2, $3
			FROM notifications WHERE id = $1`, first, trace.CorrelationID, trace.Parent)
		return err
	})
	if err != nil {
		return fmt.Errorf("resend notification %s: %w", id, err)
	}
	return nil
}

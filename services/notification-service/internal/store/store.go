// Package store keeps what people were told in PostgreSQL.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations creates the service's tables.
func Migrations() postgres.Migrations {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return postgres.Migrations{VersionTable: "notification_version", Files: files}
}

// ErrSettled is what Settle returns for a notification that is not pending.
var ErrSettled = problem.New(problem.Conflict, "NOTIFICATION_SETTLED", "The notification was sent or given up before")

// Store is the service's database. Each method is one transaction.
type Store struct{ Pool *pgxpool.Pool }

// Begin counts one more attempt at n, and writes n down if it is the first. It gives n as it is now:
// when that is settled, there is nothing to attempt, and nothing was counted.
func (s Store) Begin(ctx context.Context, n notification.Notification) (notification.Notification, error) {
	orderID := uuid.NullUUID{UUID: n.OrderID, Valid: n.OrderID != uuid.Nil}
	err := s.Pool.QueryRow(ctx, `
		INSERT INTO notifications AS n (message_id, event_id, user_id, order_id, kind, facts, status, attempts)
		VALUES ($1, $2, $3, $4, $5, $6, 'PENDING', 1)
		ON CONFLICT (message_id, user_id) DO UPDATE
		SET attempts = n.attempts + CASE n.status WHEN 'PENDING' THEN 1 ELSE 0 END
		RETURNING id, status, attempts, coalesce(error_code, '')`,
		n.MessageID, n.EventID, n.UserID, orderID, n.Kind, n.Facts,
	).Scan(&n.ID, &n.Status, &n.Attempts, &n.ErrorCode)
	if postgres.Violates(err, "notifications_one_confirmation") {
		// Another event announced the same tickets before: it is that one's to tell.
		n.Status = notification.Sent
		return n, nil
	}
	if err != nil {
		return n, fmt.Errorf("begin notification of %s: %w", n.MessageID, err)
	}
	return n, nil
}

// Queue writes n down, to be told when its turn comes, unless it was written down before.
func (s Store) Queue(ctx context.Context, n notification.Notification) error {
	orderID := uuid.NullUUID{UUID: n.OrderID, Valid: n.OrderID != uuid.Nil}
	if _, err := s.Pool.Exec(ctx, `
		INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, facts, status, attempts, due_at)
		VALUES ($1, $2, $3, $4, $5, $6, 'PENDING', 0, now())
		ON CONFLICT (message_id, user_id) DO NOTHING`,
		n.MessageID, n.EventID, n.UserID, orderID, n.Kind, n.Facts); err != nil {
		return fmt.Errorf("queue notification of %s: %w", n.MessageID, err)
	}
	return nil
}

// Settle writes down what became of the attempt at n. It returns ErrSettled if n was settled before.
func (s Store) Settle(ctx context.Context, n notification.Notification) error {
	tag, err := s.Pool.Exec(ctx, `
		UPDATE notifications
		SET status = $2, error_code = nullif($3, ''), sent_at = CASE WHEN $2 = 'SENT' THEN now() END
		WHERE id = $1 AND status = 'PENDING'`,
		n.ID, n.Status, n.ErrorCode)
	if err != nil {
		return fmt.Errorf("settle notification %s: %w", n.ID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrSettled
	}
	return nil
}

// List gives a page of what the user was told, the latest first, and one more entry if there is a next
// page.
func (s Store) List(ctx context.Context, userID uuid.UUID, page web.Page) ([]notification.Summary, error) {
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
	facts, resend_of IS NOT NULL, due_at IS NOT NULL, status, attempts, coalesce(error_code, '')`

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
		_, err = tx.Exec(ctx, `
			INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, facts, status, attempts, resend_of, due_at)
			SELECT gen_random_uuid(), event_id, user_id, order_id, kind, facts, 'PENDING', 0, id, now()
			FROM notifications WHERE id = $1`, first)
		return err
	})
	if err != nil {
		return fmt.Errorf("resend notification %s: %w", id, err)
	}
	return nil
}

// Due gives up to limit queued notifications whose time has come, to nobody else for the length of the
// lease, or longer after each attempt, up to 32 times that. What is pending then is due again.
func (s Store) Due(ctx context.Context, limit int, lease time.Duration) ([]notification.Notification, error) {
	rows, err := s.Pool.Query(ctx, `
		UPDATE notifications SET due_at = now() + $2::interval * power(2, least(attempts, 5))
		WHERE id IN (
			SELECT id FROM notifications
			WHERE status = 'PENDING' AND due_at <= now()
			ORDER BY due_at LIMIT $1
			FOR UPDATE SKIP LOCKED)
		RETURNING `+notificationColumns, limit, lease)
	if err != nil {
		return nil, fmt.Errorf("lease queued notifications: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[notification.Notification])
	if err != nil {
		return nil, fmt.Errorf("lease queued notifications: %w", err)
	}
	return due, nil
}

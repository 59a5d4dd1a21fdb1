// Package store keeps what people were told in PostgreSQL.
package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
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
	if err := s.Pool.QueryRow(ctx, `
		INSERT INTO notifications AS n (message_id, user_id, order_id, kind, status, attempts)
		VALUES ($1, $2, $3, $4, 'PENDING', 1)
		ON CONFLICT (message_id, user_id) DO UPDATE
		SET attempts = n.attempts + CASE n.status WHEN 'PENDING' THEN 1 ELSE 0 END
		RETURNING id, status, attempts, coalesce(error_code, '')`,
		n.MessageID, n.UserID, orderID, n.Kind,
	).Scan(&n.ID, &n.Status, &n.Attempts, &n.ErrorCode); err != nil {
		return n, fmt.Errorf("begin notification of %s: %w", n.MessageID, err)
	}
	return n, nil
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

package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// reservationColumns are the columns that scanReservation reads first, in the same order.
const reservationColumns = `id, user_id, event_id, status, expires_at`

// scanReservation reads a reservation without its items, and any further columns.
func scanReservation(row pgx.CollectableRow, further ...any) (ticket.Reservation, error) {
	var r ticket.Reservation
	var userID, eventID uuid.NullUUID
	var expiresAt *time.Time
	err := row.Scan(append([]any{&r.ID, &userID, &eventID, &r.Status, &expiresAt}, further...)...)
	r.UserID, r.EventID = userID.UUID, eventID.UUID
	if expiresAt != nil {
		r.ExpiresAt = *expiresAt
	}
	return r, err
}

// queueItems queues the statement that reads the items of a reservation in the order of their types.
func queueItems(b *pgx.Batch, reservationID uuid.UUID, read func(ticket.LineItem)) {
	b.Queue(`
		SELECT `+itemColumns+`
		FROM reservation_lines l JOIN ticket_types y ON y.id = l.ticket_type_id
		WHERE l.reservation_id = $1 ORDER BY y.id`,
		reservationID).Query(func(rows pgx.Rows) error {
		var item ticket.LineItem
		_, err := pgx.ForEachRow(rows, itemFields(&item), func() error {
			read(item)
			return nil
		})
		if err != nil {
			return fmt.Errorf("read items of reservation %s: %w", reservationID, err)
		}
		return nil
	})
}

// itemColumns are the columns of reservation_lines l and ticket_types y that itemFields scans.
const itemColumns = `y.id, y.name, l.quantity, l.unit_price_minor, l.currency`

func itemFields(item *ticket.LineItem) []any {
	return []any{&item.TypeID, &item.TypeName, &item.Quantity, &item.UnitPrice.Minor, &item.UnitPrice.Currency}
}

// Release cancels a reservation, returns its tickets to the inventory, and returns their number. For a reservation
// that was already released or has expired, it returns the same number again. For an unknown id it inserts a
// tombstone, which refuses a reserve that arrives later. It returns ticket.ErrReservationCompleted for a completed
// reservation.
func (s *Store) Release(ctx context.Context, id uuid.UUID, reason string) (int, error) {
	var r *ticket.Reservation
	err := postgres.InTxAfter(ctx, s.pool, func(first *pgx.Batch) {
		r = queueRelease(first, id, reason)
	}, func(tx pgx.Tx) error {
		return releaseTx(ctx, tx, r, reason)
	})
	if err != nil {
		return 0, err
	}
	return ticket.Quantity(r.Items), nil
}

// ReleaseUnpaid releases the reservation of a PAYMENT_FAILED, once per message id, as Release does. It does not change
// a completed reservation.
func (s *Store) ReleaseUnpaid(ctx context.Context, messageID uuid.UUID, failed events.PaymentFailed) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, failed.Type()); err != nil || !first {
			return err
		}
		var batch pgx.Batch
		r := queueRelease(&batch, failed.ReservationID, failed.FailureReason)
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
		err := releaseTx(ctx, tx, r, failed.FailureReason)
		if errors.Is(err, ticket.ErrReservationCompleted) {
			return nil
		}
		return err
	})
}

// queueRelease queues the statements that lock a reservation and read it into the result. They insert a tombstone if
// there is none.
func queueRelease(b *pgx.Batch, id uuid.UUID, reason string) *ticket.Reservation {
	r := &ticket.Reservation{}
	b.Queue(`
		INSERT INTO reservations (id, status, reason, ended_at) VALUES ($1, 'CANCELLED', $2, now())
		ON CONFLICT (id) DO NOTHING`, id, reason)
	b.Queue(`
		SELECT `+reservationColumns+` FROM reservations WHERE id = $1 FOR UPDATE`,
		id).Query(func(rows pgx.Rows) (err error) {
		for rows.Next() && err == nil {
			*r, err = scanReservation(rows)
		}
		return err
	})
	queueItems(b, id, func(item ticket.LineItem) { r.Items = append(r.Items, item) })
	return r
}

// releaseTx cancels a locked reservation and returns its tickets to the inventory, unless it has already ended. It
// returns ticket.ErrReservationCompleted.
func releaseTx(ctx context.Context, tx pgx.Tx, r *ticket.Reservation, reason string) error {
	switch r.Status {
	case ticket.ReservationCompleted:
		return ticket.ErrReservationCompleted
	case ticket.ReservationCancelled, ticket.ReservationExpired:
		return nil
	case ticket.ReservationActive:
	}
	var batch pgx.Batch
	for _, item := range r.Items {
		queueInventoryChange(&batch, item.TypeID, -item.Quantity, 0)
	}
	batch.Queue(`
		UPDATE reservations SET status = 'CANCELLED', reason = $2, ended_at = now() WHERE id = $1`, r.ID, reason)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("release reservation %s: %w", r.ID, err)
	}
	return nil
}

// Extend makes a live reservation expire after hold from now, and returns its expiry. The expiry never becomes earlier,
// nor later than ticket.MaxHoldTime after the reservation was created. It returns ticket.ErrReservationNotFound for a
// reservation that is unknown, expired, released or completed.
func (s *Store) Extend(ctx context.Context, id uuid.UUID, hold time.Duration) (time.Time, error) {
	var expiresAt time.Time
	err := s.pool.QueryRow(ctx, `
		UPDATE reservations SET expires_at = greatest(expires_at, least(now() + $2, created_at + $3))
		WHERE id = $1 AND status = 'ACTIVE' AND expires_at > now()
		RETURNING expires_at`, id, hold, ticket.MaxHoldTime).Scan(&expiresAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return expiresAt, ticket.ErrReservationNotFound
	}
	if err != nil {
		return expiresAt, fmt.Errorf("extend reservation %s: %w", id, err)
	}
	return expiresAt, nil
}

// expireBatch is how many reservations one transaction expires at most. It bounds the number of locks.
const expireBatch = 500

// ExpireDue ends up to limit reservations that are past their expiry, returns their tickets to the inventory, and
// returns the number of reservations. Concurrent calls of several replicas skip each other's rows.
func (s *Store) ExpireDue(ctx context.Context, limit int) (int, error) {
	// ANY(ARRAY(...)) and not a join: for a subquery with a high limit the planner would scan all reservations.
	n, err := s.endReservations(ctx, `
		UPDATE reservations SET status = 'EXPIRED', ended_at = now()
		WHERE id = ANY(ARRAY(
			SELECT id FROM reservations WHERE status = 'ACTIVE' AND expires_at <= now()
			ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
		RETURNING id`, limit)
	if err == nil {
		holdsExpired.Add(float64(n))
	}
	return n, err
}

// endReservations runs a statement that ends up to limit reservations and returns their ids. It returns their tickets
// to the inventory and returns the number of reservations.
func (s *Store) endReservations(ctx context.Context, statement string, limit int) (int, error) {
	var ended int
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, statement, limit)
		if err != nil {
			return fmt.Errorf("end reservations: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return fmt.Errorf("end reservations: %w", err)
		}
		ended = len(ids)
		if ended == 0 {
			return nil
		}
		rows, err = tx.Query(ctx, `
			SELECT ticket_type_id, sum(quantity) FROM reservation_lines
			WHERE reservation_id = ANY($1) GROUP BY ticket_type_id ORDER BY ticket_type_id`, ids)
		if err != nil {
			return fmt.Errorf("sum items of ended reservations: %w", err)
		}
		var batch pgx.Batch
		var typeID uuid.UUID
		var quantity int
		if _, err := pgx.ForEachRow(rows, []any{&typeID, &quantity}, func() error {
			queueInventoryChange(&batch, typeID, -quantity, 0)
			return nil
		}); err != nil {
			return fmt.Errorf("sum items of ended reservations: %w", err)
		}
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("return tickets of ended reservations: %w", err)
		}
		return nil
	})
	return ended, err
}

// ExpireAllDue calls ExpireDue until no reservation is due and returns the number of reservations it ended. Each batch
// is one transaction.
func (s *Store) ExpireAllDue(ctx context.Context) (int, error) {
	for total := 0; ; {
		n, err := s.ExpireDue(ctx, expireBatch)
		total += n
		if err != nil || n < expireBatch {
			return total, err
		}
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Reserve holds tickets for a while: all lines or none. The same request under the same id gives the
// same reservation. It returns ticket.ErrInsufficientInventory, ErrTypeNotFound, ErrEventNotOnSale
// (which may mean that our copy of the event lags), ErrSalesNotStarted, ErrSalesEnded, ErrOrderLimit,
// ErrReservationReused or ErrReservationEnded.
//
// Before it says that too few tickets are left it gives back what expired holds still keep, in a
// transaction of its own, and tries again.
func (s Store) Reserve(ctx context.Context, id, userID, eventID uuid.UUID, hold time.Duration, lines []ticket.Line) (ticket.Reservation, error) {
	r, err := s.reserve(ctx, id, userID, eventID, hold, lines)
	if !errors.Is(err, ticket.ErrInsufficientInventory) {
		return r, err
	}
	if n, expireErr := s.ExpireDue(ctx, expireBatch); expireErr != nil || n == 0 {
		return r, errors.Join(err, expireErr)
	}
	return s.reserve(ctx, id, userID, eventID, hold, lines)
}

func (s Store) reserve(ctx context.Context, id, userID, eventID uuid.UUID, hold time.Duration, lines []ticket.Line) (ticket.Reservation, error) {
	var r ticket.Reservation
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		r = ticket.Reservation{ID: id, UserID: userID, EventID: eventID, Status: ticket.Active}
		// A concurrent reserve or release under the same id makes this wait for its commit.
		err := tx.QueryRow(ctx, `
			INSERT INTO reservations (id, user_id, event_id, status, expires_at)
			VALUES ($1, $2, $3, 'ACTIVE', now() + $4) ON CONFLICT (id) DO NOTHING
			RETURNING expires_at`, id, userID, eventID, hold).Scan(&r.ExpiresAt)
		if errors.Is(err, pgx.ErrNoRows) {
			r, err = repeatedReserveTx(ctx, tx, id, userID, eventID, lines)
			return err
		}
		if err != nil {
			return fmt.Errorf("reserve: %w", err)
		}
		var status ticket.EventStatus
		err = tx.QueryRow(ctx, `SELECT status FROM events WHERE id = $1`, eventID).Scan(&status)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("event's status: %w", err)
		}
		if status != ticket.EventPublished {
			return ticket.ErrEventNotOnSale
		}
		if r.Lines, err = takeTx(ctx, tx, held, eventID, lines); err != nil {
			return err
		}
		for _, l := range r.Lines {
			if _, err := tx.Exec(ctx, `
				INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
				VALUES ($1, $2, $3, $4, $5)`,
				id, l.TypeID, l.Quantity, l.UnitPrice.Minor, l.UnitPrice.Currency); err != nil {
				return fmt.Errorf("store reservation line: %w", err)
			}
		}
		return nil
	})
	return r, err
}

func repeatedReserveTx(ctx context.Context, tx pgx.Tx, id, userID, eventID uuid.UUID, lines []ticket.Line) (ticket.Reservation, error) {
	r, err := lockReservationTx(ctx, tx, id)
	switch {
	case err != nil:
		return r, err
	case len(r.Lines) == 0: // a tombstone: the release came first
		return r, ticket.ErrReservationEnded
	case !r.SameRequest(userID, eventID, lines):
		return r, ticket.ErrReservationReused
	case r.Status == ticket.Cancelled || r.Status == ticket.Expired:
		return r, ticket.ErrReservationEnded
	}
	return r, nil
}

// lockReservationTx gives the reservation, locked until the transaction ends. It returns
// ticket.ErrReservationNotFound.
func lockReservationTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (ticket.Reservation, error) {
	r := ticket.Reservation{ID: id}
	var userID, eventID uuid.NullUUID
	var expiresAt *time.Time
	err := tx.QueryRow(ctx, `SELECT user_id, event_id, status, expires_at FROM reservations WHERE id = $1 FOR UPDATE`, id).
		Scan(&userID, &eventID, &r.Status, &expiresAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, ticket.ErrReservationNotFound
	}
	if err != nil {
		return r, fmt.Errorf("lock reservation %s: %w", id, err)
	}
	r.UserID, r.EventID = userID.UUID, eventID.UUID
	if expiresAt != nil {
		r.ExpiresAt = *expiresAt
	}
	rows, err := tx.Query(ctx, `
		SELECT ticket_type_id, quantity, unit_price_minor, currency
		FROM reservation_lines WHERE reservation_id = $1 ORDER BY ticket_type_id`, id)
	if err != nil {
		return r, fmt.Errorf("lines of reservation %s: %w", id, err)
	}
	r.Lines, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (ticket.Line, error) {
		var l ticket.Line
		err := row.Scan(&l.TypeID, &l.Quantity, &l.UnitPrice.Minor, &l.UnitPrice.Currency)
		return l, err
	})
	if err != nil {
		return r, fmt.Errorf("lines of reservation %s: %w", id, err)
	}
	return r, nil
}

// Release gives a reservation's tickets back and tells how many they were. Released or expired already,
// it says the same again; unknown, it leaves a tombstone, so that a reserve that comes late is refused.
// It returns ticket.ErrReservationCompleted for one that was bought.
func (s Store) Release(ctx context.Context, id uuid.UUID, reason string) (int, error) {
	var released int
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) (err error) {
		released, err = releaseTx(ctx, tx, id, reason)
		return err
	})
	return released, err
}

// ReleaseFailed is PAYMENT_FAILED's effect, once per message: Release, unless the reservation was bought
// in spite of it, which a failed payment must not undo.
func (s Store) ReleaseFailed(ctx context.Context, messageID uuid.UUID, failed events.PaymentFailed) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := messaging.FirstTx(ctx, tx, messageID, failed.Type()); err != nil || !first {
			return err
		}
		_, err := releaseTx(ctx, tx, failed.ReservationID, failed.FailureReason)
		if errors.Is(err, ticket.ErrReservationCompleted) {
			return nil
		}
		return err
	})
}

func releaseTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, reason string) (int, error) {
	tag, err := tx.Exec(ctx, `
		INSERT INTO reservations (id, status, reason, ended_at) VALUES ($1, 'CANCELLED', $2, now())
		ON CONFLICT (id) DO NOTHING`, id, reason)
	if err != nil {
		return 0, fmt.Errorf("release %s: %w", id, err)
	}
	if tag.RowsAffected() == 1 {
		return 0, nil
	}
	r, err := lockReservationTx(ctx, tx, id)
	if err != nil {
		return 0, err
	}
	switch r.Status {
	case ticket.Completed:
		return 0, ticket.ErrReservationCompleted
	case ticket.Cancelled, ticket.Expired:
		return ticket.Quantity(r.Lines), nil
	case ticket.Active:
	}
	if err := giveBackTx(ctx, tx, r.Lines, false); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, `
		UPDATE reservations SET status = 'CANCELLED', reason = $2, ended_at = now() WHERE id = $1`, id, reason); err != nil {
		return 0, fmt.Errorf("release %s: %w", id, err)
	}
	return ticket.Quantity(r.Lines), nil
}

// Extend keeps a live reservation live for that much longer, from now on, and gives its end: never an
// earlier one than it has, and none later than ticket.MaxHoldTime after it began. It returns
// ticket.ErrReservationNotFound for one that is unknown, over, released or bought.
func (s Store) Extend(ctx context.Context, id uuid.UUID, hold time.Duration) (time.Time, error) {
	var expiresAt time.Time
	err := s.Pool.QueryRow(ctx, `
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

// expireBatch is how many reservations one transaction expires at most, which bounds its locks.
const expireBatch = 500

// ExpireDue ends up to limit reservations whose time is over and gives their tickets back. It tells how
// many it ended. Replicas that sweep at the same time pass over each other's rows.
func (s Store) ExpireDue(ctx context.Context, limit int) (int, error) {
	n, err := s.endReservations(ctx, `
		UPDATE reservations SET status = 'EXPIRED', ended_at = now()
		WHERE id IN (
			SELECT id FROM reservations WHERE status = 'ACTIVE' AND expires_at <= now()
			ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING id`, limit)
	if err == nil {
		holdsExpired.Add(float64(n))
	}
	return n, err
}

// endReservations gives back the tickets of the reservations that a statement ended, and tells how many
// reservations they were.
func (s Store) endReservations(ctx context.Context, statement string, limit int) (int, error) {
	var ended int
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
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
			WHERE reservation_id = ANY($1) GROUP BY ticket_type_id`, ids)
		if err != nil {
			return fmt.Errorf("sum ended lines: %w", err)
		}
		lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ticket.Line, error) {
			var l ticket.Line
			err := row.Scan(&l.TypeID, &l.Quantity)
			return l, err
		})
		if err != nil {
			return fmt.Errorf("sum ended lines: %w", err)
		}
		return giveBackTx(ctx, tx, lines, false)
	})
	return ended, err
}

// ExpireAllDue sweeps until nothing is due, a batch to a transaction, and tells how many it ended.
func (s Store) ExpireAllDue(ctx context.Context) (int, error) {
	for total := 0; ; {
		n, err := s.ExpireDue(ctx, expireBatch)
		total += n
		if err != nil || n < expireBatch {
			return total, err
		}
	}
}

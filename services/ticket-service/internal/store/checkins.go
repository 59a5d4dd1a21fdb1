package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// timesOfTx returns the id and the times of a stored event.
func timesOfTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (ticket.Event, error) {
	e := ticket.Event{ID: id}
	err := tx.QueryRow(ctx, `SELECT event_date, end_date FROM events WHERE id = $1`, id).Scan(&e.Date, &e.EndDate)
	if err != nil {
		return e, fmt.Errorf("read times of event %s: %w", id, err)
	}
	return e, nil
}

// CheckIn marks a ticket as used, after a code of the given version was scanned at the gate, and publishes
// TICKET_CHECKED_IN. Of any number of concurrent scans exactly one succeeds. Its errors are ticket.ErrTicketNotFound
// and those of ticket.Ticket.CheckIn; with ErrAlreadyCheckedIn it also returns the ticket, which has the time and the
// gate.
func (s *Store) CheckIn(ctx context.Context, id uuid.UUID, version int, gate string) (ticket.Ticket, error) {
	var t ticket.Ticket
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		before, now, err := lockTicketTx(ctx, tx, id)
		if err != nil {
			return err
		}
		e, err := timesOfTx(ctx, tx, before.EventID)
		if err != nil {
			return err
		}
		if t, err = before.CheckIn(e, version, gate, now); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE tickets SET status = $2, checked_in_at = $3, gate = $4 WHERE id = $1`,
			t.ID, t.Status, t.CheckedInAt, t.Gate); err != nil {
			return fmt.Errorf("check in ticket %s: %w", id, err)
		}
		return outbox.AddTx(ctx, tx, source, events.TicketCheckedIn{
			TicketID: t.ID, OrderID: t.OrderID, EventID: t.EventID, TicketTypeID: t.TypeID,
			CheckedInAt: t.CheckedInAt.UTC(), Gate: t.Gate,
		})
	})
	return t, err
}

// UndoCheckIn makes a used ticket active again on behalf of a user, keeps the check-in in its history, and publishes
// TICKET_CHECK_IN_UNDONE. Its errors are ticket.ErrTicketNotFound, ErrNotCheckedIn, and ErrTicketRefunded for a ticket
// that a refund kept because it was used.
func (s *Store) UndoCheckIn(ctx context.Context, id, by uuid.UUID, reason string) (ticket.Ticket, error) {
	var t ticket.Ticket
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		before, now, err := lockTicketTx(ctx, tx, id)
		if err != nil {
			return err
		}
		if t, err = before.UndoCheckIn(); err != nil {
			return err
		}
		var refunded bool
		if err := tx.QueryRow(ctx, `SELECT refund_key IS NOT NULL FROM tickets WHERE id = $1`, id).
			Scan(&refunded); err != nil {
			return fmt.Errorf("read refund of ticket %s: %w", id, err)
		}
		if refunded {
			return ticket.ErrTicketRefunded
		}
		var batch pgx.Batch
		batch.Queue(`UPDATE tickets SET status = $2, checked_in_at = NULL, gate = '' WHERE id = $1`, id, t.Status)
		batch.Queue(`
			INSERT INTO undone_check_ins (ticket_id, checked_in_at, gate, undone_at, undone_by, reason)
			VALUES ($1, $2, $3, $4, $5, $6)`,
			id, before.CheckedInAt, before.Gate, now, by, reason)
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("undo check-in of ticket %s: %w", id, err)
		}
		return outbox.AddTx(ctx, tx, source, events.TicketCheckInUndone{
			TicketID: t.ID, OrderID: t.OrderID, EventID: t.EventID, TicketTypeID: t.TypeID,
			CheckedInAt: before.CheckedInAt.UTC(), UndoneAt: now.UTC(), Reason: reason,
		})
	})
	return t, err
}

// maxCheckIns is how many check-ins of a ticket CheckIns returns.
const maxCheckIns = 100

// CheckIns returns the last maxCheckIns check-ins of a ticket, those that were undone included, newest first.
func (s *Store) CheckIns(ctx context.Context, id uuid.UUID) ([]ticket.CheckIn, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT checked_in_at, gate, NULL::timestamptz, NULL::uuid, '' FROM tickets
		WHERE id = $1 AND checked_in_at IS NOT NULL
		UNION ALL
		SELECT checked_in_at, gate, undone_at, undone_by, reason FROM undone_check_ins WHERE ticket_id = $1
		ORDER BY checked_in_at DESC LIMIT $2`, id, maxCheckIns)
	if err != nil {
		return nil, fmt.Errorf("check-ins of ticket %s: %w", id, err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ticket.CheckIn, error) {
		var c ticket.CheckIn
		var undoneAt *time.Time
		var undoneBy *uuid.UUID
		err := row.Scan(&c.At, &c.Gate, &undoneAt, &undoneBy, &c.Reason)
		if undoneAt != nil && undoneBy != nil {
			c.UndoneAt, c.UndoneBy = *undoneAt, *undoneBy
		}
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("check-ins of ticket %s: %w", id, err)
	}
	return found, nil
}

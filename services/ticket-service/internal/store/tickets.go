package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

const selectTickets = `
	SELECT k.id, k.number, k.ticket_type_id, y.name, k.event_id, k.order_id, k.owner_id, k.holder_name,
	       k.status, coalesce(o.suspension, ''), k.code_version, k.created_at, k.checked_in_at, k.gate,
	       coalesce(k.refund_key, '')
	FROM tickets k JOIN ticket_types y ON y.id = k.ticket_type_id LEFT JOIN orders o ON o.id = k.order_id `

func scanTicket(row pgx.CollectableRow) (ticket.Ticket, error) {
	var t ticket.Ticket
	var checkedInAt *time.Time
	err := row.Scan(&t.ID, &t.Number, &t.TypeID, &t.TypeName, &t.EventID, &t.OrderID, &t.OwnerID, &t.HolderName,
		&t.Status, &t.Suspension, &t.CodeVersion, &t.CreatedAt, &checkedInAt, &t.Gate, &t.RefundKey)
	if checkedInAt != nil {
		t.CheckedInAt = *checkedInAt
	}
	return t, err
}

func collectTickets(rows pgx.Rows, err error) ([]ticket.Ticket, error) {
	if err != nil {
		return nil, fmt.Errorf("tickets: %w", err)
	}
	tickets, err := pgx.CollectRows(rows, scanTicket)
	if err != nil {
		return nil, fmt.Errorf("tickets: %w", err)
	}
	return tickets, nil
}

// oneTicket returns the single ticket of a query's result. It returns ticket.ErrTicketNotFound.
func oneTicket(rows pgx.Rows, err error) (ticket.Ticket, error) {
	if err != nil {
		return ticket.Ticket{}, fmt.Errorf("ticket: %w", err)
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanTicket)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, ticket.ErrTicketNotFound
	}
	if err != nil {
		return t, fmt.Errorf("ticket: %w", err)
	}
	return t, nil
}

// Ticket returns a ticket. It returns ticket.ErrTicketNotFound.
func (s *Store) Ticket(ctx context.Context, id uuid.UUID) (ticket.Ticket, error) {
	rows, err := s.pool.Query(ctx, selectTickets+`WHERE k.id = $1`, id)
	return oneTicket(rows, err)
}

// TicketsOfUser returns a page of a user's tickets, newest first, and one more if there is a next page.
func (s *Store) TicketsOfUser(ctx context.Context, userID uuid.UUID, page paging.Page) ([]ticket.Ticket, error) {
	rows, err := s.pool.Query(ctx, selectTickets+`
		WHERE k.owner_id = $1 AND (k.created_at, k.id) < (coalesce($2::timestamptz, 'infinity'), $3)
		ORDER BY k.created_at DESC, k.id DESC LIMIT $4`, userID, page.After, page.AfterID, page.Limit+1)
	return collectTickets(rows, err)
}

// ActiveTicketsOfOrder returns the active tickets of an order that a user owns, in the order of their numbers.
func (s *Store) ActiveTicketsOfOrder(ctx context.Context, orderID, owner uuid.UUID) ([]ticket.Ticket, error) {
	rows, err := s.pool.Query(ctx, selectTickets+`
		WHERE k.order_id = $1 AND k.owner_id = $2 AND k.status = 'ACTIVE' ORDER BY k.number LIMIT $3`,
		orderID, owner, ticket.MaxTickets)
	return collectTickets(rows, err)
}

// TicketsOfOrder returns the tickets of an order that a user owns, with those that are cancelled or used, in the order
// of their numbers.
func (s *Store) TicketsOfOrder(ctx context.Context, orderID, owner uuid.UUID) ([]ticket.Ticket, error) {
	rows, err := s.pool.Query(ctx, selectTickets+`
		WHERE k.order_id = $1 AND k.owner_id = $2 ORDER BY k.number`, orderID, owner)
	return collectTickets(rows, err)
}

// TicketsOfEvent returns up to limit tickets of an event in the order of their numbers, starting after the number
// after; the empty string starts at the first.
func (s *Store) TicketsOfEvent(
	ctx context.Context, eventID uuid.UUID, after string, limit int,
) ([]ticket.Ticket, error) {
	rows, err := s.pool.Query(ctx, selectTickets+`
		WHERE k.event_id = $1 AND k.number > $2 ORDER BY k.number LIMIT $3`, eventID, after, limit)
	return collectTickets(rows, err)
}

// Holdings returns a page of the orders that have active tickets of an event, oldest first, and one more if there is a
// next page.
func (s *Store) Holdings(ctx context.Context, eventID uuid.UUID, page paging.Page) ([]ticket.Holding, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT order_id, created_at, (
			SELECT jsonb_object_agg(owner_id, tickets) FROM (
				SELECT owner_id, count(*) AS tickets FROM tickets k
				WHERE k.order_id = page.order_id AND k.event_id = $1 AND k.status = 'ACTIVE' GROUP BY owner_id) held)
		FROM (
			SELECT DISTINCT created_at, order_id FROM tickets
			WHERE event_id = $1 AND status = 'ACTIVE'
			  AND (created_at, order_id) > (coalesce($2::timestamptz, '-infinity'), $3)
			ORDER BY created_at, order_id LIMIT $4) page
		ORDER BY created_at, order_id`,
		eventID, page.After, page.AfterID, page.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("list ticket holders of event %s: %w", eventID, err)
	}
	holdings, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ticket.Holding, error) {
		var h ticket.Holding
		err := row.Scan(&h.OrderID, &h.Issued, &h.Holders)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("list ticket holders of event %s: %w", eventID, err)
	}
	return holdings, nil
}

// lockTicketTx locks a ticket and returns it with the current time. It returns ticket.ErrTicketNotFound.
func lockTicketTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (ticket.Ticket, time.Time, error) {
	rows, err := tx.Query(ctx, selectTickets+`WHERE k.id = $1 FOR UPDATE OF k`, id)
	t, err := oneTicket(rows, err)
	if err != nil {
		return t, time.Time{}, err
	}
	// Not now(), which is the start of this transaction: it may have waited for the lock since.
	var now time.Time
	if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return t, now, fmt.Errorf("read clock: %w", err)
	}
	return t, now, nil
}

// Transfer changes the owner of a ticket and the name on it, and publishes TICKET_TRANSFERRED. Its errors are
// ticket.ErrTicketNotFound and those of ticket.Ticket.Transfer.
func (s *Store) Transfer(ctx context.Context, id, from, to uuid.UUID, holder string) (ticket.Ticket, error) {
	var t ticket.Ticket
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		before, _, err := lockTicketTx(ctx, tx, id)
		if err != nil {
			return err
		}
		if t, err = before.Transfer(from, to, holder); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE tickets SET owner_id = $2, holder_name = $3, code_version = $4 WHERE id = $1`,
			t.ID, t.OwnerID, t.HolderName, t.CodeVersion); err != nil {
			return fmt.Errorf("transfer ticket %s: %w", id, err)
		}
		return outbox.AddTx(ctx, tx, source, events.TicketTransferred{
			TicketID: t.ID, OrderID: t.OrderID, EventID: t.EventID, FromUserID: from, ToUserID: to,
		})
	})
	return t, err
}

// Cancel cancels a ticket for its owner, returns it to the inventory, and publishes TICKET_CANCELLED. Its errors are
// ticket.ErrTicketNotFound and those of ticket.Ticket.Cancel.
func (s *Store) Cancel(ctx context.Context, id, owner uuid.UUID, reason string) (ticket.Ticket, error) {
	var t ticket.Ticket
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockTypesOfTx(ctx, tx, []uuid.UUID{id}); err != nil {
			return err
		}
		var now time.Time
		var err error
		if t, now, err = lockTicketTx(ctx, tx, id); err != nil {
			return err
		}
		e, err := timesOfTx(ctx, tx, t.EventID)
		if err != nil {
			return err
		}
		if t, err = t.Cancel(owner, e.Date, now); err != nil {
			return err
		}
		return cancelTx(ctx, tx, []ticket.Ticket{t}, cancellation{by: events.CancelledByOwner, reason: reason})
	})
	return t, err
}

// codeRefunded is the refusal of an order that was refunded before it had tickets.
const codeRefunded = "ORDER_REFUNDED"

// CancelRefunded cancels all tickets of a refund or none, and returns them. Tickets that are already cancelled stay
// unchanged, so that a refund can be repeated. An order that has no tickets is refused them from now on, in case its
// PAYMENT_COMPLETED is still in transit. It returns ticket.ErrTicketNotFound for a ticket that does not belong to the
// order or to the owner that the refund names, and ErrTicketUsed for a used ticket, unless the refund keeps used
// tickets, or the event is cancelled according to this service's copy or to the refund's reason.
func (s *Store) CancelRefunded(ctx context.Context, r ticket.Refund) ([]ticket.Ticket, error) {
	var refunded []ticket.Ticket
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		var refusal string
		if err := tx.QueryRow(ctx, lockOrder, r.OrderID).Scan(&refusal); err != nil {
			return fmt.Errorf("lock order %s: %w", r.OrderID, err)
		}
		rows, err := tx.Query(ctx, `SELECT id FROM tickets WHERE order_id = $1 ORDER BY id`, r.OrderID)
		if err != nil {
			return fmt.Errorf("list tickets of order %s: %w", r.OrderID, err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return fmt.Errorf("list tickets of order %s: %w", r.OrderID, err)
		}
		for _, id := range r.TicketIDs {
			if !slices.Contains(ids, id) {
				return ticket.ErrTicketNotFound
			}
		}
		switch {
		case r.TicketIDs != nil:
			ids = r.TicketIDs
		case len(ids) == 0 && refusal == "":
			return refuseTx(ctx, tx, r.OrderID, codeRefunded)
		}
		if err := lockTypesOfTx(ctx, tx, ids); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, selectTickets+`WHERE k.id = ANY($1) ORDER BY k.id FOR UPDATE OF k`, ids)
		if refunded, err = collectTickets(rows, err); err != nil {
			return err
		}
		// The tickets are locked, so a transfer has either taken them from the owner, or finds them cancelled.
		if r.OwnerID != uuid.Nil && slices.ContainsFunc(refunded, func(t ticket.Ticket) bool {
			return t.OwnerID != r.OwnerID
		}) {
			return ticket.ErrTicketNotFound
		}
		c := cancellation{by: events.CancelledByRefund, reason: r.Reason, refundKey: r.Key}
		// The refund of a cancelled event may arrive before the event's own batches. Its TICKET_CANCELLED then has to
		// name the event as the cause, so that the holders, who need not be the buyer, learn of the cancellation.
		var eventCancelled bool
		if err := tx.QueryRow(ctx, `
			SELECT EXISTS (
				SELECT FROM events e JOIN tickets k ON k.event_id = e.id WHERE k.id = ANY($1) AND e.status = $2)`,
			ids, ticket.EventCancelled).Scan(&eventCancelled); err != nil {
			return fmt.Errorf("read event of order %s: %w", r.OrderID, err)
		}
		if eventCancelled || r.Reason == ticket.ErrEventCancelled.Code {
			c.by = events.CancelledByEvent
		}
		left, err := ticket.ToCancel(refunded, c.by == events.CancelledByEvent, r.KeepUsed)
		if err != nil {
			return err
		}
		if r.KeepUsed { // UndoCheckIn must not make these active again
			if _, err := tx.Exec(ctx, `UPDATE tickets SET refund_key = $2 WHERE id = ANY($1) AND status = $3`,
				ids, r.Key, ticket.Used); err != nil {
				return fmt.Errorf("mark used tickets of order %s as refunded: %w", r.OrderID, err)
			}
		}
		return cancelTx(ctx, tx, left, c)
	})
	return refunded, err
}

// lockTypesOfTx locks the types of tickets. Types have to be locked before tickets; see the package comment.
func lockTypesOfTx(ctx context.Context, tx pgx.Tx, ticketIDs []uuid.UUID) error {
	if _, err := tx.Exec(ctx, `
		SELECT FROM ticket_types WHERE id IN (SELECT ticket_type_id FROM tickets WHERE id = ANY($1))
		ORDER BY id FOR NO KEY UPDATE`, ticketIDs); err != nil {
		return fmt.Errorf("lock types of tickets: %w", err)
	}
	return nil
}

// cancellation is who cancels tickets, and why.
type cancellation struct {
	by        string // one of events.CancelledBy...
	reason    string
	refundKey string // of the refund, if there is one
}

// cancelTx cancels tickets, returns them to the inventory, and publishes a TICKET_CANCELLED for each. The tickets must
// not be cancelled yet; they and their types must be locked.
func cancelTx(ctx context.Context, tx pgx.Tx, tickets []ticket.Ticket, c cancellation) error {
	ids := make([]uuid.UUID, len(tickets))
	counts := map[uuid.UUID]int{} // by type
	for i, t := range tickets {
		ids[i] = t.ID
		counts[t.TypeID]++
	}
	var batch pgx.Batch
	batch.Queue(`
		UPDATE tickets
		SET status = $2, cancelled_at = now(), cancelled_by = $3, cancel_reason = $4, refund_key = nullif($5, '')
		WHERE id = ANY($1)`, ids, ticket.Cancelled, c.by, c.reason, c.refundKey)
	for id, n := range counts {
		queueInventoryChange(&batch, id, 0, -n)
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("cancel tickets: %w", err)
	}
	published := make([]messaging.Payload, len(tickets))
	for i, t := range tickets {
		published[i] = events.TicketCancelled{
			TicketID: t.ID, TicketNumber: t.Number, TicketTypeID: t.TypeID, OrderID: t.OrderID, UserID: t.OwnerID,
			EventID: t.EventID, Reason: c.reason, CancelledBy: c.by, RefundKey: c.refundKey,
		}
	}
	return outbox.AddTx(ctx, tx, source, published...)
}

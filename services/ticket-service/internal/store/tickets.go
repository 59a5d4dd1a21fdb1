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
	       k.status, k.code_version, k.created_at, k.checked_in_at, k.gate
	FROM tickets k JOIN ticket_types y ON y.id = k.ticket_type_id `

func scanTicket(row pgx.CollectableRow) (ticket.Ticket, error) {
	var t ticket.Ticket
	var checkedInAt *time.Time
	err := row.Scan(&t.ID, &t.Number, &t.TypeID, &t.TypeName, &t.EventID, &t.OrderID, &t.OwnerID, &t.HolderName,
		&t.Status, &t.CodeVersion, &t.CreatedAt, &checkedInAt, &t.Gate)
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

// oneTicket gives the one ticket of a query. It returns ticket.ErrTicketNotFound.
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

// Ticket gives a ticket. It returns ticket.ErrTicketNotFound.
func (s Store) Ticket(ctx context.Context, id uuid.UUID) (ticket.Ticket, error) {
	rows, err := s.Pool.Query(ctx, selectTickets+`WHERE k.id = $1`, id)
	return oneTicket(rows, err)
}

// TicketsOf gives a page of a user's tickets, the newest first, and one more if there is a next page.
func (s Store) TicketsOf(ctx context.Context, userID uuid.UUID, page paging.Page) ([]ticket.Ticket, error) {
	rows, err := s.Pool.Query(ctx, selectTickets+`
		WHERE k.owner_id = $1 AND (k.created_at, k.id) < (coalesce($2::timestamptz, 'infinity'), $3)
		ORDER BY k.created_at DESC, k.id DESC LIMIT $4`, userID, page.After, page.AfterID, page.Limit+1)
	return collectTickets(rows, err)
}

// TicketsFor gives an event's tickets by number, limit at most, from the one after a number on.
func (s Store) TicketsFor(ctx context.Context, eventID uuid.UUID, after string, limit int) ([]ticket.Ticket, error) {
	rows, err := s.Pool.Query(ctx, selectTickets+`
		WHERE k.event_id = $1 AND k.number > $2 ORDER BY k.number LIMIT $3`, eventID, after, limit)
	return collectTickets(rows, err)
}

// Holdings gives a page of the orders that have valid tickets of an event, the oldest first, and one more if
// there is a next page.
func (s Store) Holdings(ctx context.Context, eventID uuid.UUID, page paging.Page) ([]ticket.Holding, error) {
	rows, err := s.Pool.Query(ctx, `
		SELECT order_id, created_at, (
			SELECT jsonb_object_agg(owner_id, tickets) FROM (
				SELECT owner_id, count(*) AS tickets FROM tickets k
				WHERE k.order_id = page.order_id AND k.event_id = $1 AND k.status = 'ACTIVE' GROUP BY owner_id) held)
		FROM (
			SELECT DISTINCT created_at, order_id FROM tickets
			WHERE event_id = $1 AND status = 'ACTIVE' AND (created_at, order_id) > (coalesce($2::timestamptz, '-infinity'), $3)
			ORDER BY created_at, order_id LIMIT $4) page
		ORDER BY created_at, order_id`,
		eventID, page.After, page.AfterID, page.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("holders of event %s: %w", eventID, err)
	}
	holdings, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ticket.Holding, error) {
		var h ticket.Holding
		err := row.Scan(&h.OrderID, &h.Issued, &h.Holders)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("holders of event %s: %w", eventID, err)
	}
	return holdings, nil
}

// lockTicketTx gives a ticket that nobody else can change until the transaction ends, and the time now.
// It returns ticket.ErrTicketNotFound.
func lockTicketTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (ticket.Ticket, time.Time, error) {
	rows, err := tx.Query(ctx, selectTickets+`WHERE k.id = $1 FOR UPDATE OF k`, id)
	t, err := oneTicket(rows, err)
	if err != nil {
		return t, time.Time{}, err
	}
	// Not now(): that is when this transaction began, and it may have waited for the lock since.
	var now time.Time
	if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return t, now, fmt.Errorf("the time: %w", err)
	}
	return t, now, nil
}

// CheckIn uses a ticket up, whose code of this version was shown at the gate, and announces it. Of any
// number of scans one succeeds. Its errors are ticket.ErrTicketNotFound and ticket.Ticket.CheckIn's; with
// ErrAlreadyCheckedIn it gives the ticket, which says when and where that was.
func (s Store) CheckIn(ctx context.Context, id uuid.UUID, version int, gate string) (ticket.Ticket, error) {
	var t ticket.Ticket
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		before, now, err := lockTicketTx(ctx, tx, id)
		if err != nil {
			return err
		}
		if t, err = before.CheckIn(version, gate, now); err != nil {
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

// Transfer gives a ticket to another user, whose name goes on it, and announces it. Its errors are
// ticket.ErrTicketNotFound and ticket.Ticket.Transfer's.
func (s Store) Transfer(ctx context.Context, id, from, to uuid.UUID, holder string) (ticket.Ticket, error) {
	var t ticket.Ticket
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
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

// Cancel voids its owner's ticket, whose place goes on sale again, and announces it. Its errors are
// ticket.ErrTicketNotFound and ticket.Ticket.Cancel's.
func (s Store) Cancel(ctx context.Context, id, owner uuid.UUID, reason string) (ticket.Ticket, error) {
	var t ticket.Ticket
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if err := lockTypesOfTx(ctx, tx, []uuid.UUID{id}); err != nil {
			return err
		}
		var now, date time.Time
		var err error
		if t, now, err = lockTicketTx(ctx, tx, id); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT event_date FROM events WHERE id = $1`, t.EventID).Scan(&date); err != nil {
			return fmt.Errorf("date of event %s: %w", t.EventID, err)
		}
		if t, err = t.Cancel(owner, date, now); err != nil {
			return err
		}
		return cancelTx(ctx, tx, []ticket.Ticket{t}, cancellation{by: events.CancelledByOwner, reason: reason})
	})
	return t, err
}

// Refund is the wish of payment-service's to cancel tickets whose money goes back.
type Refund struct {
	OrderID   uuid.UUID
	TicketIDs []uuid.UUID // nil is all of the order
	Key       string
	Reason    string
}

// codeRefunded is why an order gets no tickets whose money went back before it had any.
const codeRefunded = "ORDER_REFUNDED"

// CancelRefunded voids all tickets that a refund is for, or none, and gives them. Those that were
// cancelled before stay as they are, so that the same refund may come again. An order that has no tickets
// is thereby refused them, should its PAYMENT_COMPLETED be under way still. It returns
// ticket.ErrTicketNotFound for one that is not the order's, and ErrTicketUsed unless the event is cancelled, as
// we know or the refund says.
func (s Store) CancelRefunded(ctx context.Context, r Refund) ([]ticket.Ticket, error) {
	var refunded []ticket.Ticket
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		var refusal string
		if err := tx.QueryRow(ctx, lockOrder, r.OrderID).Scan(&refusal); err != nil {
			return fmt.Errorf("lock order %s: %w", r.OrderID, err)
		}
		rows, err := tx.Query(ctx, `SELECT id FROM tickets WHERE order_id = $1 ORDER BY id`, r.OrderID)
		if err != nil {
			return fmt.Errorf("tickets of order %s: %w", r.OrderID, err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return fmt.Errorf("tickets of order %s: %w", r.OrderID, err)
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
		c := cancellation{by: events.CancelledByRefund, reason: r.Reason, refundKey: r.Key}
		// Money that goes back because the event is cancelled may be faster than the event's own batches. Those
		// who hold the tickets are told by TICKET_CANCELLED all the same; the buyer, who may be another, has the
		// money.
		var eventCancelled bool
		if err := tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM events e JOIN tickets k ON k.event_id = e.id WHERE k.id = ANY($1) AND e.status = $2)`,
			ids, ticket.EventCancelled).Scan(&eventCancelled); err != nil {
			return fmt.Errorf("event of order %s: %w", r.OrderID, err)
		}
		if eventCancelled || r.Reason == ticket.ErrEventCancelled.Code {
			c.by = events.CancelledByEvent
		}
		left, err := ticket.ToCancel(refunded, c.by == events.CancelledByEvent)
		if err != nil {
			return err
		}
		return cancelTx(ctx, tx, left, c)
	})
	return refunded, err
}

// lockTypesOfTx locks the types of tickets, which have to be locked before the tickets are.
func lockTypesOfTx(ctx context.Context, tx pgx.Tx, ticketIDs []uuid.UUID) error {
	if _, err := tx.Exec(ctx, `
		SELECT FROM ticket_types WHERE id IN (SELECT ticket_type_id FROM tickets WHERE id = ANY($1))
		ORDER BY id FOR NO KEY UPDATE`, ticketIDs); err != nil {
		return fmt.Errorf("lock the types of tickets: %w", err)
	}
	return nil
}

// cancellation says who voids tickets, and why.
type cancellation struct {
	by        string // one of events.CancelledBy...
	reason    string
	refundKey string // if there is a refund
}

// cancelTx voids tickets that are not void yet, locked with their types. Their places go on sale again.
func cancelTx(ctx context.Context, tx pgx.Tx, tickets []ticket.Ticket, c cancellation) error {
	ids := make([]uuid.UUID, len(tickets))
	places := map[uuid.UUID]int{}
	for i, t := range tickets {
		ids[i] = t.ID
		places[t.TypeID]++
	}
	var batch pgx.Batch
	batch.Queue(`
		UPDATE tickets
		SET status = $2, cancelled_at = now(), cancelled_by = $3, cancel_reason = $4, refund_key = nullif($5, '')
		WHERE id = ANY($1)`, ids, ticket.Cancelled, c.by, c.reason, c.refundKey)
	for id, n := range places {
		queueCount(&batch, id, 0, -n)
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("cancel tickets: %w", err)
	}
	told := make([]messaging.Payload, len(tickets))
	for i, t := range tickets {
		told[i] = events.TicketCancelled{
			TicketID: t.ID, TicketNumber: t.Number, TicketTypeID: t.TypeID, OrderID: t.OrderID, UserID: t.OwnerID,
			EventID: t.EventID, Reason: c.reason, CancelledBy: c.by,
		}
	}
	return outbox.AddTx(ctx, tx, source, told...)
}

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Confirm issues the tickets of a live reservation, completes it, and publishes TICKETS_GENERATED. Repeating a
// purchase returns the same tickets. It returns ticket.ErrReservationNotFound for a reservation that is unknown,
// released, expired or another user's, ErrReservationCompleted for one that another order has completed,
// ErrReservationReused for an order that has completed another one, ErrEventCancelled, ErrOrderTooLarge, and
// ErrOrderRefused for an order that was refused its tickets.
func (s *Store) Confirm(ctx context.Context, p ticket.Purchase) ([]ticket.Ticket, error) {
	var locked *lockedPurchase
	var tickets []ticket.Ticket
	err := postgres.InTxAfter(ctx, s.pool, func(first *pgx.Batch) {
		locked = queuePurchase(first, p)
	}, func(tx pgx.Tx) (err error) {
		switch r := locked.reservation; {
		case locked.refusal != "":
			return ticket.ErrOrderRefused
		case r.UserID != p.UserID:
			return ticket.ErrReservationNotFound
		case r.Status == ticket.ReservationCompleted:
			tickets, err = ticketsOfTx(ctx, tx, r.ID, p.OrderID)
			return err
		case r.Status != ticket.ReservationActive || !locked.live:
			return ticket.ErrReservationNotFound
		}
		tickets, err = s.issueTx(ctx, tx, locked, p)
		return err
	})
	return tickets, err
}

// Fulfil issues the tickets of a paid order, once per message id of its PAYMENT_COMPLETED, and publishes
// TICKETS_GENERATED. Since a charge can only be undone by a refund, it issues tickets where Confirm would not: tickets
// that are still held are issued even if the hold has expired, and tickets that were returned to the inventory are
// taken again while some are left. If none are left, the event is cancelled, or there are too many for one order, the
// order is refused its tickets for good, and the same transaction publishes TICKET_GENERATION_FAILED, which requests a
// refund.
//
// Every message is answered. An order that arrives under another message id, because the answer was late or lost, gets
// the same tickets or the same refusal published again, even if tickets have become available in the meantime.
func (s *Store) Fulfil(ctx context.Context, messageID uuid.UUID, paid events.PaymentCompleted) error {
	p := ticket.Purchase{
		ReservationID: paid.ReservationID, OrderID: paid.OrderID, UserID: paid.UserID, HolderName: paid.HolderName,
	}
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, paid.Type()); err != nil || !first {
			return err
		}
		var batch pgx.Batch
		locked := queuePurchase(&batch, p)
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("lock purchase of order %s: %w", p.OrderID, err)
		}
		if locked.refusal == "" {
			err := s.fulfilTx(ctx, tx, locked, p)
			refused, ok := errors.AsType[*problem.Error](err)
			if !ok {
				return err
			}
			locked.refusal = refused.Code
			if err := refuseTx(ctx, tx, p.OrderID, locked.refusal); err != nil {
				return err
			}
		}
		return outbox.AddTx(ctx, tx, source, events.TicketGenerationFailed{
			OrderID: p.OrderID, UserID: p.UserID, EventID: paid.EventID,
			ReservationID: p.ReservationID, Reason: locked.refusal,
		})
	})
}

// fulfilTx issues the tickets or publishes again those that were issued. If it returns a *problem.Error, it has changed
// nothing.
func (s *Store) fulfilTx(ctx context.Context, tx pgx.Tx, locked *lockedPurchase, p ticket.Purchase) error {
	r := locked.reservation
	if r.UserID != p.UserID || len(r.Items) == 0 {
		return ticket.ErrReservationNotFound
	}
	if r.Status == ticket.ReservationCompleted {
		tickets, err := ticketsOfTx(ctx, tx, r.ID, p.OrderID)
		if err != nil {
			return err
		}
		return s.publishTx(ctx, tx, r, p, tickets)
	}
	// The terms of sale are not checked again: they applied when the tickets were reserved.
	if r.Status != ticket.ReservationActive && slices.ContainsFunc(r.Items, func(item ticket.LineItem) bool {
		return locked.available[item.TypeID] < item.Quantity
	}) {
		return ticket.ErrInsufficientInventory
	}
	_, err := s.issueTx(ctx, tx, locked, p)
	return err
}

// lockedPurchase is everything that a purchase depends on, locked until the transaction ends.
type lockedPurchase struct {
	refusal     string             // the code with which the order was refused its tickets, if it was
	reservation ticket.Reservation // zero if it is unknown
	live        bool               // the reservation has not expired, by the database's clock
	another     bool               // the order has completed another reservation
	available   map[uuid.UUID]int  // tickets left of the reservation's types
	event       ticket.EventStatus
}

// queuePurchase queues the statements that lock a purchase, in the order of the package comment, and fill the result.
func queuePurchase(b *pgx.Batch, p ticket.Purchase) *lockedPurchase {
	locked := &lockedPurchase{available: map[uuid.UUID]int{}}
	b.Queue(lockOrder, p.OrderID).QueryRow(func(row pgx.Row) error { return row.Scan(&locked.refusal) })
	b.Queue(`
		SELECT `+reservationColumns+`, coalesce(expires_at > now(), false),
		       EXISTS (SELECT FROM reservations WHERE order_id = $2 AND id <> $1)
		FROM reservations WHERE id = $1 FOR UPDATE`, p.ReservationID, p.OrderID).Query(func(rows pgx.Rows) (err error) {
		for rows.Next() && err == nil {
			locked.reservation, err = scanReservation(rows, &locked.live, &locked.another)
		}
		return err
	})
	b.Queue(`
		SELECT `+itemColumns+`, y.capacity - y.sold - y.held
		FROM reservation_lines l JOIN ticket_types y ON y.id = l.ticket_type_id
		WHERE l.reservation_id = $1 ORDER BY y.id FOR NO KEY UPDATE OF y`, p.ReservationID).Query(func(rows pgx.Rows) error {
		var item ticket.LineItem
		var left int
		_, err := pgx.ForEachRow(rows, append(itemFields(&item), &left), func() error {
			locked.reservation.Items = append(locked.reservation.Items, item)
			locked.available[item.TypeID] = left
			return nil
		})
		return err
	})
	// The lock orders this transaction and a cancellation of the event: either this one sees the cancellation, or the
	// cancellation sees these tickets. It is taken after the locks of the types: transactions that wait for a type
	// would otherwise hold it and delay the cancellation.
	b.Queue(`
		SELECT status FROM events WHERE id = (SELECT event_id FROM reservations WHERE id = $1) FOR SHARE`,
		p.ReservationID).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&locked.event}, func() error { return nil })
		return err
	})
	return locked
}

// lockOrder locks an order's row, which it creates if necessary, and returns the code with which the order was refused
// its tickets, if it was. DO NOTHING would not lock an existing row.
const lockOrder = `
	INSERT INTO orders (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING coalesce(refusal, '')`

// refuseTx records that a locked order is refused its tickets.
func refuseTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, refusal string) error {
	if _, err := tx.Exec(ctx, `UPDATE orders SET refusal = $2 WHERE id = $1`, id, refusal); err != nil {
		return fmt.Errorf("refuse order %s: %w", id, err)
	}
	return nil
}

// issueTx completes a reservation whose tickets are held or available, issues its tickets and publishes
// TICKETS_GENERATED. If it returns ticket.ErrEventCancelled, ErrReservationReused or ErrOrderTooLarge, it has changed
// nothing.
func (s *Store) issueTx(
	ctx context.Context, tx pgx.Tx, locked *lockedPurchase, p ticket.Purchase,
) ([]ticket.Ticket, error) {
	if locked.event == ticket.EventCancelled {
		return nil, ticket.ErrEventCancelled
	}
	if locked.another {
		return nil, ticket.ErrReservationReused
	}
	r := locked.reservation
	if ticket.Quantity(r.Items) > ticket.MaxTickets {
		return nil, ticket.ErrOrderTooLarge
	}
	var ids, types []uuid.UUID
	var batch pgx.Batch
	for _, item := range r.Items {
		held := 0
		if r.Status == ticket.ReservationActive {
			held = item.Quantity
		}
		queueInventoryChange(&batch, item.TypeID, -held, item.Quantity)
		for range item.Quantity {
			// Version 7 is ordered by time, so that new tickets touch few pages of the index.
			ids, types = append(ids, uuid.Must(uuid.NewV7())), append(types, item.TypeID)
		}
	}
	batch.Queue(`
		UPDATE reservations SET status = 'COMPLETED', order_id = $2, ended_at = now() WHERE id = $1`, r.ID, p.OrderID)
	batch.Queue(`
		INSERT INTO tickets (id, number, ticket_type_id, event_id, order_id, reservation_id, owner_id, holder_name)
		SELECT id, next_ticket_number(), ticket_type_id, $3, $4, $5, $6, $7
		FROM unnest($1::uuid[], $2::uuid[]) AS issued (id, ticket_type_id)`,
		ids, types, r.EventID, p.OrderID, r.ID, p.UserID, p.HolderName)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, fmt.Errorf("issue tickets of order %s: %w", p.OrderID, err)
	}
	tickets, err := ticketsOfTx(ctx, tx, r.ID, p.OrderID)
	if err != nil {
		return nil, err
	}
	return tickets, s.publishTx(ctx, tx, r, p, tickets)
}

// publishTx publishes TICKETS_GENERATED for the tickets of an order.
func (s *Store) publishTx(
	ctx context.Context, tx pgx.Tx, r ticket.Reservation, p ticket.Purchase, tickets []ticket.Ticket,
) error {
	generated := events.TicketsGenerated{OrderID: p.OrderID, UserID: p.UserID, EventID: r.EventID}
	for _, t := range tickets {
		generated.Tickets = append(generated.Tickets, events.Ticket{
			TicketID: t.ID, TicketNumber: t.Number, TicketTypeID: t.TypeID, QRCode: s.publicURL.QRCode(t.ID),
		})
	}
	return outbox.AddTx(ctx, tx, source, generated)
}

// ticketsOfTx returns the tickets of a completed reservation. It returns ticket.ErrReservationCompleted if they belong
// to another order.
func ticketsOfTx(ctx context.Context, tx pgx.Tx, reservationID, orderID uuid.UUID) ([]ticket.Ticket, error) {
	rows, err := tx.Query(ctx, selectTickets+`WHERE k.reservation_id = $1 ORDER BY k.number`, reservationID)
	tickets, err := collectTickets(rows, err)
	if err != nil {
		return nil, err
	}
	if len(tickets) > 0 && tickets[0].OrderID != orderID {
		return nil, ticket.ErrReservationCompleted
	}
	return tickets, nil
}

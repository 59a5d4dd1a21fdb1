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

// Purchase is what turns a reservation into tickets.
type Purchase struct {
	ReservationID uuid.UUID
	OrderID       uuid.UUID
	UserID        uuid.UUID
	HolderName    string
}

// Confirm turns a live reservation into tickets and announces them. The same purchase again gives the
// same tickets. It returns ticket.ErrReservationNotFound for one that is unknown, released, expired or
// somebody else's, ErrReservationCompleted for one that another order bought, ErrReservationReused for an order that bought
// another one, ErrEventCancelled, and ErrOrderRefused for an order that was told that it gets no tickets.
func (s Store) Confirm(ctx context.Context, p Purchase) ([]ticket.Ticket, error) {
	var d *deal
	var tickets []ticket.Ticket
	err := postgres.InTxAfter(ctx, s.Pool, func(first *pgx.Batch) { d = queueDeal(first, p) }, func(tx pgx.Tx) (err error) {
		switch r := d.reservation; {
		case d.refusal != "":
			return ticket.ErrOrderRefused
		case r.UserID != p.UserID:
			return ticket.ErrReservationNotFound
		case r.Status == ticket.ReservationCompleted:
			tickets, err = ticketsOfTx(ctx, tx, r.ID, p.OrderID)
			return err
		case r.Status != ticket.ReservationActive || !d.live:
			return ticket.ErrReservationNotFound
		}
		tickets, err = s.issueTx(ctx, tx, d, p)
		return err
	})
	return tickets, err
}

// Fulfil gives a paid order its tickets: PAYMENT_COMPLETED's effect, once per message. There is no way
// back from a charge but a refund, so it drives forward: tickets that are still held are issued even
// if their time ran out, and tickets that went back are taken anew while stock is left. Only if that
// fails, or the event is cancelled, the order gets none, now or ever, and TICKET_GENERATION_FAILED asks for a refund, in the same
// transaction.
//
// Every message is answered. When the order comes under another message id, because the answer was late
// or lost, the same tickets are announced again, or the same refusal, even if there is stock by then.
func (s Store) Fulfil(ctx context.Context, messageID uuid.UUID, p Purchase, paid events.PaymentCompleted) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, paid.Type()); err != nil || !first {
			return err
		}
		var batch pgx.Batch
		d := queueDeal(&batch, p)
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("lock what order %s buys: %w", p.OrderID, err)
		}
		if d.refusal == "" {
			err := s.fulfilTx(ctx, tx, d, p)
			refused, ok := errors.AsType[*problem.Error](err)
			if !ok {
				return err
			}
			d.refusal = refused.Code
			if err := refuseTx(ctx, tx, p.OrderID, d.refusal); err != nil {
				return err
			}
		}
		return outbox.AddTx(ctx, tx, source, events.TicketGenerationFailed{
			OrderID: p.OrderID, UserID: p.UserID, EventID: paid.EventID,
			ReservationID: p.ReservationID, Reason: d.refusal,
		})
	})
}

// fulfilTx has changed nothing when it returns a *problem.Error.
func (s Store) fulfilTx(ctx context.Context, tx pgx.Tx, d *deal, p Purchase) error {
	r := d.reservation
	if r.UserID != p.UserID || len(r.Items) == 0 {
		return ticket.ErrReservationNotFound
	}
	if r.Status == ticket.ReservationCompleted {
		tickets, err := ticketsOfTx(ctx, tx, r.ID, p.OrderID)
		if err != nil {
			return err
		}
		return s.announceTx(ctx, tx, r, p, tickets)
	}
	// What the organizer says of sales does not bind a paid order, whose tickets were held by its rules.
	if r.Status != ticket.ReservationActive && slices.ContainsFunc(r.Items, func(l ticket.LineItem) bool { return d.available[l.TypeID] < l.Quantity }) {
		return ticket.ErrInsufficientInventory
	}
	_, err := s.issueTx(ctx, tx, d, p)
	return err
}

// deal is what a purchase is about, as it is while nobody else can change it.
type deal struct {
	refusal     string             // why the order gets no tickets, if it was told so
	reservation ticket.Reservation // none if it is unknown
	live        bool               // the reservation's time is not over: by the database's clock, as always
	another     bool               // the order has bought another reservation
	available   map[uuid.UUID]int  // tickets that are left of the reservation's types
	event       ticket.EventStatus
}

// queueDeal queues what locks a deal, in our order, and reads it.
func queueDeal(b *pgx.Batch, p Purchase) *deal {
	d := &deal{available: map[uuid.UUID]int{}}
	b.Queue(lockOrder, p.OrderID).QueryRow(func(row pgx.Row) error { return row.Scan(&d.refusal) })
	b.Queue(`
		SELECT `+reservationColumns+`, coalesce(expires_at > now(), false),
		       EXISTS (SELECT FROM reservations WHERE order_id = $2 AND id <> $1)
		FROM reservations WHERE id = $1 FOR UPDATE`, p.ReservationID, p.OrderID).Query(func(rows pgx.Rows) (err error) {
		for rows.Next() && err == nil {
			d.reservation, err = scanReservation(rows, &d.live, &d.another)
		}
		return err
	})
	b.Queue(`
		SELECT l.ticket_type_id, l.quantity, l.unit_price_minor, l.currency, y.capacity - y.sold - y.held
		FROM reservation_lines l JOIN ticket_types y ON y.id = l.ticket_type_id
		WHERE l.reservation_id = $1 ORDER BY y.id FOR NO KEY UPDATE OF y`, p.ReservationID).Query(func(rows pgx.Rows) error {
		var l ticket.LineItem
		var left int
		_, err := pgx.ForEachRow(rows, append(lineFields(&l), &left), func() error {
			d.reservation.Items = append(d.reservation.Items, l)
			d.available[l.TypeID] = left
			return nil
		})
		return err
	})
	// With the lock, a cancellation of the event either is seen here or comes later and sees these tickets.
	// Not before the types are locked: whoever queued up for those would hold it and keep the cancellation out.
	b.Queue(`SELECT status FROM events WHERE id = (SELECT event_id FROM reservations WHERE id = $1) FOR SHARE`, p.ReservationID).
		Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&d.event}, func() error { return nil })
			return err
		})
	return d
}

// lockOrder makes an order the transaction's own until it ends, and gives the code with which it was refused its tickets, if
// it was. Not DO NOTHING, which would not lock a row that is there.
const lockOrder = `
	INSERT INTO orders (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING coalesce(refusal, '')`

// refuseTx keeps that a locked order gets no tickets.
func refuseTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, refusal string) error {
	if _, err := tx.Exec(ctx, `UPDATE orders SET refusal = $2 WHERE id = $1`, id, refusal); err != nil {
		return fmt.Errorf("refuse order %s: %w", id, err)
	}
	return nil
}

// issueTx completes a reservation, whose tickets are held or left, and announces them. It returns ticket.ErrEventCancelled or
// ErrReservationReused, and has changed nothing then.
func (s Store) issueTx(ctx context.Context, tx pgx.Tx, d *deal, p Purchase) ([]ticket.Ticket, error) {
	if d.event == ticket.EventCancelled {
		return nil, ticket.ErrEventCancelled
	}
	if d.another {
		return nil, ticket.ErrReservationReused
	}
	r := d.reservation
	var ids, types []uuid.UUID
	var batch pgx.Batch
	for _, l := range r.Items {
		held := 0
		if r.Status == ticket.ReservationActive {
			held = l.Quantity
		}
		queueCount(&batch, l.TypeID, -held, l.Quantity)
		for range l.Quantity {
			// Ordered by time: new ones are neighbours in the index, however many tickets there are.
			ids, types = append(ids, uuid.Must(uuid.NewV7())), append(types, l.TypeID)
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
		return nil, fmt.Errorf("issue the tickets of order %s: %w", p.OrderID, err)
	}
	tickets, err := ticketsOfTx(ctx, tx, r.ID, p.OrderID)
	if err != nil {
		return nil, err
	}
	return tickets, s.announceTx(ctx, tx, r, p, tickets)
}

// announceTx announces the tickets that an order has.
func (s Store) announceTx(ctx context.Context, tx pgx.Tx, r ticket.Reservation, p Purchase, tickets []ticket.Ticket) error {
	announced := events.TicketsGenerated{OrderID: p.OrderID, UserID: p.UserID, EventID: r.EventID}
	for _, t := range tickets {
		announced.Tickets = append(announced.Tickets, events.Ticket{
			TicketID: t.ID, TicketNumber: t.Number, TicketTypeID: t.TypeID, QRCode: s.QRCodeURL(t.ID),
		})
	}
	return outbox.AddTx(ctx, tx, source, announced)
}

// ticketsOfTx gives the tickets of a completed reservation. It returns ticket.ErrReservationCompleted
// when they belong to another order.
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

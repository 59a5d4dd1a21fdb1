package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
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
// somebody else's, ErrReservationCompleted for one that another order bought, ErrEventCancelled, and
// ErrOrderRefused for an order that was told that it gets no tickets.
func (s Store) Confirm(ctx context.Context, p Purchase) ([]ticket.Ticket, error) {
	var tickets []ticket.Ticket
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		refusal, err := lockOrderTx(ctx, tx, p.OrderID)
		if err != nil {
			return err
		}
		if refusal != "" {
			return ticket.ErrOrderRefused
		}
		r, err := lockReservationTx(ctx, tx, p.ReservationID)
		if err != nil {
			return err
		}
		if r.UserID != p.UserID {
			return ticket.ErrReservationNotFound
		}
		if r.Status == ticket.Completed {
			tickets, err = ticketsOfTx(ctx, tx, p.ReservationID, p.OrderID)
			return err
		}
		var live bool // by the database's time, as always
		if err := tx.QueryRow(ctx, `SELECT $1 > now()`, r.ExpiresAt).Scan(&live); err != nil {
			return fmt.Errorf("compare expiry: %w", err)
		}
		if r.Status != ticket.Active || !live {
			return ticket.ErrReservationNotFound
		}
		if err := giveBackTx(ctx, tx, r.Lines, true); err != nil {
			return err
		}
		if tickets, err = issueTx(ctx, tx, r, p); err != nil {
			return err
		}
		return s.announceTx(ctx, tx, r, p, tickets)
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
		if first, err := messaging.FirstTx(ctx, tx, messageID, paid.Type()); err != nil || !first {
			return err
		}
		refusal, err := lockOrderTx(ctx, tx, p.OrderID)
		if err != nil {
			return err
		}
		if refusal == "" {
			err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error { return s.fulfilTx(ctx, savepoint, p) })
			refused, ok := errors.AsType[*problem.Error](err)
			if !ok {
				return err
			}
			refusal = refused.Code
			if err := refuseTx(ctx, tx, p.OrderID, refusal); err != nil {
				return err
			}
		}
		return messaging.AddTx(ctx, tx, source, events.TicketGenerationFailed{
			OrderID: p.OrderID, UserID: p.UserID, EventID: paid.EventID,
			ReservationID: p.ReservationID, Reason: refusal,
		})
	})
}

func (s Store) fulfilTx(ctx context.Context, tx pgx.Tx, p Purchase) error {
	r, err := lockReservationTx(ctx, tx, p.ReservationID)
	if err != nil {
		return err
	}
	if r.UserID != p.UserID || len(r.Lines) == 0 {
		return ticket.ErrReservationNotFound
	}
	if r.Status == ticket.Completed {
		tickets, err := ticketsOfTx(ctx, tx, p.ReservationID, p.OrderID)
		if err != nil {
			return err
		}
		return s.announceTx(ctx, tx, r, p, tickets)
	}
	if r.Status == ticket.Active {
		err = giveBackTx(ctx, tx, r.Lines, true)
	} else {
		err = sellTx(ctx, tx, r.Lines)
	}
	if err != nil {
		return err
	}
	tickets, err := issueTx(ctx, tx, r, p)
	if err != nil {
		return err
	}
	return s.announceTx(ctx, tx, r, p, tickets)
}

// lockOrderTx makes the order this transaction's own until it ends, and gives the code with which it was
// refused its tickets, if it was.
func lockOrderTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (refusal string, err error) {
	// Not DO NOTHING, which would not lock a row that is there.
	err = tx.QueryRow(ctx, `
		INSERT INTO orders (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = excluded.id
		RETURNING coalesce(refusal, '')`, id).Scan(&refusal)
	if err != nil {
		return "", fmt.Errorf("lock order %s: %w", id, err)
	}
	return refusal, nil
}

// refuseTx keeps that a locked order gets no tickets.
func refuseTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, refusal string) error {
	if _, err := tx.Exec(ctx, `UPDATE orders SET refusal = $2 WHERE id = $1`, id, refusal); err != nil {
		return fmt.Errorf("refuse order %s: %w", id, err)
	}
	return nil
}

// issueTx completes the reservation, whose tickets are counted as sold already. It returns
// ticket.ErrEventCancelled or ErrReservationReused, after which the transaction (or its savepoint) must be
// rolled back.
func issueTx(ctx context.Context, tx pgx.Tx, r ticket.Reservation, p Purchase) ([]ticket.Ticket, error) {
	// With the lock, a cancellation of the event either is seen here or comes later and sees these tickets.
	// Not before the types are locked: whoever queued up for those would hold it and keep the cancellation out.
	var status ticket.EventStatus
	if err := tx.QueryRow(ctx, `SELECT status FROM events WHERE id = $1 FOR SHARE`, r.EventID).Scan(&status); err != nil {
		return nil, fmt.Errorf("event's status: %w", err)
	}
	if status == ticket.EventCancelled {
		return nil, ticket.ErrEventCancelled
	}
	_, err := tx.Exec(ctx, `
		UPDATE reservations SET status = 'COMPLETED', order_id = $2, ended_at = now() WHERE id = $1`, r.ID, p.OrderID)
	if postgres.Violates(err, "reservations_order") {
		return nil, ticket.ErrReservationReused.Because(err)
	}
	if err != nil {
		return nil, fmt.Errorf("complete reservation: %w", err)
	}
	for _, l := range r.Lines {
		for range l.Quantity {
			if _, err := tx.Exec(ctx, `
				INSERT INTO tickets (id, number, ticket_type_id, event_id, order_id, reservation_id, owner_id, holder_name)
				VALUES ($1, next_ticket_number(), $2, $3, $4, $5, $6, $7)`,
				uuid.New(), l.TypeID, r.EventID, p.OrderID, r.ID, p.UserID, p.HolderName); err != nil {
				return nil, fmt.Errorf("issue ticket: %w", err)
			}
		}
	}
	return ticketsOfTx(ctx, tx, r.ID, p.OrderID)
}

// announceTx announces the tickets that an order has.
func (s Store) announceTx(ctx context.Context, tx pgx.Tx, r ticket.Reservation, p Purchase, tickets []ticket.Ticket) error {
	announced := events.TicketsGenerated{OrderID: p.OrderID, UserID: p.UserID, EventID: r.EventID}
	for _, t := range tickets {
		announced.Tickets = append(announced.Tickets, events.Ticket{
			TicketID: t.ID, TicketNumber: t.Number, TicketTypeID: t.TypeID, QRCode: s.QRCodeURL(t.ID),
		})
	}
	return messaging.AddTx(ctx, tx, source, announced)
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

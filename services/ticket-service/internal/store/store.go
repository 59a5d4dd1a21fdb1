// Package store keeps inventory, reservations and tickets in PostgreSQL. Each exported method is one
// transaction, except where its comment says otherwise, and can be repeated.
//
// Locks are taken in one order everywhere: the reservation, then its ticket types by id. Whoever finds
// a deadlock all the same (a batch of expired reservations beside a release, say) is run again by
// postgres.InTx.
package store

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations creates this service's tables.
func Migrations() postgres.Migrations {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return postgres.Migrations{VersionTable: "ticket_service_version", Files: files}
}

// source is the CloudEvents source of what this service publishes.
const source = "ticket-service"

// Store is the database of ticket-service.
type Store struct {
	Pool *pgxpool.Pool
	// QRCodeURL gives the address of a ticket's QR code picture, for events.
	QRCodeURL func(ticketID uuid.UUID) string
}

// FillEvent stores a copy of an event that was asked for. It fills in what no EVENT_* message has told
// yet, and moves a draft on, whose publication may still be under way to us. Else it never overrides a
// message, since an answer has no place in their order.
func (s Store) FillEvent(ctx context.Context, e ticket.Event) error {
	_, err := s.Pool.Exec(ctx, `
		INSERT INTO events AS known (id, organizer_id, name, event_date, venue_name, status)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE
		SET name = excluded.name, event_date = excluded.event_date, venue_name = excluded.venue_name,
		    status = excluded.status
		WHERE known.status = $7 OR known.updated_at = '-infinity'`,
		e.ID, e.OrganizerID, e.Name, e.Date, e.VenueName, e.Status, ticket.EventDraft)
	if err != nil {
		return fmt.Errorf("fill in event %s: %w", e.ID, err)
	}
	return nil
}

// ApplyEvent stores what an EVENT_* message says, once, and unless something newer is known. An event never
// goes back to being a draft, nor on from being cancelled: a message that says so was overtaken by an
// answer that FillEvent kept.
func (s Store) ApplyEvent(ctx context.Context, messageID uuid.UUID, messageType string, e ticket.Event) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := messaging.FirstTx(ctx, tx, messageID, messageType); err != nil || !first {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO events AS known (id, organizer_id, name, event_date, venue_name, status, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE
			SET name = excluded.name, event_date = excluded.event_date, venue_name = excluded.venue_name,
			    status = CASE WHEN excluded.status = $8 OR known.status = $9 THEN known.status ELSE excluded.status END,
			    updated_at = excluded.updated_at
			WHERE known.updated_at < excluded.updated_at`,
			e.ID, e.OrganizerID, e.Name, e.Date, e.VenueName, e.Status, e.UpdatedAt,
			ticket.EventDraft, ticket.EventCancelled)
		if err != nil {
			return fmt.Errorf("apply %s of event %s: %w", messageType, e.ID, err)
		}
		return nil
	})
}

// CancelEvent takes an event off sale, once.
func (s Store) CancelEvent(ctx context.Context, messageID uuid.UUID, e events.EventCancelled) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := messaging.FirstTx(ctx, tx, messageID, e.Type()); err != nil || !first {
			return err
		}
		// The event may be unknown here still; then this is its first and last word.
		_, err := tx.Exec(ctx, `
			INSERT INTO events AS known (id, organizer_id, name, event_date, venue_name, status, updated_at)
			VALUES ($1, $2, $3, $4, '', $5, $4)
			ON CONFLICT (id) DO UPDATE SET status = excluded.status, updated_at = excluded.updated_at
			WHERE known.updated_at < excluded.updated_at`,
			e.EventID, e.OrganizerID, e.EventName, e.UpdatedAt, ticket.EventCancelled)
		if err != nil {
			return fmt.Errorf("cancel event %s: %w", e.EventID, err)
		}
		return nil
	})
}

// Event gives our copy of an event. It returns ticket.ErrEventNotFound.
func (s Store) Event(ctx context.Context, id uuid.UUID) (ticket.Event, error) {
	e := ticket.Event{ID: id}
	err := s.Pool.QueryRow(ctx, `
		SELECT organizer_id, name, event_date, venue_name, status FROM events WHERE id = $1`, id).
		Scan(&e.OrganizerID, &e.Name, &e.Date, &e.VenueName, &e.Status)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, ticket.ErrEventNotFound
	}
	if err != nil {
		return e, fmt.Errorf("event %s: %w", id, err)
	}
	return e, nil
}

// CreateType adds a ticket type to an event that is known here. It returns ticket.ErrEventNotFound,
// ticket.ErrTypeExists or ticket.ErrCurrencyMixed.
func (s Store) CreateType(ctx context.Context, t ticket.Type) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		// The event's row makes concurrent creations see each other's currency.
		if err := tx.QueryRow(ctx, `SELECT id FROM events WHERE id = $1 FOR UPDATE`, t.EventID).Scan(nil); err != nil {
			if errors.Is(err, pgx.ErrNoRows) {
				return ticket.ErrEventNotFound
			}
			return fmt.Errorf("lock event: %w", err)
		}
		var mixed bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ticket_types WHERE event_id = $1 AND currency <> $2)`,
			t.EventID, t.Price.Currency).Scan(&mixed); err != nil {
			return fmt.Errorf("compare currencies: %w", err)
		}
		if mixed {
			return ticket.ErrCurrencyMixed
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity)
			VALUES ($1, $2, $3, $4, $5, $6)`,
			t.ID, t.EventID, t.Name, t.Price.Minor, t.Price.Currency, t.Capacity)
		if postgres.Violates(err, "ticket_types_name") {
			return ticket.ErrTypeExists.Because(err)
		}
		if err != nil {
			return fmt.Errorf("create ticket type: %w", err)
		}
		return nil
	})
}

// Types gives an event's ticket types in the order of their creation.
func (s Store) Types(ctx context.Context, eventID uuid.UUID) ([]ticket.Type, error) {
	rows, err := s.Pool.Query(ctx, `
		SELECT id, event_id, name, price_minor, currency, capacity, sold, held
		FROM ticket_types WHERE event_id = $1 ORDER BY created_at, id`, eventID)
	if err != nil {
		return nil, fmt.Errorf("ticket types: %w", err)
	}
	types, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ticket.Type, error) {
		var t ticket.Type
		err := row.Scan(&t.ID, &t.EventID, &t.Name, &t.Price.Minor, &t.Price.Currency, &t.Capacity, &t.Sold, &t.Held)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("ticket types: %w", err)
	}
	return types, nil
}

// inLockOrder gives the lines by ticket type, the order in which every transaction locks them.
func inLockOrder(lines []ticket.Line) []ticket.Line {
	return slices.SortedFunc(slices.Values(lines), func(a, b ticket.Line) int {
		return bytes.Compare(a.TypeID[:], b.TypeID[:])
	})
}

// takeTx moves each line's quantity out of what is available into the counter column, held or sold,
// and gives the lines with their prices. It returns ticket.ErrInsufficientInventory or
// ticket.ErrTypeNotFound, after which the transaction (or its savepoint) must be rolled back.
func takeTx(ctx context.Context, tx pgx.Tx, counter string, eventID uuid.UUID, lines []ticket.Line) ([]ticket.Line, error) {
	taken := inLockOrder(lines)
	for i := range taken {
		l := &taken[i]
		err := tx.QueryRow(ctx, `
			UPDATE ticket_types SET `+counter+` = `+counter+` + $3
			WHERE id = $1 AND event_id = $2 AND capacity - sold - held >= $3
			RETURNING price_minor, currency`, l.TypeID, eventID, l.Quantity).
			Scan(&l.UnitPrice.Minor, &l.UnitPrice.Currency)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, whyNotTakenTx(ctx, tx, eventID, l.TypeID)
		}
		if err != nil {
			return nil, fmt.Errorf("take tickets of type %s: %w", l.TypeID, err)
		}
	}
	return taken, nil
}

func whyNotTakenTx(ctx context.Context, tx pgx.Tx, eventID, typeID uuid.UUID) error {
	var exists bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ticket_types WHERE id = $1 AND event_id = $2)`,
		typeID, eventID).Scan(&exists); err != nil {
		return fmt.Errorf("look up type %s: %w", typeID, err)
	}
	if !exists {
		return ticket.ErrTypeNotFound
	}
	return ticket.ErrInsufficientInventory
}

// giveBackTx takes the lines' quantities out of held, and into sold if they were bought.
func giveBackTx(ctx context.Context, tx pgx.Tx, lines []ticket.Line, bought bool) error {
	sold := 0
	if bought {
		sold = 1
	}
	for _, l := range inLockOrder(lines) {
		if _, err := tx.Exec(ctx, `UPDATE ticket_types SET held = held - $2, sold = sold + $2 * $3 WHERE id = $1`,
			l.TypeID, l.Quantity, sold); err != nil {
			return fmt.Errorf("give back tickets of type %s: %w", l.TypeID, err)
		}
	}
	return nil
}

// Reserve holds tickets for a while: all lines or none. The same request under the same id gives the
// same reservation. It returns ticket.ErrInsufficientInventory, ErrTypeNotFound, ErrEventNotOnSale
// (which may mean that our copy of the event lags), ErrReservationReused or ErrReservationEnded.
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
		if r.Lines, err = takeTx(ctx, tx, "held", eventID, lines); err != nil {
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

// Purchase is what turns a reservation into tickets.
type Purchase struct {
	ReservationID uuid.UUID
	OrderID       uuid.UUID
	UserID        uuid.UUID
	HolderName    string
}

// Confirm turns a live reservation into tickets and announces them. The same purchase again gives the
// same tickets. It returns ticket.ErrReservationNotFound for one that is unknown, released, expired or
// somebody else's, and ticket.ErrReservationCompleted for one that another order bought.
func (s Store) Confirm(ctx context.Context, p Purchase) ([]ticket.Ticket, error) {
	var tickets []ticket.Ticket
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
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
		tickets, err = issueTx(ctx, tx, r, p, s.QRCodeURL)
		return err
	})
	return tickets, err
}

// Fulfil gives a paid order its tickets: PAYMENT_COMPLETED's effect, once per message. There is no way
// back from a charge but a refund, so it drives forward: tickets that are still held are issued even
// if their time ran out, and tickets that went back are taken anew while stock is left. Only if that
// fails the order gets none, and TICKET_GENERATION_FAILED asks for a refund, in the same transaction.
func (s Store) Fulfil(ctx context.Context, messageID uuid.UUID, p Purchase, paid events.PaymentCompleted) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := messaging.FirstTx(ctx, tx, messageID, paid.Type()); err != nil || !first {
			return err
		}
		err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error { return s.fulfilTx(ctx, savepoint, p) })
		refusal, refused := errors.AsType[*problem.Error](err)
		if !refused {
			return err
		}
		return messaging.AddTx(ctx, tx, source, events.TicketGenerationFailed{
			OrderID: p.OrderID, UserID: p.UserID, EventID: paid.EventID,
			ReservationID: p.ReservationID, Reason: refusal.Code,
		})
	})
}

func (s Store) fulfilTx(ctx context.Context, tx pgx.Tx, p Purchase) error {
	r, err := lockReservationTx(ctx, tx, p.ReservationID)
	if err != nil {
		return err
	}
	switch {
	case r.UserID != p.UserID || len(r.Lines) == 0:
		return ticket.ErrReservationNotFound
	case r.Status == ticket.Completed:
		_, err := ticketsOfTx(ctx, tx, p.ReservationID, p.OrderID)
		return err
	case r.Status == ticket.Active:
		err = giveBackTx(ctx, tx, r.Lines, true)
	default:
		_, err = takeTx(ctx, tx, "sold", r.EventID, r.Lines)
	}
	if err != nil {
		return err
	}
	_, err = issueTx(ctx, tx, r, p, s.QRCodeURL)
	return err
}

// issueTx completes the reservation, whose tickets are counted as sold already, and announces them.
func issueTx(ctx context.Context, tx pgx.Tx, r ticket.Reservation, p Purchase, qrCodeURL func(uuid.UUID) string) ([]ticket.Ticket, error) {
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
	tickets, err := ticketsOfTx(ctx, tx, r.ID, p.OrderID)
	if err != nil {
		return nil, err
	}
	announced := events.TicketsGenerated{OrderID: p.OrderID, UserID: p.UserID, EventID: r.EventID}
	for _, t := range tickets {
		announced.Tickets = append(announced.Tickets, events.Ticket{
			TicketID: t.ID, TicketNumber: t.Number, TicketTypeID: t.TypeID, QRCode: qrCodeURL(t.ID),
		})
	}
	return tickets, messaging.AddTx(ctx, tx, source, announced)
}

// ticketsOfTx gives the tickets of a completed reservation. It returns ticket.ErrReservationCompleted
// when they belong to another order.
func ticketsOfTx(ctx context.Context, tx pgx.Tx, reservationID, orderID uuid.UUID) ([]ticket.Ticket, error) {
	rows, err := tx.Query(ctx, selectTickets+`WHERE k.reservation_id = $1 ORDER BY k.number`, reservationID)
	if err != nil {
		return nil, fmt.Errorf("tickets of reservation: %w", err)
	}
	tickets, err := pgx.CollectRows(rows, scanTicket)
	if err != nil {
		return nil, fmt.Errorf("tickets of reservation: %w", err)
	}
	if len(tickets) > 0 && tickets[0].OrderID != orderID {
		return nil, ticket.ErrReservationCompleted
	}
	return tickets, nil
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

// expireBatch is how many reservations one transaction expires at most, which bounds its locks.
const expireBatch = 500

// ExpireDue ends up to limit reservations whose time is over and gives their tickets back. It tells how
// many it ended. Replicas that sweep at the same time pass over each other's rows.
func (s Store) ExpireDue(ctx context.Context, limit int) (int, error) {
	var expired int
	err := postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE reservations SET status = 'EXPIRED', ended_at = now()
			WHERE id IN (
				SELECT id FROM reservations WHERE status = 'ACTIVE' AND expires_at <= now()
				ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
			RETURNING id`, limit)
		if err != nil {
			return fmt.Errorf("expire reservations: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return fmt.Errorf("expire reservations: %w", err)
		}
		expired = len(ids)
		if expired == 0 {
			return nil
		}
		rows, err = tx.Query(ctx, `
			SELECT ticket_type_id, sum(quantity) FROM reservation_lines
			WHERE reservation_id = ANY($1) GROUP BY ticket_type_id`, ids)
		if err != nil {
			return fmt.Errorf("sum expired lines: %w", err)
		}
		lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ticket.Line, error) {
			var l ticket.Line
			err := row.Scan(&l.TypeID, &l.Quantity)
			return l, err
		})
		if err != nil {
			return fmt.Errorf("sum expired lines: %w", err)
		}
		return giveBackTx(ctx, tx, lines, false)
	})
	return expired, err
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

const selectTickets = `
	SELECT k.id, k.number, k.ticket_type_id, y.name, k.event_id, k.order_id, k.owner_id, k.holder_name,
	       k.status, k.code_version, k.created_at
	FROM tickets k JOIN ticket_types y ON y.id = k.ticket_type_id `

func scanTicket(row pgx.CollectableRow) (ticket.Ticket, error) {
	var t ticket.Ticket
	err := row.Scan(&t.ID, &t.Number, &t.TypeID, &t.TypeName, &t.EventID, &t.OrderID, &t.OwnerID, &t.HolderName,
		&t.Status, &t.CodeVersion, &t.CreatedAt)
	return t, err
}

// Ticket gives a ticket. It returns ticket.ErrTicketNotFound.
func (s Store) Ticket(ctx context.Context, id uuid.UUID) (ticket.Ticket, error) {
	rows, err := s.Pool.Query(ctx, selectTickets+`WHERE k.id = $1`, id)
	if err != nil {
		return ticket.Ticket{}, fmt.Errorf("ticket %s: %w", id, err)
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanTicket)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, ticket.ErrTicketNotFound
	}
	if err != nil {
		return t, fmt.Errorf("ticket %s: %w", id, err)
	}
	return t, nil
}

// TicketsOf gives a user's tickets, the newest first, limit at most.
func (s Store) TicketsOf(ctx context.Context, userID uuid.UUID, limit int) ([]ticket.Ticket, error) {
	rows, err := s.Pool.Query(ctx,
		selectTickets+`WHERE k.owner_id = $1 ORDER BY k.created_at DESC, k.number DESC LIMIT $2`, userID, limit)
	if err != nil {
		return nil, fmt.Errorf("tickets of user: %w", err)
	}
	tickets, err := pgx.CollectRows(rows, scanTicket)
	if err != nil {
		return nil, fmt.Errorf("tickets of user: %w", err)
	}
	return tickets, nil
}

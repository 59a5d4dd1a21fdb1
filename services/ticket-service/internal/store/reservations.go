package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Reserve holds tickets for each of the requests that can have them: the requests are judged in their order, see
// ticket.Inventory, and share a transaction. There is an answer for each of them, in the same order; with an error none is
// known to hold anything, but may, and the same requests can be sent again, together or alone.
//
// Before somebody hears that too few tickets are left, what expired holds still keep is given back, in a transaction of its
// own, and whoever found too few is judged again.
func (s Store) Reserve(ctx context.Context, requests []ticket.Request) ([]ticket.Result, error) {
	answers, err := s.reserve(ctx, requests)
	if err != nil {
		return nil, err
	}
	var short []int
	for i, a := range answers {
		if errors.Is(a.Err, ticket.ErrInsufficientInventory) {
			short = append(short, i)
		}
	}
	if len(short) == 0 {
		return answers, nil
	}
	n, err := s.ExpireDue(ctx, expireBatch)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return answers, nil
	}
	rest := make([]ticket.Request, len(short))
	for n, i := range short {
		rest[n] = requests[i]
	}
	second, err := s.reserve(ctx, rest)
	if err != nil {
		return nil, err
	}
	for n, i := range short {
		answers[i] = second[n]
	}
	return answers, nil
}

// errNothingHeld rolls back a transaction that has only looked: the commit of a row's lock would wait for the disk.
var errNothingHeld = errors.New("no tickets are held")

// reserveAttempts bounds how often reserve begins again because somebody was faster with an id.
const reserveAttempts = 3

func (s Store) reserve(ctx context.Context, requests []ticket.Request) ([]ticket.Result, error) {
	var types, events, ids []uuid.UUID
	for _, q := range requests {
		ids = append(ids, q.ReservationID)
		events = append(events, q.EventID)
		for _, l := range q.Items {
			types = append(types, l.TypeID)
		}
	}
	answers := make([]ticket.Result, len(requests))
	var err error
	for range reserveAttempts {
		var found ticket.Inventory
		err = postgres.InTxAfter(ctx, s.Pool, func(first *pgx.Batch) {
			found = ticket.Inventory{
				Events: map[uuid.UUID]ticket.EventStatus{}, Types: map[uuid.UUID]*ticket.Type{}, Reservations: map[uuid.UUID]ticket.Reservation{},
			}
			queueInventory(first, &found, types, events, ids)
		}, func(tx pgx.Tx) error {
			if len(found.Reservations) > 0 {
				var lines pgx.Batch
				for id, r := range found.Reservations {
					queueLines(&lines, id, func(l ticket.LineItem) {
						r.Items = append(r.Items, l)
						found.Reservations[id] = r
					})
				}
				if err := tx.SendBatch(ctx, &lines).Close(); err != nil {
					return err
				}
			}
			for i, q := range requests {
				answers[i].Reservation, answers[i].Err = found.Reserve(q)
			}
			if len(found.Created) == 0 {
				return errNothingHeld
			}
			return holdTx(ctx, tx, found.Created)
		})
		if errors.Is(err, errNothingHeld) {
			return answers, nil
		}
		// A release or a reserve of other types may have taken an id since we looked: now it can be seen.
		if !postgres.Violates(err, "reservations_pkey") {
			break
		}
	}
	return answers, err
}

// queueInventory queues what reads an inventory, but for the lines of reservations, and locks its types.
func queueInventory(b *pgx.Batch, to *ticket.Inventory, types, events, reservations []uuid.UUID) {
	// The types first: what is read after them is what was committed by whoever had the locks before.
	b.Queue(`SELECT `+typeColumns+`, now() FROM ticket_types WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, types).
		Query(func(rows pgx.Rows) error {
			var t ticket.Type
			_, err := pgx.ForEachRow(rows, append(typeFields(&t), &to.Now), func() error {
				found := t
				to.Types[t.ID] = &found
				return nil
			})
			if err != nil {
				return fmt.Errorf("lock ticket types: %w", err)
			}
			return nil
		})
	b.Queue(`SELECT id, status FROM events WHERE id = ANY($1)`, events).Query(func(rows pgx.Rows) error {
		var id uuid.UUID
		var status ticket.EventStatus
		_, err := pgx.ForEachRow(rows, []any{&id, &status}, func() error {
			to.Events[id] = status
			return nil
		})
		if err != nil {
			return fmt.Errorf("events' status: %w", err)
		}
		return nil
	})
	b.Queue(`SELECT `+reservationColumns+` FROM reservations WHERE id = ANY($1)`, reservations).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			r, err := scanReservation(rows)
			if err != nil {
				return fmt.Errorf("reservations that there are: %w", err)
			}
			to.Reservations[r.ID] = r
		}
		return nil
	})
}

// holdTx stores reservations, and takes their tickets out of what is available of types that are locked.
func holdTx(ctx context.Context, tx pgx.Tx, made []ticket.Reservation) error {
	var ids, users, events, lineOf, types []uuid.UUID
	var ends []time.Time
	var quantities []int
	var prices []int64
	var currencies []money.Currency
	taken := map[uuid.UUID]int{}
	// In one order, in which those who have the same ids at the same time do not lock each other out.
	slices.SortFunc(made, func(a, b ticket.Reservation) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, r := range made {
		ids, users, events, ends = append(ids, r.ID), append(users, r.UserID), append(events, r.EventID), append(ends, r.ExpiresAt)
		for _, l := range r.Items {
			lineOf, types, quantities = append(lineOf, r.ID), append(types, l.TypeID), append(quantities, l.Quantity)
			prices, currencies = append(prices, l.UnitPrice.Minor), append(currencies, l.UnitPrice.Currency)
			taken[l.TypeID] += l.Quantity
		}
	}
	var b pgx.Batch
	b.Queue(`
		INSERT INTO reservations (id, user_id, event_id, expires_at, status)
		SELECT *, 'ACTIVE' FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[])`, ids, users, events, ends)
	b.Queue(`
		INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::bigint[], $5::text[])`,
		lineOf, types, quantities, prices, currencies)
	for id, n := range taken {
		queueCount(&b, id, n, 0)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("hold tickets: %w", err)
	}
	return nil
}

// reservationColumns are those that scanReservation reads, in its order.
const reservationColumns = `id, user_id, event_id, status, expires_at`

// scanReservation reads a reservation without its lines, and further columns.
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

// queueLines queues what reads the lines of a reservation in their order.
func queueLines(b *pgx.Batch, reservationID uuid.UUID, read func(ticket.LineItem)) {
	b.Queue(`
		SELECT ticket_type_id, quantity, unit_price_minor, currency
		FROM reservation_lines WHERE reservation_id = $1 ORDER BY ticket_type_id`, reservationID).Query(func(rows pgx.Rows) error {
		var l ticket.LineItem
		_, err := pgx.ForEachRow(rows, lineFields(&l), func() error {
			read(l)
			return nil
		})
		if err != nil {
			return fmt.Errorf("lines of reservation %s: %w", reservationID, err)
		}
		return nil
	})
}

func lineFields(l *ticket.LineItem) []any {
	return []any{&l.TypeID, &l.Quantity, &l.UnitPrice.Minor, &l.UnitPrice.Currency}
}

// Release gives a reservation's tickets back and tells how many they were. Released or expired already,
// it says the same again; unknown, it leaves a tombstone, so that a reserve that comes late is refused.
// It returns ticket.ErrReservationCompleted for one that was bought.
func (s Store) Release(ctx context.Context, id uuid.UUID, reason string) (int, error) {
	var r *ticket.Reservation
	err := postgres.InTxAfter(ctx, s.Pool, func(first *pgx.Batch) { r = queueBury(first, id, reason) }, func(tx pgx.Tx) error {
		return releaseTx(ctx, tx, r, reason)
	})
	if err != nil {
		return 0, err
	}
	return ticket.Quantity(r.Items), nil
}

// ReleaseFailed is PAYMENT_FAILED's effect, once per message: Release, unless the reservation was bought
// in spite of it, which a failed payment must not undo.
func (s Store) ReleaseFailed(ctx context.Context, messageID uuid.UUID, failed events.PaymentFailed) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, messageID, failed.Type()); err != nil || !first {
			return err
		}
		var batch pgx.Batch
		r := queueBury(&batch, failed.ReservationID, failed.FailureReason)
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

// queueBury queues what locks and reads a reservation, which is a tombstone if there was none.
func queueBury(b *pgx.Batch, id uuid.UUID, reason string) *ticket.Reservation {
	r := &ticket.Reservation{}
	b.Queue(`
		INSERT INTO reservations (id, status, reason, ended_at) VALUES ($1, 'CANCELLED', $2, now())
		ON CONFLICT (id) DO NOTHING`, id, reason)
	b.Queue(`SELECT `+reservationColumns+` FROM reservations WHERE id = $1 FOR UPDATE`, id).Query(func(rows pgx.Rows) (err error) {
		for rows.Next() && err == nil {
			*r, err = scanReservation(rows)
		}
		return err
	})
	queueLines(b, id, func(l ticket.LineItem) { r.Items = append(r.Items, l) })
	return r
}

// releaseTx gives a locked reservation's tickets back, if it has any still.
func releaseTx(ctx context.Context, tx pgx.Tx, r *ticket.Reservation, reason string) error {
	switch r.Status {
	case ticket.ReservationCompleted:
		return ticket.ErrReservationCompleted
	case ticket.ReservationCancelled, ticket.ReservationExpired:
		return nil
	case ticket.ReservationActive:
	}
	var batch pgx.Batch
	for _, l := range r.Items {
		queueCount(&batch, l.TypeID, -l.Quantity, 0)
	}
	batch.Queue(`UPDATE reservations SET status = 'CANCELLED', reason = $2, ended_at = now() WHERE id = $1`, r.ID, reason)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("release %s: %w", r.ID, err)
	}
	return nil
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
	// An array, since a join with a list that may be as long as the limit seems to be worth a look at all reservations.
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
			WHERE reservation_id = ANY($1) GROUP BY ticket_type_id ORDER BY ticket_type_id`, ids)
		if err != nil {
			return fmt.Errorf("sum ended lines: %w", err)
		}
		var batch pgx.Batch
		var typeID uuid.UUID
		var quantity int
		if _, err := pgx.ForEachRow(rows, []any{&typeID, &quantity}, func() error {
			queueCount(&batch, typeID, -quantity, 0)
			return nil
		}); err != nil {
			return fmt.Errorf("sum ended lines: %w", err)
		}
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("give back the tickets of ended reservations: %w", err)
		}
		return nil
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

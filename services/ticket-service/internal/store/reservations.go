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
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Reserve holds tickets for each of the requests that can have them: the requests are judged in their order, see
// ticket.Inventory, and share a transaction. There is an answer for each of them, in the same order; with an error none is
// known to hold anything, but may, and the same requests can be sent again, together or alone.
//
// Before somebody hears that too few tickets are left, what expired holds still keep is given back, in a transaction of its
// own, and whoever found too few is judged again.
func (s Store) Reserve(ctx context.Context, requests []ticket.Request) ([]ticket.Answer, error) {
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

// reserveAttempts bounds how often reserve begins again because somebody was faster with an id.
const reserveAttempts = 3

func (s Store) reserve(ctx context.Context, requests []ticket.Request) ([]ticket.Answer, error) {
	var types, events, ids []uuid.UUID
	for _, q := range requests {
		ids = append(ids, q.ReservationID)
		events = append(events, q.EventID)
		for _, l := range q.Lines {
			types = append(types, l.TypeID)
		}
	}
	answers := make([]ticket.Answer, len(requests))
	var err error
	for range reserveAttempts {
		var found ticket.Inventory
		err = postgres.InTxAfter(ctx, s.Pool, func(first *pgx.Batch) {
			found = ticket.Inventory{
				Events: map[uuid.UUID]ticket.EventStatus{}, Types: map[uuid.UUID]*ticket.Type{}, Reservations: map[uuid.UUID]ticket.Reservation{},
			}
			queueInventory(first, &found, types, events, ids)
		}, func(tx pgx.Tx) error {
			for i, q := range requests {
				answers[i].Reservation, answers[i].Err = found.Reserve(q)
			}
			if len(found.Made) == 0 {
				return nil
			}
			return holdTx(ctx, tx, found.Made)
		})
		// A release or a reserve of other types may have taken an id since we looked: now it can be seen.
		if !postgres.Violates(err, "reservations_pkey") {
			break
		}
	}
	return answers, err
}

// queueInventory queues what reads an inventory and locks its types.
func queueInventory(b *pgx.Batch, to *ticket.Inventory, types, events, reservations []uuid.UUID) {
	// The types first: what is read after them is what was committed by whoever had the locks before.
	b.Queue(`SELECT `+typeColumns+` FROM ticket_types WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, types).
		Query(func(rows pgx.Rows) error {
			found, err := pgx.CollectRows(rows, scanType)
			if err != nil {
				return fmt.Errorf("lock ticket types: %w", err)
			}
			for _, t := range found {
				to.Types[t.ID] = &t
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
	b.Queue(selectReservations+`WHERE r.id = ANY($1) ORDER BY r.id, l.ticket_type_id`, reservations).Query(func(rows pgx.Rows) error {
		found, err := collectReservations(rows, nil)
		for _, r := range found {
			to.Reservations[r.ID] = r
		}
		return err
	})
	b.Queue(`SELECT now()`).QueryRow(func(row pgx.Row) error { return row.Scan(&to.Now) })
}

// holdTx stores reservations, and takes their tickets out of what is available of types that are locked.
func holdTx(ctx context.Context, tx pgx.Tx, made []ticket.Reservation) error {
	slices.SortFunc(made, func(a, b ticket.Reservation) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	var reservations, users, events, lineOf, types []uuid.UUID
	var ends []time.Time
	var quantities []int
	var prices []int64
	var currencies []string
	for _, r := range made {
		reservations, users, events, ends = append(reservations, r.ID), append(users, r.UserID), append(events, r.EventID), append(ends, r.ExpiresAt)
		for _, l := range r.Lines {
			lineOf, types, quantities = append(lineOf, r.ID), append(types, l.TypeID), append(quantities, l.Quantity)
			prices, currencies = append(prices, l.UnitPrice.Minor), append(currencies, string(l.UnitPrice.Currency))
		}
	}
	_, err := tx.Exec(ctx, `
		WITH made AS (
			INSERT INTO reservations (id, user_id, event_id, status, expires_at)
			SELECT id, user_id, event_id, 'ACTIVE', expires_at
			FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[]) AS r (id, user_id, event_id, expires_at)),
		lines AS (
			INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
			SELECT * FROM unnest($5::uuid[], $6::uuid[], $7::integer[], $8::bigint[], $9::text[]))
		UPDATE ticket_types t SET held = t.held + taken.quantity
		FROM (SELECT id, sum(quantity) AS quantity FROM unnest($6::uuid[], $7::integer[]) AS l (id, quantity) GROUP BY id) taken
		WHERE t.id = taken.id`, reservations, users, events, ends, lineOf, types, quantities, prices, currencies)
	if err != nil {
		return fmt.Errorf("hold tickets: %w", err)
	}
	return nil
}

// selectReservations gives a row for each line of a reservation, and one for a tombstone, as collectReservations reads them.
const selectReservations = `
	SELECT r.id, r.user_id, r.event_id, r.status, r.expires_at, l.ticket_type_id, l.quantity, l.unit_price_minor, l.currency
	FROM reservations r LEFT JOIN reservation_lines l ON l.reservation_id = r.id `

func collectReservations(rows pgx.Rows, err error) ([]ticket.Reservation, error) {
	if err != nil {
		return nil, fmt.Errorf("reservations: %w", err)
	}
	var found []ticket.Reservation
	var id uuid.UUID
	var userID, eventID, typeID uuid.NullUUID
	var status ticket.ReservationStatus
	var expiresAt *time.Time
	var quantity *int
	var price *int64
	var currency *money.Currency
	_, err = pgx.ForEachRow(rows, []any{&id, &userID, &eventID, &status, &expiresAt, &typeID, &quantity, &price, &currency}, func() error {
		if len(found) == 0 || found[len(found)-1].ID != id {
			r := ticket.Reservation{ID: id, UserID: userID.UUID, EventID: eventID.UUID, Status: status}
			if expiresAt != nil {
				r.ExpiresAt = *expiresAt
			}
			found = append(found, r)
		}
		if typeID.Valid {
			r := &found[len(found)-1]
			r.Lines = append(r.Lines, ticket.Line{TypeID: typeID.UUID, Quantity: *quantity, UnitPrice: money.Amount{Minor: *price, Currency: *currency}})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reservations: %w", err)
	}
	return found, nil
}

// lockReservationTx gives the reservation, locked until the transaction ends. It returns
// ticket.ErrReservationNotFound.
func lockReservationTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (ticket.Reservation, error) {
	rows, err := tx.Query(ctx, selectReservations+`WHERE r.id = $1 ORDER BY l.ticket_type_id FOR UPDATE OF r`, id)
	found, err := collectReservations(rows, err)
	switch {
	case err != nil:
		return ticket.Reservation{}, err
	case len(found) == 0:
		return ticket.Reservation{}, ticket.ErrReservationNotFound
	}
	return found[0], nil
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

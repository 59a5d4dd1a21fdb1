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

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Reserve holds tickets for each request that can have them, in one transaction. The requests are checked in their
// order; see ticket.Inventory. It returns a result for each request, in the same order. After an error some requests
// may hold tickets; all of them can be repeated, together or one by one.
//
// Before a request is refused for a lack of tickets or for the limit per person, Reserve ends due reservations in a
// transaction of their own, and checks the refused requests again in another one.
func (s *Store) Reserve(ctx context.Context, requests []ticket.Request) ([]ticket.Result, error) {
	results, err := s.reserve(ctx, requests)
	if err != nil {
		return nil, err
	}
	var short []int // indexes of requests that due reservations may have prevented
	for i, r := range results {
		if errors.Is(r.Err, ticket.ErrInsufficientInventory) || errors.Is(r.Err, ticket.ErrPersonLimit) {
			short = append(short, i)
		}
	}
	if len(short) == 0 {
		return results, nil
	}
	expired, err := s.ExpireDue(ctx, expireBatch)
	if err != nil {
		return nil, err
	}
	if expired == 0 {
		return results, nil
	}
	again := make([]ticket.Request, len(short))
	for n, i := range short {
		again[n] = requests[i]
	}
	second, err := s.reserve(ctx, again)
	if err != nil {
		return nil, err
	}
	for n, i := range short {
		results[i] = second[n]
	}
	return results, nil
}

// errNothingHeld rolls back a transaction that has only read: committing its row locks would wait for the disk.
var errNothingHeld = errors.New("no tickets are held")

// reserveAttempts bounds how often reserve starts again because another transaction inserted one of its ids.
const reserveAttempts = 3

// reserve is one attempt of Reserve.
func (s *Store) reserve(ctx context.Context, requests []ticket.Request) ([]ticket.Result, error) {
	var typeIDs, eventIDs, ids []uuid.UUID
	for _, q := range requests {
		ids = append(ids, q.ReservationID)
		eventIDs = append(eventIDs, q.EventID)
		for _, item := range q.Items {
			typeIDs = append(typeIDs, item.TypeID)
		}
	}
	results := make([]ticket.Result, len(requests))
	var err error
	for range reserveAttempts {
		var inventory ticket.Inventory
		err = postgres.InTxAfter(ctx, s.pool, func(first *pgx.Batch) {
			inventory = ticket.Inventory{
				Events: map[uuid.UUID]ticket.Event{}, Types: map[uuid.UUID]*ticket.Type{},
				Reservations: map[uuid.UUID]ticket.Reservation{}, Taken: map[ticket.Buyer]int{},
			}
			queueInventory(first, &inventory, typeIDs, eventIDs, ids)
		}, func(tx pgx.Tx) error {
			if err := readItemsTx(ctx, tx, inventory.Reservations); err != nil {
				return err
			}
			if err := readTakenTx(ctx, tx, &inventory, requests); err != nil {
				return err
			}
			for i, q := range requests {
				results[i].Reservation, results[i].Err = inventory.Reserve(q)
			}
			if len(inventory.Created) == 0 {
				return errNothingHeld
			}
			return holdTx(ctx, tx, inventory.Created)
		})
		if errors.Is(err, errNothingHeld) {
			return results, nil
		}
		// A release, or a reserve of other types, has inserted one of the ids since the inventory was read. The next
		// attempt sees it.
		if !postgres.Violates(err, "reservations_pkey") {
			break
		}
	}
	return results, err
}

// readItemsTx fills in the items of the reservations.
func readItemsTx(ctx context.Context, tx pgx.Tx, reservations map[uuid.UUID]ticket.Reservation) error {
	if len(reservations) == 0 {
		return nil
	}
	var batch pgx.Batch
	for id, r := range reservations {
		queueItems(&batch, id, func(item ticket.LineItem) {
			r.Items = append(r.Items, item)
			reservations[id] = r
		})
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// readTakenTx fills in how many tickets of the types with a limit per person the buyers have taken, if the requests are
// for any such type. The types must be locked: only the holder of the lock changes what counts, except for releases,
// which only lower it.
func readTakenTx(ctx context.Context, tx pgx.Tx, to *ticket.Inventory, requests []ticket.Request) error {
	var userIDs, eventIDs, typeIDs []uuid.UUID
	for _, q := range requests {
		for _, item := range q.Items {
			t, known := to.Types[item.TypeID]
			buyer := ticket.Buyer{UserID: q.UserID, TypeID: item.TypeID}
			if _, asked := to.Taken[buyer]; asked || !known || t.MaxPerPerson == nil {
				continue
			}
			to.Taken[buyer] = 0
			userIDs, eventIDs, typeIDs = append(userIDs, q.UserID), append(eventIDs, t.EventID), append(typeIDs, t.ID)
		}
	}
	if len(typeIDs) == 0 {
		return nil
	}
	// Subqueries and not joins, so that each buyer costs two index scans, whatever the planner knows about the tables.
	rows, err := tx.Query(ctx, `
		SELECT user_id, type_id, (
			SELECT coalesce(sum(l.quantity), 0)
			FROM reservations r JOIN reservation_lines l ON l.reservation_id = r.id
			WHERE r.event_id = buyer.event_id AND r.user_id = buyer.user_id AND r.status = 'ACTIVE'
			  AND l.ticket_type_id = buyer.type_id
		) + (
			SELECT count(*)
			FROM reservations r JOIN tickets k ON k.reservation_id = r.id
			WHERE r.event_id = buyer.event_id AND r.user_id = buyer.user_id AND r.status = 'COMPLETED'
			  AND k.ticket_type_id = buyer.type_id AND k.status <> 'CANCELLED')
		FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS buyer (user_id, event_id, type_id)`,
		userIDs, eventIDs, typeIDs)
	if err != nil {
		return fmt.Errorf("count tickets of buyers: %w", err)
	}
	var buyer ticket.Buyer
	var taken int
	if _, err := pgx.ForEachRow(rows, []any{&buyer.UserID, &buyer.TypeID, &taken}, func() error {
		to.Taken[buyer] = taken
		return nil
	}); err != nil {
		return fmt.Errorf("count tickets of buyers: %w", err)
	}
	return nil
}

// queueInventory queues the statements that lock the types of an inventory and read everything in it except the items
// of reservations.
func queueInventory(b *pgx.Batch, to *ticket.Inventory, typeIDs, eventIDs, reservationIDs []uuid.UUID) {
	// The types first: the statements after this one then see what the previous holders of the locks have committed.
	b.Queue(`
		SELECT `+typeColumns+`, now() FROM ticket_types WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`,
		typeIDs).Query(func(rows pgx.Rows) error {
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
	b.Queue(`
		SELECT id, status, event_date, end_date FROM events WHERE id = ANY($1)`,
		eventIDs).Query(func(rows pgx.Rows) error {
		var e ticket.Event
		_, err := pgx.ForEachRow(rows, []any{&e.ID, &e.Status, &e.Date, &e.EndDate}, func() error {
			to.Events[e.ID] = e
			return nil
		})
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		return nil
	})
	b.Queue(`
		SELECT `+reservationColumns+` FROM reservations WHERE id = ANY($1)`,
		reservationIDs).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			r, err := scanReservation(rows)
			if err != nil {
				return fmt.Errorf("read existing reservations: %w", err)
			}
			to.Reservations[r.ID] = r
		}
		return nil
	})
}

// holdTx inserts reservations and adds their tickets to the held ones of their types, which must be locked.
func holdTx(ctx context.Context, tx pgx.Tx, created []ticket.Reservation) error {
	var ids, userIDs, eventIDs, itemOf, typeIDs []uuid.UUID
	var expiries []time.Time
	var quantities []int
	var prices []int64
	var currencies []money.Currency
	held := map[uuid.UUID]int{}
	// In the order of their ids, so that transactions that insert the same ids at the same time do not deadlock.
	slices.SortFunc(created, func(a, b ticket.Reservation) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, r := range created {
		ids, userIDs, eventIDs = append(ids, r.ID), append(userIDs, r.UserID), append(eventIDs, r.EventID)
		expiries = append(expiries, r.ExpiresAt)
		for _, item := range r.Items {
			itemOf, typeIDs = append(itemOf, r.ID), append(typeIDs, item.TypeID)
			quantities = append(quantities, item.Quantity)
			prices, currencies = append(prices, item.UnitPrice.Minor), append(currencies, item.UnitPrice.Currency)
			held[item.TypeID] += item.Quantity
		}
	}
	var b pgx.Batch
	b.Queue(`
		INSERT INTO reservations (id, user_id, event_id, expires_at, status)
		SELECT *, 'ACTIVE' FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[])`,
		ids, userIDs, eventIDs, expiries)
	b.Queue(`
		INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::bigint[], $5::text[])`,
		itemOf, typeIDs, quantities, prices, currencies)
	for id, n := range held {
		queueInventoryChange(&b, id, n, 0)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("hold tickets: %w", err)
	}
	return nil
}

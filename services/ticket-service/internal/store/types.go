package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// CreateType adds a ticket type to a stored event and returns it as stored. It returns ticket.ErrEventNotFound,
// ErrEventCancelled, ErrTooManyTypes, ErrTypeExists, ErrCurrencyMixed or ErrSalesEndPast.
func (s *Store) CreateType(ctx context.Context, t ticket.Type) (ticket.Type, error) {
	var created ticket.Type
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// The lock of the event's row serializes concurrent creations, so that each sees the other's type.
		var status ticket.EventStatus
		err := tx.QueryRow(ctx, `SELECT status FROM events WHERE id = $1 FOR UPDATE`, t.EventID).Scan(&status)
		if errors.Is(err, pgx.ErrNoRows) {
			return ticket.ErrEventNotFound
		}
		if err != nil {
			return fmt.Errorf("lock event: %w", err)
		}
		if status == ticket.EventCancelled {
			return ticket.ErrEventCancelled
		}
		var types int
		var mixed, ended bool
		if err := tx.QueryRow(ctx, `
			SELECT count(*), coalesce(bool_or(currency <> $2), false), coalesce($3::timestamptz <= now(), false)
			FROM ticket_types WHERE event_id = $1`,
			t.EventID, t.Price.Currency, t.SalesEnd).Scan(&types, &mixed, &ended); err != nil {
			return fmt.Errorf("check ticket type: %w", err)
		}
		if types >= ticket.MaxTypes {
			return ticket.ErrTooManyTypes
		}
		if mixed {
			return ticket.ErrCurrencyMixed
		}
		if ended {
			return ticket.ErrSalesEndPast
		}
		rows, err := tx.Query(ctx, `
			INSERT INTO ticket_types
				(id, event_id, name, price_minor, currency, capacity, sales_start, sales_end, max_per_order,
				 max_per_person)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			RETURNING `+typeColumns,
			t.ID, t.EventID, t.Name, t.Price.Minor, t.Price.Currency, t.Capacity,
			t.SalesStart, t.SalesEnd, t.MaxPerOrder, t.MaxPerPerson)
		created, err = storedType(rows, err)
		return err
	})
	return created, err
}

// ChangeType replaces a ticket type by the result of change and returns it as stored. change receives the type while
// its row is locked, may be called more than once, and its error is returned. The other errors are
// ticket.ErrTypeNotFound, ErrTypeExists, and ErrCapacityBelowSold for a capacity below the tickets sold and held.
func (s *Store) ChangeType(
	ctx context.Context, id uuid.UUID, change func(ticket.Type) (ticket.Type, error),
) (ticket.Type, error) {
	var changed ticket.Type
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+typeColumns+` FROM ticket_types WHERE id = $1 FOR UPDATE`, id)
		before, err := storedType(rows, err)
		if err != nil {
			return err
		}
		after, err := change(before)
		if err != nil {
			return err
		}
		if after.Available() < 0 {
			return ticket.ErrCapacityBelowSold
		}
		rows, err = tx.Query(ctx, `
			UPDATE ticket_types
			SET name = $2, price_minor = $3, capacity = $4, sales_start = $5, sales_end = $6, max_per_order = $7,
			    max_per_person = $8, terms_since = clock_timestamp()
			WHERE id = $1
			RETURNING `+typeColumns,
			id, after.Name, after.Price.Minor, after.Capacity, after.SalesStart, after.SalesEnd, after.MaxPerOrder,
			after.MaxPerPerson)
		changed, err = storedType(rows, err)
		return err
	})
	return changed, err
}

// typeColumns are the columns of typeFields, in the same order.
const typeColumns = `id, event_id, name, price_minor, currency, capacity, sold, held,
	sales_start, sales_end, max_per_order, max_per_person`

func scanType(row pgx.CollectableRow) (ticket.Type, error) {
	var t ticket.Type
	err := row.Scan(typeFields(&t)...)
	return t, err
}

func typeFields(t *ticket.Type) []any {
	return []any{
		&t.ID, &t.EventID, &t.Name, &t.Price.Minor, &t.Price.Currency, &t.Capacity, &t.Sold, &t.Held,
		&t.SalesStart, &t.SalesEnd, &t.MaxPerOrder, &t.MaxPerPerson,
	}
}

// storedType returns the single type of a statement's result. It returns ticket.ErrTypeNotFound or ErrTypeExists.
func storedType(rows pgx.Rows, err error) (ticket.Type, error) {
	if err != nil {
		return ticket.Type{}, fmt.Errorf("ticket type: %w", err)
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanType)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return t, ticket.ErrTypeNotFound
	case postgres.Violates(err, "ticket_types_name"):
		return t, ticket.ErrTypeExists.Because(err)
	case err != nil:
		return t, fmt.Errorf("ticket type: %w", err)
	}
	return t, nil
}

// Type returns a ticket type. It returns ticket.ErrTypeNotFound.
func (s *Store) Type(ctx context.Context, id uuid.UUID) (ticket.Type, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+typeColumns+` FROM ticket_types WHERE id = $1`, id)
	return storedType(rows, err)
}

// Types returns an event's ticket types in the order of their creation.
func (s *Store) Types(ctx context.Context, eventID uuid.UUID) ([]ticket.Type, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+typeColumns+` FROM ticket_types WHERE event_id = $1 ORDER BY created_at, id`, eventID)
	if err != nil {
		return nil, fmt.Errorf("ticket types: %w", err)
	}
	types, err := pgx.CollectRows(rows, scanType)
	if err != nil {
		return nil, fmt.Errorf("ticket types: %w", err)
	}
	return types, nil
}

// TicketCount returns the number of sold tickets of an event, cancelled ones excluded; 0 for an unknown event.
func (s *Store) TicketCount(ctx context.Context, eventID uuid.UUID) (int, error) {
	var n int
	if err := s.pool.QueryRow(ctx, `
		SELECT coalesce(sum(sold), 0) FROM ticket_types WHERE event_id = $1`, eventID).Scan(&n); err != nil {
		return 0, fmt.Errorf("count tickets of event %s: %w", eventID, err)
	}
	return n, nil
}

// queueInventoryChange queues an update that adds to a type's held and sold tickets.
func queueInventoryChange(b *pgx.Batch, typeID uuid.UUID, held, sold int) {
	b.Queue(`UPDATE ticket_types SET held = held + $2, sold = sold + $3 WHERE id = $1`, typeID, held, sold)
}

// Package store keeps the events and sales figures of analytics-service in PostgreSQL. Each exported method is one
// transaction.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the migrations that create this service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "analytics_service_version")
}

// Store is the database of analytics-service. Its methods may be called concurrently.
type Store struct{ pool *pgxpool.Pool }

// New returns a Store on the pool's database, which must have the tables of Migrations.
func New(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Message identifies the message that a method processes. A message that was processed before has no effect.
type Message struct {
	ID   uuid.UUID
	Type string
	// Fact is the id of what the message reports, such as the order that was paid. It is set for messages whose
	// publisher may report the same fact again with another message id. Each type counts a fact once.
	Fact uuid.UUID
}

// Put stores e, unless a version of the event that is as new or newer is stored. It is atomic with the record of m.
func (s *Store) Put(ctx context.Context, m Message, e sales.Event) error {
	return s.once(ctx, m, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO events AS e (id, organizer_id, name, status, updated_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET organizer_id = $2, name = $3, status = $4, updated_at = $5
			WHERE e.updated_at < $5`,
			e.ID, e.OrganizerID, e.Name, e.Status, e.UpdatedAt)
		if err != nil {
			return fmt.Errorf("put event %s: %w", e.ID, err)
		}
		return nil
	})
}

// Add adds c to the figures of its event, which Put need not have stored yet. It is atomic with the record of m. It
// returns sales.ErrCurrency if the event has sales in another currency, and then adds nothing.
func (s *Store) Add(ctx context.Context, m Message, c sales.Change) error {
	return s.once(ctx, m, func(tx pgx.Tx) error {
		// In one round trip, because the row of the event is locked from the first statement to the commit.
		var batch pgx.Batch
		batch.Queue(`
			INSERT INTO event_sales AS s (event_id, currency, orders_completed, orders_failed, tickets_generated,
				tickets_cancelled, refunds, refunded_minor, disputes, disputed_minor)
			VALUES ($1, nullif($2, ''), $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (event_id) DO UPDATE SET
				currency          = coalesce(s.currency, excluded.currency),
				orders_completed  = s.orders_completed + excluded.orders_completed,
				orders_failed     = s.orders_failed + excluded.orders_failed,
				tickets_generated = s.tickets_generated + excluded.tickets_generated,
				tickets_cancelled = s.tickets_cancelled + excluded.tickets_cancelled,
				refunds           = s.refunds + excluded.refunds,
				refunded_minor    = s.refunded_minor + excluded.refunded_minor,
				disputes          = s.disputes + excluded.disputes,
				disputed_minor    = s.disputed_minor + excluded.disputed_minor
			WHERE s.currency IS NULL OR excluded.currency IS NULL OR s.currency = excluded.currency`,
			c.EventID, c.Currency, c.OrdersCompleted, c.OrdersFailed, c.TicketsGenerated, c.TicketsCancelled,
			c.Refunds, c.Refunded, c.Disputes, c.Disputed).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() == 0 {
				return sales.ErrCurrency
			}
			return nil
		})
		for _, t := range c.ByTicketType {
			batch.Queue(`
				INSERT INTO ticket_type_sales AS s
					(event_id, ticket_type_id, tickets, revenue_minor, checked_in, refunded)
				VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (event_id, ticket_type_id) DO UPDATE SET
					tickets       = s.tickets + excluded.tickets,
					revenue_minor = s.revenue_minor + excluded.revenue_minor,
					checked_in    = s.checked_in + excluded.checked_in,
					refunded      = s.refunded + excluded.refunded`,
				c.EventID, t.TicketTypeID, t.Tickets, t.Revenue, t.CheckedIn, t.Refunded)
		}
		if !c.At.IsZero() {
			h := c.Hour()
			batch.Queue(`
				INSERT INTO hourly_sales AS s (event_id, hour, tickets, revenue_minor, checked_in)
				VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (event_id, hour) DO UPDATE SET
					tickets       = s.tickets + excluded.tickets,
					revenue_minor = s.revenue_minor + excluded.revenue_minor,
					checked_in    = s.checked_in + excluded.checked_in`,
				c.EventID, h.Hour, h.Tickets, h.Revenue, h.CheckedIn)
		}
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("add to the sales of event %s: %w", c.EventID, err)
		}
		return nil
	})
}

// once records m and runs effect in one transaction. It does nothing if m, or the fact that m reports, was recorded
// before.
func (s *Store) once(ctx context.Context, m Message, effect func(pgx.Tx) error) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if first, err := inbox.FirstTx(ctx, tx, m.ID, m.Type); err != nil || !first {
			return err
		}
		if m.Fact != uuid.Nil {
			fact := uuid.NewSHA1(m.Fact, []byte(m.Type))
			if first, err := inbox.FirstTx(ctx, tx, fact, m.Type); err != nil || !first {
				return err
			}
		}
		return effect(tx)
	})
}

// Report returns the figures of an event from one snapshot. It returns sales.ErrNotFound for an event that Put has not
// stored, even if Add has stored figures of it: nothing shows yet who may see them.
func (s *Store) Report(ctx context.Context, eventID uuid.UUID) (sales.Report, error) {
	r := sales.Report{Event: sales.Event{ID: eventID}}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.pool, snapshot, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `
			SELECT e.organizer_id, e.name, e.status, e.updated_at, coalesce(s.currency, ''),
			       coalesce(s.orders_completed, 0), coalesce(s.orders_failed, 0),
			       coalesce(s.tickets_generated, 0), coalesce(s.tickets_cancelled, 0),
			       coalesce(s.refunds, 0), coalesce(s.refunded_minor, 0),
			       coalesce(s.disputes, 0), greatest(coalesce(s.disputed_minor, 0), 0)
			FROM events e LEFT JOIN event_sales s ON s.event_id = e.id
			WHERE e.id = $1`, eventID).
			Scan(&r.Event.OrganizerID, &r.Event.Name, &r.Event.Status, &r.Event.UpdatedAt, &r.Currency,
				&r.OrdersCompleted, &r.OrdersFailed, &r.TicketsGenerated, &r.TicketsCancelled,
				&r.Refunds, &r.Refunded, &r.Disputes, &r.Disputed); err != nil {
			return err
		}
		// checked_in is negative while the check-in of one that was undone is still in transit.
		rows, err := tx.Query(ctx, `
			SELECT ticket_type_id, tickets, revenue_minor, greatest(checked_in, 0), refunded FROM ticket_type_sales
			WHERE event_id = $1 ORDER BY ticket_type_id`, eventID)
		if err != nil {
			return err
		}
		if r.ByTicketType, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sales.TypeSales]); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `
			SELECT hour, tickets, revenue_minor, checked_in FROM (
				SELECT hour, tickets, revenue_minor, greatest(checked_in, 0) AS checked_in FROM hourly_sales
				WHERE event_id = $1 AND (tickets <> 0 OR revenue_minor <> 0 OR checked_in > 0)
				ORDER BY hour DESC LIMIT $2) latest
			ORDER BY hour`, eventID, sales.MaxHours)
		if err != nil {
			return err
		}
		r.ByHour, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sales.HourSales])
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return sales.Report{}, sales.ErrNotFound
	}
	if err != nil {
		return sales.Report{}, fmt.Errorf("sales of event %s: %w", eventID, err)
	}
	return r, nil
}

// Totals returns a page of the organizer's events, the one stored last first, and one entry more if there is a next
// page.
func (s *Store) Totals(ctx context.Context, organizerID uuid.UUID, page paging.Page) ([]sales.Totals, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT e.id, e.name, e.status, e.known_since, coalesce(s.currency, ''), t.tickets, t.revenue,
		       coalesce(s.refunded_minor, 0), t.checked_in
		FROM events e
		LEFT JOIN event_sales s ON s.event_id = e.id
		CROSS JOIN LATERAL (
			SELECT coalesce(sum(tickets), 0)::bigint AS tickets, coalesce(sum(revenue_minor), 0)::bigint AS revenue,
			       coalesce(sum(greatest(checked_in, 0)), 0)::bigint AS checked_in
			FROM ticket_type_sales WHERE event_id = e.id) t
		WHERE e.organizer_id = $1 AND (e.known_since, e.id) < (coalesce($2::timestamptz, 'infinity'), $3)
		ORDER BY e.known_since DESC, e.id DESC LIMIT $4::integer + 1`,
		organizerID, page.After, page.AfterID, page.Limit)
	if err != nil {
		return nil, fmt.Errorf("totals of organizer %s: %w", organizerID, err)
	}
	totals, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sales.Totals])
	if err != nil {
		return nil, fmt.Errorf("totals of organizer %s: %w", organizerID, err)
	}
	return totals, nil
}

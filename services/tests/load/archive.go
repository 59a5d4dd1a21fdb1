package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const ticketsPerEvent = 10_000

// fill writes sold tickets, those of the owners first. It drops indexes and constraints before and creates them
// afterwards, which takes minutes instead of hours.
func (a *archive) fill(ctx context.Context, tickets int) error {
	ids := make([]uuid.UUID, len(a.owners))
	for i, p := range a.owners {
		ids[i] = p.UserID
	}
	rebuild, err := a.dropIndexes(ctx,
		"events", "ticket_types", "reservations", "reservation_lines", "orders", "tickets")
	if err != nil {
		return err
	}
	events := max(1, tickets/ticketsPerEvent)
	orders := tickets / 2
	steps := []struct {
		sql  string
		args []any
	}{
		{
			`INSERT INTO events (id, organizer_id, name, event_date, venue_name, status)
			SELECT md5('event' || i)::uuid, md5('organizer' || i)::uuid, 'Festival ' || i,
				now() + (i - $1 / 2) * interval '1 hour', 'Stadium', 'PUBLISHED'
			FROM generate_series(0, $1::integer - 1) AS i`,
			[]any{events},
		},
		{
			`INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity, sold)
			SELECT md5('type' || i)::uuid, md5('event' || i / 4)::uuid, 'Block ' || i % 4, 4950, 'USD', $2, $2
			FROM generate_series(0, $1::integer * 4 - 1) AS i`,
			[]any{events, ticketsPerEvent},
		},
		// Consecutive orders are of different events. The first orders are those of the owners.
		{
			`INSERT INTO reservations (id, user_id, event_id, expires_at, status, order_id, created_at, ended_at)
			SELECT md5('reservation' || i)::uuid, coalesce(($3::uuid[])[i / $4 + 1], md5('user' || i / 4)::uuid),
				md5('event' || i % $2)::uuid, created + interval '15 minutes', 'COMPLETED', md5('order' || i)::uuid,
				created, created
			FROM generate_series(0, $1::integer - 1) AS i,
				LATERAL (SELECT now() - ($1 - i) * interval '10 seconds' AS created) AS c`,
			[]any{orders, events, ids, ticketsPerOwner / 2},
		},
		{
			`INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
			SELECT md5('reservation' || i)::uuid, md5('type' || i % $2 * 4 + i / $2 % 4)::uuid, 2, 4950, 'USD'
			FROM generate_series(0, $1::integer - 1) AS i`,
			[]any{orders, events},
		},
		{
			`INSERT INTO orders (id) SELECT md5('order' || i)::uuid FROM generate_series(0, $1::integer - 1) AS i`,
			[]any{orders},
		},
		{
			`INSERT INTO tickets (id, number, ticket_type_id, event_id, order_id, reservation_id, owner_id, holder_name,
				created_at)
			SELECT md5('ticket' || k)::uuid, 'TKT-2001-' || to_char(k, 'FM999999000000'),
				md5('type' || i % $2 * 4 + i / $2 % 4)::uuid, md5('event' || i % $2)::uuid, md5('order' || i)::uuid,
				md5('reservation' || i)::uuid, coalesce(($3::uuid[])[i / $4 + 1], md5('user' || i / 4)::uuid), 'Ben Ito',
				now() - ($1 - i) * interval '10 seconds'
			FROM generate_series(0, $1::integer * 2 - 1) AS k, LATERAL (SELECT k / 2 AS i) AS o`,
			[]any{orders, events, ids, ticketsPerOwner / 2},
		},
	}
	for _, s := range steps {
		if _, err := a.db.Exec(ctx, s.sql, s.args...); err != nil {
			return fmt.Errorf("%.40s: %w", s.sql, err)
		}
	}
	for _, sql := range append(rebuild, "VACUUM ANALYZE", "CHECKPOINT") {
		if _, err := a.db.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// dropIndexes drops the keys and indexes of tables. It returns the statements that create them again, in the order of
// their dependencies.
func (a *archive) dropIndexes(ctx context.Context, tables ...string) ([]string, error) {
	rows, err := a.db.Query(ctx, `
		SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
			format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)),
			CASE contype WHEN 'f' THEN 1 ELSE 3 END AS drop_order
		FROM pg_constraint
		WHERE contype IN ('p', 'u', 'f')
		    AND (conrelid = ANY($1::text[]::regclass[]) OR confrelid = ANY($1::text[]::regclass[]))
		UNION ALL
		SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid), 2
		FROM pg_index
		WHERE indrelid = ANY($1::text[]::regclass[])
		    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
		ORDER BY drop_order`, tables)
	if err != nil {
		return nil, fmt.Errorf("find keys and indexes: %w", err)
	}
	type statements struct {
		Drop, Create string
		Order        int
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[statements])
	if err != nil {
		return nil, fmt.Errorf("find keys and indexes: %w", err)
	}
	// Foreign keys are dropped first and created last.
	rebuild := make([]string, len(all))
	for i, s := range all {
		if _, err := a.db.Exec(ctx, s.Drop); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Drop, err)
		}
		rebuild[len(all)-1-i] = s.Create
	}
	return append([]string{"SET maintenance_work_mem = '1GB'"}, rebuild...), nil
}

// hold writes n holds of one ticket each, which expire after a time. A negative time writes expired holds.
func (a *archive) hold(ctx context.Context, n int, expireAfter time.Duration) ([]uuid.UUID, error) {
	rows, err := a.db.Query(ctx, `
		WITH r AS (
			INSERT INTO reservations (id, user_id, event_id, expires_at, status)
			SELECT uuidv7(), $1, $2, now() + $3::interval, 'ACTIVE' FROM generate_series(1, $5::integer) RETURNING id),
		l AS (
			INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
			SELECT id, $4, 1, 4950, 'USD' FROM r),
		t AS (UPDATE ticket_types SET held = held + $5 WHERE id = $4)
		SELECT id FROM r`, a.owners[0].UserID, a.event, expireAfter, a.types[0], n)
	if err != nil {
		return nil, fmt.Errorf("hold tickets: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("hold tickets: %w", err)
	}
	return ids, nil
}

// deleteHolds deletes all holds, which would otherwise expire during a later measurement.
func (a *archive) deleteHolds(ctx context.Context) error {
	for _, sql := range []string{
		`DELETE FROM reservations WHERE event_id = $1 AND status = 'ACTIVE'`,
		`UPDATE ticket_types SET held = 0 WHERE event_id = $1 AND held > 0`,
	} {
		if _, err := a.db.Exec(ctx, sql, a.event); err != nil {
			return fmt.Errorf("delete the holds: %w", err)
		}
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

const (
	// regulars is how many people with tickets look at what they have, and ticketsEach how many they have.
	regulars    = 1000
	ticketsEach = 10
	// sweepSize is how many holds are over when a sweep comes.
	sweepSize = 500
)

// archive is a counter whose database holds so many tickets that were sold before.
type archive struct {
	*counter
	people []demo.Person
	types  []uuid.UUID // on sale now
}

// growth measures what ticket-service's work costs with few and with many tickets in its database.
func (b *bench) growth(ctx context.Context) (r results, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sizes := []int{b.large, b.small}
	var archives []*archive
	for _, size := range sizes {
		r.Sides = append(r.Sides, number(float64(size))+" tickets")
		a, openErr := b.openArchive(ctx, size)
		defer func() { err = a.stop(ctx, err) }()
		if openErr != nil {
			return r, openErr
		}
		archives = append(archives, a)
	}
	r.note("Tickets of events that are over or go on, with their orders and reservations, two tickets to an order, %s to an event. "+
		"%s people own %d tickets each on both sides. Four clients, straight to ticket-service; a sweep comes alone. "+
		"notification-service is stopped: it would have the tickets of every order drawn for a mail meanwhile.",
		number(ticketsToAnEvent), number(regulars), ticketsEach)

	times, requests, sweeps := b.times(5), 4000, 10
	if b.quick {
		times, requests, sweeps = 1, 200, 2
	}
	work := []struct {
		name string
		do   func(a *archive) (shots, error)
	}{
		{"reserve", func(a *archive) (shots, error) { return a.reserve(ctx, requests) }},
		{"confirm", func(a *archive) (shots, error) { return a.confirm(ctx, requests) }},
		{"availability", func(a *archive) (shots, error) { return a.look(ctx, requests) }},
		{"my tickets", func(a *archive) (shots, error) { return a.mine(ctx, requests) }},
		{fmt.Sprintf("sweep, %d holds are over", sweepSize), func(a *archive) (shots, error) { return a.sweep(ctx, sweeps, sweepSize) }},
		{"sweep, none is", func(a *archive) (shots, error) { return a.sweep(ctx, 10*sweeps, 0) }},
	}
	for _, w := range work {
		// Once before it counts.
		for turn := range times + 1 {
			for side, a := range archives {
				s, err := w.do(a)
				if err == nil {
					err = s.only(http.StatusOK)
				}
				if err != nil {
					return r, fmt.Errorf("%s with %s: %w", w.name, r.Sides[side], err)
				}
				if turn == 0 {
					continue
				}
				mean := r.row(w.name, "mean", "ms")
				mean.add(side, s.latency.Mean()/1000)
				r.row(w.name, "p99", "ms").add(side, s.percentile(99))
				say("  %s, turn %d of %d: %s, mean %s ms", w.name, turn, times, r.Sides[side], number(s.latency.Mean()/1000))
			}
		}
		mean := r.row(w.name, "mean", "ms")
		mean.aim("within 1.3 times", mean.ratio(1).median <= 1.3)
	}
	return r, nil
}

// openArchive starts a system in whose database that many tickets are. It must be stopped, also after a failure.
func (b *bench) openArchive(ctx context.Context, tickets int) (*archive, error) {
	c, err := b.openCounter(ctx)
	a := &archive{counter: c}
	if err != nil {
		return a, err
	}
	if a.people, err = c.people(ctx, regulars); err != nil {
		return a, err
	}
	if err := c.App("notification-service").Process.Stop(ctx, 10*time.Second); err != nil {
		return a, fmt.Errorf("stop the mails: %w", err)
	}
	began := time.Now()
	if err := a.fill(ctx, tickets); err != nil {
		return a, fmt.Errorf("fill the database: %w", err)
	}
	var size string
	if err := c.db.QueryRow(ctx, `SELECT pg_size_pretty(pg_database_size(current_database()))`).Scan(&size); err != nil {
		return a, fmt.Errorf("measure the database: %w", err)
	}
	say("  %s tickets are in a database of %s, after %s", number(float64(tickets)), size, time.Since(began).Round(time.Second))
	if a.types, err = c.offer(ctx, 5); err != nil {
		return a, err
	}
	// The first use of a key makes the service ask for it, which it does every few seconds at most.
	_, err = demo.Await(ctx, func() ([]demo.Ticket, error) {
		return demo.Client{Sidecar: c.App("ticket-service").SidecarURL()}.Tickets(ctx, a.people[0])
	}, func(mine []demo.Ticket) bool { return len(mine) == ticketsEach })
	return a, errors.Join(err, c.authenticate(ctx))
}

const ticketsToAnEvent = 10_000

// fill writes the tickets, first those of the people. Indexes and constraints are made anew afterwards, which takes minutes
// instead of hours.
func (a *archive) fill(ctx context.Context, tickets int) error {
	owners := make([]uuid.UUID, len(a.people))
	for i, p := range a.people {
		owners[i] = p.UserID
	}
	rebuild, err := a.strip(ctx, "events", "ticket_types", "reservations", "reservation_lines", "orders", "tickets")
	if err != nil {
		return err
	}
	events := max(1, tickets/ticketsToAnEvent)
	orders := tickets / 2
	steps := []struct {
		sql  string
		args []any
	}{
		{`INSERT INTO events (id, organizer_id, name, event_date, venue_name, status)
			SELECT md5('event' || i)::uuid, md5('organizer' || i)::uuid, 'Festival ' || i, now() + (i - $1 / 2) * interval '1 hour', 'Stadium',
				'PUBLISHED' FROM generate_series(0, $1::integer - 1) AS i`, []any{events}},
		{`INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity, sold)
			SELECT md5('type' || i)::uuid, md5('event' || i / 4)::uuid, 'Block ' || i % 4, 4950, 'USD', $2, $2
			FROM generate_series(0, $1::integer * 4 - 1) AS i`, []any{events, ticketsToAnEvent}},
		// Orders go through the events in turns. The first ones are the people's.
		{
			`INSERT INTO reservations (id, user_id, event_id, expires_at, status, order_id, created_at, ended_at)
			SELECT md5('reservation' || i)::uuid, coalesce(($3::uuid[])[i / $4 + 1], md5('user' || i / 4)::uuid), md5('event' || i % $2)::uuid,
				created + interval '15 minutes', 'COMPLETED', md5('order' || i)::uuid, created, created
			FROM generate_series(0, $1::integer - 1) AS i, LATERAL (SELECT now() - ($1 - i) * interval '10 seconds' AS created) AS c`,
			[]any{orders, events, owners, ticketsEach / 2},
		},
		{`INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency)
			SELECT md5('reservation' || i)::uuid, md5('type' || i % $2 * 4 + i / $2 % 4)::uuid, 2, 4950, 'USD'
			FROM generate_series(0, $1::integer - 1) AS i`, []any{orders, events}},
		{`INSERT INTO orders (id) SELECT md5('order' || i)::uuid FROM generate_series(0, $1::integer - 1) AS i`, []any{orders}},
		{
			`INSERT INTO tickets (id, number, ticket_type_id, event_id, order_id, reservation_id, owner_id, holder_name, created_at)
			SELECT md5('ticket' || k)::uuid, 'TKT-2001-' || to_char(k, 'FM999999000000'), md5('type' || i % $2 * 4 + i / $2 % 4)::uuid,
				md5('event' || i % $2)::uuid, md5('order' || i)::uuid, md5('reservation' || i)::uuid,
				coalesce(($3::uuid[])[i / $4 + 1], md5('user' || i / 4)::uuid), 'Ben Ito', now() - ($1 - i) * interval '10 seconds'
			FROM generate_series(0, $1::integer * 2 - 1) AS k, LATERAL (SELECT k / 2 AS i) AS o`,
			[]any{orders, events, owners, ticketsEach / 2},
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

// strip drops the keys and indexes of tables, and gives the statements that make them again, each after what it needs.
func (a *archive) strip(ctx context.Context, tables ...string) ([]string, error) {
	rows, err := a.db.Query(ctx, `
		SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
			format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)),
			CASE contype WHEN 'f' THEN 1 ELSE 3 END AS turn
		FROM pg_constraint WHERE contype IN ('p', 'u', 'f') AND (conrelid = ANY($1::text[]::regclass[]) OR confrelid = ANY($1::text[]::regclass[]))
		UNION ALL
		SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid), 2
		FROM pg_index WHERE indrelid = ANY($1::text[]::regclass[]) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
		ORDER BY turn`, tables)
	if err != nil {
		return nil, fmt.Errorf("find keys and indexes: %w", err)
	}
	type pair struct {
		Drop, Make string
		Turn       int
	}
	pairs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pair])
	if err != nil {
		return nil, fmt.Errorf("find keys and indexes: %w", err)
	}
	// Foreign keys go first and come last.
	rebuild := make([]string, len(pairs))
	for i, p := range pairs {
		if _, err := a.db.Exec(ctx, p.Drop); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Drop, err)
		}
		rebuild[len(pairs)-1-i] = p.Make
	}
	return append([]string{"SET maintenance_work_mem = '1GB'"}, rebuild...), nil
}

// few is a small load, so that what is measured is the work and not the queue for it.
func few(requests int) load { return load{clients: 4, requests: requests} }

func (a *archive) reserve(ctx context.Context, requests int) (shots, error) {
	s, err := fire(ctx, few(requests), a.reservations(a.contenders[0], a.types))
	return s, errors.Join(err, a.forget(ctx))
}

// forget drops the holds, before they end by themselves at some other time.
func (a *archive) forget(ctx context.Context) error {
	for _, sql := range []string{
		`DELETE FROM reservations WHERE event_id = $1 AND status = 'ACTIVE'`, `UPDATE ticket_types SET held = 0 WHERE event_id = $1 AND held > 0`,
	} {
		if _, err := a.db.Exec(ctx, sql, a.event); err != nil {
			return fmt.Errorf("forget the holds: %w", err)
		}
	}
	return nil
}

// hold writes so many holds that end after a while, which may be in the past.
func (a *archive) hold(ctx context.Context, n int, ends time.Duration) ([]uuid.UUID, error) {
	rows, err := a.db.Query(ctx, `
		WITH r AS (
			INSERT INTO reservations (id, user_id, event_id, expires_at, status)
			SELECT uuidv7(), $1, $2, now() + $3::interval, 'ACTIVE' FROM generate_series(1, $5::integer) RETURNING id),
		l AS (
			INSERT INTO reservation_lines (reservation_id, ticket_type_id, quantity, unit_price_minor, currency) SELECT id, $4, 1, 4950, 'USD' FROM r),
		t AS (UPDATE ticket_types SET held = held + $5 WHERE id = $4)
		SELECT id FROM r`, a.people[0].UserID, a.event, ends, a.types[0], n)
	if err != nil {
		return nil, fmt.Errorf("hold tickets: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("hold tickets: %w", err)
	}
	return ids, nil
}

func (a *archive) confirm(ctx context.Context, requests int) (shots, error) {
	ids, err := a.hold(ctx, requests, time.Hour)
	if err != nil {
		return shots{}, err
	}
	var next atomic.Int64
	return fire(ctx, few(requests), func(t *vegeta.Target) error {
		t.Method, t.URL, t.Header = http.MethodPost, a.contenders[0].url+"/api/tickets/internal/confirm-purchase", *a.token.Load()
		t.Body = fmt.Appendf(nil, `{"reservationId":"%s","orderId":"%s","userId":"%s","holderName":"Ben Ito"}`,
			ids[next.Add(1)-1], uuid.Must(uuid.NewV7()), a.people[0].UserID)
		return nil
	})
}

func (a *archive) look(ctx context.Context, requests int) (shots, error) {
	return fire(ctx, few(requests), func(t *vegeta.Target) error {
		t.Method, t.URL = http.MethodGet, a.contenders[0].url+"/api/tickets/events/"+a.event.String()+"/availability"
		return nil
	})
}

func (a *archive) mine(ctx context.Context, requests int) (shots, error) {
	return fire(ctx, few(requests), func(t *vegeta.Target) error {
		t.Method, t.URL = http.MethodGet, a.contenders[0].url+"/api/tickets/mine"
		t.Header = http.Header{"Authorization": {"Bearer " + string(a.people[1+rand.IntN(len(a.people)-1)].Token)}} //nolint:gosec // no secret
		return nil
	})
}

// sweep has expired holds swept so many times, each time after so many more were over.
func (a *archive) sweep(ctx context.Context, times, holds int) (shots, error) {
	var all shots
	for range times {
		if _, err := a.hold(ctx, holds, -time.Second); err != nil {
			return all, err
		}
		s, err := fire(ctx, load{clients: 1, requests: 1}, func(t *vegeta.Target) error {
			t.Method, t.URL, t.Header = http.MethodPost, a.contenders[0].url+"/bindings/expire-reservations", *a.token.Load()
			return nil
		})
		if err != nil {
			return all, err
		}
		all.merge(s)
	}
	return all, nil
}

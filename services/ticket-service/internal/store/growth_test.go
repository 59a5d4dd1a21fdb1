package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// The cost of a request or a sweep does not depend on the size of the history.
func TestRequestsDoNotReadHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	config := b.pool.Config()
	config.MaxConns = 1 // whose statistics include all reads
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	s := store.New(pool, publicURL)

	// 5,000 past events, every tenth of them cancelled, each with one type, five ended reservations and three tickets.
	// 5,000 of the tickets belong to a single event. 3,000 live reservations of the event that is on sale.
	for _, history := range []string{
		`INSERT INTO events (id, organizer_id, name, event_date, venue_name, status, updated_at)
		 SELECT gen_random_uuid(), gen_random_uuid(), '', now() - interval '30 days', '',
		        CASE i % 10 WHEN 0 THEN 'CANCELLED' ELSE 'PUBLISHED' END, now()
		 FROM generate_series(1, 5000) i`,
		`INSERT INTO event_cancellations (event_id, reason, correlation_id, started_at, finished_at)
		 SELECT id, '', '', now() - interval '30 days', now() - interval '30 days' FROM events WHERE status = 'CANCELLED'`,
		`INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity, sold)
		 SELECT gen_random_uuid(), id, '', 0, 'USD', 10, 4 FROM events WHERE event_date < now()`,
		`INSERT INTO reservations (id, user_id, event_id, status, expires_at, order_id, ended_at)
		 SELECT gen_random_uuid(), gen_random_uuid(), event_id,
		        (ARRAY['COMPLETED', 'COMPLETED', 'COMPLETED', 'EXPIRED', 'CANCELLED'])[i],
		        now() - interval '30 days', CASE WHEN i <= 3 THEN gen_random_uuid() END, now() - interval '30 days'
		 FROM ticket_types, generate_series(1, 5) i WHERE sold > 0`,
		`INSERT INTO reservation_lines
		 SELECT r.id, y.id, 1, 0, 'USD' FROM reservations r JOIN ticket_types y ON y.event_id = r.event_id`,
		`INSERT INTO orders SELECT order_id FROM reservations WHERE order_id IS NOT NULL`,
		`INSERT INTO tickets
		     (id, number, ticket_type_id, event_id, order_id, reservation_id, owner_id, holder_name, created_at)
		 SELECT gen_random_uuid(), 'OLD-' || row_number() OVER (), y.id, y.event_id, r.order_id, r.id, r.user_id, '',
		        now() - interval '30 days'
		 FROM reservations r JOIN ticket_types y ON y.event_id = r.event_id WHERE order_id IS NOT NULL`,
		`INSERT INTO reservations (id, user_id, event_id, status, expires_at)
		 SELECT gen_random_uuid(), gen_random_uuid(), id, 'ACTIVE', now() + interval '15 minutes'
		 FROM events, generate_series(1, 3000) WHERE event_date > now()`,
		`WITH largest AS (SELECT id FROM events WHERE event_date < now() LIMIT 1),
		 picked AS (SELECT id, row_number() OVER () AS n FROM tickets LIMIT 5000)
		 UPDATE tickets SET event_id = largest.id, created_at = now() - n * interval '1 second'
		 FROM largest, picked WHERE picked.id = tickets.id`,
		`ANALYZE`,
	} {
		_, err := pool.Exec(t.Context(), history)
		require.NoError(t, err)
	}
	var largest uuid.UUID
	require.NoError(t, pool.QueryRow(t.Context(), `
		SELECT event_id FROM tickets GROUP BY event_id ORDER BY count(*) DESC LIMIT 1`).Scan(&largest))
	rowsRead := func(t *testing.T) (n int) {
		t.Helper()
		_, err := pool.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`) // takes effect when this statement ends
		require.NoError(t, err)
		require.NoError(t, pool.QueryRow(t.Context(), `
			SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
			FROM pg_stat_user_tables WHERE schemaname = current_schema()`).Scan(&n))
		return n
	}

	kind, other := b.newType(t, 1000), b.newType(t, 1000)
	second := &bundle{store: s, pool: pool, event: uuid.New(), user: b.user} // will be cancelled
	require.NoError(t, second.publish(t.Context()))
	bought := second.bought(t, second.newType(t, 10), 3)
	limited := b.newType(t, 1000)
	b.limitPerPerson(t, limited, 5)
	b.bought(t, limited, 2)
	b.reserved(t, item(limited, 1))
	confirmed := b.purchase(b.reserved(t, item(kind, 2), item(other, 1)))
	fulfilled := b.purchase(b.reserved(t, item(kind, 2)))
	released, expired := b.reserved(t, item(kind, 1)), b.reserved(t, item(kind, 1))
	b.makeDue(t, expired)
	var sold []ticket.Ticket
	for _, tt := range []struct {
		name string
		do   func() error
	}{
		{"Reserve", func() error {
			_, err := s.Reserve(t.Context(), []ticket.Request{
				b.request(uuid.New(), item(kind, 1)), b.request(uuid.New(), item(other, 1)),
			})
			return err
		}},
		{"ReserveLimited", func() error {
			results, err := s.Reserve(t.Context(), []ticket.Request{
				b.request(uuid.New(), item(limited, 2)), b.request(uuid.New(), item(limited, 1)),
			})
			require.ErrorIs(t, results[1].Err, ticket.ErrPersonLimit)
			return err
		}},
		{"ReserveAgain", func() error {
			_, err := s.Reserve(t.Context(), []ticket.Request{
				b.request(confirmed.ReservationID, item(kind, 2), item(other, 1)),
			})
			return err
		}},
		{"ReserveTooMany", func() error {
			_, err := s.Reserve(t.Context(), []ticket.Request{b.request(uuid.New(), item(kind, 1001))})
			return err
		}},
		{"Confirm", func() (err error) {
			sold, err = s.Confirm(t.Context(), confirmed)
			return err
		}},
		{"ConfirmAgain", func() error {
			_, err := s.Confirm(t.Context(), confirmed)
			return err
		}},
		{"Fulfil", func() error {
			return s.Fulfil(t.Context(), uuid.New(), b.paid(fulfilled))
		}},
		{"Release", func() error {
			_, err := s.Release(t.Context(), released, "TIMEOUT")
			return err
		}},
		{"Extend", func() error {
			_, err := s.Extend(t.Context(), b.reserved(t, item(kind, 1)), time.Minute)
			return err
		}},
		{"Expire", func() error {
			_, err := s.ExpireAllDue(t.Context())
			return err
		}},
		{"Types", func() error {
			_, err := s.Types(t.Context(), b.event)
			return err
		}},
		{"TicketCount", func() error {
			_, err := s.TicketCount(t.Context(), b.event)
			return err
		}},
		{"TicketsOfUser", func() error {
			_, err := s.TicketsOfUser(t.Context(), b.user, paging.Page{Limit: 20})
			return err
		}},
		{"TicketsOfEvent", func() error {
			_, err := s.TicketsOfEvent(t.Context(), b.event, "", 100)
			return err
		}},
		{"Holdings", func() error {
			_, err := s.Holdings(t.Context(), b.event, paging.Page{Limit: 20})
			return err
		}},
		{"HoldingsOfLargestEvent", func() error {
			found, err := s.Holdings(t.Context(), largest, paging.Page{Limit: 20})
			require.Len(t, found, 20+1)
			return err
		}},
		{"CheckIn", func() error {
			_, err := s.CheckIn(t.Context(), sold[0].ID, 1, "North")
			return err
		}},
		{"UndoCheckIn", func() error {
			_, err := s.UndoCheckIn(t.Context(), sold[0].ID, b.user, "Mistake")
			return err
		}},
		{"CheckIns", func() error {
			_, err := s.CheckIns(t.Context(), sold[0].ID)
			return err
		}},
		{"Transfer", func() error {
			_, err := s.Transfer(t.Context(), sold[0].ID, b.user, uuid.New(), "Bob")
			return err
		}},
		{"Cancel", func() error {
			_, err := s.Cancel(t.Context(), sold[1].ID, b.user, "")
			return err
		}},
		{"Refund", func() error {
			_, err := s.CancelRefunded(t.Context(), ticket.Refund{OrderID: fulfilled.OrderID, Key: "key"})
			return err
		}},
		{"CancelEvent", func() error {
			return s.CancelEvent(t.Context(), uuid.New(), events.EventCancelled{
				EventID: second.event, OrganizerID: uuid.New(), UpdatedAt: time.Now(),
			})
		}},
		{"CancelAll", func() error {
			n, err := s.CancelAll(t.Context())
			require.Len(t, bought, n)
			return err
		}},
		{"CancelAllAgain", func() error {
			_, err := s.CancelAll(t.Context())
			return err
		}},
	} {
		before := rowsRead(t)
		require.NoError(t, tt.do(), tt.name)
		require.Less(t, rowsRead(t)-before, 100, tt.name)
	}
}

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// ticketDatabase returns a connection to a database with the tables of ticket-service.
func ticketDatabase(t *testing.T) *pgx.Conn {
	t.Helper()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	pool := postgrestest.New(t, postgres.Migrations{
		VersionTable: "ticket_service_version",
		Files:        os.DirFS(filepath.Join(root, "services/ticket-service/internal/store/migrations")),
	})
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Release)
	return conn.Conn()
}

func TestFillWritesConsistentTicketsAndRestoresIndexes(t *testing.T) {
	t.Parallel()
	a := &archive{testbed: &testbed{db: ticketDatabase(t), event: uuid.New()}, owners: make([]demo.Person, 3)}
	for i := range a.owners {
		a.owners[i].UserID = uuid.New()
	}
	shape := func() []string {
		rows, err := a.db.Query(t.Context(), `
			SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class AS c ON c.oid = indrelid
			WHERE c.relnamespace = current_schema()::regnamespace
			UNION ALL
			SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
			WHERE contype IN ('p', 'u', 'f') AND connamespace = current_schema()::regnamespace
			ORDER BY 1`)
		require.NoError(t, err)
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return all
	}
	before := shape()
	require.NoError(t, a.fill(t.Context(), 20_000))
	require.Equal(t, before, shape(), "all keys and indexes are created again")

	count := func(sql string, args ...any) (n int) {
		require.NoError(t, a.db.QueryRow(t.Context(), sql, args...).Scan(&n))
		return n
	}
	require.Equal(t, 20_000, count(`SELECT count(*) FROM tickets`))
	require.Equal(t, 2, count(`SELECT count(*) FROM events`))
	for _, p := range a.owners {
		require.Equal(t, ticketsPerOwner, count(`SELECT count(*) FROM tickets WHERE owner_id = $1`, p.UserID))
	}
	require.Zero(t, count(`
		SELECT count(*) FROM tickets AS t JOIN reservations AS r ON r.id = t.reservation_id
		WHERE (t.owner_id, t.event_id, t.order_id) IS DISTINCT FROM (r.user_id, r.event_id, r.order_id)`),
		"a ticket has the owner, event and order of its reservation")
	require.Zero(t, count(`
		SELECT count(*) FROM ticket_types AS y JOIN tickets AS t ON t.ticket_type_id = y.id
		WHERE t.event_id <> y.event_id`))
}

func TestHoldsAreWrittenAndDeleted(t *testing.T) {
	t.Parallel()
	bed := &testbed{db: ticketDatabase(t), event: uuid.New()}
	a := &archive{testbed: bed, owners: []demo.Person{{UserID: uuid.New()}}}
	_, err := a.db.Exec(t.Context(), `
		INSERT INTO events (id, organizer_id, name, event_date, venue_name, status)
		VALUES ($1, $1, 'Festival', now(), 'Stadium', 'PUBLISHED')`, a.event)
	require.NoError(t, err)
	a.types, err = a.addTicketTypes(t.Context(), 2)
	require.NoError(t, err)
	ids, err := a.hold(t.Context(), 7, -1)
	require.NoError(t, err)
	require.Len(t, ids, 7)
	held := func() (n int) {
		require.NoError(t, a.db.QueryRow(t.Context(), `SELECT held FROM ticket_types WHERE id = $1`, a.types[0]).Scan(&n))
		return n
	}
	require.Equal(t, 7, held())
	require.NoError(t, a.deleteHolds(t.Context()))
	require.Zero(t, held())
}

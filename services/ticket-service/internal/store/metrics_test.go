package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
)

// requireGauges asserts that the gauges contain lines that start with the given ones.
func (b *bundle) requireGauges(t *testing.T, lines ...string) {
	t.Helper()
	collector := postgres.Collector(b.pool, store.Gauges)
	for _, want := range lines {
		name, _, _ := strings.Cut(want, " ")
		found, err := testutil.CollectAndFormat(collector, expfmt.TypeTextPlain, name)
		require.NoError(t, err)
		require.Contains(t, string(found), "\n"+want)
	}
}

func TestGaugesCountHoldsAndInventory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	floor, stand := b.newType(t, 10), b.newType(t, 2)
	b.bought(t, floor, 3)
	b.reserved(t, item(floor, 1))
	b.reserved(t, item(stand, 2))
	last := b.reserved(t, item(floor, 1))
	b.requireGauges(t, "inventory_events 1\n", "inventory_ticket_types 2\n", "inventory_ticket_types_sold_out 1\n",
		"inventory_tickets_held 4\n", "inventory_tickets_left 5\n", "inventory_tickets_sold 3\n",
		"holds_active 3\n", "holds_overdue_seconds 0\n", "cancelled_events_with_tickets 0\n")

	_, err := b.pool.Exec(t.Context(), `
		UPDATE reservations SET expires_at = now() - interval '1 hour' WHERE id = $1`, last)
	require.NoError(t, err)
	b.requireGauges(t, "holds_overdue_seconds 360")

	cancelled := events.EventCancelled{EventID: b.event, OrganizerID: uuid.New(), UpdatedAt: time.Now().Add(time.Hour)}
	require.NoError(t, b.store.CancelEvent(t.Context(), uuid.New(), cancelled))
	// A cancelled event is not on sale.
	b.requireGauges(t, "cancelled_events_with_tickets 1\n", "inventory_tickets_left 0\n")
}

func TestGaugesDoNotScanHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.newType(t, 10)
	for _, history := range []string{
		`INSERT INTO events (id, organizer_id, name, event_date, venue_name, status)
		 SELECT gen_random_uuid(), gen_random_uuid(), '', now() - interval '1 day', '', 'PUBLISHED'
		 FROM generate_series(1, 5000)`,
		`INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity)
		 SELECT gen_random_uuid(), id, '', 0, '', 1 FROM events`,
		`INSERT INTO reservations (id, status) SELECT gen_random_uuid(), 'CANCELLED' FROM generate_series(1, 5000)`,
		`INSERT INTO event_cancellations (event_id, reason, correlation_id, finished_at)
		 SELECT id, '', '', now() FROM events`,
	} {
		_, err := b.pool.Exec(t.Context(), history)
		require.NoError(t, err)
	}
	require.NotContains(t, postgrestest.Plans(t, b.pool, store.Gauges), "Seq Scan on")
}

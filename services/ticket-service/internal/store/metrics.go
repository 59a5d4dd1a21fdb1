package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

var holdsExpired = promauto.NewCounter(prometheus.CounterOpts{
	Name: "holds_expired_total",
	Help: "Holds that ended because their time was over, and not by a purchase or a release.",
})

// Gauges are holds and inventory: of all events on sale together, since a number for each would be a new series with
// each event, for ever.
var Gauges = []postgres.Gauges{{
	Query: `
		SELECT count(*), coalesce(extract(epoch FROM greatest(now() - min(expires_at), '0')), 0)
		FROM reservations WHERE status = 'ACTIVE'`,
	Values: []postgres.Gauge{
		{Name: "holds_active", Help: "Holds that were neither bought nor released, and did not expire."},
		{Name: "holds_overdue_seconds", Help: "For how long the oldest of them should have expired; 0 when none should."},
	},
}, {
	Query: `
		SELECT count(DISTINCT e.id), count(*), count(*) FILTER (WHERE t.sold + t.held >= t.capacity),
		       coalesce(sum(t.capacity - t.sold - t.held), 0), coalesce(sum(t.held), 0), coalesce(sum(t.sold), 0)
		FROM events e JOIN ticket_types t ON t.event_id = e.id
		WHERE e.status = 'PUBLISHED' AND e.event_date > now()`,
	Values: []postgres.Gauge{
		{Name: "inventory_events", Help: "Events on sale that have ticket types and are to come."},
		{Name: "inventory_ticket_types", Help: "Their ticket types."},
		{Name: "inventory_ticket_types_sold_out", Help: "Those of them of which all tickets are sold or held."},
		{Name: "inventory_tickets_left", Help: "Their tickets that are neither sold nor held."},
		{Name: "inventory_tickets_held", Help: "Their tickets that are held."},
		{Name: "inventory_tickets_sold", Help: "Their tickets that are sold."},
	},
}, {
	Query: `
		SELECT count(*), coalesce(extract(epoch FROM now() - min(started_at)), 0) FROM event_cancellations WHERE finished_at IS NULL`,
	Values: []postgres.Gauge{
		{Name: "cancelled_events_with_tickets", Help: "Cancelled events of which not all tickets are cancelled yet."},
		{Name: "cancelled_events_with_tickets_oldest_seconds", Help: "How long ago the first of these cancellations began; 0 when there is none."},
	},
}}

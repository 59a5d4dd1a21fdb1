package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

var holdsExpired = promauto.NewCounter(prometheus.CounterOpts{
	Name: "holds_expired_total",
	Help: "Holds that expired without being bought or released.",
})

// Gauges report holds, inventory and unfinished cancellations. They sum over all events on sale: a series per event
// would grow the number of series without bound.
var Gauges = []postgres.Gauges{{
	Query: `
		SELECT count(*), coalesce(extract(epoch FROM greatest(now() - min(expires_at), '0')), 0)
		FROM reservations WHERE status = 'ACTIVE'`,
	Values: []postgres.Gauge{
		{Name: "holds_active", Help: "Holds that were neither bought nor released and have not expired."},
		{Name: "holds_overdue_seconds", Help: "How long the oldest active hold is past its expiry; 0 if none is."},
	},
}, {
	Query: `
		SELECT count(DISTINCT e.id), count(*), count(*) FILTER (WHERE t.sold + t.held >= t.capacity),
		       coalesce(sum(t.capacity - t.sold - t.held), 0), coalesce(sum(t.held), 0), coalesce(sum(t.sold), 0)
		FROM events e JOIN ticket_types t ON t.event_id = e.id
		WHERE e.status = 'PUBLISHED' AND e.event_date > now()`,
	Values: []postgres.Gauge{
		{Name: "inventory_events", Help: "Upcoming events on sale that have ticket types."},
		{Name: "inventory_ticket_types", Help: "Ticket types of upcoming events on sale."},
		{Name: "inventory_ticket_types_sold_out", Help: "Ticket types of upcoming events on sale with no tickets left."},
		{Name: "inventory_tickets_left", Help: "Tickets of upcoming events on sale that are neither sold nor held."},
		{Name: "inventory_tickets_held", Help: "Tickets of upcoming events on sale that are held."},
		{Name: "inventory_tickets_sold", Help: "Tickets of upcoming events on sale that are sold."},
	},
}, {
	Query: `
		SELECT count(*), coalesce(extract(epoch FROM now() - min(started_at)), 0)
		FROM event_cancellations WHERE finished_at IS NULL`,
	Values: []postgres.Gauge{
		{
			Name: "cancelled_events_with_tickets",
			Help: "Cancelled events whose tickets are not all cancelled yet.",
		},
		{
			Name: "cancelled_events_with_tickets_oldest_seconds",
			Help: "Age of the oldest cancellation whose tickets are not all cancelled yet; 0 if there is none.",
		},
	},
}}

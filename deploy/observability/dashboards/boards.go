package main

import (
	"slices"
	"strings"
)

// everywhere are the panels that each service has. APP stands for its app-id.
var everywhere = []panel{
	{title: "Requests", unit: "reqps", queries: []query{
		{`sum by (route) (rate(http_server_request_seconds_count{app_id="APP", route!~"/actuator/.*"}[$__rate_interval]))`, "{{route}}"},
	}},
	{title: "Refused (4xx) and failed (5xx)", unit: "reqps", queries: []query{
		{`sum by (status, route) (rate(http_server_request_seconds_count{app_id="APP", status=~"4xx|5xx", route!~"/actuator/.*"}[$__rate_interval]))`, "{{status}} {{route}}"},
	}},
	{title: "Time of 95 % of requests", unit: "s", queries: []query{
		{`histogram_quantile(0.95, sum by (route, le) (rate(http_server_request_seconds_bucket{app_id="APP", route!~"/actuator/.*"}[$__rate_interval])))`, "{{route}}"},
	}},
	{title: "Processes", unit: "short", queries: []query{
		{`sum by (job) (up{app_id="APP"})`, "up: {{job}}"},
		{`sum(go_goroutines{app_id="APP", job="apps"})`, "goroutines"},
	}},
	{title: "CPU", unit: "percentunit", queries: []query{
		{`sum by (job) (rate(process_cpu_seconds_total{app_id="APP"}[$__rate_interval]))`, "{{job}}"},
	}},
	{title: "Memory", unit: "bytes", queries: []query{
		{`sum by (job) (process_resident_memory_bytes{app_id="APP"})`, "{{job}}"},
	}},
}

// calls are the panels of a service that calls others.
var calls = []panel{
	{title: "Calls", unit: "reqps", queries: []query{
		{`sum by (target, operation) (rate(service_call_seconds_count{app_id="APP"}[$__rate_interval]))`, "{{target}} {{operation}}"},
	}},
	{title: "Calls without an answer", unit: "reqps", queries: []query{
		{`sum by (target, operation) (rate(service_call_seconds_count{app_id="APP", success="false"}[$__rate_interval]))`, "{{target}} {{operation}}"},
	}},
	{title: "Time of 95 % of calls", unit: "s", queries: []query{
		{`histogram_quantile(0.95, sum by (target, le) (rate(service_call_seconds_bucket{app_id="APP"}[$__rate_interval])))`, "{{target}}"},
	}},
}

// breakers is the panel of a service whose sidecar has circuit breakers.
var breakers = []panel{
	{title: "Circuit breakers (0 closed, 1 open)", unit: "short", queries: []query{
		{`circuit_breaker_state{app_id="APP"}`, "{{service}}"},
	}},
}

// database are the panels of a service that has one.
var database = []panel{
	{title: "Connections to the database", unit: "short", queries: []query{
		{`sum by (state) (database_pool_connections{app_id="APP"})`, "{{state}}"},
		{`sum(database_pool_limit_connections{app_id="APP"})`, "limit"},
	}},
	{title: "Waiting for a connection", unit: "s", queries: []query{
		{`sum(rate(database_pool_wait_seconds_total{app_id="APP"}[$__rate_interval])) / sum(rate(database_pool_acquires_total{app_id="APP"}[$__rate_interval]))`, "on average"},
		{`sum(rate(database_pool_waits_total{app_id="APP"}[$__rate_interval]))`, "had to wait, a second"},
	}},
	{title: "Outbox", unit: "short", queries: []query{
		{`max(outbox_events{app_id="APP"})`, "events that wait"},
		{`max(outbox_oldest_seconds{app_id="APP"})`, "seconds that the oldest has waited"},
		{`min(database_gauges_up{app_id="APP"})`, "database answers"},
	}},
	{title: "Events published", unit: "cps", queries: []query{
		{`sum by (type) (rate(events_published_total{app_id="APP"}[$__rate_interval]))`, "{{type}}"},
	}},
}

// consumer are the panels of a service that hears events.
var consumer = []panel{
	{title: "Events consumed", unit: "cps", queries: []query{
		{`sum by (queue, type, outcome) (rate(events_consumed_total{app_id="APP"}[$__rate_interval]))`, "{{type}} {{outcome}}"},
		{`sum(rate(events_repeated_total{app_id="APP"}[$__rate_interval]))`, "repetitions without effect"},
	}},
	{title: "Age of 95 % of events when processed", unit: "s", queries: []query{
		{`histogram_quantile(0.95, sum by (queue, le) (rate(event_age_seconds_bucket{app_id="APP"}[$__rate_interval])))`, "{{queue}}"},
	}},
	{title: "Dead letters", unit: "short", queries: []query{
		{`max by (queue) (dead_letters_open{app_id="APP"})`, "open: {{queue}}"},
		{`sum by (queue) (increase(dead_letters_total{app_id="APP"}[1h]))`, "archived in an hour: {{queue}}"},
	}},
	{title: "Oldest dead letter", unit: "s", queries: []query{
		{`max by (queue) (dead_letters_oldest_seconds{app_id="APP"})`, "{{queue}}"},
	}},
	{title: "What the sidecar handed over", unit: "cps", queries: []query{
		{`sum by (topic, process_status) (rate(dapr_component_pubsub_ingress_count{app_id="APP"}[$__rate_interval]))`, "{{topic}} {{process_status}}"},
	}},
}

// unfinishedSagas is on two boards.
var unfinishedSagas = []panel{
	{title: "Sagas that have not ended", unit: "short", queries: []query{
		{`max by (saga, step) (saga_unfinished)`, "{{saga}} {{step}}"},
	}},
	{title: "Oldest of them", unit: "s", queries: []query{
		{`max by (saga, step) (saga_oldest_seconds)`, "{{saga}} {{step}}"},
	}},
	{title: "Sagas that need a person", unit: "short", stat: true, queries: []query{
		{`max by (saga) (saga_stuck)`, "{{saga}}"},
	}},
}

var inventory = []panel{
	{title: "Tickets of events on sale", unit: "short", queries: []query{
		{`max(inventory_tickets_left)`, "left"}, {`max(inventory_tickets_held)`, "held"}, {`max(inventory_tickets_sold)`, "sold"},
	}},
	{title: "Events and ticket types on sale", unit: "short", queries: []query{
		{`max(inventory_events)`, "events"}, {`max(inventory_ticket_types)`, "ticket types"}, {`max(inventory_ticket_types_sold_out)`, "of those sold out"},
	}},
}

var boards = []board{
	{"business", slices.Concat([]panel{
		{title: "Orders by outcome", unit: "cps", queries: []query{{`orders:rate5m`, "{{outcome}}"}}},
		{title: "Why orders failed", unit: "cps", queries: []query{
			{`sum by (code) (rate(order_failures_total[$__rate_interval]))`, "{{code}}"},
		}},
		{title: "Time that 95 % of buyers wait", unit: "s", queries: []query{
			{`histogram_quantile(0.95, sum by (status, le) (rate(http_server_request_seconds_bucket{app_id="payment-service", method="POST", route="/api/payments/orders"}[$__rate_interval])))`, "{{status}}"},
		}},
	}, inventory, unfinishedSagas, []panel{
		{title: "Mails", unit: "cps", queries: []query{
			{`sum by (outcome) (rate(email_messages_total[$__rate_interval]))`, "{{outcome}}"},
		}},
		{title: "Sign-ins", unit: "cps", queries: []query{
			{`sum by (by, outcome) (rate(sign_ins_total[$__rate_interval]))`, "{{by}} {{outcome}}"},
		}},
		{title: "What happens, by events", unit: "cps", queries: []query{
			{`sum by (type) (rate(events_published_total[$__rate_interval]))`, "{{type}}"},
		}},
		{title: "Dead letters", unit: "short", stat: true, queries: []query{
			{`max by (queue) (dead_letters_open)`, "{{queue}}"},
		}},
	})},
	service("auth-service", database, []panel{
		{title: "Sign-ins", unit: "cps", queries: []query{
			{`sum by (by, outcome) (rate(sign_ins_total[$__rate_interval]))`, "{{by}} {{outcome}}"},
		}},
	}),
	service("event-service", calls, breakers, database),
	service("ticket-service", calls, breakers, database, consumer, inventory, []panel{
		{title: "Holds", unit: "short", queries: []query{
			{`max(holds_active)`, "active"}, {`sum(increase(holds_expired_total[5m]))`, "expired in 5 minutes"},
		}},
		{title: "Overdue", unit: "s", queries: []query{
			{`max(holds_overdue_seconds)`, "oldest hold"},
			{`max(cancelled_events_with_tickets_oldest_seconds)`, "oldest cancellation"},
		}},
		{title: "Cancelled events with tickets left", unit: "short", queries: []query{{`max(cancelled_events_with_tickets)`, "events"}}},
		{title: "Requests to reserve in a transaction", unit: "short", queries: []query{
			{`sum(rate(reserve_batch_requests_sum[$__rate_interval])) / sum(rate(reserve_batch_requests_count[$__rate_interval]))`, "on average"},
			{`histogram_quantile(0.95, sum by (le) (rate(reserve_batch_requests_bucket[$__rate_interval])))`, "95 %"},
		}},
		{title: "Time in line of 95 % of them", unit: "s", queries: []query{
			{`histogram_quantile(0.95, sum by (le) (rate(reserve_wait_seconds_bucket[$__rate_interval])))`, "95 %"},
		}},
		{title: "Refused for the line's length, and repeated alone", unit: "reqps", queries: []query{
			{`sum(rate(reserve_refused_total[$__rate_interval]))`, "refused"},
			{`sum(rate(reserve_batches_failed_total[$__rate_interval]))`, "transactions that failed"},
		}},
	}),
	service("payment-service", calls, breakers, database, consumer, unfinishedSagas, []panel{
		{title: "What happens to orders", unit: "cps", queries: []query{
			{`sum by (event) (rate(saga_events_total[$__rate_interval]))`, "{{event}}"},
		}},
		{title: "Time until 95 % of orders have their turn", unit: "s", queries: []query{
			{`histogram_quantile(0.95, sum by (le) (rate(order_wait_seconds_bucket[$__rate_interval])))`, "95 %"},
		}},
		{title: "Told to come again", unit: "cps", queries: []query{
			{`sum(rate(order_refused_total[$__rate_interval]))`, "orders"},
		}},
		{title: "Cancelled events without all refunds", unit: "short", queries: []query{
			{`max(cancelled_events_unrefunded)`, "events"},
			{`max(cancelled_events_unrefunded_oldest_seconds)`, "seconds since the first"},
		}},
	}),
	service("notification-service", calls, breakers, database, consumer, []panel{
		{title: "Notifications that wait", unit: "short", queries: []query{
			{`max(notifications_pending)`, "notifications"}, {`max(announcements_unfinished)`, "announcements"},
		}},
		{title: "Oldest of them", unit: "s", queries: []query{{`max(notifications_oldest_seconds)`, "notification"}}},
		{title: "Attempts", unit: "cps", queries: []query{
			{`sum by (kind, status) (rate(notification_attempts_total[$__rate_interval]))`, "{{kind}} {{status}}"},
		}},
	}),
	service("analytics-service", breakers, database, consumer),
	service("payment-gateway", calls),
	service("email-service", calls, []panel{
		{title: "Mails", unit: "cps", queries: []query{
			{`sum by (outcome) (rate(email_messages_total[$__rate_interval]))`, "{{outcome}}"},
		}},
	}),
}

// service makes a service's dashboard.
func service(app string, more ...[]panel) board {
	b := board{name: app}
	for _, p := range slices.Concat(everywhere, slices.Concat(more...)) {
		p.queries = slices.Clone(p.queries)
		for i, q := range p.queries {
			p.queries[i].expr = strings.ReplaceAll(q.expr, `"APP"`, `"`+app+`"`)
		}
		b.panels = append(b.panels, p)
	}
	return b
}

package main

import (
	"slices"
	"strings"
)

// Label matchers. service replaces APP with the service's app-id.
const (
	ofApp    = `app_id="APP"`
	requests = ofApp + `, route!~"/actuator/.*"`
	orders   = `app_id="payment-service", method="POST", route="/api/payments/orders"`
)

// common are the panels of every service.
var common = []panel{
	{title: "Requests", unit: "reqps", queries: []query{
		{rate("route", "http_server_request_seconds_count", requests), "{{route}}"},
	}},
	{title: "Responses 4xx and 5xx", unit: "reqps", queries: []query{
		{
			rate("status, route", "http_server_request_seconds_count",
				ofApp+`, status=~"4xx|5xx", route!~"/actuator/.*"`),
			"{{status}} {{route}}",
		},
	}},
	{title: "Request duration, p95", unit: "s", queries: []query{
		{p95("route", "http_server_request_seconds", requests), "{{route}}"},
	}},
	{title: "Processes", unit: "short", queries: []query{
		{`sum by (job) (up{app_id="APP"})`, "up: {{job}}"},
		{`sum(go_goroutines{app_id="APP", job="apps"})`, "goroutines"},
	}},
	{title: "CPU", unit: "percentunit", queries: []query{
		{rate("job", "process_cpu_seconds_total", ofApp), "{{job}}"},
	}},
	{title: "Memory", unit: "bytes", queries: []query{
		{`sum by (job) (process_resident_memory_bytes{app_id="APP"})`, "{{job}}"},
	}},
}

// calls are the panels of a service that calls others.
var calls = []panel{
	{title: "Outgoing calls", unit: "reqps", queries: []query{
		{rate("target, operation", "service_call_seconds_count", ofApp), "{{target}} {{operation}}"},
	}},
	{title: "Failed outgoing calls", unit: "reqps", queries: []query{
		{rate("target, operation", "service_call_seconds_count", ofApp+`, success="false"`), "{{target}} {{operation}}"},
	}},
	{title: "Outgoing call duration, p95", unit: "s", queries: []query{
		{p95("target", "service_call_seconds", ofApp), "{{target}}"},
	}},
}

// breakers is the panel of a service whose sidecar has circuit breakers.
var breakers = []panel{
	{title: "Circuit breakers (0 closed, 0.5 half-open, 1 open)", unit: "short", queries: []query{
		{`circuit_breaker_state{app_id="APP"}`, "{{service}}"},
	}},
}

// database are the panels of a service with a database.
var database = []panel{
	{title: "Database connections", unit: "short", queries: []query{
		{`sum by (state) (database_pool_connections{app_id="APP"})`, "{{state}}"},
		{`sum(database_pool_limit_connections{app_id="APP"})`, "limit"},
	}},
	{title: "Waits for a database connection", unit: "s", queries: []query{
		{
			rate("", "database_pool_wait_seconds_total", ofApp) + " / " + rate("", "database_pool_acquires_total", ofApp),
			"average wait",
		},
		{rate("", "database_pool_waits_total", ofApp), "waits per second"},
	}},
	{title: "Outbox", unit: "short", queries: []query{
		{`max(outbox_events{app_id="APP"})`, "unpublished events"},
		{`max(outbox_oldest_seconds{app_id="APP"})`, "age of the oldest (s)"},
		{`min(database_gauges_up{app_id="APP"})`, "database gauges up"},
	}},
	{title: "Events published", unit: "cps", queries: []query{
		{rate("type", "events_published_total", ofApp), "{{type}}"},
	}},
}

// consumer are the panels of a service that consumes events.
var consumer = []panel{
	{title: "Events consumed", unit: "cps", queries: []query{
		{rate("queue, type, outcome", "events_consumed_total", ofApp), "{{type}} {{outcome}}"},
		{rate("", "events_repeated_total", ofApp), "duplicates"},
	}},
	{title: "Event age when processed, p95", unit: "s", queries: []query{
		{p95("queue", "event_age_seconds", ofApp), "{{queue}}"},
	}},
	{title: "Dead letters", unit: "short", queries: []query{
		{`max by (queue) (dead_letters_open{app_id="APP"})`, "open: {{queue}}"},
		{`sum by (queue) (increase(dead_letters_total{app_id="APP"}[1h]))`, "received in the last hour: {{queue}}"},
	}},
	{title: "Age of the oldest dead letter", unit: "s", queries: []query{
		{`max by (queue) (dead_letters_oldest_seconds{app_id="APP"})`, "{{queue}}"},
	}},
	{title: "Events delivered by the sidecar", unit: "cps", queries: []query{
		{rate("topic, process_status", "dapr_component_pubsub_ingress_count", ofApp), "{{topic}} {{process_status}}"},
	}},
}

// unfinishedSagas are on the dashboards of payment-service and of the business.
var unfinishedSagas = []panel{
	{title: "Unfinished sagas", unit: "short", queries: []query{
		{`max by (saga, step) (saga_unfinished)`, "{{saga}} {{step}}"},
	}},
	{title: "Age of the oldest unfinished saga", unit: "s", queries: []query{
		{`max by (saga, step) (saga_oldest_seconds)`, "{{saga}} {{step}}"},
	}},
	{title: "Stuck sagas", unit: "short", stat: true, queries: []query{
		{`max by (saga) (saga_stuck)`, "{{saga}}"},
	}},
}

// inventory are on the dashboards of ticket-service and of the business.
var inventory = []panel{
	{title: "Tickets of events on sale", unit: "short", queries: []query{
		{`max(inventory_tickets_left)`, "left"},
		{`max(inventory_tickets_held)`, "held"},
		{`max(inventory_tickets_sold)`, "sold"},
	}},
	{title: "Events and ticket types on sale", unit: "short", queries: []query{
		{`max(inventory_events)`, "events"},
		{`max(inventory_ticket_types)`, "ticket types"},
		{`max(inventory_ticket_types_sold_out)`, "sold-out ticket types"},
	}},
}

var signIns = panel{title: "Sign-ins", unit: "cps", queries: []query{
	{rate("by, outcome", "sign_ins_total", ""), "{{by}} {{outcome}}"},
}}

var emails = panel{title: "Emails", unit: "cps", queries: []query{
	{rate("outcome", "email_messages_total", ""), "{{outcome}}"},
}}

var boards = []board{
	{"business", slices.Concat([]panel{
		{title: "Orders by outcome", unit: "cps", queries: []query{{`orders:rate5m`, "{{outcome}}"}}},
		{title: "Failed orders by reason", unit: "cps", queries: []query{
			{rate("code", "order_failures_total", ""), "{{code}}"},
		}},
		{title: "Order request duration, p95", unit: "s", queries: []query{
			{p95("status", "http_server_request_seconds", orders), "{{status}}"},
		}},
	}, inventory, unfinishedSagas, []panel{
		emails,
		signIns,
		{title: "Events published by type", unit: "cps", queries: []query{
			{rate("type", "events_published_total", ""), "{{type}}"},
		}},
		{title: "Dead letters", unit: "short", stat: true, queries: []query{
			{`max by (queue) (dead_letters_open)`, "{{queue}}"},
		}},
	})},
	service("auth-service", database, []panel{signIns}),
	service("event-service", calls, breakers, database),
	service("ticket-service", calls, breakers, database, consumer, inventory, []panel{
		{title: "Holds", unit: "short", queries: []query{
			{`max(holds_active)`, "active"}, {`sum(increase(holds_expired_total[5m]))`, "expired in 5 minutes"},
		}},
		{title: "Overdue holds and cancellations", unit: "s", queries: []query{
			{`max(holds_overdue_seconds)`, "oldest overdue hold"},
			{`max(cancelled_events_with_tickets_oldest_seconds)`, "oldest unfinished cancellation"},
		}},
		{title: "Cancelled events with valid tickets", unit: "short", queries: []query{
			{`max(cancelled_events_with_tickets)`, "events"},
		}},
		{title: "Reservation requests per transaction", unit: "short", queries: []query{
			{rate("", "reserve_batch_requests_sum", "") + " / " + rate("", "reserve_batch_requests_count", ""), "average"},
			{p95("", "reserve_batch_requests", ""), "p95"},
		}},
		{title: "Reservation queue wait, p95", unit: "s", queries: []query{
			{p95("", "reserve_wait_seconds", ""), "p95"},
		}},
		{title: "Rejected reservations and failed batches", unit: "reqps", queries: []query{
			{rate("", "reserve_refused_total", ""), "rejected (429)"},
			{rate("", "reserve_batches_failed_total", ""), "failed transactions"},
		}},
	}),
	service("payment-service", calls, breakers, database, consumer, unfinishedSagas, []panel{
		{title: "Saga events", unit: "cps", queries: []query{
			{rate("event", "saga_events_total", ""), "{{event}}"},
		}},
		{title: "Order queue wait, p95", unit: "s", queries: []query{
			{p95("", "order_wait_seconds", ""), "p95"},
		}},
		{title: "Rejected orders (429)", unit: "cps", queries: []query{
			{rate("", "order_refused_total", ""), "orders"},
		}},
		{title: "Cancelled events with unrefunded orders", unit: "short", queries: []query{
			{`max(cancelled_events_unrefunded)`, "events"},
			{`max(cancelled_events_unrefunded_oldest_seconds)`, "age of the oldest (s)"},
		}},
	}),
	service("notification-service", calls, breakers, database, consumer, []panel{
		{title: "Pending notifications", unit: "short", queries: []query{
			{`max by (class) (notifications_pending)`, "{{class}}"}, {`max(announcements_unfinished)`, "announcements"},
		}},
		{title: "Age of the oldest pending notification", unit: "s", queries: []query{
			{`max by (class) (notifications_oldest_seconds)`, "{{class}}"},
		}},
		{title: "Send attempts", unit: "cps", queries: []query{
			{rate("kind, status", "notification_attempts_total", ""), "{{kind}} {{status}}"},
		}},
	}),
	service("analytics-service", breakers, database, consumer),
	service("payment-gateway", calls),
	service("email-service", calls, []panel{emails}),
}

// rate returns the PromQL expression for the rate per second of a counter, summed by the labels in by.
func rate(by, counter, matchers string) string {
	return sum(by) + "(rate(" + selector(counter, matchers) + "[$__rate_interval]))"
}

// p95 returns the PromQL expression for the 95th percentile of a histogram, by the labels in by.
func p95(by, histogram, matchers string) string {
	labels := "le"
	if by != "" {
		labels = by + ", le"
	}
	return "histogram_quantile(0.95, " + rate(labels, histogram+"_bucket", matchers) + ")"
}

func sum(by string) string {
	if by == "" {
		return "sum"
	}
	return "sum by (" + by + ") "
}

func selector(metric, matchers string) string {
	if matchers == "" {
		return metric
	}
	return metric + "{" + matchers + "}"
}

// service returns the dashboard of a service: the common panels, then the given ones.
func service(app string, more ...[]panel) board {
	b := board{name: app}
	for _, p := range slices.Concat(common, slices.Concat(more...)) {
		p.queries = slices.Clone(p.queries)
		for i, q := range p.queries {
			p.queries[i].expr = strings.ReplaceAll(q.expr, `"APP"`, `"`+app+`"`)
		}
		b.panels = append(b.panels, p)
	}
	return b
}

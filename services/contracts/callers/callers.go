// Package callers says which service may call which internal route: one table for all services. Their
// guards let nobody else through.
package callers

import "slices"

// The app-ids that the table speaks of.
const (
	auth         = "auth-service"
	event        = "event-service"
	ticket       = "ticket-service"
	payment      = "payment-service"
	notification = "notification-service"
	analytics    = "analytics-service"
	gateway      = "payment-gateway"
	email        = "email-service"
)

// Route is an internal route with the services that may call it.
type Route struct {
	Service string // whose route it is
	Method  string
	Path    string // with the names of variables, as in the OpenAPI document
	Callers []string
}

var table = []Route{
	{auth, "POST", "/api/auth/internal/validate-token", []string{event, ticket, payment, notification, analytics}},
	{auth, "GET", "/api/auth/internal/users/{userId}", []string{ticket, notification}},
	{auth, "POST", "/api/auth/internal/users/batch", []string{ticket, notification}},
	{auth, "GET", "/api/auth/internal/account-mails/{requestId}", []string{notification}},

	{event, "GET", "/api/events/internal/{eventId}", []string{ticket, payment, notification}},
	{event, "GET", "/api/events/internal/{eventId}/validate-organizer/{userId}", []string{ticket, payment}},
	{event, "POST", "/api/events/internal/batch", []string{ticket, payment, notification}},

	{ticket, "POST", "/api/tickets/internal/check-availability", []string{payment}},
	{ticket, "POST", "/api/tickets/internal/reserve", []string{payment}},
	{ticket, "POST", "/api/tickets/internal/confirm-purchase", []string{payment}},
	{ticket, "POST", "/api/tickets/internal/release-reservation", []string{payment}},
	{ticket, "POST", "/api/tickets/internal/extend-reservation", []string{payment}},
	{ticket, "POST", "/api/tickets/internal/cancel", []string{payment}},
	{ticket, "GET", "/api/tickets/internal/events/{eventId}/ticket-count", []string{event}},
	{ticket, "GET", "/api/tickets/internal/events/{eventId}/holders", []string{notification}},
	{ticket, "GET", "/api/tickets/internal/{ticketId}", []string{notification}},
	{ticket, "GET", "/api/tickets/internal/{ticketId}/ticket.pdf", []string{notification}},

	{payment, "GET", "/api/payments/internal/orders/{orderId}", []string{notification}},

	{gateway, "POST", "/api/gateway/internal/charges", []string{payment}},
	{gateway, "GET", "/api/gateway/internal/charges", []string{payment}},
	{gateway, "POST", "/api/gateway/internal/refunds", []string{payment}},
	{gateway, "POST", "/api/gateway/internal/webhooks/verify", []string{payment}},

	{email, "POST", "/api/email/internal/messages", []string{notification}},
}

// Table gives every internal route. It is the caller's to change.
func Table() []Route {
	all := slices.Clone(table)
	for i := range all {
		all[i].Callers = slices.Clone(all[i].Callers)
	}
	return all
}

// May reports whether a service may call the route of this method and path template. Nobody may call
// one that is not in the table.
func May(service, method, path string) bool {
	return slices.ContainsFunc(table, func(r Route) bool {
		return r.Method == method && r.Path == path && slices.Contains(r.Callers, service)
	})
}

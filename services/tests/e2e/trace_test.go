package e2e_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// ours is the span of the client that buys.
const ours = "b7ad6b7169203331"

// buyTraced buys tickets in a trace that begins with us.
func (s sale) buyTraced(ctx context.Context, quantity int) (order demo.Order, trace string, err error) {
	trace = strings.ReplaceAll(uuid.NewString(), "-", "")
	purchase := s.purchase(quantity, demo.GoodCard).Request(s.buyer)
	purchase.Header["Traceparent"] = "00-" + trace + "-" + ours + "-01"
	return order, trace, s.Do(ctx, purchase, &order)
}

// requireTree waits until a trace that began with us has each of these branches, and no span whose parent is unknown. A
// branch is a span and some of those above it, the uppermost first.
func requireTree(t *testing.T, trace string, branches map[string][]string) {
	t.Helper()
	missing, err := demo.Await(t.Context(), func() (map[string][]string, error) {
		all := map[string]span{}
		for _, s := range spans.of(trace) {
			all[s.id] = s
		}
		missing := map[string][]string{}
		for name, branch := range branches {
			missing[name] = branch
		}
		for _, s := range all {
			line := []string{s.by + " " + s.name}
			root := s.parent
			for parent, known := all[root]; known; parent, known = all[root] {
				line = append([]string{parent.by + " " + parent.name}, line...)
				root = parent.parent
			}
			if root != ours {
				missing["what is above a span"] = line
			}
			for name, branch := range branches {
				if follows(line, branch) {
					delete(missing, name)
				}
			}
		}
		return missing, nil
	}, func(missing map[string][]string) bool { return len(missing) == 0 })
	require.NoError(t, err)
	require.Empty(t, missing)
}

// follows reports whether a branch is part of a line that ends in the same span.
func follows(line, branch []string) bool {
	if line[len(line)-1] != branch[len(branch)-1] {
		return false
	}
	for _, step := range line {
		if len(branch) > 0 && step == branch[0] {
			branch = branch[1:]
		}
	}
	return len(branch) == 0
}

// placed is how an order gets to payment-service: by way of a sidecar that is not its own.
var placed = []string{
	"auth-service-sidecar CallLocal/payment-service/api/payments/orders",
	"payment-service-sidecar CallLocal/payment-service/api/payments/orders",
	"payment-service POST /api/payments/orders",
}

// paid is how it is heard of that an order is paid.
func paid(service string) []string {
	return append(placed[:3:3],
		"payment-service publish payment-events",
		service+"-sidecar pubsub/payment-events",
		service+" POST /events/payment-completed")
}

// generated is how it is heard of that there are tickets.
func generated(service string) []string {
	return append(paid("ticket-service"),
		"ticket-service publish ticket-events",
		service+"-sidecar pubsub/ticket-events",
		service+" POST /events/tickets-generated")
}

// mailed is how the tickets get to the mail server.
func mailed() []string {
	return append(generated("notification-service"),
		"notification-service send notification",
		"notification-service POST email-service",
		"notification-service-sidecar CallLocal/email-service/api/email/internal/messages",
		"email-service-sidecar CallLocal/email-service/api/email/internal/messages",
		"email-service POST /api/email/internal/messages",
		"email-service SMTP send")
}

// Not parallel: the spans of much else at the same time could be too many for the exporters' queues.
func TestAPurchaseIsOneTrace(t *testing.T) {
	s := newSale(t, 5)
	order, trace, err := s.buyTraced(t.Context(), 1)
	require.NoError(t, err)
	s.fulfilled(t.Context(), t, order.OrderID, 1)
	requireTree(t, trace, map[string][]string{
		"the hold": append(placed[:3:3],
			"payment-service POST ticket-service",
			"payment-service-sidecar CallLocal/ticket-service/api/tickets/internal/reserve",
			"ticket-service-sidecar CallLocal/ticket-service/api/tickets/internal/reserve",
			"ticket-service POST /api/tickets/internal/reserve",
			"ticket-service query UPDATE"),
		"the charge": append(placed[:3:3],
			"payment-service POST payment-gateway",
			"payment-service-sidecar CallLocal/payment-gateway/api/gateway/internal/charges",
			"payment-gateway-sidecar CallLocal/payment-gateway/api/gateway/internal/charges",
			"payment-gateway POST /api/gateway/internal/charges",
			"payment-gateway POST Stripe"),
		"the order": append(placed[:3:3], "payment-service query INSERT"),
		"the outbox": append(placed[:3:3],
			"payment-service publish payment-events",
			"payment-service dapr.proto.runtime.v1.Dapr/BulkPublishEvent",
			"payment-service-sidecar /dapr.proto.runtime.v1.Dapr/BulkPublishEvent"),
		"the tickets":     append(paid("ticket-service"), "ticket-service query INSERT"),
		"the figures":     append(paid("analytics-service"), "analytics-service query INSERT"),
		"the fulfilment":  append(generated("payment-service"), "payment-service query UPDATE"),
		"the mail's text": append(generated("notification-service"), "notification-service send notification", "auth-service query SELECT"),
		"the mail":        mailed(),
	})
}

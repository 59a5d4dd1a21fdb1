package e2e_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// clientSpan is the id of the buyer's span, the root of each trace.
const clientSpan = "b7ad6b7169203331"

// buyTraced buys tickets in a new trace whose root is clientSpan.
func (s sale) buyTraced(ctx context.Context, quantity int) (order demo.Order, trace string, err error) {
	trace = strings.ReplaceAll(uuid.NewString(), "-", "")
	purchase := s.purchase(quantity, demo.GoodCard).Request(s.buyer)
	purchase.Header["Traceparent"] = "00-" + trace + "-" + clientSpan + "-01"
	return order, trace, s.Do(ctx, purchase, &order)
}

// requireTree waits until a trace has each of these branches, and no span whose ancestors do not lead to clientSpan. A
// branch is a span after some of its ancestors, the outermost first.
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
			ancestry := []string{s.process + " " + s.name}
			root := s.parent
			for parent, known := all[root]; known; parent, known = all[root] {
				ancestry = append([]string{parent.process + " " + parent.name}, ancestry...)
				root = parent.parent
			}
			if root != clientSpan {
				missing["the ancestors of a span"] = ancestry
			}
			for name, branch := range branches {
				if contains(ancestry, branch) {
					delete(missing, name)
				}
			}
		}
		return missing, nil
	}, func(missing map[string][]string) bool { return len(missing) == 0 })
	require.NoError(t, err)
	require.Empty(t, missing)
}

// contains reports whether branch is a subsequence of ancestry with the same last span.
func contains(ancestry, branch []string) bool {
	if ancestry[len(ancestry)-1] != branch[len(branch)-1] {
		return false
	}
	for _, step := range ancestry {
		if len(branch) > 0 && step == branch[0] {
			branch = branch[1:]
		}
	}
	return len(branch) == 0
}

// placed is the branch of an order that arrives at payment-service by way of another app's sidecar.
var placed = []string{
	"auth-service-sidecar CallLocal/payment-service/api/payments/orders",
	"payment-service-sidecar CallLocal/payment-service/api/payments/orders",
	"payment-service POST /api/payments/orders",
}

// paid returns the branch of a PAYMENT_COMPLETED that arrives at the service.
func paid(service string) []string {
	return append(placed[:3:3],
		"payment-service publish payment-events",
		service+"-sidecar pubsub/payment-events",
		service+" POST /events")
}

// generated returns the branch of a TICKETS_GENERATED that arrives at the service.
func generated(service string) []string {
	return append(paid("ticket-service"),
		"ticket-service publish ticket-events",
		service+"-sidecar pubsub/ticket-events",
		service+" POST /events")
}

// mailed returns the branch of a confirmation that arrives at the mail server.
func mailed() []string {
	return append(generated("notification-service"),
		"notification-service send notification",
		"notification-service POST email-service",
		"notification-service-sidecar CallLocal/email-service/api/email/internal/messages",
		"email-service-sidecar CallLocal/email-service/api/email/internal/messages",
		"email-service POST /api/email/internal/messages",
		"email-service SMTP send")
}

// Not parallel: the spans of many parallel tests could overflow the exporters' queues.
func TestPurchaseIsOneTrace(t *testing.T) {
	s := newSale(t, 5)
	order, trace, err := s.buyTraced(t.Context(), 1)
	require.NoError(t, err)
	s.fulfilled(t.Context(), t, order.OrderID, 1)
	requireTree(t, trace, map[string][]string{
		"the reservation": append(placed[:3:3],
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
		"the tickets":       append(paid("ticket-service"), "ticket-service query INSERT"),
		"the sales figures": append(paid("analytics-service"), "analytics-service query INSERT"),
		"the fulfilment":    append(generated("payment-service"), "payment-service query UPDATE"),
		"the mail's text": append(generated("notification-service"),
			"notification-service send notification", "auth-service query SELECT"),
		"the mail": mailed(),
	})
}

package discovery_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// answerLimit is the longest that a request may take while another process is down.
const answerLimit = 10 * time.Second

// without stops the named servers and apps, runs during, and starts them again. It stops them gracefully: after a kill
// PostgreSQL would first have to recover.
func without(t *testing.T, names string, during func()) {
	t.Helper()
	var stopped []*stack.Process
	for name := range strings.FieldsSeq(names) {
		p := system.Server(name)
		if p == nil {
			p = system.App(name).Process
		}
		require.NoError(t, p.Stop(t.Context(), answerLimit))
		stopped = append(stopped, p)
	}
	start := func() error {
		var failures []error
		for _, p := range stopped {
			failures = append(failures, p.Start())
		}
		return errors.Join(failures...)
	}
	t.Cleanup(func() { _ = start() }) // in case the test fails in between
	during()
	require.NoError(t, start())
	require.NoError(t, system.WaitHealthy(t.Context()))
}

// reads returns a read request to each app that a buyer uses.
func (s shop) reads() []demo.Request {
	return []demo.Request{
		{Method: http.MethodGet, App: "payment-service", Path: "/api/payments/orders", Token: s.buyer.Token},
		{Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/mine", Token: s.buyer.Token},
		{
			Method: http.MethodGet, App: "ticket-service",
			Path: "/api/tickets/events/" + s.event.EventID.String() + "/availability",
		},
		{Method: http.MethodGet, App: "event-service", Path: "/api/events/" + s.event.EventID.String()},
		{Method: http.MethodGet, App: "auth-service", Path: "/api/auth/me", Token: s.buyer.Token},
	}
}

// A purchase does not wait for messages, mails or analytics.
func TestPurchaseSucceedsWithoutMessaging(t *testing.T) {
	s := newShop(t)
	without(t, "fauxqs maildev notification-service analytics-service email-service", func() {
		start := time.Now()
		order, err := s.Buy(t.Context(), s.buyer, s.purchase())
		require.NoError(t, err)
		require.Equal(t, "COMPLETED", order.PaymentStatus)
		for _, read := range s.reads() {
			require.NoError(t, s.Do(t.Context(), read, nil), read.Path)
		}
		require.Less(t, time.Since(start), answerLimit)
	})
	t.Parallel() // all processes are up again, but a queue may hide for a minute what an app had received
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	_, err := demo.Await(ctx, func() (demo.Sales, error) { return s.Sales(ctx, s.organizer, s.event.EventID) },
		func(sales demo.Sales) bool { return sales.OrdersCompleted == 1 && sales.TicketsGenerated == 1 })
	require.NoError(t, err)
}

// While Stripe is down, it is unknown whether a card was charged. The order stays pending until Stripe answers.
func TestOrderStaysPendingWhileStripeIsDown(t *testing.T) {
	s := newShop(t)
	var order demo.Order
	without(t, "stripe-simulator", func() {
		start := time.Now()
		var err error
		order, err = s.Buy(t.Context(), s.buyer, s.purchase())
		require.NoError(t, err)
		require.Equal(t, "PENDING", order.PaymentStatus)
		require.Less(t, time.Since(start), answerLimit)
	})
	t.Parallel() // all processes are up again, but the next attempt may be minutes away
	_, err := demo.Await(t.Context(), func() (demo.Order, error) { return s.Order(t.Context(), s.buyer, order.OrderID) },
		func(o demo.Order) bool { return o.PaymentStatus == "COMPLETED" })
	require.NoError(t, err)
}

// Without its database a service answers at once with an error that reveals no internals.
func TestRequestsFailFastWithoutPostgreSQL(t *testing.T) {
	s := newShop(t)
	without(t, "postgres", func() {
		for _, req := range append(s.reads(), s.purchase().Request(s.buyer)) {
			start := time.Now()
			err := s.Do(t.Context(), req, nil)
			require.Less(t, time.Since(start), answerLimit, req.Path)
			var refused *demo.Refusal
			require.ErrorAs(t, err, &refused, req.Path)
			require.GreaterOrEqual(t, refused.Status, 500, req.Path)
			require.NotContains(t, refused.Message, "goroutine")
			require.NotContains(t, refused.Message, "postgres")
		}
	})
	order, err := s.Buy(t.Context(), s.buyer, s.purchase())
	require.NoError(t, err)
	require.Equal(t, "COMPLETED", order.PaymentStatus)
}

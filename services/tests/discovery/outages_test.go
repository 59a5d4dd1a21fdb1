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

// inTime is how long anybody waits at most for an answer that somebody else's end delays.
const inTime = 10 * time.Second

// without runs what happens while processes are away, and has them started again. None is killed: PostgreSQL would have to
// wait for its own remains.
func without(t *testing.T, names string, meanwhile func()) {
	t.Helper()
	var away []*stack.Process
	for name := range strings.FieldsSeq(names) {
		p := system.Server(name)
		if p == nil {
			p = system.App(name).Process
		}
		require.NoError(t, p.Stop(t.Context(), inTime))
		away = append(away, p)
	}
	start := func() error {
		var failures []error
		for _, p := range away {
			failures = append(failures, p.Start())
		}
		return errors.Join(failures...)
	}
	t.Cleanup(func() { _ = start() }) // should we fail before
	meanwhile()
	require.NoError(t, start())
	require.NoError(t, system.WaitHealthy(t.Context()))
}

// reads are what can be looked at, by the app that has it.
func (s shop) reads() []demo.Request {
	return []demo.Request{
		{Method: http.MethodGet, App: "payment-service", Path: "/api/payments/orders", Token: s.buyer.Token},
		{Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/mine", Token: s.buyer.Token},
		{Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/events/" + s.event.EventID.String() + "/availability"},
		{Method: http.MethodGet, App: "event-service", Path: "/api/events/" + s.event.EventID.String()},
		{Method: http.MethodGet, App: "auth-service", Path: "/api/auth/me", Token: s.buyer.Token},
	}
}

// Nobody who buys waits for what comes after.
func TestASaleNeedsNoMessages(t *testing.T) {
	s := newShop(t)
	without(t, "fauxqs maildev notification-service analytics-service email-service", func() {
		began := time.Now()
		order, err := s.Buy(t.Context(), s.buyer, s.purchase())
		require.NoError(t, err)
		require.Equal(t, "COMPLETED", order.PaymentStatus)
		for _, read := range s.reads() {
			require.NoError(t, s.Do(t.Context(), read, nil), read.Path)
		}
		require.Less(t, time.Since(began), inTime)
	})
	t.Parallel() // nothing is broken any more, and a queue may hide for a minute what an app had taken
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	_, err := demo.Await(ctx, func() (demo.Sales, error) { return s.Sales(ctx, s.organizer, s.event.EventID) },
		func(sales demo.Sales) bool { return sales.OrdersCompleted == 1 && sales.TicketsGenerated == 1 })
	require.NoError(t, err)
}

// Whether a card was charged that Stripe said nothing about, nobody guesses.
func TestAnOrderWaitsForStripe(t *testing.T) {
	s := newShop(t)
	var order demo.Order
	without(t, "stripe-simulator", func() {
		began := time.Now()
		var err error
		order, err = s.Buy(t.Context(), s.buyer, s.purchase())
		require.NoError(t, err)
		require.Equal(t, "PENDING", order.PaymentStatus)
		require.Less(t, time.Since(began), inTime)
	})
	t.Parallel() // nothing is broken any more, and the next try may be a while away
	_, err := demo.Await(t.Context(), func() (demo.Order, error) { return s.Order(t.Context(), s.buyer, order.OrderID) },
		func(o demo.Order) bool { return o.PaymentStatus == "COMPLETED" })
	require.NoError(t, err)
}

// Without its database a service can do nothing, but says so, at once and in no more words than that.
func TestNothingHangsWithoutPostgreSQL(t *testing.T) {
	s := newShop(t)
	without(t, "postgres", func() {
		for _, req := range append(s.reads(), s.purchase().Request(s.buyer)) {
			began := time.Now()
			err := s.Do(t.Context(), req, nil)
			require.Less(t, time.Since(began), inTime, req.Path)
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

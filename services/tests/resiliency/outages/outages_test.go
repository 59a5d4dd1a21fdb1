// Package outages_test stops services of the whole system, under the policies as they are shipped. It tests what a
// buyer may expect of the remaining services: a timely answer that has the state of the order.
package outages_test

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// bench is a running system with an event on sale. It is the transport of its own client.
type bench struct {
	demo.Client
	t         *testing.T
	system    *stack.Stack
	organizer demo.Person
	buyer     demo.Person
	event     demo.Event
	floor     demo.TicketType

	last *http.Response // the last answer that the client received
}

// RoundTrip records the answer.
func (b *bench) RoundTrip(r *http.Request) (res *http.Response, err error) {
	res, err = http.DefaultTransport.RoundTrip(r)
	b.last = res
	return res, err
}

func setup(t *testing.T) *bench {
	t.Helper()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	cfg, err := stack.Throwaway(root)
	require.NoError(t, err)
	b := &bench{t: t}
	b.system, err = stack.Start(t.Context(), cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.system.Stop(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("logs and data are kept in %s", cfg.DataDir)
		} else if err := os.RemoveAll(cfg.DataDir); err != nil {
			t.Error(err)
		}
	})
	require.NoError(t, err)
	// No test stops this sidecar.
	b.Client = demo.Client{Sidecar: b.system.App("email-service").SidecarURL(), HTTP: &http.Client{Transport: b}}
	b.organizer, err = b.Join(t.Context(), "Olivia", "Stone", true)
	require.NoError(t, err)
	b.buyer, err = b.Join(t.Context(), "Ben", "Ito", false)
	require.NoError(t, err)
	b.event, err = b.Draft(t.Context(), b.organizer, t.Name())
	require.NoError(t, err)
	b.floor, err = b.AddTicketType(t.Context(), b.organizer, b.event.EventID, "Floor", "49.50", 100)
	require.NoError(t, err)
	b.event, err = b.Publish(t.Context(), b.organizer, b.event.EventID)
	require.NoError(t, err)
	order := b.buys(http.StatusCreated, 5*time.Second) // caches the keys and the event
	require.Equal(t, "COMPLETED", order.PaymentStatus)
	// A service that started before auth-service may still be waiting for its first copy of the keys.
	_, err = demo.Await(t.Context(), func() (demo.Sales, error) {
		return b.Sales(t.Context(), b.organizer, b.event.EventID)
	}, func(demo.Sales) bool { return true })
	require.NoError(t, err)
	return b
}

// buys buys a ticket, and requires this status within this time.
func (b *bench) buys(status int, within time.Duration) demo.Order {
	b.t.Helper()
	start := time.Now()
	order, err := b.Buy(b.t.Context(), b.buyer, demo.Purchase{
		Event: b.event.EventID, TicketType: b.floor.TicketTypeID, Quantity: 1, Card: demo.GoodCard, Key: uuid.NewString(),
	})
	took := time.Since(start)
	b.t.Logf("%s: a purchase is answered %d after %s", b.t.Name(), b.last.StatusCode, took.Round(time.Millisecond))
	require.Equal(b.t, status, b.last.StatusCode, "%v", err)
	require.Less(b.t, took, within)
	if status == http.StatusServiceUnavailable {
		require.NotEmpty(b.t, b.last.Header.Get("Retry-After"))
		var refusal *demo.Refusal
		require.ErrorAs(b.t, err, &refusal)
		require.Equal(b.t, "SERVICE_UNAVAILABLE", refusal.Code)
	}
	return order
}

// reads requires that everything which does not need the stopped service can be read at once.
func (b *bench) reads(stopped string) {
	b.t.Helper()
	for app, read := range map[string]func() error{
		"payment-service": func() error {
			return b.Do(b.t.Context(), demo.Request{
				Method: http.MethodGet, App: "payment-service", Path: "/api/payments/orders", Token: b.buyer.Token,
			}, nil)
		},
		"ticket-service": func() error { _, err := b.Availability(b.t.Context(), b.event.EventID); return err },
		"event-service": func() error {
			return b.Do(b.t.Context(), demo.Request{
				Method: http.MethodGet, App: "event-service", Path: "/api/events/" + b.event.EventID.String(),
			}, nil)
		},
		"analytics-service": func() error { _, err := b.Sales(b.t.Context(), b.organizer, b.event.EventID); return err },
	} {
		if app == stopped {
			continue
		}
		start := time.Now()
		require.NoError(b.t, read(), "%s without %s", app, stopped)
		require.Less(b.t, time.Since(start), 2*time.Second, "%s without %s", app, stopped)
	}
}

// frozen runs during while an app is frozen with SIGSTOP.
func (b *bench) frozen(app string, during func()) {
	b.t.Helper()
	p := b.system.App(app).Process
	require.NoError(b.t, p.Pause())
	during()
	require.NoError(b.t, p.Resume())
	require.NoError(b.t, b.system.WaitHealthy(b.t.Context()))
}

// dead runs during while an app is killed.
func (b *bench) dead(app string, during func()) {
	b.t.Helper()
	p := b.system.App(app).Process
	require.NoError(b.t, p.Kill())
	during()
	require.NoError(b.t, p.Start())
	require.NoError(b.t, b.system.WaitHealthy(b.t.Context()))
}

// on runs a subtest with the bench.
func (b *bench) on(t *testing.T, name string, test func()) {
	t.Helper()
	require.True(t, t.Run(name, func(t *testing.T) {
		outer := b.t
		b.t = t
		defer func() { b.t = outer }()
		test()
	}))
}

// All outages, one after the other, happen to one system.
func TestBuyersGetTimelyAnswersDuringOutages(t *testing.T) {
	b := setup(t)
	b.on(t, "TokensAreAcceptedWithoutAuthService", func() {
		b.dead("auth-service", func() {
			b.reads("auth-service")
			b.buys(http.StatusCreated, 5*time.Second)
		})
	})
	b.on(t, "SalesContinueWithoutEventService", func() {
		b.dead("event-service", func() {
			b.reads("event-service")
			b.buys(http.StatusCreated, 5*time.Second)
		})
	})

	var pending []demo.Order
	b.on(t, "GatewayHangs", func() {
		b.frozen("payment-gateway", func() {
			pending = append(pending, b.buys(http.StatusAccepted, 15*time.Second))
			b.reads("payment-gateway")
		})
	})
	b.on(t, "GatewayDown", func() {
		b.dead("payment-gateway", func() { pending = append(pending, b.buys(http.StatusAccepted, 6*time.Second)) })
	})
	b.on(t, "PendingOrdersAreCompleted", func() {
		for _, o := range pending {
			_, err := demo.Await(t.Context(), func() (demo.Order, error) { return b.Order(t.Context(), b.buyer, o.OrderID) },
				func(o demo.Order) bool { return o.PaymentStatus == "COMPLETED" })
			require.NoError(t, err)
		}
	})

	b.on(t, "TicketServiceHangs", func() {
		b.frozen("ticket-service", func() {
			b.buys(http.StatusServiceUnavailable, 11*time.Second)
			b.reads("ticket-service")
		})
	})
	b.on(t, "TicketServiceDown", func() {
		b.dead("ticket-service", func() {
			b.buys(http.StatusServiceUnavailable, 5*time.Second)
			b.reads("ticket-service")
			for range 3 { // three attempts each are enough to open the breaker
				b.buys(http.StatusServiceUnavailable, 5*time.Second)
			}
			b.buys(http.StatusServiceUnavailable, time.Second) // the breaker is open, so the answer is immediate
		})
	})
}

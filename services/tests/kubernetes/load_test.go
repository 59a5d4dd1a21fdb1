//go:build kubernetes

package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// shoppers are buyers who buy one ticket after the other.
type shoppers struct {
	people demo.Client
	event  demo.Event
	ticket demo.TicketType

	mu       sync.Mutex
	orders   []purchase
	pending  int      // orders whose payment was not completed in the answer
	failures []string // failed attempts, each of which was retried
}

type purchase struct {
	buyer demo.Person
	order uuid.UUID
}

const buyers = 4

const (
	// buyTimeout is how long a buyer retries an order.
	buyTimeout = 5 * time.Minute
	// settlingTime is longer than the 5 minutes for which a saga without an answer waits at most before it retries.
	settlingTime = 10 * time.Minute
)

// during runs do while buyers buy. Afterwards it waits until all orders are completed, and returns the buyers' outcome.
func (c *cluster) during(ctx context.Context, t *testing.T, do func()) *shoppers {
	t.Helper()
	s := &shoppers{people: c.people}
	s.people.HTTP = &http.Client{Timeout: 30 * time.Second}
	organizer, err := s.people.Join(ctx, "Olivia", "Stone", true)
	require.NoError(t, err)
	s.event, err = s.people.Draft(ctx, organizer, "Stadium Festival")
	require.NoError(t, err)
	s.ticket, err = s.people.AddTicketType(ctx, organizer, s.event.EventID, "Floor", "49.50", 100_000)
	require.NoError(t, err)
	_, err = s.people.Publish(ctx, organizer, s.event.EventID)
	require.NoError(t, err)

	over, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, buyers)
	var active sync.WaitGroup
	for i := range buyers {
		buyer, err := s.people.Join(ctx, "Ben", "Ito", false)
		require.NoError(t, err)
		active.Go(func() { errs[i] = s.shop(ctx, over, buyer) })
	}
	do()
	stop()
	active.Wait()
	c.retried = s.failures
	require.NoError(t, errors.Join(errs...))
	require.NotEmpty(t, s.orders)

	settling, cancel := context.WithTimeout(ctx, settlingTime)
	defer cancel()
	for _, p := range s.orders {
		_, err := demo.Await(settling, func() (demo.Order, error) { return s.people.Order(ctx, p.buyer, p.order) },
			func(o demo.Order) bool { return o.PaymentStatus == "COMPLETED" })
		require.NoError(t, err, "order %s", p.order)
	}
	progress("%d purchases, all completed, %d of them after the answer; %d retries",
		len(s.orders), s.pending, len(s.failures))
	return s
}

// shop buys one ticket after the other until over is done.
func (s *shoppers) shop(ctx, over context.Context, buyer demo.Person) error {
	for over.Err() == nil {
		if err := s.buy(ctx, buyer); err != nil {
			return err
		}
		_ = pause(over, 100*time.Millisecond) // between purchases
	}
	return nil
}

// buy places an order, and retries it with the same idempotency key until there is an answer.
func (s *shoppers) buy(ctx context.Context, buyer demo.Person) error {
	order := demo.Purchase{
		Event: s.event.EventID, TicketType: s.ticket.TicketTypeID, Quantity: 1, Card: demo.GoodCard, Key: uuid.NewString(),
	}
	for began := time.Now(); ; {
		placed, err := s.people.Buy(ctx, buyer, order)
		s.mu.Lock()
		if err == nil {
			s.orders = append(s.orders, purchase{buyer, placed.OrderID})
			if placed.PaymentStatus != "COMPLETED" {
				s.pending++
			}
		} else {
			s.failures = append(s.failures, fmt.Sprintf("%s %v", time.Now().Format(time.TimeOnly), err))
		}
		s.mu.Unlock()
		if err == nil {
			return nil
		}
		if time.Since(began) > buyTimeout {
			return fmt.Errorf("no answer for %s: %w", buyTimeout, err)
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

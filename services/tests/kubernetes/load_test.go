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

// crowd are people who buy for as long as there is something to see.
type crowd struct {
	people demo.Client
	event  demo.Event
	ticket demo.TicketType

	mu       sync.Mutex
	orders   []purchase
	pending  int      // of the orders, those whose payment was not known at once
	failures []string // answers that were none, after which people asked again
}

type purchase struct {
	buyer demo.Person
	order uuid.UUID
}

const buyers = 4

const (
	// patience is how long somebody goes on asking for an answer.
	patience = 5 * time.Minute
	// A saga that met no answer waits for five minutes at most before it tries again.
	settlingTime = 10 * time.Minute
)

// during has people buy while something is done, and wants every purchase to come to its end. It gives how it was for them.
func (c *cluster) during(ctx context.Context, t *testing.T, do func()) *crowd {
	t.Helper()
	crowd := &crowd{people: c.people}
	crowd.people.HTTP = &http.Client{Timeout: 30 * time.Second}
	organizer, err := crowd.people.Join(ctx, "Olivia", "Stone", true)
	require.NoError(t, err)
	crowd.event, err = crowd.people.Draft(ctx, organizer, "Stadium Festival")
	require.NoError(t, err)
	crowd.ticket, err = crowd.people.AddTicketType(ctx, organizer, crowd.event.EventID, "Floor", "49.50", 100_000)
	require.NoError(t, err)
	_, err = crowd.people.Publish(ctx, organizer, crowd.event.EventID)
	require.NoError(t, err)

	over, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, buyers)
	var shopping sync.WaitGroup
	for i := range buyers {
		buyer, err := crowd.people.Join(ctx, "Ben", "Ito", false)
		require.NoError(t, err)
		shopping.Go(func() { errs[i] = crowd.shop(ctx, over, buyer) })
	}
	do()
	stop()
	shopping.Wait()
	c.unanswered = crowd.failures
	require.NoError(t, errors.Join(errs...))
	require.NotEmpty(t, crowd.orders)

	settling, cancel := context.WithTimeout(ctx, settlingTime)
	defer cancel()
	for _, p := range crowd.orders {
		_, err := demo.Await(settling, func() (demo.Order, error) { return crowd.people.Order(ctx, p.buyer, p.order) },
			func(o demo.Order) bool { return o.PaymentStatus == "COMPLETED" })
		require.NoError(t, err, "order %s", p.order)
	}
	say("%d purchases, all completed, %d of them not at once; %d times people had to ask again", len(crowd.orders), crowd.pending, len(crowd.failures))
	return crowd
}

// shop buys one ticket after the other until it is over.
func (c *crowd) shop(ctx, over context.Context, buyer demo.Person) error {
	for over.Err() == nil {
		if err := c.buy(ctx, buyer); err != nil {
			return err
		}
		_ = pause(over, 100*time.Millisecond) // people think
	}
	return nil
}

// buy places an order, under the same key again until there is an answer.
func (c *crowd) buy(ctx context.Context, buyer demo.Person) error {
	order := demo.Purchase{
		Event: c.event.EventID, TicketType: c.ticket.TicketTypeID, Quantity: 1, Card: demo.GoodCard, Key: uuid.NewString(),
	}
	for began := time.Now(); ; {
		placed, err := c.people.Buy(ctx, buyer, order)
		c.mu.Lock()
		if err == nil {
			c.orders = append(c.orders, purchase{buyer, placed.OrderID})
			if placed.PaymentStatus != "COMPLETED" {
				c.pending++
			}
		} else {
			c.failures = append(c.failures, fmt.Sprintf("%s %v", time.Now().Format(time.TimeOnly), err))
		}
		c.mu.Unlock()
		if err == nil {
			return nil
		}
		if time.Since(began) > patience {
			return fmt.Errorf("no answer for %s: %w", patience, err)
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

func TestSameIdempotencyKeyIsOneOrder(t *testing.T) {
	t.Parallel()
	s := newSale(t, 10)
	purchase := s.purchase(1, demo.GoodCard)
	var mu sync.Mutex
	orders := map[uuid.UUID]bool{}
	var retries errgroup.Group
	for range 8 {
		retries.Go(func() error {
			order, err := s.Buy(t.Context(), s.buyer, purchase)
			mu.Lock()
			defer mu.Unlock()
			orders[order.OrderID] = true
			return err
		})
	}
	require.NoError(t, retries.Wait())
	again, err := s.Buy(t.Context(), s.buyer, purchase)
	require.NoError(t, err)
	require.Equal(t, "COMPLETED", again.PaymentStatus)
	require.Equal(t, map[uuid.UUID]bool{again.OrderID: true}, orders)
	require.Len(t, charges(t, again.OrderID), 1)
	s.fulfilled(t.Context(), t, again.OrderID, 1)
	require.Equal(t, 9, s.available(t))

	purchase.Quantity = 2
	require.Equal(t, "IDEMPOTENCY_KEY_REUSED", refusal(t, s.Client, purchase.Request(s.buyer)).Code)
	require.Equal(t, 9, s.available(t))
}

func TestNeverOversold(t *testing.T) {
	t.Parallel()
	const capacity, buyers = 3, 9
	s := newSale(t, capacity)
	var mu sync.Mutex
	var sold []uuid.UUID
	refusals := map[string]int{}
	var rush errgroup.Group
	for range buyers {
		rush.Go(func() error {
			order, err := s.Buy(t.Context(), s.buyer, s.purchase(1, demo.GoodCard))
			mu.Lock()
			defer mu.Unlock()
			if refused, ok := errors.AsType[*demo.Refusal](err); ok {
				refusals[refused.Code]++
				return nil
			}
			sold = append(sold, order.OrderID)
			return err
		})
	}
	require.NoError(t, rush.Wait())
	require.Len(t, sold, capacity)
	require.Equal(t, map[string]int{"INSUFFICIENT_INVENTORY": buyers - capacity}, refusals)
	require.Zero(t, s.available(t))
	for _, order := range sold {
		require.Len(t, charges(t, order), 1)
	}
	_, err := demo.Await(t.Context(), func() ([]demo.Ticket, error) { return s.Tickets(t.Context(), s.buyer) },
		func(got []demo.Ticket) bool { return len(got) == capacity })
	require.NoError(t, err)
}

// redeliveryTimeout is longer than the 60 s for which ticket-processing-queue hides a message after a failed delivery.
const redeliveryTimeout = 100 * time.Second

func TestPurchaseSurvivesTheDeathOfTicketService(t *testing.T) {
	s := newSale(t, 5)
	ctx, cancel := context.WithTimeout(t.Context(), redeliveryTimeout)
	defer cancel()

	// The charge takes two seconds, so that ticket-service dies between the reservation and the payment.
	reset := setFaults(t, map[string]any{"method": http.MethodPost, "delayMs": 2000})
	var order demo.Order
	var buying errgroup.Group
	buying.Go(func() (err error) {
		order, err = s.Buy(ctx, s.buyer, s.purchase(2, demo.GoodCard))
		return err
	})
	_, err := demo.Await(ctx, func() (demo.Availability, error) { return s.Availability(ctx, s.event.EventID) },
		func(a demo.Availability) bool { return a.Of(s.tickets.TicketTypeID) == 3 })
	require.NoError(t, err)
	tickets := system.App("ticket-service").Process
	require.NoError(t, tickets.Kill())
	require.NoError(t, buying.Wait())
	require.Equal(t, "COMPLETED", order.PaymentStatus)
	reset()

	require.NoError(t, tickets.Start())
	require.NoError(t, system.WaitHealthy(ctx))
	t.Parallel() // all processes are up again, but the queue may still hide the message

	// The tests that ran meanwhile used up part of the first timeout.
	ctx, cancel = context.WithTimeout(t.Context(), redeliveryTimeout)
	defer cancel()
	s.fulfilled(ctx, t, order.OrderID, 2)
	require.Equal(t, 3, s.available(t))
	require.Len(t, charges(t, order.OrderID), 1)
}

func TestLostAnswersChargeOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		lost int
	}{
		{"SidecarRetries", 1},
		// The two attempts of the sidecar and the first of the saga's own.
		{"SagaRetriesLater", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSale(t, 5)
			ctx, cancel := context.WithTimeout(t.Context(), redeliveryTimeout)
			defer cancel()
			setFaults(t, map[string]any{"method": http.MethodPost, "loseAnswer": tt.lost})
			order, trace, err := s.buyTraced(ctx, 2)
			require.NoError(t, err)
			if tt.lost > 1 {
				require.Equal(t, "PENDING", order.PaymentStatus, "the outcome of the charge is unknown")
			}
			_, err = demo.Await(ctx, func() (demo.Order, error) { return s.Order(ctx, s.buyer, order.OrderID) },
				func(o demo.Order) bool { return o.PaymentStatus == "COMPLETED" })
			require.NoError(t, err)
			require.Len(t, charges(t, order.OrderID), 1)
			s.fulfilled(ctx, t, order.OrderID, 2)
			require.Equal(t, 3, s.available(t))
			requireTree(t, trace, map[string][]string{"the mail": mailed()}) // also if the sweeper resumed the saga
		})
	}
}

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

func TestTheSameKeyIsTheSameOrder(t *testing.T) {
	t.Parallel()
	s := newSale(t, 10)
	purchase := s.purchase(1, demo.GoodCard)
	var mu sync.Mutex
	orders := map[uuid.UUID]bool{}
	var impatient errgroup.Group
	for range 8 {
		impatient.Go(func() error {
			order, err := s.Buy(t.Context(), s.buyer, purchase)
			mu.Lock()
			defer mu.Unlock()
			orders[order.OrderID] = true
			return err
		})
	}
	require.NoError(t, impatient.Wait())
	again, err := s.Buy(t.Context(), s.buyer, purchase)
	require.NoError(t, err)
	require.Equal(t, "COMPLETED", again.PaymentStatus)
	require.Equal(t, map[uuid.UUID]bool{again.OrderID: true}, orders)
	require.Len(t, charged(t, again.OrderID), 1)
	s.fulfilled(t.Context(), t, again.OrderID, 1)
	require.Equal(t, 9, s.left(t))

	purchase.Quantity = 2
	require.Equal(t, "IDEMPOTENCY_KEY_REUSED", refusal(t, s.Client, purchase.Request(s.buyer)).Code)
	require.Equal(t, 9, s.left(t))
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
	require.Zero(t, s.left(t))
	for _, order := range sold {
		require.Len(t, charged(t, order), 1)
	}
	_, err := demo.Await(t.Context(), func() ([]demo.Ticket, error) { return s.Tickets(t.Context(), s.buyer) },
		func(got []demo.Ticket) bool { return len(got) == capacity })
	require.NoError(t, err)
}

// Longer than the 60 s for which ticket-processing-queue hides a message that met a dead app.
const longerThanTheQueueHides = 100 * time.Second

func TestTicketsSurviveTheDeathOfTicketService(t *testing.T) {
	s := newSale(t, 5)
	ctx, cancel := context.WithTimeout(t.Context(), longerThanTheQueueHides)
	defer cancel()

	// The charge takes its time, so that the death comes between the hold and the payment.
	reset := switches(t, map[string]any{"method": http.MethodPost, "delayMs": 2000})
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
	t.Parallel() // nothing is broken any more, and the queue may still hide the message

	// Others may have taken their time meanwhile.
	ctx, cancel = context.WithTimeout(t.Context(), longerThanTheQueueHides)
	defer cancel()
	s.fulfilled(ctx, t, order.OrderID, 2)
	require.Equal(t, 3, s.left(t))
	require.Len(t, charged(t, order.OrderID), 1)
}

func TestAnAnswerLostAfterTheChargeChargesOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		lost int
	}{
		{"AndTheSidecarAsksAgain", 1},
		// The sidecar's two attempts and the first of the saga's own.
		{"AndTheSagaGoesOnLater", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSale(t, 5)
			ctx, cancel := context.WithTimeout(t.Context(), longerThanTheQueueHides)
			defer cancel()
			switches(t, map[string]any{"method": http.MethodPost, "loseAnswer": tt.lost})
			order, trace, err := s.buyTraced(ctx, 2)
			require.NoError(t, err)
			if tt.lost > 1 {
				require.Equal(t, "PENDING", order.PaymentStatus, "nobody guesses")
			}
			_, err = demo.Await(ctx, func() (demo.Order, error) { return s.Order(ctx, s.buyer, order.OrderID) },
				func(o demo.Order) bool { return o.PaymentStatus == "COMPLETED" })
			require.NoError(t, err)
			require.Len(t, charged(t, order.OrderID), 1)
			s.fulfilled(ctx, t, order.OrderID, 2)
			require.Equal(t, 3, s.left(t))
			requireTree(t, trace, map[string][]string{"the mail": mailed()}) // whoever went on
		})
	}
}

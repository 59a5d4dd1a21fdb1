package saga_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

func TestPurchaseChargesOnceAndGetsTickets(t *testing.T) {
	b := setup(t)
	id := b.place(t, sagatest.GoodCard)
	o, err := b.saga.Drive(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, order.Completed, o.Status)
	require.Equal(t, order.Fulfil, o.Step)
	require.Equal(t, money.Of(10000, "USD"), o.Total)
	require.NotEmpty(t, o.TransactionID)
	require.WithinDuration(t, time.Now(), o.CompletedAt, time.Minute)

	b.deliver(t, id)
	require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
	require.Equal(t, capacity-quantity, b.services.Left(b.typeID))
	require.Equal(t, []string{
		"ORDER_CREATED COMPLETED", "TICKETS_RESERVED COMPLETED", "PAYMENT_STARTED PENDING",
		"PAYMENT_COMPLETED COMPLETED", "TICKETS_GENERATED COMPLETED",
	}, b.history(t, id))
}

// A charge waits for the pacer. An order that cannot wait that long stays at CHARGE for the sweeper.
func TestChargesWaitForThePacer(t *testing.T) {
	b := setup(t)
	first, second := b.place(t, sagatest.GoodCard), b.place(t, sagatest.GoodCard)
	b.saga.Charges = admission.NewPacer(time.Hour, b.store.TakeChargeSlots)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := b.saga.Drive(ctx, first)
	require.NoError(t, err)
	o, err := b.saga.Drive(ctx, second)
	require.ErrorIs(t, err, saga.ErrUnsettled)
	require.Equal(t, order.Charge, o.Step)
	charged, _ := b.services.Money(second)
	require.Empty(t, charged)

	b.exec(t.Context(), t, `TRUNCATE charge_pace`)
	b.saga.Charges = admission.NewPacer(200*time.Millisecond, b.store.TakeChargeSlots)
	require.NoError(t, b.saga.Charges.Wait(t.Context()))
	start := time.Now()
	b.timeOut(t)
	require.NoError(t, b.sweep(t.Context(), second))
	require.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)
	b.deliver(t, second)
	require.Equal(t, order.Completed, b.requirePromises(t, second).Status)
}

func TestFreeOrderIsNotCharged(t *testing.T) {
	b := setup(t)
	b.newType(0)
	id := b.place(t, sagatest.DeclinedCard) // no charge is made
	o, err := b.saga.Drive(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, order.Completed, o.Status)
	require.Equal(t, money.Of(0, "USD"), o.Total)
	b.deliver(t, id)
	b.requirePromises(t, id)

	t.Run("SoldOutBeforeFulfilment", func(t *testing.T) {
		id := b.place(t, sagatest.GoodCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.NoError(t, err)
		b.services.ExpireAndSellOut(b.typeID)
		b.settle(t, id, b.sweep)
		require.Equal(t, order.Refunded, b.requirePromises(t, id).Status)
	})
}

func TestOrderFailsIfTicketServiceRefuses(t *testing.T) {
	b := setup(t)
	for _, refusal := range []*problem.Error{
		problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available"),
		problem.New(problem.Conflict, "EVENT_NOT_ON_SALE", "The event is not on sale"),
		problem.New(problem.Conflict, "RESERVATION_ENDED", "The reservation was released or has expired"),
		problem.New(problem.NotFound, "EVENT_NOT_FOUND", "No such event"),
		problem.New(problem.NotFound, "TICKET_TYPE_NOT_FOUND", "This event has no such ticket type"),
		problem.Field("ticketRequests", "ticketRequests must have 1 to 20 entries"),
	} {
		t.Run(refusal.Code, func(t *testing.T) {
			b.services.Next(sagatest.Reserve, sagatest.Refused(refusal))
			id := b.place(t, sagatest.GoodCard)
			o, err := b.saga.Drive(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, order.Failed, o.Status)
			require.Equal(t, order.Failure{Code: refusal.Code, Message: refusal.Message}, o.Failure)
			b.requirePromises(t, id)
			require.Equal(t, []string{"ORDER_CREATED COMPLETED", "RESERVATION_REFUSED FAILED"}, b.history(t, id))
		})
	}
}

func TestOrderFailsAndReleasesItsTicketsIfTheChargeIsDeclined(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name, card string
		fault      sagatest.Fault // nil for the card's own outcome
		failure    order.Failure
	}{
		{
			"Declined", sagatest.DeclinedCard, nil,
			order.Failure{Code: "INSUFFICIENT_FUNDS", Message: "Your card has insufficient funds."},
		},
		{
			"UnknownPaymentMethod", "pm_card_unknown", nil,
			order.Failure{
				Code: "UNKNOWN_PAYMENT_METHOD", Message: "The card processor does not know this payment method",
			},
		},
		{
			"DeclinedRetryable", sagatest.GoodCard,
			sagatest.Answered(calls.ChargeAnswer{
				Status: calls.GatewayDeclined, DeclineCode: "PROCESSING_ERROR", Message: "Try again.", Retryable: true,
			}),
			order.Failure{Code: "PROCESSING_ERROR", Message: "Try again.", Retryable: true},
		},
		{
			"RequestRefused", sagatest.GoodCard,
			sagatest.Refused(problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED", "Refused")),
			order.Failure{Code: "PAYMENT_REQUEST_REFUSED", Message: "Refused"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.fault != nil {
				b.services.Next(sagatest.Charge, tt.fault)
			}
			id := b.place(t, tt.card)
			o, err := b.saga.Drive(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, order.Failed, o.Status)
			require.Equal(t, tt.failure, o.Failure)
			b.deliver(t, id)
			b.requirePromises(t, id)
			require.Equal(t, capacity, b.services.Left(b.typeID))
			require.Equal(t, []string{
				"ORDER_CREATED COMPLETED", "TICKETS_RESERVED COMPLETED", "PAYMENT_STARTED PENDING",
				"PAYMENT_DECLINED FAILED", "RESERVATION_RELEASED COMPENSATED",
			}, b.history(t, id))
		})
	}
}

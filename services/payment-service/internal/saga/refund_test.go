package saga_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// bought returns a done order with its tickets.
func (b *bundle) bought(t *testing.T) uuid.UUID {
	t.Helper()
	id := b.place(t, sagatest.GoodCard)
	_, err := b.saga.Drive(t.Context(), id)
	require.NoError(t, err)
	b.deliver(t, id)
	require.Equal(t, order.Done, b.order(t, id).Step)
	return id
}

// kinds are the kinds of refunds, by name.
var kinds = map[string]func(b *bundle, id uuid.UUID) refund.Refund{
	"Whole": func(*bundle, uuid.UUID) refund.Refund { return refund.Refund{Whole: true} },
	"Ticket": func(b *bundle, id uuid.UUID) refund.Refund {
		return refund.Refund{TicketIDs: b.services.TicketIDs(id)[:1]}
	},
	"Amount": func(*bundle, uuid.UUID) refund.Refund { return refund.Refund{Amount: money.Of(1234, "USD")} },
}

// request stores a refund of the order and leases it, as an organizer's request does before it drives the refund.
func (b *bundle) request(ctx context.Context, t *testing.T, id uuid.UUID, r refund.Refund) uuid.UUID {
	t.Helper()
	r.ID, r.OrderID, r.RequestedBy, r.Reason = uuid.New(), id, uuid.New(), "Cannot come"
	stored, created, err := b.store.CreateRefund(ctx, r, uuid.NewString(), []byte("hash"))
	require.NoError(t, err)
	require.True(t, created)
	return stored
}

func (b *bundle) refund(t *testing.T, id uuid.UUID) refund.Refund {
	t.Helper()
	r, err := b.store.Refund(t.Context(), id)
	require.NoError(t, err)
	return r
}

// settleRefunds resumes the order's refunds until they are done.
func (b *bundle) settleRefunds(t *testing.T, id uuid.UUID, resume func(ctx context.Context, id uuid.UUID) error) {
	t.Helper()
	for range 20 {
		left, err := b.unfinished(t.Context(), id)
		require.NoError(t, err)
		if len(left) == 0 {
			return
		}
		b.timeOut(t)
		if err := resume(t.Context(), id); err != nil {
			require.ErrorIs(t, err, saga.ErrUnsettled)
		}
	}
	require.Fail(t, "the refunds are not done")
}

// requireBooks asserts what must be true of an order whose refunds are done, whatever happened before: each successful
// refund was made once, their sum is not more than the charge, each was published once, and exactly their tickets
// are cancelled.
func (b *bundle) requireBooks(t *testing.T, id uuid.UUID) order.Order {
	t.Helper()
	o := b.order(t, id)
	refunds, err := b.store.RefundsOf(t.Context(), id, paging.Page{Limit: 100})
	require.NoError(t, err)
	sum := money.Of(0, o.Total.Currency)
	var amounts []money.Decimal
	wantPublished := []string{"PAYMENT_COMPLETED"}
	cancelled := map[uuid.UUID]bool{}
	for _, r := range refunds {
		require.Equal(t, refund.Done, r.Step)
		require.NotEqual(t, refund.Pending, r.Status)
		if r.Status == refund.Failed {
			continue
		}
		sum = sum.Plus(r.Amount)
		if r.Amount.Minor > 0 {
			amounts = append(amounts, r.Amount.Decimal())
		}
		wantPublished = append(wantPublished, "REFUND_PROCESSED")
		for _, ticket := range r.TicketIDs {
			require.False(t, cancelled[ticket], "a ticket was refunded twice")
			cancelled[ticket] = true
		}
	}
	require.LessOrEqual(t, sum.Minor, o.Total.Minor)
	require.Equal(t, sum, o.Refunded)
	require.Equal(t, sum == o.Total, o.Status == order.Refunded)
	charged, refunded := b.services.Money(id)
	require.Equal(t, []money.Decimal{o.Total.Decimal()}, charged)
	require.ElementsMatch(t, amounts, refunded)
	published, bodies := b.outbox(t, id)
	published = slices.DeleteFunc(published, func(eventType string) bool {
		return eventType == "COMPENSATION_FAILED" || eventType == "REFUND_FAILED"
	})
	require.Equal(t, wantPublished, published)
	require.Equal(t, quantity-len(cancelled), b.services.Tickets(id)[b.typeID])
	require.Equal(t, capacity-quantity+len(cancelled), b.services.Left(b.typeID))

	if len(bodies) > 1 {
		var last struct {
			Data struct {
				Payload struct {
					RefundedTotal money.Decimal
					OrderRefunded bool
				}
			}
		}
		require.NoError(t, json.Unmarshal(bodies[len(bodies)-1], &last))
		require.Equal(t, o.Refunded.Decimal(), last.Data.Payload.RefundedTotal)
		require.Equal(t, o.Status == order.Refunded, last.Data.Payload.OrderRefunded)
	}
	return o
}

func TestRefundCancelsTicketsThenReturnsMoney(t *testing.T) {
	b := setup(t)
	for name, tt := range map[string]struct {
		cents  int64
		status order.Status
		events []string
	}{
		"Whole": {10000, order.Refunded, []string{
			"REFUND_REQUESTED PENDING", "TICKETS_CANCELLED COMPENSATED", "PAYMENT_REFUNDED COMPENSATED",
		}},
		"Ticket": {5000, order.Completed, []string{
			"REFUND_REQUESTED PENDING", "TICKETS_CANCELLED COMPENSATED", "PAYMENT_REFUNDED COMPENSATED",
		}},
		"Amount": {1234, order.Completed, []string{"REFUND_REQUESTED PENDING", "PAYMENT_REFUNDED COMPENSATED"}},
	} {
		t.Run(name, func(t *testing.T) {
			b.newType(5000)
			id := b.bought(t)
			before := b.history(t, id)
			r, err := b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, kinds[name](b, id)))
			require.NoError(t, err)
			require.Equal(t, refund.Succeeded, r.Status)
			require.Equal(t, money.Of(tt.cents, "USD"), r.Amount)
			o := b.requireBooks(t, id)
			require.Equal(t, tt.status, o.Status)
			require.Equal(t, order.Done, o.Step)
			require.Equal(t, tt.events, b.history(t, id)[len(before):])
		})
	}

	t.Run("InParts", func(t *testing.T) {
		b.newType(5000)
		id := b.bought(t)
		for _, name := range []string{"Amount", "Ticket", "Amount", "Whole"} {
			_, err := b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, kinds[name](b, id)))
			require.NoError(t, err)
			require.Equal(t, name == "Whole", b.requireBooks(t, id).Status == order.Refunded)
		}
		charged, refunded := b.services.Money(id)
		require.Equal(t, []money.Decimal{"100.00"}, charged)
		require.ElementsMatch(t, []money.Decimal{"12.34", "50.00", "12.34", "25.32"}, refunded)
	})
	t.Run("Free", func(t *testing.T) {
		b.newType(0)
		id := b.bought(t)
		_, err := b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, kinds["Ticket"](b, id)))
		require.NoError(t, err)
		require.Equal(t, order.Completed, b.order(t, id).Status, "one ticket of a free order is not the whole order")
		_, err = b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, kinds["Whole"](b, id)))
		require.NoError(t, err)
		require.Equal(t, order.Refunded, b.order(t, id).Status)
		require.Empty(t, b.services.Tickets(id))
	})
}

// A refund that is refused ends FAILED, and its amount and tickets can be refunded by another one.
func TestRefusedRefundEndsFailed(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name  string
		call  sagatest.Call
		fault sagatest.Fault
		code  string
	}{
		{
			"TicketUsed", sagatest.Cancel,
			sagatest.Refused(problem.New(problem.Conflict, "TICKET_USED", "Used")), "TICKET_USED",
		},
		{
			"TicketOfAnotherOrder", sagatest.Cancel,
			sagatest.Refused(problem.New(problem.NotFound, "TICKET_NOT_FOUND", "None")), "TICKET_NOT_FOUND",
		},
		{
			"CancellationInvalid", sagatest.Cancel,
			sagatest.Refused(problem.Field("reason", "reason must have no control characters")), "VALIDATION_ERROR",
		},
		{
			"CancellationConflict", sagatest.Cancel,
			sagatest.Refused(problem.New(problem.Conflict, "ORDER_REFUSED", "No")), "ORDER_REFUSED",
		},
		{
			"BankRefuses", sagatest.Refund,
			sagatest.Answered(calls.RefundAnswer{
				Status: calls.GatewayFailed, FailureCode: "LOST_OR_STOLEN_CARD", Message: "Lost",
			}), "LOST_OR_STOLEN_CARD",
		},
		{
			"BankRefusesWithoutReason", sagatest.Refund,
			sagatest.Answered(calls.RefundAnswer{Status: calls.GatewayFailed}), "REFUND_REFUSED",
		},
		{
			"AmountRefused", sagatest.Refund,
			sagatest.Refused(problem.New(problem.Invalid, "UNSUPPORTED_AMOUNT", "No")), "UNSUPPORTED_AMOUNT",
		},
		{
			"RequestRefused", sagatest.Refund,
			sagatest.Refused(problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED", "No")),
			"PAYMENT_REQUEST_REFUSED",
		},
		{
			"UnknownTransaction", sagatest.Refund,
			sagatest.Refused(problem.New(problem.NotFound, "UNKNOWN_TRANSACTION", "No")), "UNKNOWN_TRANSACTION",
		},
		{
			"KeyReused", sagatest.Refund,
			sagatest.Refused(problem.New(problem.Conflict, "KEY_REUSED", "No")), "KEY_REUSED",
		},
	} {
		for kind := range kinds {
			if tt.call == sagatest.Cancel && kind == "Amount" {
				continue
			}
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				b.newType(5000)
				id := b.bought(t)
				b.services.Next(tt.call, tt.fault)
				r, err := b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, kinds[kind](b, id)))
				require.NoError(t, err)
				require.Equal(t, refund.Failed, r.Status)
				require.Equal(t, tt.code, r.Failure.Code)
				o := b.order(t, id)
				require.Equal(t, order.Completed, o.Status)
				require.Zero(t, o.Refunded.Minor)
				_, refunded := b.services.Money(id)
				require.Empty(t, refunded)
				published, _ := b.outbox(t, id)
				want := []string{"PAYMENT_COMPLETED"}
				if tt.call == sagatest.Refund { // to the buyer and to operations
					want = append(want, "REFUND_FAILED", "COMPENSATION_FAILED")
				}
				require.Equal(t, want, published)
				if tt.call == sagatest.Cancel {
					require.Equal(t, quantity, b.services.Tickets(id)[b.typeID], "no ticket is cancelled")
				}

				_, err = b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, refund.Refund{Whole: true}))
				require.NoError(t, err)
				require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
			})
		}
	}

	// The order has no tickets, and the bank refuses its refund. The order is done, and a person can request another
	// refund.
	t.Run("RequestedByTheSaga", func(t *testing.T) {
		b.newType(5000)
		id := b.orderAt(t, sagatest.Refund)
		b.services.Next(sagatest.Refund, sagatest.Answered(calls.RefundAnswer{
			Status: calls.GatewayFailed, FailureCode: "LOST_OR_STOLEN_CARD",
		}))
		require.NoError(t, b.sweep(t.Context(), id))
		o := b.order(t, id)
		require.Equal(t, order.Completed, o.Status)
		require.Equal(t, order.Done, o.Step)
		require.Equal(t, "INSUFFICIENT_INVENTORY", o.Failure.Code)

		refused := sagatest.Refused(problem.New(problem.NotFound, "TICKET_NOT_FOUND", "There are none"))
		b.services.Next(sagatest.Cancel, refused)
		_, err := b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, refund.Refund{Whole: true}))
		require.NoError(t, err)
		require.Equal(t, 1, b.services.UnusedFaults(), "ticket-service was not asked to cancel tickets that do not exist")
		require.Equal(t, order.Refunded, b.order(t, id).Status)
	})
	// A person refunded the charge in Stripe's dashboard.
	t.Run("RefundedAlready", func(t *testing.T) {
		b.newType(5000)
		id := b.orderAt(t, sagatest.Refund)
		b.services.Next(sagatest.Refund, sagatest.Answered(calls.RefundAnswer{
			Status: calls.GatewayFailed, FailureCode: calls.FailureAlreadyRefunded,
		}))
		require.NoError(t, b.sweep(t.Context(), id))
		require.Equal(t, order.Refunded, b.order(t, id).Status)
	})
	t.Run("UsedAfterTheRequest", func(t *testing.T) {
		b.newType(5000)
		id := b.bought(t)
		refundID := b.request(t.Context(), t, id, refund.Refund{Whole: true})
		b.services.UseTicket(b.services.TicketIDs(id)[0])
		r, err := b.saga.DriveRefund(t.Context(), refundID)
		require.NoError(t, err)
		require.Equal(t, "TICKET_USED", r.Failure.Code)
		require.Equal(t, order.Completed, b.requireBooks(t, id).Status)
	})
}

// The events that a sweep publishes have the trace of the request that caused them: of the purchase or of the refund.
func TestSweepKeepsTheTraceOfTheRequest(t *testing.T) {
	b := setup(t)
	under := func(name string) context.Context {
		return telemetry.With(t.Context(), telemetry.Trace{
			CorrelationID: name, Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "vendor=1",
		})
	}
	sweeper := telemetry.With(t.Context(), telemetry.Trace{
		Parent: "00-00000000000000000000000000000001-0000000000000001-01",
	})
	origins := func(id uuid.UUID) map[string]string {
		_, bodies := b.outbox(t, id)
		found := map[string]string{}
		for _, body := range bodies {
			var e struct{ Type, CorrelationID, TraceParent string }
			require.NoError(t, json.Unmarshal(body, &e))
			require.Equal(t, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", e.TraceParent)
			found[e.Type] = e.CorrelationID
		}
		return found
	}
	place := func() uuid.UUID {
		b.newType(5000)
		id, _, err := b.store.Create(under("purchase"), order.Order{
			ID: uuid.New(), UserID: uuid.New(), EventID: b.event, ReservationID: uuid.New(), HolderName: "Ann O'Hara",
			Items:  []order.Item{{TicketTypeID: b.typeID, Quantity: quantity}},
			Method: order.CreditCard, PaymentToken: sagatest.GoodCard,
		}, uuid.NewString(), []byte("hash"))
		require.NoError(t, err)
		b.services.Next(sagatest.Charge, sagatest.ResponseLost)
		_, err = b.saga.Drive(under("purchase"), id)
		require.ErrorIs(t, err, saga.ErrUnsettled)
		return id
	}
	sweep := func() {
		b.timeOut(t)
		_, err := b.saga.Sweep(sweeper)
		require.NoError(t, err)
	}

	t.Run("Purchase", func(t *testing.T) {
		id := place()
		b.services.ExpireAndSellOut(b.typeID)
		sweep()
		b.deliver(t, id)
		sweep()
		require.Equal(t,
			map[string]string{"PAYMENT_COMPLETED": "purchase", "REFUND_PROCESSED": "purchase"}, origins(id))
	})
	t.Run("Refund", func(t *testing.T) {
		id := place()
		sweep()
		b.deliver(t, id)
		b.request(under("refund"), t, id, refund.Refund{Whole: true})
		sweep()
		require.Equal(t,
			map[string]string{"PAYMENT_COMPLETED": "purchase", "REFUND_PROCESSED": "refund"}, origins(id))
	})
}

// A refund of the whole price, even as an amount, leaves no ticket that could still be used.
func TestRefundOfTheWholePriceAsAnAmountCancelsTheTickets(t *testing.T) {
	b := setup(t)
	id := b.bought(t)
	b.services.UseTicket(b.services.TicketIDs(id)[0])
	r, err := b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, refund.Refund{Amount: money.Of(10000, "USD")}))
	require.NoError(t, err)
	require.Equal(t, refund.Succeeded, r.Status)
	require.Equal(t, order.Refunded, b.order(t, id).Status)
	require.Equal(t, map[uuid.UUID]int{b.typeID: 1}, b.services.Tickets(id), "only the used ticket is left")
}

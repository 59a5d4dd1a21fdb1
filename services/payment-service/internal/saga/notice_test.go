package saga_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// succeeded returns a notice that the charge of the order succeeded.
func succeeded(id uuid.UUID) calls.WebhookEvent {
	return calls.WebhookEvent{
		ID: "evt_" + uuid.NewString(), Type: "payment_intent.succeeded", Status: calls.GatewaySucceeded,
		AttemptKey: order.Order{ID: id}.AttemptKey(), OrderID: id.String(), TransactionID: "pi_1",
	}
}

// declined returns a notice that the charge of the order was declined.
func declined(id uuid.UUID) calls.WebhookEvent {
	n := succeeded(id)
	n.Type, n.Status = "payment_intent.payment_failed", calls.GatewayDeclined
	n.DeclineCode, n.Message = "INSUFFICIENT_FUNDS", "Your card has insufficient funds."
	return n
}

// notify handles a genuine webhook with the notice.
func (b *bundle) notify(ctx context.Context, t *testing.T, n calls.WebhookEvent) error {
	t.Helper()
	body, err := json.Marshal(n)
	require.NoError(t, err)
	return b.saga.Notice(ctx, string(body), sagatest.GenuineSignature)
}

// everything returns all rows of orders, refunds and events as text.
func (b *bundle) everything(t *testing.T) string {
	t.Helper()
	var all string
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT concat_ws(E'\n', (SELECT string_agg(o::text, E'\n' ORDER BY id) FROM orders o),
		                        (SELECT string_agg(r::text, E'\n' ORDER BY id) FROM refunds r),
		                        (SELECT string_agg(e::text, E'\n' ORDER BY position) FROM saga_events e),
		                        (SELECT string_agg(x::text, E'\n' ORDER BY position) FROM outbox x))`).Scan(&all))
	return all
}

// A notice moves an order whose charge has no outcome yet, as the response to the charge would.
func TestNoticeMovesTheOrder(t *testing.T) {
	b := setup(t)
	t.Run("Succeeded", func(t *testing.T) {
		id := b.orderAt(t, sagatest.Charge) // the card was charged and the response lost
		require.NoError(t, b.notify(t.Context(), t, succeeded(id)))
		o := b.order(t, id)
		require.Equal(t, order.Fulfil, o.Step)
		require.Equal(t, order.Completed, o.Status)
		require.Equal(t, "pi_1", o.TransactionID)
		b.deliver(t, id)
		b.requirePromises(t, id)
	})
	t.Run("Declined", func(t *testing.T) {
		b.newType(5000)
		b.services.Next(sagatest.Charge, sagatest.ResponseLost)
		id := b.place(t, sagatest.DeclinedCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.ErrorIs(t, err, saga.ErrUnsettled)
		require.NoError(t, b.notify(t.Context(), t, declined(id)))
		o := b.requirePromises(t, id) // without a sweep
		require.Equal(t,
			order.Failure{Code: "INSUFFICIENT_FUNDS", Message: "Your card has insufficient funds."}, o.Failure)
		require.Equal(t, capacity, b.services.Left(b.typeID))
	})
	t.Run("DeclinedAndReleaseFails", func(t *testing.T) {
		b.newType(5000)
		b.services.Next(sagatest.Charge, sagatest.ResponseLost)
		b.services.Next(sagatest.Release, sagatest.CallLost)
		id := b.place(t, sagatest.DeclinedCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.ErrorIs(t, err, saga.ErrUnsettled)
		require.NoError(t, b.notify(t.Context(), t, declined(id)), "the notice has taken effect")
		b.settle(t, id, b.sweep)
		b.requirePromises(t, id)
	})
	t.Run("BeforeTheResponse", func(t *testing.T) {
		for name, tt := range map[string]struct {
			card   string
			notice func(uuid.UUID) calls.WebhookEvent
			status order.Status
		}{
			"Succeeded": {sagatest.GoodCard, succeeded, order.Completed},
			"Declined":  {sagatest.DeclinedCard, declined, order.Failed},
		} {
			t.Run(name, func(t *testing.T) {
				b.newType(5000)
				id := b.place(t, tt.card)
				b.services.Next(sagatest.Charge, func(ctx context.Context, act func() (any, error)) (any, error) {
					answer, err := act()
					require.NoError(t, b.notify(ctx, t, tt.notice(id)))
					return answer, err
				})
				o, err := b.saga.Drive(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, tt.status, o.Status)
				b.deliver(t, id)
				b.requirePromises(t, id)
			})
		}
	})
}

// A notice that is repeated, late, contradictory or about something else changes nothing.
func TestRepeatedOrLateNoticeHasNoEffect(t *testing.T) {
	b := setup(t)
	paid := func(t *testing.T) uuid.UUID { t.Helper(); return b.bought(t) }
	charging := func(t *testing.T) uuid.UUID { t.Helper(); return b.orderAt(t, sagatest.Charge) }
	failed := func(t *testing.T) uuid.UUID {
		t.Helper()
		id := b.place(t, sagatest.DeclinedCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.NoError(t, err)
		return id
	}
	refunded := func(t *testing.T) uuid.UUID {
		t.Helper()
		id := b.bought(t)
		_, err := b.saga.DriveRefund(t.Context(), b.request(t.Context(), t, id, refund.Refund{Whole: true}))
		require.NoError(t, err)
		return id
	}
	// changed returns a function that returns the notice succeeded with a change.
	changed := func(change func(*calls.WebhookEvent)) func(id uuid.UUID) calls.WebhookEvent {
		return func(id uuid.UUID) calls.WebhookEvent {
			n := succeeded(id)
			change(&n)
			return n
		}
	}
	anotherAttempt := order.Order{ID: uuid.New()}.AttemptKey()
	for _, tt := range []struct {
		name   string
		order  func(t *testing.T) uuid.UUID
		notice func(id uuid.UUID) calls.WebhookEvent
	}{
		{"SucceededOfAPaidOrder", paid, succeeded},
		{"DeclinedOfAPaidOrder", paid, declined},
		{"DeclinedOfAFailedOrder", failed, declined},
		{"SucceededOfARefundedOrder", refunded, succeeded},
		{"DeclinedOfARefundedOrder", refunded, declined},
		{"UnknownOrder", charging, changed(func(n *calls.WebhookEvent) { *n = succeeded(uuid.New()) })},
		{"NoOrder", charging, changed(func(n *calls.WebhookEvent) { n.OrderID = "" })},
		{"OrderIsNoUUID", charging, changed(func(n *calls.WebhookEvent) { n.OrderID = "1 OR 1=1" })},
		{"AttemptOfAnotherOrder", charging, changed(func(n *calls.WebhookEvent) { n.AttemptKey = anotherAttempt })},
		{"OrderOfAnotherAttempt", charging, changed(func(n *calls.WebhookEvent) { n.OrderID = uuid.NewString() })},
		{"NoAttempt", charging, changed(func(n *calls.WebhookEvent) { n.AttemptKey = "" })},
		{"StillPending", charging, changed(func(n *calls.WebhookEvent) { n.Status = calls.GatewayPending })},
		{"UnknownStatus", charging, changed(func(n *calls.WebhookEvent) { n.Status = "UNKNOWN" })},
		{"OnlyATypeAndAnID", charging, func(uuid.UUID) calls.WebhookEvent {
			return calls.WebhookEvent{ID: "evt_" + uuid.NewString(), Type: "customer.created"}
		}},
		{"RefundOfAnUnknownTransaction", paid, func(uuid.UUID) calls.WebhookEvent {
			return calls.WebhookEvent{
				ID: "evt_" + uuid.NewString(), Type: "charge.refunded", TransactionID: "pi_unknown",
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			id := tt.order(t)
			before := b.everything(t)
			n := tt.notice(id)
			for range 2 {
				require.NoError(t, b.notify(t.Context(), t, n))
			}
			require.Equal(t, before, b.everything(t))
			var received int
			messageID := uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://api.stripe.com/v1/events/"+n.ID))
			require.NoError(t, b.pool.QueryRow(t.Context(), `
				SELECT count(*) FROM inbox
				WHERE type = $1 AND processed_at > now() - interval '1 minute' AND event_id = $2`,
				n.Type, messageID).Scan(&received))
			require.Equal(t, 1, received, "the notice is recorded once")
		})
	}

	t.Run("Forged", func(t *testing.T) {
		b.newType(5000)
		id := charging(t)
		before := b.everything(t)
		body, err := json.Marshal(succeeded(id))
		require.NoError(t, err)
		require.ErrorIs(t, b.saga.Notice(t.Context(), string(body), "not genuine"), saga.ErrForged)
		require.Equal(t, before, b.everything(t))
	})
	for name, fault := range map[string]sagatest.Fault{
		"CallLost":           sagatest.CallLost,
		"Forbidden":          sagatest.Refused(problem.New(problem.Forbidden, "SERVICE_FORBIDDEN", "No")),
		"ResponseHasNoEvent": sagatest.Answered(calls.VerifyWebhookAnswer{Verified: true}),
	} {
		t.Run(name, func(t *testing.T) {
			b.newType(5000)
			id := charging(t)
			n := succeeded(id)
			b.services.Next(sagatest.Verify, fault)
			require.ErrorIs(t, b.notify(t.Context(), t, n), saga.ErrUnsettled,
				"the card processor has to send it again")
			require.Equal(t, order.Charge, b.order(t, id).Step)
			require.NoError(t, b.notify(t.Context(), t, n))
			require.Equal(t, order.Fulfil, b.order(t, id).Step)
		})
	}
}

// Of concurrent contradictory notices, the first moves the order.
func TestFirstOfContradictoryNoticesMovesTheOrder(t *testing.T) {
	b := setup(t)
	for range 4 {
		b.newType(5000)
		id := b.orderAt(t, sagatest.Charge)
		yes, no := succeeded(id), declined(id)
		yes.TransactionID = b.services.TransactionID(id)
		errs := make([]error, 16)
		var deliveries sync.WaitGroup
		for i := range errs {
			deliveries.Go(func() {
				if i%2 == 0 {
					errs[i] = b.notify(t.Context(), t, yes)
				} else {
					errs[i] = b.notify(t.Context(), t, no)
				}
			})
		}
		deliveries.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		published, _ := b.outbox(t, id)
		if b.order(t, id).Status == order.Completed {
			require.Equal(t, []string{"PAYMENT_COMPLETED"}, published)
			continue
		}
		// The order failed first, so the charge is refunded.
		b.settleRefunds(t, id, b.sweep)
		charged, refunded := b.services.Money(id)
		require.Equal(t, charged, refunded)
	}
}

// If a notice reports the charge of an order that failed without one, the charge is refunded.
func TestLateChargeIsRefunded(t *testing.T) {
	b := setup(t)
	b.services.Next(sagatest.Charge, sagatest.ResponseLost)
	id := b.place(t, sagatest.GoodCard)
	_, err := b.saga.Drive(t.Context(), id)
	require.ErrorIs(t, err, saga.ErrUnsettled)
	b.age(t, order.ChargeWindow)
	b.services.Next(sagatest.Settle, sagatest.Answered(calls.ChargeAnswer{Status: calls.GatewayNotFound}))
	b.timeOut(t)
	require.NoError(t, b.sweep(t.Context(), id))
	require.Equal(t, order.CodePaymentAbandoned, b.order(t, id).Failure.Code)

	n := succeeded(id)
	n.TransactionID = b.services.TransactionID(id)
	for range 2 {
		require.NoError(t, b.notify(t.Context(), t, n))
		again := succeeded(id)
		again.TransactionID = n.TransactionID
		require.NoError(t, b.notify(t.Context(), t, again))
	}
	b.settleRefunds(t, id, b.sweep)
	o := b.order(t, id)
	require.Equal(t, order.Failed, o.Status, "the order stays as it was reported to the buyer")
	require.Equal(t, o.Total, o.Refunded)
	charged, refunded := b.services.Money(id)
	require.Equal(t, []money.Decimal{"100.00"}, charged)
	require.Equal(t, charged, refunded)
	require.Empty(t, b.services.Tickets(id))
	published, _ := b.outbox(t, id)
	require.Equal(t, []string{"PAYMENT_FAILED", "REFUND_PROCESSED"}, published)
	require.Contains(t, b.history(t, id), "PAYMENT_TOO_LATE FAILED")
}

// A notice about a refund makes it due. It does not decide it.
func TestNoticeMakesARefundDue(t *testing.T) {
	b := setup(t)
	id, refundID := b.refundAt(t, sagatest.Refund)
	b.services.Next(sagatest.Refund, sagatest.Answered(calls.RefundAnswer{Status: calls.GatewayPending}))
	require.NoError(t, b.sweep(t.Context(), id))
	n, err := b.saga.Sweep(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "it is not due yet")

	require.NoError(t, b.notify(t.Context(), t, calls.WebhookEvent{
		ID: "evt_1", Type: "refund.updated", Status: calls.GatewaySucceeded,
		TransactionID: b.order(t, id).TransactionID,
	}))
	require.Equal(t, refund.Pending, b.refund(t, refundID).Status, "the notice alone does not complete it")
	require.NoError(t, b.sweep(t.Context(), id))
	require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
}

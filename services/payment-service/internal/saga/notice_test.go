package saga_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// A notice as payment-gateway reads it.
type notice map[string]any

func succeeded(id uuid.UUID) notice {
	return notice{
		"id": "evt_" + uuid.NewString(), "type": "payment_intent.succeeded", "status": "SUCCEEDED",
		"attemptKey": order.Order{ID: id}.AttemptKey(), "orderId": id, "transactionId": "pi_1",
	}
}

func declined(id uuid.UUID) notice {
	n := succeeded(id)
	n["type"], n["status"] = "payment_intent.payment_failed", "DECLINED"
	n["declineCode"], n["message"] = "INSUFFICIENT_FUNDS", "Your card has insufficient funds."
	return n
}

func (n notice) with(field string, value any) notice {
	n[field] = value
	return n
}

func (b *bundle) notify(ctx context.Context, t *testing.T, n notice) error {
	t.Helper()
	body, err := json.Marshal(n)
	require.NoError(t, err)
	return b.saga.Notice(ctx, string(body), sagatest.Genuine)
}

// everything gives all that is stored of orders, refunds and events, as text.
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

// A charge without an answer is decided by a notice: as the answer would, and what follows follows.
func TestNotice(t *testing.T) {
	b := setup(t)
	t.Run("Succeeded", func(t *testing.T) {
		id := b.to(t, sagatest.Charge) // with the answer lost, it took the money
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
		b.services.Next(sagatest.Charge, sagatest.AnswerLost)
		id := b.place(t, sagatest.DeclinedCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.ErrorIs(t, err, sidecar.ErrUnavailable)
		require.NoError(t, b.notify(t.Context(), t, declined(id)))
		o := b.requirePromises(t, id) // nobody had to sweep
		require.Equal(t, order.Failure{Code: "INSUFFICIENT_FUNDS", Message: "Your card has insufficient funds."}, o.Failure)
		require.Equal(t, capacity, b.services.Left(b.typeID))
	})
	t.Run("DeclinedAndTicketServiceAway", func(t *testing.T) {
		b.newType(5000)
		b.services.Next(sagatest.Charge, sagatest.AnswerLost)
		b.services.Next(sagatest.Release, sagatest.CallLost)
		id := b.place(t, sagatest.DeclinedCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.ErrorIs(t, err, sidecar.ErrUnavailable)
		require.NoError(t, b.notify(t.Context(), t, declined(id)), "the notice has had its effect")
		b.settle(t, id, b.sweeps)
		b.requirePromises(t, id)
	})
	t.Run("BeforeTheAnswer", func(t *testing.T) {
		for name, tt := range map[string]struct {
			card   string
			notice func(uuid.UUID) notice
			status order.Status
		}{
			"Succeeded": {sagatest.GoodCard, succeeded, order.Completed}, "Declined": {sagatest.DeclinedCard, declined, order.Failed},
		} {
			t.Run(name, func(t *testing.T) {
				b.newType(5000)
				id := b.place(t, tt.card)
				b.services.Next(sagatest.Charge, func(ctx context.Context, deed func() (any, error)) (any, error) {
					answer, err := deed()
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

// Whatever is made up, repeated, late, out of order or about something else changes nothing.
func TestNoticeWithoutEffect(t *testing.T) {
	b := setup(t)
	paid := func(t *testing.T) uuid.UUID { t.Helper(); return b.bought(t) }
	charging := func(t *testing.T) uuid.UUID { t.Helper(); return b.to(t, sagatest.Charge) }
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
		_, err := b.saga.DriveRefund(t.Context(), b.ask(t.Context(), t, id, refund.Refund{Whole: true}))
		require.NoError(t, err)
		return id
	}
	for _, tt := range []struct {
		name   string
		order  func(t *testing.T) uuid.UUID
		notice func(id uuid.UUID) notice
	}{
		{"SucceededOfAPaidOrder", paid, succeeded},
		{"DeclinedOfAPaidOrder", paid, declined},
		{"DeclinedOfAFailedOrder", failed, declined},
		{"SucceededOfARefundedOrder", refunded, succeeded},
		{"DeclinedOfARefundedOrder", refunded, declined},
		{"UnknownOrder", charging, func(uuid.UUID) notice {
			nobodys := uuid.New()
			return succeeded(nobodys)
		}},
		{"NoOrder", charging, func(id uuid.UUID) notice { return succeeded(id).with("orderId", "") }},
		{"OrderNoUUID", charging, func(id uuid.UUID) notice { return succeeded(id).with("orderId", "1 OR 1=1") }},
		{"AttemptOfAnother", charging, func(id uuid.UUID) notice {
			return succeeded(id).with("attemptKey", order.Order{ID: uuid.New()}.AttemptKey())
		}},
		{"OrderOfAnother", charging, func(id uuid.UUID) notice { return succeeded(id).with("orderId", uuid.New()) }},
		{"NoAttempt", charging, func(id uuid.UUID) notice { return succeeded(id).with("attemptKey", "") }},
		{"StillPending", charging, func(id uuid.UUID) notice { return succeeded(id).with("status", "PENDING") }},
		{"UnknownStatus", charging, func(id uuid.UUID) notice { return succeeded(id).with("status", "ELATED") }},
		{"NothingButATypeAndAnID", charging, func(uuid.UUID) notice { return notice{"id": "evt_" + uuid.NewString(), "type": "customer.created"} }},
		{"RefundOfNobodys", paid, func(uuid.UUID) notice {
			return notice{"id": "evt_" + uuid.NewString(), "type": "charge.refunded", "transactionId": "pi_of_nobody"}
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
			require.NoError(t, b.pool.QueryRow(t.Context(),
				`SELECT count(*) FROM inbox WHERE type = $1 AND processed_at > now() - interval '1 minute' AND event_id = $2`,
				n["type"], uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://api.stripe.com/v1/events/"+n["id"].(string)))).Scan(&received))
			require.Equal(t, 1, received, "recorded, once")
		})
	}

	t.Run("Forged", func(t *testing.T) {
		b.newType(5000)
		id := charging(t)
		before := b.everything(t)
		body, err := json.Marshal(succeeded(id))
		require.NoError(t, err)
		require.ErrorIs(t, b.saga.Notice(t.Context(), string(body), "made up"), saga.ErrForged)
		require.Equal(t, before, b.everything(t))
	})
	for name, fault := range map[string]sagatest.Fault{
		"GatewayAway":   sagatest.CallLost,
		"NotOurRefusal": sagatest.Refused(problem.New(problem.Forbidden, "SERVICE_FORBIDDEN", "No")),
		"AnswersHalf":   sagatest.Answered(map[string]any{"verified": true}),
	} {
		t.Run(name, func(t *testing.T) {
			b.newType(5000)
			id := charging(t)
			n := succeeded(id)
			b.services.Next(sagatest.Verify, fault)
			require.ErrorIs(t, b.notify(t.Context(), t, n), sidecar.ErrUnavailable, "it shall come again")
			require.Equal(t, order.Charge, b.order(t, id).Step)
			require.NoError(t, b.notify(t.Context(), t, n))
			require.Equal(t, order.Fulfil, b.order(t, id).Step)
		})
	}
}

// The same notice many times at once, with its opposite: one of them decides, once.
func TestNoticeRace(t *testing.T) {
	b := setup(t)
	for range 4 {
		b.newType(5000)
		id := b.to(t, sagatest.Charge)
		yes, no := succeeded(id).with("transactionId", b.services.Transaction(id)), declined(id)
		errs := make([]error, 16)
		var couriers sync.WaitGroup
		for i := range errs {
			couriers.Go(func() {
				if i%2 == 0 {
					errs[i] = b.notify(t.Context(), t, yes)
				} else {
					errs[i] = b.notify(t.Context(), t, no)
				}
			})
		}
		couriers.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		announced, _ := b.outbox(t, id)
		if b.order(t, id).Status == order.Completed {
			require.Equal(t, []string{"PAYMENT_COMPLETED"}, announced)
			continue
		}
		// It said no and then yes, which no processor should: the money goes back.
		b.settleRefunds(t, id, b.sweeps)
		charged, refunded := b.services.Money(id)
		require.Equal(t, charged, refunded)
	}
}

// An order that was given up on, and then the charge turns out to have been made: it goes back.
func TestChargedTooLate(t *testing.T) {
	b := setup(t)
	b.services.Next(sagatest.Charge, sagatest.AnswerLost)
	id := b.place(t, sagatest.GoodCard)
	_, err := b.saga.Drive(t.Context(), id)
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	b.age(t, order.ChargeSearchLag)
	b.services.Next(sagatest.Ask, sagatest.Answered(map[string]any{"status": "NOT_FOUND"}))
	b.timeOut(t)
	require.NoError(t, b.sweeps(t.Context(), id))
	require.Equal(t, order.CodePaymentAbandoned, b.order(t, id).Failure.Code)

	n := succeeded(id).with("transactionId", b.services.Transaction(id))
	for range 2 {
		require.NoError(t, b.notify(t.Context(), t, n))
		require.NoError(t, b.notify(t.Context(), t, succeeded(id).with("transactionId", n["transactionId"])))
	}
	b.settleRefunds(t, id, b.sweeps)
	o := b.order(t, id)
	require.Equal(t, order.Failed, o.Status, "it stays what the buyer was told")
	require.Equal(t, o.Total, o.Refunded)
	charged, refunded := b.services.Money(id)
	require.Equal(t, []money.Decimal{"100.00"}, charged)
	require.Equal(t, charged, refunded)
	require.Empty(t, b.services.Tickets(id))
	announced, _ := b.outbox(t, id)
	require.Equal(t, []string{"PAYMENT_FAILED", "REFUND_PROCESSED"}, announced)
	require.Contains(t, b.story(t, id), "PAYMENT_TOO_LATE FAILED")
}

// A refund that the bank takes its time for need not be asked about until it is said to have moved.
func TestNoticeHastensRefund(t *testing.T) {
	b := setup(t)
	id, made := b.toRefund(t, sagatest.Refund)
	b.services.Next(sagatest.Refund, sagatest.Answered(map[string]any{"status": "PENDING"}))
	require.NoError(t, b.sweeps(t.Context(), id))
	n, err := b.saga.Sweep(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "it is not its time yet")

	require.NoError(t, b.notify(t.Context(), t, notice{
		"id": "evt_1", "type": "refund.updated", "status": "SUCCEEDED", "transactionId": b.order(t, id).TransactionID,
	}))
	require.Equal(t, refund.Pending, b.refund(t, made).Status, "a hint, and no more")
	require.NoError(t, b.sweeps(t.Context(), id))
	require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
}

package store_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// alerts returns the number of alerts about an order, as published events and as events of its history.
func (b *bundle) alerts(t *testing.T, id uuid.UUID) (published, recorded int) {
	t.Helper()
	b.query(t, &published, `
		SELECT count(*) FROM outbox
		WHERE topic = 'saga-compensation-failed' AND cloud_event->'data'->'payload'->>'orderId' = $1`, id.String())
	b.query(t, &recorded, `
		SELECT count(*) FROM saga_events WHERE saga_id = $1 AND event_type = 'COMPENSATION_FAILED'`, id)
	return published, recorded
}

// A compensation alerts once, after MaxTries failed attempts. Other steps never alert.
func TestAlertAfterFailedCompensations(t *testing.T) {
	b := setup(t)
	for step, path := range paths {
		t.Run("Order/"+string(step), func(t *testing.T) {
			o := b.move(t, b.create(t), path...)
			for try := 1; try <= 2*order.MaxTries; try++ {
				alerted, err := b.store.BackOff(t.Context(), o)
				require.NoError(t, err)
				require.Equal(t, step == order.Release && try == order.MaxTries, alerted)
			}
			published, recorded := b.alerts(t, o.ID)
			require.Equal(t, step == order.Release, published == 1)
			require.Equal(t, published, recorded)
		})
	}
	for _, step := range []refund.Step{refund.CancelTickets, refund.ReturnMoney, refund.Done} {
		t.Run("Refund/"+string(step), func(t *testing.T) {
			r := b.at(t, step)
			for try := 1; try <= 2*order.MaxTries; try++ {
				alerted, err := b.store.BackOffRefund(t.Context(), r, false)
				require.NoError(t, err)
				require.Equal(t, step != refund.Done && try == order.MaxTries, alerted)
			}
			published, recorded := b.alerts(t, r.OrderID)
			require.Equal(t, step != refund.Done, published == 1)
			require.Equal(t, published, recorded)
		})
	}
	t.Run("PendingRefund", func(t *testing.T) {
		r := b.at(t, refund.ReturnMoney)
		for range 2 * order.MaxTries {
			alerted, err := b.store.BackOffRefund(t.Context(), r, true)
			require.NoError(t, err)
			require.False(t, alerted)
		}
	})
	t.Run("FailureAfterTheAlert", func(t *testing.T) {
		r := b.at(t, refund.ReturnMoney)
		for range order.MaxTries {
			_, err := b.store.BackOffRefund(t.Context(), r, false)
			require.NoError(t, err)
		}
		require.NoError(t, b.store.RefundFailed(t.Context(), r, refund.Failure{Code: "LOST_OR_STOLEN_CARD"}))
		published, _ := b.alerts(t, r.OrderID)
		require.Equal(t, 1, published)
	})
	t.Run("RefundRequestedByASaga", func(t *testing.T) {
		r := b.at(t, refund.CancelTickets)
		require.NoError(t, b.store.RefundFailed(t.Context(), r, refund.Failure{Code: "TICKET_USED"}))
		published, _ := b.alerts(t, r.OrderID)
		require.Zero(t, published, "the person who requested it sees the outcome")
		r = b.at(t, refund.CancelTickets)
		b.exec(t, `UPDATE refunds SET requested_by = NULL WHERE id = $1`, r.ID)
		require.NoError(t, b.store.RefundFailed(t.Context(), b.refund(t, r.ID), refund.Failure{Code: "TICKET_USED"}))
		published, _ = b.alerts(t, r.OrderID)
		require.Equal(t, 1, published)
	})
}

// The alert is committed with the failed attempt, and concurrent attempts alert once.
func TestAlertIsAtomicAndOnce(t *testing.T) {
	b := setup(t)
	released := func() order.Order { return b.move(t, b.create(t), paths[order.Release]...) }
	for _, table := range []string{"saga_events", "outbox"} {
		t.Run("Without_"+table, func(t *testing.T) {
			o := released()
			b.exec(t, `UPDATE orders SET tries = $2 - 1 WHERE id = $1`, o.ID, order.MaxTries)
			before := b.everything(t)
			b.exec(t, `ALTER TABLE `+table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
			_, err := b.store.BackOff(t.Context(), o)
			b.exec(t, `ALTER TABLE `+table+` DROP CONSTRAINT broken`)
			require.Error(t, err)
			require.Equal(t, before, b.everything(t))
			alerted, err := b.store.BackOff(t.Context(), o)
			require.NoError(t, err)
			require.True(t, alerted)
		})
	}
	t.Run("OrderHasMovedOn", func(t *testing.T) {
		o := b.move(t, b.create(t), paths[order.Charge]...)
		b.move(t, o, "Paid")
		before := b.everything(t)
		_, err := b.store.BackOff(t.Context(), o)
		require.NoError(t, err)
		require.Equal(t, before, b.everything(t))
	})
	t.Run("Race", func(t *testing.T) {
		o := released()
		errs, alerted := make([]error, 16), make([]bool, 16)
		race(len(errs), func(i int) { alerted[i], errs[i] = b.store.BackOff(t.Context(), o) })
		require.NoError(t, errors.Join(errs...))
		alerts := 0
		for _, a := range alerted {
			if a {
				alerts++
			}
		}
		require.Equal(t, 1, alerts)
		published, recorded := b.alerts(t, o.ID)
		require.Equal(t, 1, published)
		require.Equal(t, 1, recorded)
	})
}

func TestUnfinishedListsSagasByPage(t *testing.T) {
	b := setup(t)
	list := func(stuck bool) []uuid.UUID {
		var ids []uuid.UUID
		var page paging.Page
		for page.Limit = 2; ; {
			found, err := b.store.Unfinished(t.Context(), stuck, page)
			require.NoError(t, err)
			more := len(found) > page.Limit
			if more {
				found = found[:page.Limit]
			}
			for _, u := range found {
				ids = append(ids, u.SagaID)
			}
			if !more {
				return ids
			}
			last := found[len(found)-1]
			page.After, page.AfterID = &last.CreatedAt, last.SagaID
		}
	}
	require.Empty(t, list(false))
	var all, stuck []uuid.UUID
	for _, step := range []order.Step{order.Reserve, order.Charge, order.Release, order.Fulfil, order.Done} {
		o := b.move(t, b.create(t), paths[step]...)
		if step == order.Done {
			continue
		}
		all = append(all, o.ID)
		if step == order.Release {
			stuck = append(stuck, o.ID)
			b.exec(t, `UPDATE orders SET tries = 4 WHERE id = $1`, o.ID)
			_, err := b.store.BackOff(t.Context(), o)
			require.NoError(t, err)
		}
	}
	all = append(all, b.at(t, refund.CancelTickets).ID)
	b.at(t, refund.Done)
	refused := b.at(t, refund.ReturnMoney)
	require.NoError(t, b.store.RefundFailed(t.Context(), refused, refund.Failure{Code: "LOST_OR_STOLEN_CARD"}))
	all, stuck = append(all, refused.ID), append(stuck, refused.ID)
	require.ElementsMatch(t, all, list(false))
	require.ElementsMatch(t, stuck, list(true))

	t.Run("AnotherRefund", func(t *testing.T) {
		another := b.request(t, requested(b.order(t, refused.OrderID), 0))
		require.NotContains(t, list(true), refused.ID)
		require.Contains(t, list(false), another.ID)
	})
}

func TestRetryMakesUnfinishedSagasDue(t *testing.T) {
	b := setup(t)
	admin := uuid.New()
	refuse := func(t *testing.T, o order.Order) {
		t.Helper()
		r, err := refundOf(t.Context(), b.store, o)
		require.NoError(t, err)
		require.NoError(t, b.store.RefundFailed(t.Context(), r, refund.Failure{Code: "LOST_OR_STOLEN_CARD"}))
	}
	require.ErrorIs(t, b.store.Retry(t.Context(), uuid.New(), admin), order.ErrNotFound)
	for step, path := range paths {
		t.Run(string(step), func(t *testing.T) {
			o := b.move(t, b.create(t), path...)
			b.exec(t, `UPDATE orders SET resume_at = now() + interval '5 minutes', leased_until = '-infinity'`)
			b.exec(t, `UPDATE refunds SET resume_at = now() + interval '5 minutes', leased_until = '-infinity'`)
			err := b.store.Retry(t.Context(), o.ID, admin)
			if step == order.Done {
				require.ErrorIs(t, err, order.ErrNotStuck)
				return
			}
			require.NoError(t, err)
			orders, err := b.store.LeaseDue(t.Context(), 100)
			require.NoError(t, err)
			refunds, err := b.store.LeaseDueRefunds(t.Context(), 100)
			require.NoError(t, err)
			require.Len(t, append(orders, refunds...), 1)
		})
	}
	t.Run("RefundRefusedByTheBank", func(t *testing.T) {
		o := b.move(t, b.create(t), paths[order.Refund]...)
		refuse(t, o)
		errs := make([]error, 8)
		race(len(errs), func(i int) { errs[i] = b.store.Retry(t.Context(), o.ID, admin) })
		require.NoError(t, errors.Join(errs...), "the first creates a refund, the others make it due")
		found, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 10})
		require.NoError(t, err)
		require.Len(t, found, 2)
		require.Equal(t, refund.Failed, found[0].Status)
		require.Equal(t, refund.Pending, found[1].Status)
		require.Equal(t, refund.ReturnMoney, found[1].Step)
		require.Equal(t, o.Total, found[1].Amount)
		require.NotEqual(t, found[0].Key(), found[1].Key())
	})
	t.Run("RefundOfTicketsRefusedByTheBank", func(t *testing.T) {
		o, tickets := b.bought(t)
		r := b.request(t, requested(o, 0, tickets[0]))
		require.NoError(t, b.store.TicketsCancelled(t.Context(), r, 1))
		refuse(t, o)
		require.NoError(t, b.store.Retry(t.Context(), o.ID, admin))
		found, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 10})
		require.NoError(t, err)
		require.Equal(t, []uuid.UUID{tickets[0]}, found[1].TicketIDs)
		require.Equal(t, r.Amount, found[1].Amount)
	})
	t.Run("LateCharge", func(t *testing.T) {
		o := b.move(t, b.create(t), paths[order.Release]...)
		_, err := b.store.Notified(t.Context(), order.Notice{
			ID: uuid.New(), Type: "payment_intent.succeeded", AttemptKey: o.AttemptKey(), TransactionID: "pi_1",
			Outcome: calls.GatewaySucceeded,
		}, o)
		require.NoError(t, err)
		o = b.move(t, o, "Released")
		refuse(t, o)
		require.NoError(t, b.store.Retry(t.Context(), o.ID, admin))
		found, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 10})
		require.NoError(t, err)
		require.Len(t, found, 2)
		require.Equal(t, o.Total, found[1].Amount)
	})
}

package store_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// sentBack is the notice that the bank sent a refund back.
func sentBack(r refund.Refund) order.Notice {
	return order.Notice{
		ID: uuid.New(), Type: "refund.failed", RefundKey: r.Key(), TransactionID: "pi_1",
		Outcome: calls.GatewayFailed, Failure: order.Failure{Code: "EXPIRED_OR_CANCELED_CARD", Message: "No such card"},
	}
}

// A refund may fail days after it succeeded. The order is then not refunded any more, operations and the buyer are
// told, and a retry refunds it again.
func TestRefundThatTheBankSendsBackIsReopened(t *testing.T) {
	b := setup(t)
	r := b.at(t, refund.Done)
	require.Equal(t, order.Refunded, b.order(t, r.OrderID).Status)

	n := sentBack(r)
	for range 2 { // the second delivery changes nothing
		_, err := b.store.Notified(t.Context(), n, b.order(t, r.OrderID))
		require.NoError(t, err)
	}
	again := sentBack(r) // Stripe reports the same failure with several events
	_, err := b.store.Notified(t.Context(), again, b.order(t, r.OrderID))
	require.NoError(t, err)

	o, failed := b.order(t, r.OrderID), b.refund(t, r.ID)
	require.Equal(t, order.Completed, o.Status)
	require.Equal(t, money.Of(0, "USD"), o.Refunded)
	require.Equal(t, refund.Failed, failed.Status)
	require.Equal(t, "EXPIRED_OR_CANCELED_CARD", failed.Failure.Code)
	published, recorded := b.alerts(t, r.OrderID)
	require.Equal(t, 1, published)
	require.Equal(t, 1, recorded)
	var told int
	b.query(t, &told, `
		SELECT count(*) FROM outbox WHERE cloud_event->>'type' = 'REFUND_FAILED'
		    AND (cloud_event->'data'->'payload'->>'reversed')::boolean`)
	require.Equal(t, 1, told)

	require.NoError(t, b.store.Retry(t.Context(), r.OrderID, uuid.New()))
	all, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, all, 2)
	second := all[1]
	require.NoError(t, b.store.TicketsCancelled(t.Context(), second, 2)) // they are cancelled already, which is repeated
	second = b.refund(t, second.ID)
	require.NoError(t, b.store.RefundSucceeded(t.Context(), second, "re_2"))
	require.Equal(t, order.Refunded, b.order(t, r.OrderID).Status)

	_, err = b.store.Notified(t.Context(), sentBack(r), b.order(t, r.OrderID))
	require.NoError(t, err)
	require.Equal(t, order.Refunded, b.order(t, r.OrderID).Status, "the failed refund failed once")
}

// A failed refund needs its own repetition: another refund of the same order does not make it good.
func TestFailedRefundStaysListedUntilItIsRepeated(t *testing.T) {
	b := setup(t)
	o, tickets := b.bought(t)
	failed := b.request(t, requested(o, 0, tickets[0]))
	require.NoError(t, b.store.TicketsCancelled(t.Context(), failed, 1))
	lost := refund.Failure{Code: "LOST_OR_STOLEN_CARD"}
	require.NoError(t, b.store.RefundFailed(t.Context(), b.refund(t, failed.ID), lost))
	stuck := func() []uuid.UUID {
		ids, err := b.store.StuckOrders(t.Context(), 10)
		require.NoError(t, err)
		return ids
	}
	require.Equal(t, []uuid.UUID{o.ID}, stuck())

	other := b.request(t, requested(o, 0, tickets[1]))
	require.NoError(t, b.store.TicketsCancelled(t.Context(), other, 1))
	require.NoError(t, b.store.RefundSucceeded(t.Context(), b.refund(t, other.ID), "re_1"))
	require.Equal(t, []uuid.UUID{o.ID}, stuck(), "the first ticket is still not refunded")

	require.NoError(t, b.store.Retry(t.Context(), o.ID, uuid.New()))
	require.Empty(t, stuck())
	require.ErrorIs(t, func() error {
		b.exec(t, `UPDATE refunds SET status = 'SUCCEEDED', step = 'DONE' WHERE status = 'PENDING'`)
		return b.store.Retry(t.Context(), o.ID, uuid.New())
	}(), order.ErrNotStuck)
}

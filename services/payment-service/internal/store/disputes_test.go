package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// dispute returns a report about the dispute of the transaction that all orders of these tests have.
func dispute(status calls.DisputeStatus) calls.Dispute {
	return calls.Dispute{
		DisputeID: "dp_1", TransactionID: "pi_1", Amount: "100.00", Currency: "USD", Reason: "FRAUDULENT",
		Status: status, OpenedAt: time.Now().UTC(),
	}
}

func (b *bundle) dispute(t *testing.T, status calls.DisputeStatus) bool {
	t.Helper()
	changed, err := b.store.Disputed(t.Context(), dispute(status))
	require.NoError(t, err)
	return changed
}

// announced returns the status, the previous one and the revision of each PAYMENT_DISPUTED.
func (b *bundle) announced(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT concat_ws(' ', p->>'previousStatus', p->>'status', p->>'revision')
		FROM outbox, LATERAL (SELECT cloud_event #> '{data,payload}' AS p) x
		WHERE cloud_event->>'type' = 'PAYMENT_DISPUTED' ORDER BY position`)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

// Webhooks are repeated and arrive in any order. A decision is never replaced by an older report, only by another
// decision.
func TestDisputeReportsTakeEffectOnce(t *testing.T) {
	const open, won, lost = calls.DisputeOpen, calls.DisputeWon, calls.DisputeLost
	for name, tt := range map[string]struct {
		reports   []calls.DisputeStatus
		status    calls.DisputeStatus
		disputed  int64
		announced []string
	}{
		"Open":            {[]calls.DisputeStatus{open, open}, open, 10000, []string{"OPEN 1"}},
		"Won":             {[]calls.DisputeStatus{open, won, won}, won, 0, []string{"OPEN 1", "OPEN WON 2"}},
		"Lost":            {[]calls.DisputeStatus{open, lost, lost}, lost, 10000, []string{"OPEN 1", "OPEN LOST 2"}},
		"ClosedFirst":     {[]calls.DisputeStatus{lost, open}, lost, 10000, []string{"LOST 1"}},
		"WonFirst":        {[]calls.DisputeStatus{won, open, won}, won, 0, []string{"WON 1"}},
		"DecisionChanged": {[]calls.DisputeStatus{open, lost, won}, won, 0, []string{"OPEN 1", "OPEN LOST 2", "LOST WON 3"}},
		"Inquiry":         {[]calls.DisputeStatus{calls.DisputeInquiry}, "", 0, []string{}},
		"InquiryBecomesADispute": {
			[]calls.DisputeStatus{calls.DisputeInquiry, open}, open, 10000, []string{"OPEN 1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			o, _ := b.bought(t)
			for _, status := range tt.reports {
				b.dispute(t, status)
			}
			o = b.order(t, o.ID)
			require.Equal(t, tt.status, o.Dispute)
			require.Equal(t, money.Of(tt.disputed, "USD"), o.Disputed)
			require.Equal(t, order.Completed, o.Status)
			require.Equal(t, tt.announced, b.announced(t))
			var recorded int
			b.query(t, &recorded, `SELECT count(*) FROM saga_events WHERE event_type LIKE 'DISPUTE_%'`)
			require.Equal(t, len(tt.announced), recorded)
		})
	}
}

func TestConcurrentDisputeReportsTakeEffectOnce(t *testing.T) {
	b := setup(t)
	b.bought(t)
	errs := make([]error, 16)
	race(len(errs), func(i int) {
		status := []calls.DisputeStatus{calls.DisputeOpen, calls.DisputeLost}[i%2]
		_, errs[i] = b.store.Disputed(t.Context(), dispute(status))
	})
	for _, err := range errs {
		require.NoError(t, err)
	}
	announced := b.announced(t)
	require.Contains(t, [][]string{{"LOST 1"}, {"OPEN 1", "OPEN LOST 2"}}, announced)
}

// The charge of an order may be disputed before its outcome is stored here.
func TestDisputeThatArrivesBeforeThePaymentIsStored(t *testing.T) {
	b := setup(t)
	o := b.move(t, b.create(t), "Reserved")
	b.dispute(t, calls.DisputeOpen)
	require.NoError(t, b.store.MatchDisputes(t.Context(), 10))
	require.Empty(t, b.announced(t))
	b.dispute(t, calls.DisputeLost)
	b.move(t, o, "Paid")
	for range 2 {
		require.NoError(t, b.store.MatchDisputes(t.Context(), 10))
	}
	require.Equal(t, []string{"LOST 1"}, b.announced(t))
	require.Equal(t, calls.DisputeLost, b.order(t, o.ID).Dispute)
}

func TestDisputedOrdersAreNotRefunded(t *testing.T) {
	b := setup(t)
	o, tickets := b.bought(t)
	refused := func(want error, requests ...refund.Refund) {
		t.Helper()
		for _, r := range requests {
			_, _, err := b.store.CreateRefund(t.Context(), r, "key", hash)
			require.ErrorIs(t, err, want)
		}
	}
	b.dispute(t, calls.DisputeOpen)
	refused(refund.ErrDisputed, requested(o, 0), requested(o, 100), requested(o, 0, tickets[0]))
	b.dispute(t, calls.DisputeLost)
	refused(refund.ErrNotRefundable, requested(o, 0), requested(o, 100), requested(o, 0, tickets[0]))
	b.dispute(t, calls.DisputeWon)
	b.request(t, requested(o, 0, tickets[0]))
}

// A dispute of a part leaves the rest for refunds.
func TestRestOfALostDisputeCanBeRefunded(t *testing.T) {
	b := setup(t)
	o, _ := b.bought(t)
	part := dispute(calls.DisputeLost)
	part.Amount = "60.00"
	_, err := b.store.Disputed(t.Context(), part)
	require.NoError(t, err)
	require.Equal(t, money.Of(4000, "USD"), b.request(t, requested(o, 0)).Amount)
}

// The card processor refuses a refund that was in progress when the dispute was opened. A dispute that is won repeats
// it.
func TestRefundThatADisputeStopsIsRepeatedIfTheDisputeIsWon(t *testing.T) {
	for _, tt := range []struct {
		decision calls.DisputeStatus
		refunds  int
	}{{calls.DisputeWon, 2}, {calls.DisputeLost, 1}} {
		t.Run(string(tt.decision), func(t *testing.T) {
			b := setup(t)
			o, _ := b.bought(t)
			r := b.request(t, requested(o, 0))
			require.NoError(t, b.store.TicketsCancelled(t.Context(), r, 2))
			r = b.refund(t, r.ID)
			stopped, err := b.store.RefundDisputed(t.Context(), r)
			require.NoError(t, err)
			require.False(t, stopped, "no dispute is known yet")
			require.Equal(t, refund.Pending, b.refund(t, r.ID).Status)

			b.dispute(t, calls.DisputeOpen)
			for range 2 {
				_, err = b.store.RefundDisputed(t.Context(), r)
				require.NoError(t, err)
			}
			failed := b.refund(t, r.ID)
			require.Equal(t, refund.Failed, failed.Status)
			require.Equal(t, calls.FailureChargeDisputed, failed.Failure.Code)
			published, recorded := b.alerts(t, o.ID)
			require.Zero(t, published+recorded, "the dispute itself was reported")
			stuck, err := b.store.StuckOrders(t.Context(), 10)
			require.NoError(t, err)
			require.Empty(t, stuck)

			for range 2 {
				b.dispute(t, tt.decision)
			}
			all, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 10})
			require.NoError(t, err)
			require.Len(t, all, tt.refunds)
			if tt.refunds == 2 {
				again := all[1]
				require.Equal(t, o.Total, again.Amount)
				require.NoError(t, b.store.TicketsCancelled(t.Context(), again, 2))
				require.NoError(t, b.store.RefundSucceeded(t.Context(), b.refund(t, again.ID), "re_1"))
				require.Equal(t, order.Refunded, b.order(t, o.ID).Status)
			}
		})
	}
}

// The orders of a cancelled event are refunded, those with an open dispute as soon as it is won.
func TestDisputedOrderOfACancelledEventIsRefundedIfTheDisputeIsWon(t *testing.T) {
	for _, tt := range []struct {
		decision calls.DisputeStatus
		refunds  int
	}{{calls.DisputeWon, 1}, {calls.DisputeLost, 0}} {
		t.Run(string(tt.decision), func(t *testing.T) {
			b := setup(t)
			o, _ := b.bought(t)
			b.dispute(t, calls.DisputeOpen)
			require.NoError(t, b.store.EventCancelled(t.Context(), uuid.New(), events.EventCancelled{EventID: o.EventID}))
			_, err := b.store.RefundCancelled(t.Context(), 10)
			require.NoError(t, err)
			refunds := func() []refund.Refund {
				all, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 10})
				require.NoError(t, err)
				return all
			}
			require.Empty(t, refunds())
			b.dispute(t, tt.decision)
			require.Len(t, refunds(), tt.refunds)
		})
	}
}

// A charge of an order that had failed is refunded, or taken back by the bank.
func TestDisputeOfALateChargeStopsItsRefund(t *testing.T) {
	b := setup(t)
	o := b.move(t, b.create(t), "Reserved", "Declined", "Released")
	require.NoError(t, b.store.Paid(t.Context(), o, "pi_1"))
	b.dispute(t, calls.DisputeOpen)
	all, err := b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, all, 1)
	stopped, err := b.store.RefundDisputed(t.Context(), all[0])
	require.NoError(t, err)
	require.True(t, stopped)
	b.dispute(t, calls.DisputeWon)
	all, err = b.store.RefundsOf(t.Context(), o.ID, paging.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, refund.Pending, all[1].Status)
}

// The list of disputes is read by one replica at a time, page by page, and each reading overlaps with the one before.
func TestDisputePollContinuesWhereItStopped(t *testing.T) {
	b := setup(t)
	lease := func() (time.Time, string, bool) {
		since, after, leased, err := b.store.LeaseDisputePoll(t.Context())
		require.NoError(t, err)
		return since, after, leased
	}
	first, after, leased := lease()
	require.True(t, leased)
	require.Empty(t, after)
	require.WithinDuration(t, time.Now().AddDate(0, 0, -120), first, 48*time.Hour)
	_, _, leased = lease()
	require.False(t, leased, "another replica reads")

	require.NoError(t, b.store.DisputesPolled(t.Context(), "dp_9"))
	since, after, leased := lease()
	require.True(t, leased, "the next page is read at once")
	require.Equal(t, "dp_9", after)
	require.Equal(t, first, since)
	require.NoError(t, b.store.DisputePollFailed(t.Context()))
	b.exec(t, `UPDATE dispute_polls SET next_at = now()`)
	_, after, _ = lease()
	require.Empty(t, after, "from the first page")
	require.NoError(t, b.store.DisputesPolled(t.Context(), ""))
	b.exec(t, `UPDATE dispute_polls SET next_at = now()`)
	since, after, leased = lease()
	require.True(t, leased)
	require.Empty(t, after)
	require.WithinDuration(t, time.Now().Add(-time.Hour), since, time.Minute)
}

func TestOpenDisputesAreLookedUpLessOftenWithAge(t *testing.T) {
	b := setup(t)
	b.bought(t)
	b.dispute(t, calls.DisputeOpen)
	due := func(checked, opened string) bool {
		b.exec(t, `UPDATE disputes SET checked_at = now() - $1::interval, opened_at = now() - $2::interval`, checked, opened)
		found, err := b.store.LeaseOpenDisputes(t.Context(), 10)
		require.NoError(t, err)
		return len(found) == 1
	}
	require.False(t, due("1 minute", "1 minute"))
	require.True(t, due("3 minutes", "10 minutes"))
	require.False(t, due("3 minutes", "1 hour"))
	require.True(t, due("7 minutes", "1 hour"))
	require.False(t, due("5 hours", "60 days"))
	require.True(t, due("7 hours", "60 days"))
	b.dispute(t, calls.DisputeWon)
	require.False(t, due("7 hours", "60 days"))
}

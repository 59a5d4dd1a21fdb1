package saga_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// disputeNotice returns a notice about a dispute.
func disputeNotice(d calls.Dispute) calls.WebhookEvent {
	return calls.WebhookEvent{
		ID: "evt_" + uuid.NewString(), Type: "charge.dispute.x", TransactionID: d.TransactionID, Dispute: &d,
	}
}

func TestNoticeOfADisputeTakesEffectOnce(t *testing.T) {
	b := setup(t)
	id := b.bought(t)
	opened := disputeNotice(b.services.Dispute(id, calls.DisputeOpen))
	for range 2 {
		require.NoError(t, b.notify(t.Context(), t, opened))
	}
	o := b.order(t, id)
	require.Equal(t, calls.DisputeOpen, o.Dispute)
	require.Equal(t, o.Total, o.Disputed)
	types, _ := b.outbox(t, id)
	require.Equal(t, []string{"PAYMENT_COMPLETED", "PAYMENT_DISPUTED"}, types)

	require.NoError(t, b.notify(t.Context(), t, disputeNotice(b.services.Dispute(id, calls.DisputeWon))))
	require.NoError(t, b.notify(t.Context(), t, opened), "a late report of the opening")
	o = b.order(t, id)
	require.Equal(t, calls.DisputeWon, o.Dispute)
	require.Zero(t, o.Disputed.Minor)

	unknown := b.services.Dispute(id, calls.DisputeOpen)
	unknown.DisputeID, unknown.TransactionID = "dp_other", "pi_of_another_shop"
	require.NoError(t, b.notify(t.Context(), t, disputeNotice(unknown)))
}

// Webhooks may be lost. Sweeps find new disputes in the list, and decisions by looking open ones up.
func TestSweepFindsDisputesWithoutWebhooks(t *testing.T) {
	b := setup(t)
	var ids []uuid.UUID
	for range 3 {
		id := b.bought(t)
		ids = append(ids, id)
		b.services.Dispute(id, calls.DisputeOpen)
	}
	b.services.Next(sagatest.Disputes, sagatest.CallLost)
	_, err := b.saga.Sweep(t.Context())
	require.NoError(t, err, "a sweep does not fail if the card processor does not respond")
	require.Empty(t, b.order(t, ids[0]).Dispute)

	b.exec(t.Context(), t, `UPDATE dispute_polls SET next_at = now()`)
	_, err = b.saga.Sweep(t.Context())
	require.NoError(t, err)
	for _, id := range ids {
		require.Equal(t, calls.DisputeOpen, b.order(t, id).Dispute)
	}
	b.services.Dispute(ids[0], calls.DisputeWon)
	b.services.Dispute(ids[1], calls.DisputeLost)
	b.exec(t.Context(), t, `UPDATE disputes SET checked_at = now() - interval '3 minutes'`)
	_, err = b.saga.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, calls.DisputeWon, b.order(t, ids[0]).Dispute)
	require.Equal(t, calls.DisputeLost, b.order(t, ids[1]).Dispute)
	require.Equal(t, calls.DisputeOpen, b.order(t, ids[2]).Dispute)
}

// A refund learns of a dispute by itself, waits for the decision, and is made once if the dispute is won.
func TestRefundOfADisputedCharge(t *testing.T) {
	for name, tt := range map[string]struct {
		decision calls.DisputeStatus
		refunded []money.Decimal
	}{
		"Won":  {calls.DisputeWon, []money.Decimal{"100.00"}},
		"Lost": {calls.DisputeLost, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			id := b.bought(t)
			b.services.Dispute(id, calls.DisputeOpen) // its webhook is lost
			r := b.request(t.Context(), t, id, refund.Refund{Whole: true})
			b.services.Next(sagatest.Disputes, sagatest.CallLost)
			_, err := b.saga.DriveRefund(t.Context(), r)
			require.ErrorIs(t, err, saga.ErrUnsettled)
			require.Equal(t, refund.Pending, b.refund(t, r).Status)

			driven, err := b.saga.DriveRefund(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, refund.Failed, driven.Status)
			require.Equal(t, calls.FailureChargeDisputed, driven.Failure.Code)
			require.Equal(t, calls.DisputeOpen, b.order(t, id).Dispute)
			require.Empty(t, b.services.Tickets(id), "they were cancelled for the refund")

			require.NoError(t, b.notify(t.Context(), t, disputeNotice(b.services.Dispute(id, tt.decision))))
			b.settleRefunds(t, id, b.sweep)
			_, refunded := b.services.Money(id)
			require.Equal(t, tt.refunded, refunded)
		})
	}
}

// The dispute is decided between the refusal of the refund and its record.
func TestRefundIsRepeatedIfTheDisputeWasWonMeanwhile(t *testing.T) {
	b := setup(t)
	id := b.bought(t)
	r := b.request(t.Context(), t, id, refund.Refund{Whole: true})
	b.services.Next(sagatest.Refund, sagatest.Answered(calls.RefundAnswer{
		RefundKey: b.refund(t, r).Key(), Status: calls.GatewayFailed, FailureCode: calls.FailureChargeDisputed,
	}))
	b.services.Dispute(id, calls.DisputeWon)
	_, err := b.saga.DriveRefund(t.Context(), r)
	require.ErrorIs(t, err, saga.ErrUnsettled)
	b.settleRefunds(t, id, b.sweep)
	_, refunded := b.services.Money(id)
	require.Equal(t, []money.Decimal{"100.00"}, refunded)
}

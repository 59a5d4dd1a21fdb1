package refund_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

func TestReturnedAreValidTicketsOfTheHolder(t *testing.T) {
	t.Parallel()
	active, used, cancelled := uuid.New(), uuid.New(), uuid.New()
	held := func(ids ...uuid.UUID) []calls.OrderTicket {
		status := map[uuid.UUID]calls.TicketStatus{
			active: calls.TicketActive, used: calls.TicketUsed, cancelled: calls.TicketCancelled,
		}
		tickets := make([]calls.OrderTicket, len(ids))
		for i, id := range ids {
			tickets[i] = calls.OrderTicket{TicketID: id, Status: status[id]}
		}
		return tickets
	}
	all := held(active, used, cancelled)
	for _, tt := range []struct {
		name string
		held []calls.OrderTicket
		ids  []uuid.UUID
		want []uuid.UUID
		err  error
	}{
		{"AllValid", all, nil, []uuid.UUID{active}, nil},
		{"Named", all, []uuid.UUID{active}, []uuid.UUID{active}, nil},
		{"OnlyUsed", held(used, cancelled), nil, nil, refund.ErrTicketUsed},
		{"OnlyCancelled", held(cancelled), nil, nil, refund.ErrNotRefundable},
		{"None", nil, nil, nil, refund.ErrNotRefundable},
		{"NamedUsed", all, []uuid.UUID{active, used}, nil, refund.ErrTicketUsed},
		{"NamedCancelled", all, []uuid.UUID{cancelled}, nil, refund.ErrNotRefundable},
		{"NamedOthers", all, []uuid.UUID{active, uuid.New()}, nil, refund.ErrTicketNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := refund.Returned(tt.held, tt.ids)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, got)
		})
	}
}

// A return leaves out what is being refunded already. Another refund that names such a ticket is refused.
func TestAdmitOmitsRefundedTicketsOfReturn(t *testing.T) {
	t.Parallel()
	holder := uuid.New()
	r, err := ledger(nil).Admit(refund.Refund{HolderID: holder, TicketIDs: []uuid.UUID{expensive, refunded}})
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{expensive}, r.TicketIDs)
	require.Equal(t, usd(5000), r.Amount)
	require.Equal(t, refund.CancelTickets, r.Step)
	require.Equal(t, holder, r.HolderID)

	_, err = ledger(nil).Admit(refund.Refund{HolderID: holder, TicketIDs: []uuid.UUID{refunded}})
	require.ErrorIs(t, err, refund.ErrNotRefundable)
	_, err = ledger(nil).Admit(refund.Refund{TicketIDs: []uuid.UUID{expensive, refunded}})
	require.ErrorIs(t, err, refund.ErrNotRefundable)
}

package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// given buys two tickets, gives the second one to a friend, and postpones the event.
func (b *bundle) given(t *testing.T) (id string, tickets []string, friend identity.User) {
	t.Helper()
	id, tickets = b.bought(t)
	friend = person(identity.RoleUser)
	b.services.TransferTicket(uuid.MustParse(tickets[1]), friend.ID)
	b.update(t, uuid.New(), time.Now(), time.Now().AddDate(0, 3, 0), true)
	return id, tickets, friend
}

// requireReturned asserts that the response is a refund of these tickets.
func (a answer) requireReturned(t *testing.T, tickets ...any) {
	t.Helper()
	require.Equal(t, http.StatusCreated, a.status, a.body)
	require.ElementsMatch(t, tickets, a.fields(t)["ticketIds"])
}

// valid returns the number of valid tickets of an order.
func (b *bundle) valid(id string) int { return b.services.Tickets(uuid.MustParse(id))[b.typeID] }

// refunded returns the refunds of the order's charge.
func (b *bundle) refunded(id string) []money.Decimal {
	_, refunded := b.services.Money(uuid.MustParse(id))
	return refunded
}

// The owner of a ticket decides whether to return it, even if it was transferred. The money goes to the charge of the
// order.
func TestOwnersReturnTheirTicketsAfterAPostponement(t *testing.T) {
	t.Run("BuyerAndFriend", func(t *testing.T) {
		b := setup(t)
		id, tickets, friend := b.given(t)
		b.returnAs(t, b.buyer, id, "buyer").requireReturned(t, tickets[0])
		require.Equal(t, 1, b.valid(id), "the friend's ticket stays valid")
		require.Equal(t, []money.Decimal{"50.00"}, b.refunded(id))
		require.Contains(t, b.get(t, orders+"/"+id, b.as(t, b.buyer)).body, `"paymentStatus":"COMPLETED"`)
		b.returnAs(t, b.buyer, id, "more").requireFailure(t, http.StatusConflict, "NOT_REFUNDABLE", "")

		b.returnAs(t, friend, id, "friend").requireReturned(t, tickets[1])
		require.Zero(t, b.valid(id))
		require.Equal(t, []money.Decimal{"50.00", "50.00"}, b.refunded(id))
		require.Contains(t, b.get(t, orders+"/"+id, b.as(t, b.buyer)).body, `"paymentStatus":"REFUNDED"`)
	})
	t.Run("OthersTicket", func(t *testing.T) {
		b := setup(t)
		id, tickets, friend := b.given(t)
		for i, user := range []identity.User{friend, b.buyer} {
			b.returnSome(t, user, id, "key", fmt.Sprintf(`{"ticketIds": [%q]}`, tickets[i])).
				requireFailure(t, http.StatusNotFound, "TICKET_NOT_FOUND", "")
		}
		b.returnAs(t, person(identity.RoleUser), id, "key").
			requireFailure(t, http.StatusNotFound, "ORDER_NOT_FOUND", "")
		require.Equal(t, 2, b.valid(id))
		require.Empty(t, b.refunded(id))
	})
	t.Run("EverythingGiven", func(t *testing.T) {
		b := setup(t)
		id, tickets, friend := b.given(t)
		b.services.TransferTicket(uuid.MustParse(tickets[0]), friend.ID)
		b.returnAs(t, b.buyer, id, "key").requireFailure(t, http.StatusConflict, "NOT_REFUNDABLE", "")
		b.returnAs(t, friend, id, "key").requireReturned(t, tickets[0], tickets[1])
	})
	t.Run("OneOfTwo", func(t *testing.T) {
		b := setup(t)
		id, tickets := b.bought(t)
		b.update(t, uuid.New(), time.Now(), time.Now().AddDate(0, 3, 0), true)
		body := fmt.Sprintf(`{"ticketIds": [%q]}`, tickets[0])
		first := b.returnSome(t, b.buyer, id, "key", body)
		first.requireReturned(t, tickets[0])
		require.Equal(t, first.body, b.returnSome(t, b.buyer, id, "key", body).body)
		b.returnAs(t, b.buyer, id, "key").
			requireFailure(t, http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED", "")
		b.returnSome(t, b.buyer, id, "again", body).requireFailure(t, http.StatusConflict, "NOT_REFUNDABLE", "")
		require.Equal(t, 1, b.valid(id))
	})
	t.Run("InvalidRequests", func(t *testing.T) {
		b := setup(t)
		id, tickets, _ := b.given(t)
		for _, body := range []string{
			`{"ticketIds": []}`, `{"ticketIds": null}`, `{"ticketIds": "x"}`,
			fmt.Sprintf(`{"ticketIds": [%q, %q]}`, tickets[0], tickets[0]),
		} {
			b.returnSome(t, b.buyer, id, "key", body).requireInvalid(t, "ticketIds")
		}
		b.returnSome(t, b.buyer, id, "key", `{"ticketIds": ["x"]}`).requireInvalid(t, "ticketIds[0]")
		b.returnSome(t, b.buyer, id, "key", `{"amount": 100}`).requireInvalid(t, "amount")
		require.Equal(t, 2, b.valid(id))
	})
}

// The ticket is transferred after its owner requested the return, and before it is cancelled. The new owner decides.
func TestReturnOfTransferredTicketIsRefused(t *testing.T) {
	b := setup(t)
	id, tickets, friend := b.given(t)
	b.services.Next(sagatest.Cancel, func(_ context.Context, act func() (any, error)) (any, error) {
		b.services.TransferTicket(uuid.MustParse(tickets[0]), friend.ID)
		return act()
	})
	b.returnAs(t, b.buyer, id, "key").requireFailure(t, http.StatusNotFound, "TICKET_NOT_FOUND", "")
	require.Equal(t, 2, b.valid(id))
	require.Empty(t, b.refunded(id))
	b.returnAs(t, friend, id, "key").requireReturned(t, tickets[0], tickets[1])
}

// Each call of a return is lost once, before or after the callee acted. The request or a sweep continues it.
func TestReturnSurvivesLostCalls(t *testing.T) {
	for _, call := range []sagatest.Call{sagatest.Owned, sagatest.Cancel, sagatest.Refund} {
		for name, fault := range map[string]sagatest.Fault{"Call": sagatest.CallLost, "Response": sagatest.ResponseLost} {
			t.Run(string(call)+name+"Lost", func(t *testing.T) {
				b := setup(t)
				id, tickets, friend := b.given(t)
				b.services.Next(call, fault)
				a := b.returnAs(t, friend, id, "key")
				if call == sagatest.Owned {
					a.requireFailure(t, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "")
				} else {
					require.Equal(t, http.StatusAccepted, a.status, a.body)
				}
				b.returnAs(t, friend, id, "key").requireReturned(t, tickets[1])
				require.Equal(t, 1, b.valid(id))
				require.Equal(t, []money.Decimal{"50.00"}, b.refunded(id))
			})
		}
	}
}

// The buyer and the friend return their tickets at the same time, each several times.
func TestConcurrentReturnsRefundEachTicketOnce(t *testing.T) {
	b := setup(t)
	id, _, friend := b.given(t)
	var all sync.WaitGroup
	for _, user := range []identity.User{b.buyer, friend} {
		for i := range 4 {
			header := b.as(t, user)
			header.Set("Idempotency-Key", fmt.Sprint("key", i%2))
			all.Go(func() {
				_, _ = b.try(t.Context(), http.MethodPost, orders+"/"+id+"/postponement-refund", "", header)
			})
		}
	}
	all.Wait()
	a := b.send(t, http.MethodPost, "/bindings/resume-sagas", "", sidecarHeader)
	require.Equal(t, http.StatusOK, a.status)
	require.Zero(t, b.valid(id))
	require.Equal(t, []money.Decimal{"50.00", "50.00"}, b.refunded(id))
}

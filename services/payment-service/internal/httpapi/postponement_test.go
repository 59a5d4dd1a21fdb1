package httpapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// update delivers EVENT_UPDATED with the date, as a postponement or as another change.
func (b *bundle) update(t *testing.T, message uuid.UUID, updatedAt time.Time, date time.Time, postponed bool) {
	t.Helper()
	var from string
	if postponed {
		from = `, "postponedFrom": "2026-01-01T20:00:00Z", "reason": "Storm"`
	}
	a := b.deliver(t, "/events/event-updated", message, "EVENT_UPDATED", fmt.Sprintf(`{"eventId": %q, "organizerId": %q,
		"eventName": "Fest", "eventDate": %q, "venueName": "Hall", "category": "MUSIC", "status": "PUBLISHED",
		"updatedAt": %q%s}`,
		b.event, uuid.New(), date.UTC().Format(time.RFC3339), updatedAt.UTC().Format(time.RFC3339), from))
	require.Equal(t, http.StatusOK, a.status, a.body)
}

// returnAs returns all tickets of a postponed event as the user.
func (b *bundle) returnAs(t *testing.T, user identity.User, id, key string) answer {
	t.Helper()
	return b.returnSome(t, user, id, key, "")
}

// returnSome is returnAs with a body.
func (b *bundle) returnSome(t *testing.T, user identity.User, id, key, body string) answer {
	t.Helper()
	header := b.as(t, user)
	header.Set("Idempotency-Key", key)
	return b.send(t, http.MethodPost, orders+"/"+id+"/postponement-refund", body, header)
}

// passes makes all postponements and orders older.
func (b *bundle) passes(t *testing.T, by time.Duration) {
	t.Helper()
	for _, sql := range []string{
		`UPDATE postponed_events SET postponed_at = postponed_at - $1::interval, closes_at = closes_at - $1::interval`,
		`UPDATE orders SET created_at = created_at - $1::interval`,
	} {
		_, err := b.pool.Exec(t.Context(), sql, by)
		require.NoError(t, err)
	}
}

// A buyer who bought before the event was postponed can return the tickets once, for a limited time.
func TestBuyerReturnsTicketsOnceAfterAPostponement(t *testing.T) {
	const day = 24 * time.Hour
	later := time.Now().Add(90 * day)
	requireClosed := func(t *testing.T, a answer) {
		t.Helper()
		a.requireFailure(t, http.StatusConflict, "REFUND_WINDOW_CLOSED", "")
	}
	t.Run("Returned", func(t *testing.T) {
		b := setup(t)
		id, tickets := b.bought(t)
		kept, _ := b.bought(t)
		requireClosed(t, b.returnAs(t, b.buyer, id, "too soon"))
		b.update(t, uuid.New(), time.Now(), later, false)
		requireClosed(t, b.returnAs(t, b.buyer, id, "not postponed"))
		b.update(t, uuid.New(), time.Now(), later, true)

		for _, role := range []identity.Role{identity.RoleUser, identity.RoleAdmin} {
			b.returnAs(t, person(role), id, "key").requireFailure(t, http.StatusNotFound, "ORDER_NOT_FOUND", "")
		}
		b.returnAs(t, b.buyer, uuid.NewString(), "key").requireFailure(t, http.StatusNotFound, "ORDER_NOT_FOUND", "")
		b.returnAs(t, b.buyer, id, "").requireInvalid(t, "Idempotency-Key")

		returned := b.returnAs(t, b.buyer, id, "key")
		require.Equal(t, http.StatusCreated, returned.status, returned.body)
		stored := returned.fields(t)
		require.Equal(t, "SUCCEEDED", stored["status"])
		require.Equal(t, "EVENT_POSTPONED", stored["reason"])
		require.ElementsMatch(t, []any{tickets[0], tickets[1]}, stored["ticketIds"])
		require.Contains(t, returned.body, `"amount":100.00`)
		b.passes(t, 15*day)
		require.Equal(t, returned.body, b.returnAs(t, b.buyer, id, "key").body,
			"a repeated request has the same response, even after the window")
		requireClosed(t, b.returnAs(t, b.buyer, kept, "too late"))
		require.Contains(t, b.get(t, orders+"/"+id, b.as(t, b.buyer)).body, `"paymentStatus":"REFUNDED"`)
		require.Contains(t, b.get(t, orders+"/"+kept, b.as(t, b.buyer)).body, `"paymentStatus":"COMPLETED"`)
	})
	t.Run("UsedTicket", func(t *testing.T) {
		b := setup(t)
		id, tickets := b.bought(t)
		b.update(t, uuid.New(), time.Now(), later, true)
		b.services.UseTicket(uuid.MustParse(tickets[0]))
		a := b.returnAs(t, b.buyer, id, "key")
		require.Equal(t, http.StatusCreated, a.status, a.body)
		require.Equal(t, []any{tickets[1]}, a.fields(t)["ticketIds"])
		b.returnAs(t, b.buyer, id, "another key").requireFailure(t, http.StatusConflict, "TICKET_USED", "")
	})
	t.Run("ResponseLost", func(t *testing.T) {
		b := setup(t)
		id, _ := b.bought(t)
		b.update(t, uuid.New(), time.Now(), later, true)
		b.services.Next(sagatest.Refund, sagatest.ResponseLost)
		require.Equal(t, http.StatusAccepted, b.returnAs(t, b.buyer, id, "key").status)
		require.Equal(t, http.StatusCreated, b.returnAs(t, b.buyer, id, "key").status)
		_, refunded := b.services.Money(uuid.MustParse(id))
		require.Equal(t, []money.Decimal{"100.00"}, refunded)
	})
	t.Run("ConcurrentRequests", func(t *testing.T) {
		b := setup(t)
		id, _ := b.bought(t)
		b.update(t, uuid.New(), time.Now(), later, true)
		statuses := make([]int, 8)
		header := make([]http.Header, len(statuses))
		for i := range header {
			header[i] = b.as(t, b.buyer)
			header[i].Set("Idempotency-Key", strconv.Itoa(i))
		}
		var all sync.WaitGroup
		for i := range statuses {
			all.Go(func() {
				a, err := b.try(t.Context(), http.MethodPost, orders+"/"+id+"/postponement-refund", "", header[i])
				if err == nil {
					statuses[i] = a.status
				}
			})
		}
		all.Wait()
		counts := map[int]int{}
		for _, s := range statuses {
			counts[s]++
		}
		require.Equal(t, map[int]int{http.StatusCreated: 1, http.StatusConflict: len(statuses) - 1}, counts)
		_, refunded := b.services.Money(uuid.MustParse(id))
		require.Equal(t, []money.Decimal{"100.00"}, refunded)
	})
	t.Run("ClosesAtTheNewDate", func(t *testing.T) {
		b := setup(t)
		id, _ := b.bought(t)
		b.update(t, uuid.New(), time.Now(), time.Now().Add(3*day), true)
		b.passes(t, 4*day)
		requireClosed(t, b.returnAs(t, b.buyer, id, "key"))
	})
	t.Run("BoughtAfterThePostponement", func(t *testing.T) {
		b := setup(t)
		b.update(t, uuid.New(), time.Now(), later, true)
		id, _ := b.bought(t)
		requireClosed(t, b.returnAs(t, b.buyer, id, "key"))
		b.update(t, uuid.New(), time.Now().Add(time.Minute), later, true) // postponed again
		require.Equal(t, http.StatusCreated, b.returnAs(t, b.buyer, id, "another key").status)
	})
	// A repeated message, or one about an older postponement, does not open the window again.
	t.Run("RepeatedAndLateMessages", func(t *testing.T) {
		b := setup(t)
		id, _ := b.bought(t)
		message, at := uuid.New(), time.Now()
		b.update(t, message, at, later, true)
		b.passes(t, 15*day)
		b.update(t, message, at, later, true)
		b.update(t, uuid.New(), at, later, true)
		b.update(t, uuid.New(), at.Add(-day), later, true)
		b.update(t, uuid.New(), at.Add(day), later, false)
		requireClosed(t, b.returnAs(t, b.buyer, id, "key"))
	})
	t.Run("CancelledAfterThePostponement", func(t *testing.T) {
		b := setup(t)
		id, _ := b.bought(t)
		kept, _ := b.bought(t)
		b.update(t, uuid.New(), time.Now(), later, true)
		require.Equal(t, http.StatusCreated, b.returnAs(t, b.buyer, id, "key").status)
		cancelled := fmt.Sprintf(`{"eventId": %q, "eventName": "Fest", "organizerId": %q, "cancellationReason": "Storm",
			"affectedTicketCount": 2, "updatedAt": "2026-01-01T20:00:00Z"}`, b.event, uuid.New())
		for range 2 {
			a := b.deliver(t, "/events/event-cancelled", uuid.New(), "EVENT_CANCELLED", cancelled)
			require.Equal(t, http.StatusOK, a.status)
			a = b.send(t, http.MethodPost, "/bindings/resume-sagas", "", sidecarHeader)
			require.Equal(t, http.StatusOK, a.status)
		}
		for _, orderID := range []string{id, kept} {
			_, refunded := b.services.Money(uuid.MustParse(orderID))
			require.Equal(t, []money.Decimal{"100.00"}, refunded, "refunded once")
		}
		b.returnAs(t, b.buyer, kept, "key").requireFailure(t, http.StatusConflict, "NOT_REFUNDABLE", "")
	})
}

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// person returns a new user with the roles.
func person(roles ...identity.Role) identity.User {
	return identity.User{ID: uuid.New(), Name: "Bob", Roles: roles}
}

// bought buys two tickets for 100.00 in total, and returns the ids of the order and of the tickets.
func (b *bundle) bought(t *testing.T) (id string, tickets []string) {
	t.Helper()
	id = b.buy(t, uuid.NewString(), nil).id(t)
	var generated []string
	for range 2 {
		ticket := uuid.NewString()
		tickets = append(tickets, ticket)
		generated = append(generated, fmt.Sprintf(
			`{"ticketId": %q, "ticketNumber": "TKT-2024-001234", "ticketTypeId": %q}`, ticket, b.typeID,
		))
		b.services.AddTicket(uuid.MustParse(id), uuid.MustParse(ticket), b.typeID, b.buyer.ID)
	}
	a := b.deliver(t, "/events/tickets-generated", uuid.New(), "TICKETS_GENERATED",
		fmt.Sprintf(`{"orderId": %q, "tickets": [%s]}`, id, strings.Join(generated, ",")))
	require.Equal(t, http.StatusOK, a.status, a.body)
	return id, tickets
}

// organizer returns the organizer of the event.
func (b *bundle) organizer() identity.User {
	user := person(identity.RoleUser, identity.RoleOrganizer)
	b.services.SetOrganizer(b.event, user.ID)
	return user
}

// requestRefundAs requests a refund as the user.
func (b *bundle) requestRefundAs(t *testing.T, user identity.User, id, key, body string) answer {
	t.Helper()
	header := b.as(t, user)
	header.Set("Idempotency-Key", key)
	return b.send(t, http.MethodPost, orders+"/"+id+"/refunds", body, header)
}

// fields returns the fields of the response.
func (a answer) fields(t *testing.T) map[string]any {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &fields), a.body)
	return fields
}

func TestRequestRefundIsIdempotent(t *testing.T) {
	b := setup(t)
	organizer := b.organizer()
	id, tickets := b.bought(t)

	body := fmt.Sprintf(`{"ticketIds": [%q], "reason": " Cannot come "}`, tickets[0])
	ticket := b.requestRefundAs(t, organizer, id, "one", body)
	require.Equal(t, http.StatusCreated, ticket.status, ticket.body)
	stored := ticket.fields(t)
	require.JSONEq(t, fmt.Sprintf(`{"refundId": %q, "orderId": %q, "status": "SUCCEEDED", "amount": 50.00,
		"currency": "USD", "reason": "Cannot come", "ticketIds": [%q], "createdAt": %q}`,
		stored["refundId"], id, tickets[0], stored["createdAt"]), ticket.body)
	again := b.requestRefundAs(t, organizer, id, "one", body)
	require.Equal(t, http.StatusCreated, again.status)
	require.Equal(t, ticket.body, again.body)
	b.requestRefundAs(t, organizer, id, "one", `{"reason": "Cannot come"}`).
		requireFailure(t, http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED", "")

	amount := b.requestRefundAs(t, person(identity.RoleAdmin), id, "two", `{"amount": 12.3, "reason": "Bad view"}`)
	require.Equal(t, http.StatusCreated, amount.status, amount.body)
	require.Contains(t, amount.body, `"amount":12.30`, "amounts have the currency's digits")
	o := b.get(t, orders+"/"+id, b.as(t, b.buyer))
	require.Contains(t, o.body, `"refundedAmount":62.30,"paymentStatus":"COMPLETED"`)

	b.requestRefundAs(t, organizer, id, "three", `{"amount": 37.71, "reason": "x"}`).
		requireFailure(t, http.StatusConflict, "REFUND_EXCEEDS_PAYMENT", "")
	b.requestRefundAs(t, organizer, id, "five", fmt.Sprintf(`{"ticketIds": [%q], "reason": "x"}`, tickets[0])).
		requireFailure(t, http.StatusConflict, "NOT_REFUNDABLE", "")
	b.requestRefundAs(t, organizer, id, "six", fmt.Sprintf(`{"ticketIds": [%q], "reason": "x"}`, uuid.New())).
		requireFailure(t, http.StatusNotFound, "TICKET_NOT_FOUND", "")

	// A part of the price of this ticket was refunded as an amount.
	rest := b.requestRefundAs(t, organizer, id, "seven", fmt.Sprintf(`{"ticketIds": [%q], "reason": "x"}`, tickets[1]))
	require.Equal(t, http.StatusCreated, rest.status, rest.body)
	require.Equal(t, []any{tickets[1]}, rest.fields(t)["ticketIds"])
	require.Contains(t, rest.body, `"amount":37.70`)
	o = b.get(t, orders+"/"+id, b.as(t, b.buyer))
	require.Contains(t, o.body, `"refundedAmount":100.00,"paymentStatus":"REFUNDED"`)
	b.requestRefundAs(t, organizer, id, "eight", `{"reason": "x"}`).
		requireFailure(t, http.StatusConflict, "NOT_REFUNDABLE", "")
	charged, refunded := b.services.Money(uuid.MustParse(id))
	require.Equal(t, []money.Decimal{"100.00"}, charged)
	require.ElementsMatch(t, []money.Decimal{"50.00", "12.30", "37.70"}, refunded)

	t.Run("List", func(t *testing.T) {
		path := orders + "/" + id + "/refunds"
		list := b.get(t, path, b.as(t, b.buyer))
		require.Equal(t, http.StatusOK, list.status)
		require.JSONEq(t, `{"refunds": [`+ticket.body+`,`+amount.body+`,`+rest.body+`]}`, list.body)
		first := b.get(t, path+"?limit=2", b.as(t, organizer))
		next, ok := first.fields(t)["nextCursor"].(string)
		require.True(t, ok, first.body)
		second := b.get(t, path+"?limit=2&cursor="+next, b.as(t, person(identity.RoleAdmin)))
		require.JSONEq(t, `{"refunds": [`+rest.body+`]}`, second.body)
		b.get(t, path+"?limit=0", b.as(t, b.buyer)).requireInvalid(t, "limit")
	})
	t.Run("History", func(t *testing.T) {
		history := b.get(t, orders+"/"+id+"/history", b.as(t, b.buyer))
		for _, text := range []string{
			"The order has 2 tickets.", "A refund of 50.00 USD was requested: Cannot come.",
			"The refund cancelled 1 ticket of the order.", "50.00 USD was refunded to the card.",
		} {
			require.Contains(t, history.body, text)
		}
	})
}

func TestRefundBeforeTicketsAreIssuedIsRejected(t *testing.T) {
	b := setup(t)
	organizer := b.organizer()
	b.services.Next(sagatest.Reserve, sagatest.CallLost)
	for name, id := range map[string]string{
		"Unreserved":   b.buy(t, "a", nil).header.Get("Location")[len(orders)+1:],
		"Declined":     b.buy(t, "b", map[string]any{"paymentToken": sagatest.DeclinedCard}).id(t),
		"Pending":      b.buy(t, "c", map[string]any{"paymentToken": sagatest.PendingCard}).id(t),
		"NoTicketsYet": b.buy(t, "d", nil).id(t),
	} {
		t.Run(name, func(t *testing.T) {
			for i, body := range []string{
				`{"reason": "x"}`, `{"amount": 1, "reason": "x"}`,
				`{"ticketIds": ["` + uuid.NewString() + `"], "reason": "x"}`,
			} {
				b.requestRefundAs(t, organizer, id, strconv.Itoa(i), body).
					requireFailure(t, http.StatusConflict, "NOT_REFUNDABLE", "")
			}
		})
	}
}

func TestRefundResponseDependsOnItsOutcome(t *testing.T) {
	b := setup(t)
	organizer := b.organizer()
	const everything = `{"reason": "x"}`
	t.Run("TicketUsed", func(t *testing.T) {
		id, _ := b.bought(t)
		b.services.Next(sagatest.Cancel, sagatest.Refused(problem.New(problem.Conflict, "TICKET_USED", "Used")))
		for range 2 {
			b.requestRefundAs(t, organizer, id, "key", everything).
				requireFailure(t, http.StatusConflict, "TICKET_USED", "")
		}
		b.requireMoney(t, id, "100.00")
	})
	for name, call := range map[string]sagatest.Call{
		"CancellationUnknown": sagatest.Cancel, "RefundUnknown": sagatest.Refund,
	} {
		t.Run(name, func(t *testing.T) {
			id, _ := b.bought(t)
			b.services.Next(call, sagatest.ResponseLost)
			unknown := b.requestRefundAs(t, organizer, id, "key", everything)
			require.Equal(t, http.StatusAccepted, unknown.status, unknown.body)
			require.Equal(t, "PENDING", unknown.fields(t)["status"])
			known := b.requestRefundAs(t, organizer, id, "key", everything)
			require.Equal(t, http.StatusCreated, known.status)
			require.Equal(t, "SUCCEEDED", known.fields(t)["status"])
			require.Equal(t, unknown.fields(t)["refundId"], known.fields(t)["refundId"])
			_, refunded := b.services.Money(uuid.MustParse(id))
			require.Equal(t, []money.Decimal{"100.00"}, refunded)
		})
	}
	t.Run("BankRefuses", func(t *testing.T) {
		id, _ := b.bought(t)
		b.services.Next(sagatest.Refund, sagatest.Answered(calls.RefundAnswer{
			Status: calls.GatewayFailed, FailureCode: "LOST_OR_STOLEN_CARD",
		}))
		for range 2 {
			failed := b.requestRefundAs(t, organizer, id, "key", everything)
			require.Equal(t, http.StatusCreated, failed.status)
			require.Equal(t, "FAILED", failed.fields(t)["status"])
		}
		o := b.get(t, orders+"/"+id, b.as(t, b.buyer))
		require.NotContains(t, o.body, "refundedAmount")
		require.Equal(t, "COMPLETED", o.order(t)["paymentStatus"])
	})
	t.Run("OrganizerUnknown", func(t *testing.T) {
		id, _ := b.bought(t)
		b.services.Next(sagatest.Organizer, sagatest.CallLost)
		b.requestRefundAs(t, organizer, id, "key", everything).
			requireFailure(t, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "")
		b.requireMoney(t, id, "100.00")
	})
	t.Run("ConcurrentEqualRequests", func(t *testing.T) {
		id, _ := b.bought(t)
		header := b.as(t, organizer)
		header.Set("Idempotency-Key", "key")
		answers, errs := make([]answer, 16), make([]error, 16)
		var requests sync.WaitGroup
		for i := range answers {
			requests.Go(func() {
				path := orders + "/" + id + "/refunds"
				answers[i], errs[i] = b.try(t.Context(), http.MethodPost, path, everything, header.Clone())
			})
		}
		requests.Wait()
		for i, a := range answers {
			require.NoError(t, errs[i])
			require.Contains(t, []int{http.StatusCreated, http.StatusAccepted}, a.status, a.body)
		}
		_, refunded := b.services.Money(uuid.MustParse(id))
		require.Equal(t, []money.Decimal{"100.00"}, refunded)
	})
}

func TestOnlyAdminsAndTheOrganizerMayRefund(t *testing.T) {
	b := setup(t)
	b.organizer()
	id, _ := b.bought(t)
	const everything = `{"reason": "x"}`
	other := person(identity.RoleUser, identity.RoleOrganizer)
	b.services.SetOrganizer(uuid.New(), other.ID)
	for name, tt := range map[string]struct {
		user         identity.User
		status, list int
		code         string
	}{
		"Buyer":                   {b.buyer, 403, 200, "FORBIDDEN"},
		"OtherUser":               {person(identity.RoleUser), 403, 404, "FORBIDDEN"},
		"WithoutRoles":            {person(), 403, 404, "FORBIDDEN"},
		"OrganizerOfAnotherEvent": {other, 403, 403, "NOT_EVENT_ORGANIZER"},
		"BuyerWithTheRoleOrganizer": {
			identity.User{ID: b.buyer.ID, Roles: []identity.Role{identity.RoleOrganizer}},
			403, 200, "NOT_EVENT_ORGANIZER",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b.requestRefundAs(t, tt.user, id, "key", everything).requireFailure(t, tt.status, tt.code, "")
			list := b.get(t, orders+"/"+id+"/refunds", b.as(t, tt.user))
			require.Equal(t, tt.list, list.status, list.body)
		})
	}
	b.requireMoney(t, id, "100.00")
	unknown := uuid.NewString()
	b.requestRefundAs(t, other, unknown, "key", everything).
		requireFailure(t, http.StatusNotFound, "ORDER_NOT_FOUND", "")
	b.get(t, orders+"/"+unknown+"/refunds", b.as(t, other)).
		requireFailure(t, http.StatusNotFound, "ORDER_NOT_FOUND", "")
}

func TestInvalidRefundsAreRejected(t *testing.T) {
	b := setup(t)
	organizer := b.organizer()
	id, tickets := b.bought(t)
	for _, tt := range []struct{ name, body, code, field string }{
		{"Empty", "", "MALFORMED_JSON", ""},
		{"Array", "[]", "MALFORMED_JSON", ""},
		{"UnknownField", `{"reason": "x", "to": "me"}`, "VALIDATION_ERROR", "to"},
		{"NoReason", `{}`, "VALIDATION_ERROR", "reason"},
		{"BlankReason", `{"reason": " \t"}`, "VALIDATION_ERROR", "reason"},
		{"LongReason", `{"reason": "` + strings.Repeat("å", 501) + `"}`, "VALIDATION_ERROR", "reason"},
		{"NULInReason", `{"reason": "a\u0000"}`, "VALIDATION_ERROR", "reason"},
		{
			"AmountAndTickets", `{"reason": "x", "amount": 1, "ticketIds": ["` + tickets[0] + `"]}`,
			"VALIDATION_ERROR", "amount",
		},
		{"NoTickets", `{"reason": "x", "ticketIds": []}`, "VALIDATION_ERROR", "ticketIds"},
		{"NullTickets", `{"reason": "x", "ticketIds": null}`, "VALIDATION_ERROR", "ticketIds"},
		{
			"TicketIsNoUUID", `{"reason": "x", "ticketIds": ["` + tickets[0] + `", "7"]}`,
			"VALIDATION_ERROR", "ticketIds[1]",
		},
		{
			"TicketTwice", `{"reason": "x", "ticketIds": ["` + tickets[0] + `", "` + tickets[0] + `"]}`,
			"VALIDATION_ERROR", "ticketIds",
		},
		{"TicketsWrongType", `{"reason": "x", "ticketIds": "all"}`, "VALIDATION_ERROR", "ticketIds"},
		{"AmountZero", `{"reason": "x", "amount": 0}`, "VALIDATION_ERROR", "amount"},
		{"AmountNegative", `{"reason": "x", "amount": -1}`, "VALIDATION_ERROR", "amount"},
		{"AmountTooPrecise", `{"reason": "x", "amount": 0.001}`, "VALIDATION_ERROR", "amount"},
		{"AmountHuge", `{"reason": "x", "amount": 99999999999999999999}`, "VALIDATION_ERROR", "amount"},
		{"AmountExponent", `{"reason": "x", "amount": 1e2}`, "VALIDATION_ERROR", "amount"},
		{"AmountText", `{"reason": "x", "amount": "1.00"}`, "VALIDATION_ERROR", "amount"},
		{"AmountNull", `{"reason": "x", "amount": null}`, "VALIDATION_ERROR", "amount"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.requestRefundAs(t, organizer, id, "key", tt.body).
				requireFailure(t, http.StatusBadRequest, tt.code, tt.field)
		})
	}
	b.requestRefundAs(t, organizer, id, "", `{"reason": "x"}`).requireInvalid(t, "Idempotency-Key")
	b.requestRefundAs(t, organizer, "7", "key", `{"reason": "x"}`).requireInvalid(t, "orderId")
	var stored int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM refunds`).Scan(&stored))
	require.Zero(t, stored)
}

func TestOrdersAreListedByPage(t *testing.T) {
	b := setup(t)
	var bodies []string
	for i := range 3 {
		bodies = append([]string{b.buy(t, strconv.Itoa(i), nil).body}, bodies...)
	}
	header := b.as(t, person(identity.RoleUser))
	header.Set("Idempotency-Key", "key")
	b.send(t, http.MethodPost, orders, b.request(nil), header)

	all := b.get(t, orders, b.as(t, b.buyer))
	require.Equal(t, http.StatusOK, all.status)
	require.JSONEq(t, `{"orders": [`+strings.Join(bodies, ",")+`]}`, all.body)
	first := b.get(t, orders+"?limit=2", b.as(t, b.buyer))
	next, ok := first.fields(t)["nextCursor"].(string)
	require.True(t, ok, first.body)
	rest := b.get(t, orders+"?limit=2&cursor="+next, b.as(t, b.buyer))
	require.JSONEq(t, `{"orders": [`+bodies[2]+`]}`, rest.body)
	none := b.get(t, orders, b.as(t, person(identity.RoleUser)))
	require.JSONEq(t, `{"orders": []}`, none.body)
	for query, field := range map[string]string{
		"limit=101": "limit", "limit=x": "limit", "cursor=x": "cursor", "cursor=": "cursor",
	} {
		b.get(t, orders+"?"+query, b.as(t, b.buyer)).requireInvalid(t, field)
	}
}

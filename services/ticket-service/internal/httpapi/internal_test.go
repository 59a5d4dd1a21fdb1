package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Every holder is listed once per order, whatever the size of the pages.
func TestHoldersAreListedOncePerOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, ann, bob := b.newType(t, b.event, "VIP", "20"), uuid.New(), uuid.New()
	type holder struct {
		UserID, OrderID uuid.UUID
		TicketCount     int
	}
	order := func(k confirmedTicket) uuid.UUID { return b.ticket(t, k.TicketID).OrderID }
	first, second, cancelled := b.buy(t, ann, kind, "3"), b.buy(t, ann, kind, "1"), b.buy(t, ann, kind, "1")
	_, err := b.store.Transfer(t.Context(), first[0].TicketID, ann, bob, "Bob Lee")
	require.NoError(t, err)
	_, err = b.store.Cancel(t.Context(), cancelled[0].TicketID, ann, "")
	require.NoError(t, err)
	want := []holder{{ann, order(first[0]), 2}, {bob, order(first[0]), 1}, {ann, order(second[0]), 1}}

	for _, limit := range []string{"1", "2", "20"} {
		var got []holder
		path := "/api/tickets/internal/events/" + b.event.String() + "/holders?limit=" + limit
		for cursor := ""; ; {
			status, body := b.send(t, http.MethodGet, path+cursor, "", from(t, "notification-service"))
			require.Equal(t, http.StatusOK, status, body)
			var page struct {
				Holders    []holder
				NextCursor string
			}
			require.NoError(t, json.Unmarshal([]byte(body), &page))
			got = append(got, page.Holders...)
			if page.NextCursor == "" {
				break
			}
			cursor = "&cursor=" + page.NextCursor
		}
		require.ElementsMatch(t, want, got)
	}
	status, body := b.send(t, http.MethodGet, "/api/tickets/internal/events/"+uuid.NewString()+"/holders", "",
		from(t, "notification-service"))
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"holders":[]}`, body)
}

// The list has the tickets that the user owns now, with those that others bought.
func TestOrderTicketsAreThoseOfTheirOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, ann, bob := b.newType(t, b.event, "VIP", "10"), uuid.New(), uuid.New()
	tickets := b.buy(t, ann, kind, "3")
	order := b.ticket(t, tickets[0].TicketID).OrderID
	_, err := b.store.Transfer(t.Context(), tickets[1].TicketID, ann, bob, "Bob Lee")
	require.NoError(t, err)
	_, err = b.store.CheckIn(t.Context(), tickets[2].TicketID, 1, "")
	require.NoError(t, err)
	status, body := b.internal(t, "cancel", `{"orderId":"`+order.String()+`","ticketIds":["`+
		tickets[0].TicketID.String()+`"],"refundKey":"refund-1","ownerId":"`+ann.String()+`"}`)
	require.Equal(t, http.StatusOK, status, body)

	path := "/api/tickets/internal/orders/" + order.String() + "/tickets?ownerId="
	for owner, want := range map[string]string{
		ann.String(): `{"tickets":[{"ticketId":"` + tickets[0].TicketID.String() + `","ticketNumber":"` +
			tickets[0].TicketNumber + `","status":"CANCELLED","refundKey":"refund-1"},{"ticketId":"` +
			tickets[2].TicketID.String() + `","ticketNumber":"` + tickets[2].TicketNumber + `","status":"USED"}]}`,
		bob.String(): `{"tickets":[{"ticketId":"` + tickets[1].TicketID.String() + `","ticketNumber":"` +
			tickets[1].TicketNumber + `","status":"ACTIVE"}]}`,
		uuid.NewString(): `{"tickets":[]}`,
	} {
		status, body := b.send(t, http.MethodGet, path+owner, "", from(t, "notification-service"))
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, want, body)
	}
	status, body = b.send(t, http.MethodGet, path, "", from(t, "payment-service"))
	require.Equal(t, http.StatusBadRequest, status)
	requireFailure(t, body, "VALIDATION_ERROR", "ownerId")
}

func TestCancelRefundedIsIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, user := b.newType(t, b.event, "VIP", "10"), uuid.New()
	tickets := b.buy(t, user, kind, "3")
	order := b.ticket(t, tickets[0].TicketID).OrderID
	request := func(order, ticketIDs string) string {
		return `{"orderId":"` + order + `",` + ticketIDs + `"refundKey":"refund-1","reason":"Seats double-booked"}`
	}
	some := func(ids ...uuid.UUID) string {
		list, err := json.Marshal(ids)
		require.NoError(t, err)
		return `"ticketIds":` + string(list) + `,`
	}
	item := func(k confirmedTicket) string {
		return `{"ticketId":"` + k.TicketID.String() + `","ticketTypeId":"` + kind.String() + `"}`
	}
	for range 2 {
		status, body := b.internal(t, "cancel", request(order.String(), some(tickets[0].TicketID)))
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"cancelled":true,"orderId":"`+order.String()+`","tickets":[`+item(tickets[0])+`]}`, body)
	}
	t.Run("TicketOfAnotherOrder", func(t *testing.T) {
		status, body := b.internal(t, "cancel", request(order.String(), some(tickets[1].TicketID, uuid.New())))
		require.Equal(t, http.StatusNotFound, status, body)
		requireFailure(t, body, "TICKET_NOT_FOUND", "")
		require.Contains(t, body, `"cancelled":false`)
	})
	for range 2 {
		status, body := b.internal(t, "cancel", request(order.String(), ""))
		require.Equal(t, http.StatusOK, status, body)
		var whole struct{ Tickets []confirmedTicket }
		require.NoError(t, json.Unmarshal([]byte(body), &whole))
		require.Len(t, whole.Tickets, 3)
	}
	_, body := b.send(t, http.MethodGet, "/api/tickets/events/"+b.event.String()+"/availability", "", nil)
	require.Contains(t, body, `"quantityAvailable":10`)

	t.Run("UsedTicket", func(t *testing.T) {
		used := b.ticket(t, b.buy(t, user, kind, "1")[0].TicketID)
		_, err := b.store.CheckIn(t.Context(), used.ID, 1, "")
		require.NoError(t, err)
		status, body := b.internal(t, "cancel", request(used.OrderID.String(), ""))
		require.Equal(t, http.StatusConflict, status, body)
		requireFailure(t, body, "TICKET_USED", "")
		require.Contains(t, body, `"cancelled":false`)
	})
	t.Run("BeforePayment", func(t *testing.T) {
		reservation, order := uuid.New(), uuid.New()
		status, body := b.internal(t, "reserve", reserveBody(reservation, user, b.event, kind, "1"))
		require.Equal(t, http.StatusOK, status, body)
		status, body = b.internal(t, "cancel", request(order.String(), ""))
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"cancelled":true,"orderId":"`+order.String()+`","tickets":[]}`, body)
		status, body = b.internal(t, "confirm-purchase", confirmBody(reservation, order, user))
		require.Equal(t, http.StatusConflict, status, body)
		requireFailure(t, body, "ORDER_REFUSED", "")
		require.Contains(t, body, `"confirmed":false`)
	})
	for _, tt := range []struct{ name, body, field string }{
		{"NoOrder", request("", ""), "orderId"},
		{"InvalidOwner", request(order.String(), `"ownerId":"Ann",`), "ownerId"},
		{"InvalidOrder", request("ORD-2024-000001", ""), "orderId"},
		{"NullTickets", request(order.String(), `"ticketIds":null,`), "ticketIds"},
		{"NoTickets", request(order.String(), `"ticketIds":[],`), "ticketIds"},
		{"InvalidTicket", request(order.String(), `"ticketIds":["vip"],`), "ticketIds[0]"},
		{"NumberForTickets", request(order.String(), `"ticketIds":3,`), "ticketIds"},
		{"NoKey", strings.Replace(request(order.String(), ""), "refund-1", "", 1), "refundKey"},
		{"LongKey", strings.Replace(request(order.String(), ""), "refund-1", strings.Repeat("k", 129), 1), "refundKey"},
		{"LongReason", strings.Replace(request(order.String(), ""), "Seats", strings.Repeat("a", 500), 1), "reason"},
		{"NULInReason", strings.Replace(request(order.String(), ""), "Seats", `\u0000`, 1), "reason"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := b.internal(t, "cancel", tt.body)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
}

func TestTicketCountOfUnknownEventIsZero(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.buy(t, uuid.New(), b.newType(t, b.event, "VIP", "10"), "3")
	count := func(event string) (int, string) {
		return b.send(t, http.MethodGet, "/api/tickets/internal/events/"+event+"/ticket-count", "",
			from(t, "event-service"))
	}
	for event, n := range map[uuid.UUID]string{b.event: "3", uuid.New(): "0"} {
		status, body := count(event.String())
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"eventId":"`+event.String()+`","ticketCount":`+n+`}`, body)
	}
	status, body := count("festival")
	require.Equal(t, http.StatusBadRequest, status, body)
	requireFailure(t, body, "VALIDATION_ERROR", "eventId")
}

func TestInternalEndpointsRefuseBadInput(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, id := b.newType(t, b.event, "VIP", "10"), uuid.New()
	reserve := func(old, replacement string) string {
		good := reserveBody(id, b.organizer, b.event, kind, "1")
		require.Contains(t, good, old)
		return strings.Replace(good, old, replacement, 1)
	}
	item := `{"ticketTypeId":"` + kind.String() + `","quantity":1}`
	check := func(items string) string {
		return `{"eventId":"` + b.event.String() + `","ticketRequests":` + items + `}`
	}
	confirm := func(old, replacement string) string {
		return strings.Replace(confirmBody(id, id, id), old, replacement, 1)
	}
	release := func(reason string) string { return strings.Replace(releaseBody(id), "PAYMENT", reason, 1) }
	refuse := func(name, endpoint, body string, want int, code, field string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, response := b.internal(t, endpoint, body)
			require.Equal(t, want, status, response)
			requireFailure(t, response, code, field)
		})
	}

	for _, tt := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"Empty", "", http.StatusBadRequest, "MALFORMED_JSON"},
		{"MalformedJSON", reserve("}", ""), http.StatusBadRequest, "MALFORMED_JSON"},
		{"Array", "[]", http.StatusBadRequest, "MALFORMED_JSON"},
		{"TwoValues", reserve("", "") + "{}", http.StatusBadRequest, "MALFORMED_JSON"},
		{"InvalidUTF8", reserve("userId", "\xff"), http.StatusBadRequest, "MALFORMED_JSON"},
		{
			"TooLarge", reserve("{", "{"+strings.Repeat(" ", web.MaxBody)),
			http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE",
		},
	} {
		refuse(tt.name, "reserve", tt.body, tt.status, tt.code, "")
	}
	const (
		items    = "ticketRequests"
		itemType = "ticketRequests.ticketTypeId"
		quantity = "ticketRequests.quantity"
		minutes  = "reservationDurationMinutes"
	)
	for _, tt := range []struct{ name, body, field string }{
		{"UnknownField", reserve("{", `{"price":1,`), "price"},
		{"NoUser", reserve(`"userId":"`+b.organizer.String()+`",`, ""), "userId"},
		{"NoEvent", reserve(`"eventId":"`+b.event.String()+`",`, ""), "eventId"},
		{"NullReservation", reserve(`"reservationId":"`+id.String()+`"`, `"reservationId":null`), "reservationId"},
		{"InvalidID", reserve(id.String(), "ann"), "reservationId"},
		{"InvalidIDOfRightLength", reserve(id.String(), strings.Repeat("g", 36)), "reservationId"},
		{"NumberForID", reserve(`"`+id.String()+`"`, "7"), "reservationId"},
		{"QuantityZero", reserve(`"quantity":1`, `"quantity":0`), quantity},
		{"QuantityMissing", reserve(`,"quantity":1`, ""), quantity},
		{"QuantityNegative", reserve(`"quantity":1`, `"quantity":-1`), quantity},
		{"QuantityTooLarge", reserve(`"quantity":1`, `"quantity":101`), quantity},
		{"QuantityBeyondInt32", reserve(`"quantity":1`, `"quantity":4294967297`), quantity},
		{"QuantityBeyondInt64", reserve(`"quantity":1`, `"quantity":99999999999999999999`), quantity},
		{"QuantityFraction", reserve(`"quantity":1`, `"quantity":1.5`), quantity},
		{"QuantityString", reserve(`"quantity":1`, `"quantity":"1"`), quantity},
		{"SameTypeTwice", reserve(item, item+","+item), itemType},
		{"NoItems", reserve(item, ""), items},
		{"TooManyItems", reserve(item, strings.Repeat(item+",", 20)+item), items},
		{"ItemsNoArray", reserve("["+item+"]", item), items},
		{"MinutesZero", reserve(`Minutes":15`, `Minutes":0`), minutes},
		{"MinutesNegative", reserve(`Minutes":15`, `Minutes":-15`), minutes},
	} {
		refuse("Reserve/"+tt.name, "reserve", tt.body, http.StatusBadRequest, "VALIDATION_ERROR", tt.field)
	}
	for _, tt := range []struct{ name, endpoint, body, field string }{
		{"NoEvent", "check-availability", `{"ticketRequests":[` + item + `]}`, "eventId"},
		{"NoItems", "check-availability", check("[]"), items},
		{"SameTypeTwice", "check-availability", check("[" + item + "," + item + "]"), itemType},

		{"NullOrder", "confirm-purchase", confirm(`"orderId":"`+id.String()+`"`, `"orderId":null`), "orderId"},
		{"NoHolder", "confirm-purchase", confirm("Ann O'Hara", ""), "holderName"},
		{"LongHolder", "confirm-purchase", confirm("Ann", strings.Repeat("Ann", 100)), "holderName"},
		{"NULInHolder", "confirm-purchase", confirm("Ann", `Ann\u0000`), "holderName"},

		{"NoReservation", "release-reservation", `{}`, "reservationId"},
		{"LongReason", "release-reservation", release(strings.Repeat("P", 300)), "reason"},
		{"NULInReason", "release-reservation", release(`\u0000`), "reason"},
	} {
		refuse(tt.endpoint+"/"+tt.name, tt.endpoint, tt.body, http.StatusBadRequest, "VALIDATION_ERROR", tt.field)
	}
	t.Run("LongHoldIsShortened", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "reserve", strings.Replace(reserve("", ""), `Minutes":15`, `Minutes":100000`, 1))
		require.Equal(t, http.StatusOK, status, body)
		var got struct{ ExpiresAt time.Time }
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		require.WithinDuration(t, time.Now().Add(15*time.Minute), got.ExpiresAt, time.Minute)
	})
}

package e2e_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

func TestInvalidRequestsAreRejected(t *testing.T) {
	t.Parallel()
	s := newSale(t, 5)
	buyer, organizer := s.buyer.Token, s.organizer.Token
	rival, err := s.Join(t.Context(), "Rita", "Vale", true)
	require.NoError(t, err)
	good := s.purchase(1, demo.GoodCard)
	order := func(change func(*demo.Purchase)) demo.Request {
		p := s.purchase(1, demo.GoodCard)
		change(&p)
		return p.Request(s.buyer)
	}
	raw := func(body string) demo.Request {
		req := good.Request(s.buyer)
		req.Body = []byte(body)
		return req
	}
	withoutKey := good.Request(s.buyer)
	withoutKey.Header = nil
	withoutToken := good.Request(demo.Person{})
	otherMethod := raw(`{"eventId":"` + s.event.EventID.String() + `","ticketRequests":[{"ticketTypeId":"` +
		s.tickets.TicketTypeID.String() + `","quantity":1}],"paymentMethod":"BARTER","paymentToken":"pm_card_visa"}`)
	registration := func(email, password string) map[string]string {
		return map[string]string{"email": email, "password": password, "firstName": "Eve", "lastName": "Moss"}
	}

	for _, tt := range []struct {
		name        string
		req         demo.Request
		status      int
		code, field string
	}{
		{"MalformedJSON", raw(`{"eventId":`), 400, "MALFORMED_JSON", ""},
		{"EmptyBody", raw(``), 400, "MALFORMED_JSON", ""},
		{"UnknownField", raw(`{"price":0.01}`), 400, "VALIDATION_ERROR", "price"},
		{"UnknownPaymentMethod", otherMethod, 400, "VALIDATION_ERROR", "paymentMethod"},
		{
			"UnknownCard", order(func(p *demo.Purchase) { p.Card = "pm_card_nonsense" }),
			400, "UNKNOWN_PAYMENT_METHOD", "paymentToken",
		},
		{
			"ZeroTickets", order(func(p *demo.Purchase) { p.Quantity = 0 }),
			400, "VALIDATION_ERROR", "ticketRequests.quantity",
		},
		{
			"NegativeQuantity", order(func(p *demo.Purchase) { p.Quantity = -1 }),
			400, "VALIDATION_ERROR", "ticketRequests.quantity",
		},
		{"UnknownEvent", order(func(p *demo.Purchase) { p.Event = uuid.New() }), 404, "EVENT_NOT_FOUND", ""},
		{
			"UnknownTicketType", order(func(p *demo.Purchase) { p.TicketType = uuid.New() }),
			404, "TICKET_TYPE_NOT_FOUND", "",
		},
		{"NoIdempotencyKey", withoutKey, 400, "VALIDATION_ERROR", "Idempotency-Key"},
		{"NoToken", withoutToken, 401, "TOKEN_MISSING", ""},
		{"ForgedToken", get("ticket-service", "/api/tickets/mine", buyer+"x"), 401, "TOKEN_INVALID", ""},
		{"BadUUID", get("payment-service", "/api/payments/orders/42", buyer), 400, "VALIDATION_ERROR", "orderId"},
		{
			"UnknownOrder", get("payment-service", "/api/payments/orders/"+uuid.NewString(), buyer),
			404, "ORDER_NOT_FOUND", "",
		},
		{"UnknownPath", get("event-service", "/api/nothing", buyer), 404, "NOT_FOUND", ""},
		{"WrongHTTPMethod", demo.Request{
			Method: http.MethodDelete, App: "event-service", Path: "/api/events", Token: organizer,
		}, 405, "METHOD_NOT_ALLOWED", ""},
		{
			"NotAnOrganizer", post("event-service", "/api/events", buyer, map[string]string{"name": "x"}),
			403, "FORBIDDEN", "",
		},
		{"EventOfAnotherOrganizer", post("ticket-service", "/api/tickets/types", rival.Token, map[string]any{
			"eventId": s.event.EventID, "name": "Fake", "price": 1, "currency": "USD", "capacity": 1,
		}), 403, "NOT_EVENT_ORGANIZER", ""},
		{
			"InvalidEmail", post("auth-service", "/api/auth/register", "", registration("not an address", demo.Password)),
			400, "VALIDATION_ERROR", "email",
		},
		{
			"ShortPassword", post("auth-service", "/api/auth/register", "", registration("eve@example.com", "short")),
			400, "VALIDATION_ERROR", "password",
		},
		{
			"TakenEmail", post("auth-service", "/api/auth/register", "", registration(s.buyer.Email, demo.Password)),
			409, "EMAIL_TAKEN", "",
		},
		{"WrongPassword", post("auth-service", "/api/auth/login", "", map[string]string{
			"email": s.buyer.Email, "password": "not this one",
		}), 401, "INVALID_CREDENTIALS", ""},
		{
			"BodyTooLarge", post("auth-service", "/api/auth/login", "", bytes.Repeat([]byte(" "), 1<<20+1)),
			413, "BODY_TOO_LARGE", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := refusal(t, s.Client, tt.req)
			require.Equal(t, tt.status, got.Status, got)
			require.Equal(t, tt.code, got.Code)
			require.Equal(t, tt.field, got.Field)
			require.NotEmpty(t, got.Message)
		})
	}
	_, err = demo.Await(t.Context(),
		func() (demo.Availability, error) { return s.Availability(t.Context(), s.event.EventID) },
		func(a demo.Availability) bool { return a.Of(s.tickets.TicketTypeID) == 5 })
	require.NoError(t, err, "a rejected request still holds tickets")
}

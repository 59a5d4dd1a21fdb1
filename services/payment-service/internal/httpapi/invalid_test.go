package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

func TestInvalidRequestsAreRejected(t *testing.T) {
	b := setup(t)
	// with and item return the body of an order with a field of it, or of its only item, changed.
	with := func(field string, value any) string { return b.request(map[string]any{field: value}) }
	item := func(field string, value any) string {
		fields := map[string]any{"ticketTypeId": b.typeID, "quantity": 2}
		fields[field] = value
		return with("ticketRequests", []map[string]any{fields})
	}
	var tooMany []map[string]any
	for range order.MaxItems + 1 {
		tooMany = append(tooMany, map[string]any{"ticketTypeId": uuid.New(), "quantity": 1})
	}
	var tooManyTogether []map[string]any
	for range order.MaxTickets/order.MaxQuantity + 1 {
		tooManyTogether = append(tooManyTogether, map[string]any{
			"ticketTypeId": uuid.New(), "quantity": order.MaxQuantity,
		})
	}
	twice := map[string]any{"ticketTypeId": b.typeID, "quantity": 1}
	for _, tt := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"Empty", "", 400, "MALFORMED_JSON"},
		{"MalformedJSON", `{"eventId":`, 400, "MALFORMED_JSON"},
		{"TwoValues", b.request(nil) + `{}`, 400, "MALFORMED_JSON"},
		{"Array", `[]`, 400, "MALFORMED_JSON"},
		{"BrokenUTF8", "{\"holderName\":\"\xff\"}", 400, "MALFORMED_JSON"},
		{"TooLarge", with("holderName", strings.Repeat("a", web.MaxBody)), 413, "BODY_TOO_LARGE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.send(t, http.MethodPost, orders, tt.body, b.withKey(t, tt.name)).requireFailure(t, tt.status, tt.code, "")
		})
	}
	for _, tt := range []struct{ name, body, field string }{
		{"Null", `null`, "eventId"},
		{"UnknownField", with("price", 1), "price"},
		{"UnknownFieldOfAnItem", item("unitPrice", 1), "unitPrice"},
		{"UserID", with("userId", uuid.New()), "userId"},

		{"NoEvent", with("eventId", nil), "eventId"},
		{"NilEvent", with("eventId", uuid.Nil), "eventId"},
		{"EventIsNoUUID", with("eventId", "1 OR 1=1"), "eventId"},
		{"EventInBraces", with("eventId", "{"+b.event.String()+"}"), "eventId"},
		{"EventWrongType", with("eventId", 7), "eventId"},

		{"NoTickets", with("ticketRequests", nil), "ticketRequests"},
		{"EmptyTickets", with("ticketRequests", []any{}), "ticketRequests"},
		{"TooManyItems", with("ticketRequests", tooMany), "ticketRequests"},
		{"TooManyTicketsTogether", with("ticketRequests", tooManyTogether), "ticketRequests"},
		{"TicketsWrongType", with("ticketRequests", "all"), "ticketRequests"},
		{"TypeTwice", with("ticketRequests", []any{twice, twice}), "ticketRequests.ticketTypeId"},
		{"TypeIsNoUUID", item("ticketTypeId", "vip"), "ticketRequests.ticketTypeId"},
		{"NilType", item("ticketTypeId", uuid.Nil), "ticketRequests.ticketTypeId"},
		{"QuantityZero", item("quantity", 0), "ticketRequests.quantity"},
		{"QuantityNegative", item("quantity", -2), "ticketRequests.quantity"},
		{"QuantityTooLarge", item("quantity", order.MaxQuantity+1), "ticketRequests.quantity"},
		{"QuantityOverflows", item("quantity", json.Number("1e30")), "ticketRequests.quantity"},
		{"QuantityFraction", item("quantity", 1.5), "ticketRequests.quantity"},
		{"QuantityText", item("quantity", "2"), "ticketRequests.quantity"},

		{"NoMethod", with("paymentMethod", nil), "paymentMethod"},
		{"UnknownMethod", with("paymentMethod", "BITCOIN"), "paymentMethod"},
		{"NoToken", with("paymentToken", nil), "paymentToken"},
		{"LongToken", with("paymentToken", strings.Repeat("a", order.MaxToken+1)), "paymentToken"},
		{"NULInToken", with("paymentToken", "pm_\x00"), "paymentToken"},
		{"TotalIsText", with("expectedTotal", "100.00"), "expectedTotal"},
		{"TotalWithAnExponent", with("expectedTotal", json.Number("1e2")), "expectedTotal"},
		{"NegativeTotal", with("expectedTotal", -100), "expectedTotal"},
		{"TotalWithTooManyDecimals", with("expectedTotal", json.Number("0.0000001")), "expectedTotal"},
		{"LongName", with("holderName", strings.Repeat("å", order.MaxHolderName+1)), "holderName"},
		{"BlankName", with("holderName", " \t "), "holderName"},
		{"NULInName", with("holderName", "Ann\x00"), "holderName"},
		{"NameWrongType", with("holderName", []string{"Ann"}), "holderName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.send(t, http.MethodPost, orders, tt.body, b.withKey(t, tt.name)).requireInvalid(t, tt.field)
		})
	}
	t.Run("CardNumber", func(t *testing.T) {
		b.buy(t, "card", map[string]any{"paymentToken": "4242 4242-42424242"}).
			requireFailure(t, http.StatusBadRequest, "UNKNOWN_PAYMENT_METHOD", "paymentToken")
	})
	for name, key := range map[string]string{
		"NoKey": "", "LongKey": strings.Repeat("k", order.MaxToken+1), "KeyNotASCII": "ключ", "KeyNotUTF8": "\xff",
		"TabInKey": "a\tb",
	} {
		t.Run(name, func(t *testing.T) {
			b.buy(t, key, nil).requireInvalid(t, "Idempotency-Key")
		})
	}
	for _, path := range []string{
		"/not-a-uuid", "/" + b.event.String()[:35], "/%00", "/" + strings.ReplaceAll(b.event.String(), "-", ""),
	} {
		b.get(t, orders+path, b.as(t, b.buyer)).requireInvalid(t, "orderId")
		b.get(t, orders+path+"/history", b.as(t, b.buyer)).requireInvalid(t, "orderId")
		b.get(t, "/api/payments/internal/orders"+path, from(t, "notification-service")).requireInvalid(t, "orderId")
	}
	b.send(t, http.MethodDelete, orders, "", b.as(t, b.buyer)).
		requireFailure(t, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "")
	b.get(t, "/api/payments/unknown", b.as(t, b.buyer)).requireFailure(t, http.StatusNotFound, "NOT_FOUND", "")

	var stored int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&stored))
	require.Zero(t, stored)
}

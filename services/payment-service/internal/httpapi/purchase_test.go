package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// Every response has the order as the contract's OrderInfoDto.
func TestPurchaseReturnsTheOrder(t *testing.T) {
	b := setup(t)
	bought := b.buy(t, "key", nil)
	require.Equal(t, http.StatusCreated, bought.status, bought.body)
	id := bought.id(t)
	o := bought.order(t)
	require.Regexp(t, `^ORD-\d{4}-\d{6}$`, o["orderNumber"])
	for _, at := range []string{"createdAt", "completedAt"} {
		text, ok := o[at].(string)
		require.True(t, ok, bought.body)
		when, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		require.Equal(t, time.UTC, when.Location())
		require.WithinDuration(t, time.Now(), when, time.Minute)
	}
	want := fmt.Sprintf(`{"orderId": "%s", "orderNumber": "%s", "userId": "%s", "eventId": "%s",
		"totalAmount": 100.00, "currency": "USD", "paymentStatus": "COMPLETED", "paymentMethod": "CREDIT_CARD",
		"items": [{"ticketTypeId": "%s", "quantity": 2, "unitPrice": 50.00, "totalPrice": 100.00}],
		"createdAt": "%s", "completedAt": "%s"}`,
		id, o["orderNumber"], b.buyer.ID, b.event, b.typeID, o["createdAt"], o["completedAt"])
	require.JSONEq(t, want, bought.body)
	require.Contains(t, bought.body, `"totalAmount":100.00`, "amounts have the currency's digits")
	b.requireMoney(t, id, "100.00")

	own := b.get(t, orders+"/"+id, b.as(t, b.buyer))
	require.Equal(t, http.StatusOK, own.status)
	require.Equal(t, bought.body, own.body)
	internal := b.get(t, "/api/payments/internal/orders/"+id, from(t, "notification-service"))
	require.Equal(t, http.StatusOK, internal.status)
	require.Equal(t, bought.body, internal.body)

	t.Run("SameRequest", func(t *testing.T) {
		again := b.buy(t, "key", nil)
		require.Equal(t, http.StatusCreated, again.status)
		require.Equal(t, bought.body, again.body)
		require.Equal(t, id, again.id(t))
		b.requireMoney(t, id, "100.00")
		require.Equal(t, capacity-2, b.services.Left(b.typeID))
	})
	t.Run("KeyReused", func(t *testing.T) {
		for _, change := range []map[string]any{
			{"paymentToken": sagatest.DeclinedCard},
			{"holderName": "Bob"},
			{"expectedTotal": json.Number("100.00")},
			{"ticketRequests": []map[string]any{{"ticketTypeId": b.typeID, "quantity": 3}}},
		} {
			b.buy(t, "key", change).requireFailure(t, http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED", "")
		}
	})
	t.Run("OtherKey", func(t *testing.T) {
		other := b.buy(t, "other key", nil)
		require.Equal(t, http.StatusCreated, other.status)
		require.NotEqual(t, id, other.id(t))
	})
}

func TestHolderNameDefaultsToTheBuyers(t *testing.T) {
	b := setup(t)
	for key, tt := range map[string]struct{ given, want any }{
		"Default": {nil, "Ann O'Hara"},
		"Given":   {" Bob Óg ", "Bob Óg"},
	} {
		id := b.buy(t, key, map[string]any{"holderName": tt.given}).id(t)
		var name string
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT holder_name FROM orders WHERE id = $1`, id).Scan(&name))
		require.Equal(t, tt.want, name)
	}
}

func TestDeclinedOrderReleasesItsTickets(t *testing.T) {
	b := setup(t)
	declined := b.buy(t, "key", map[string]any{"paymentToken": sagatest.DeclinedCard})
	require.Equal(t, http.StatusPaymentRequired, declined.status)
	id, o := declined.id(t), declined.order(t)
	require.JSONEq(t, fmt.Sprintf(`{"error": "PAYMENT_DECLINED", "message": "Your card has insufficient funds.",
		"declineReason": "INSUFFICIENT_FUNDS", "order": {"orderId": "%s", "orderNumber": "%s", "userId": "%s",
		"eventId": "%s", "totalAmount": 100.00, "currency": "USD", "paymentStatus": "FAILED",
		"paymentMethod": "CREDIT_CARD",
		"items": [{"ticketTypeId": "%s", "quantity": 2, "unitPrice": 50.00, "totalPrice": 100.00}],
		"failureReason": "INSUFFICIENT_FUNDS", "failureMessage": "Your card has insufficient funds.",
		"createdAt": "%s"}}`,
		id, o["orderNumber"], b.buyer.ID, b.event, b.typeID, o["createdAt"]), declined.body)
	require.Equal(t, capacity, b.services.Left(b.typeID))

	again := b.buy(t, "key", map[string]any{"paymentToken": sagatest.DeclinedCard})
	require.Equal(t, http.StatusPaymentRequired, again.status)
	require.Equal(t, declined.body, again.body)
	b.requireMoney(t, id)

	t.Run("NewOrder", func(t *testing.T) {
		require.Equal(t, http.StatusCreated, b.buy(t, "new key", nil).status)
	})
	t.Run("ReleaseFails", func(t *testing.T) {
		b.services.Next(sagatest.Release, sagatest.CallLost)
		a := b.buy(t, "third key", map[string]any{"paymentToken": sagatest.DeclinedCard})
		a.requireFailure(t, http.StatusPaymentRequired, "PAYMENT_DECLINED", "")
	})
}

// A failed order has the code of the refusal, with the contract's status for it.
func TestFailedOrderHasTheCodeOfTheRefusal(t *testing.T) {
	b := setup(t)
	refused := func(kind problem.Kind, code string) sagatest.Fault {
		return sagatest.Refused(problem.New(kind, code, "No"))
	}
	declined := func(code string) sagatest.Fault {
		return sagatest.Answered(calls.ChargeAnswer{Status: calls.GatewayDeclined, DeclineCode: code, Message: "No"})
	}
	for _, tt := range []struct {
		name   string
		call   sagatest.Call
		fault  sagatest.Fault
		status int
		code   string
		field  string
	}{
		{
			"InsufficientInventory", sagatest.Reserve, refused(problem.Conflict, "INSUFFICIENT_INVENTORY"),
			409, "INSUFFICIENT_INVENTORY", "",
		},
		{
			"PersonLimit", sagatest.Reserve, refused(problem.Conflict, "PERSON_LIMIT_EXCEEDED"),
			409, "PERSON_LIMIT_EXCEEDED", "",
		},
		{
			"EventNotOnSale", sagatest.Reserve, refused(problem.Conflict, "EVENT_NOT_ON_SALE"),
			409, "EVENT_NOT_ON_SALE", "",
		},
		{
			"EventNotFound", sagatest.Reserve, refused(problem.NotFound, "EVENT_NOT_FOUND"),
			404, "EVENT_NOT_FOUND", "",
		},
		{
			"TypeNotFound", sagatest.Reserve, refused(problem.NotFound, "TICKET_TYPE_NOT_FOUND"),
			404, "TICKET_TYPE_NOT_FOUND", "",
		},
		{"Invalid", sagatest.Reserve, refused(problem.Invalid, "VALIDATION_ERROR"), 400, "VALIDATION_ERROR", ""},
		{
			"UnknownPaymentMethod", sagatest.Charge, declined("UNKNOWN_PAYMENT_METHOD"),
			400, "UNKNOWN_PAYMENT_METHOD", "paymentToken",
		},
		{"Expired", sagatest.Charge, declined("EXPIRED_CARD"), 402, "PAYMENT_DECLINED", ""},
		{"UnsupportedAmount", sagatest.Charge, declined("UNSUPPORTED_AMOUNT"), 402, "PAYMENT_DECLINED", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.services.Next(tt.call, tt.fault)
			a := b.buy(t, tt.name, nil)
			a.requireFailure(t, tt.status, tt.code, tt.field)
			require.Equal(t, "FAILED", a.order(t)["paymentStatus"])
			b.requireMoney(t, a.id(t))
			require.Equal(t, capacity, b.services.Left(b.typeID))
			again := b.buy(t, tt.name, nil)
			require.Equal(t, a.status, again.status)
			require.Equal(t, a.body, again.body)
		})
	}
	t.Run("MoreTicketsThanLeft", func(t *testing.T) {
		a := b.buy(t, "more", map[string]any{
			"ticketRequests": []map[string]any{{"ticketTypeId": b.typeID, "quantity": capacity + 1}},
		})
		a.requireFailure(t, http.StatusConflict, "INSUFFICIENT_INVENTORY", "")
		require.NotContains(t, a.body, "totalAmount", "the price is not known before the reservation")
	})
}

// An order of a buyer who has seen another price fails with the current one, before anything is held or charged.
func TestOrderWithAnOutdatedPrice(t *testing.T) {
	b := setup(t)
	b.services.SetPrice(b.typeID, money.Of(60_00, "USD"))
	expecting := func(total json.Number) map[string]any { return map[string]any{"expectedTotal": total} }
	a := b.buy(t, "key", expecting("100.00"))
	a.requireFailure(t, http.StatusConflict, "PRICE_CHANGED", "")
	require.Contains(t, a.body, `"currentTotal":120.00,"currency":"USD","order":`)
	o := a.order(t)
	require.Equal(t, "FAILED", o["paymentStatus"])
	require.Equal(t, "PRICE_CHANGED", o["failureReason"])
	require.Equal(t, "The price has changed: the total is now 120.00 USD", o["failureMessage"])
	require.NotContains(t, o, "totalAmount", "nothing was reserved")
	b.requireMoney(t, a.id(t))
	require.Equal(t, capacity, b.services.Left(b.typeID))

	again := b.buy(t, "key", expecting("100.00"))
	require.Equal(t, a.status, again.status)
	require.Equal(t, a.body, again.body)
	b.buy(t, "key", expecting("120.00")).
		requireFailure(t, http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED", "")

	agreed := b.buy(t, "new key", expecting("120"))
	require.Equal(t, http.StatusCreated, agreed.status, agreed.body)
	b.requireMoney(t, agreed.id(t), "120.00")
	unaware := b.buy(t, "without a total", nil)
	require.Equal(t, http.StatusCreated, unaware.status, unaware.body)
	b.requireMoney(t, unaware.id(t), "120.00")
}

// If nothing was charged, the response has Retry-After, and a retry under the same key continues the order.
func TestOrderThatStoppedBeforeTheChargeCanBeRetried(t *testing.T) {
	b := setup(t)
	tooMany := problem.New(problem.Throttled, "TOO_MANY_REQUESTS", "Too many people want these tickets at this moment")
	for name, tt := range map[string]struct {
		fault  sagatest.Fault
		status int
		code   string
	}{
		"CallLost":     {sagatest.CallLost, 503, "SERVICE_UNAVAILABLE"},
		"ResponseLost": {sagatest.ResponseLost, 503, "SERVICE_UNAVAILABLE"},
		"NotAboutTheOrder": {
			sagatest.Refused(problem.New(problem.Unauthenticated, "SERVICE_TOKEN_INVALID", "Invalid service token")),
			503, "SERVICE_UNAVAILABLE",
		},
		"TooManyRequests": {sagatest.Refused(sidecar.ErrUnavailable.Because(tooMany)), 429, "TOO_MANY_REQUESTS"},
	} {
		t.Run(name, func(t *testing.T) {
			b.services.Next(sagatest.Reserve, tt.fault)
			a := b.buy(t, name, nil)
			a.requireFailure(t, tt.status, tt.code, "")
			require.Equal(t, "5", a.header.Get("Retry-After"))

			again := b.buy(t, name, nil)
			require.Equal(t, http.StatusCreated, again.status, again.body)
			require.Equal(t, a.header.Get("Location"), again.header.Get("Location"))
			b.requireMoney(t, again.id(t), "100.00")
		})
	}
}

// If the outcome of the charge is unknown, the response is 202, and a retry under the same key continues the order.
func TestOrderWithAnUnknownChargeIsAccepted(t *testing.T) {
	b := setup(t)
	for name, fault := range map[string]sagatest.Fault{
		"CallLost":         sagatest.CallLost,
		"ResponseLost":     sagatest.ResponseLost,
		"Pending":          sagatest.Answered(calls.ChargeAnswer{Status: calls.GatewayPending}),
		"NotAboutTheOrder": sagatest.Refused(problem.New(problem.Forbidden, "SERVICE_FORBIDDEN", "Not allowed")),
	} {
		t.Run(name, func(t *testing.T) {
			b.services.Next(sagatest.Charge, fault)
			a := b.buy(t, name, nil)
			require.Equal(t, http.StatusAccepted, a.status, a.body)
			require.Equal(t, "PENDING", a.order(t)["paymentStatus"])
			require.NotContains(t, a.body, "completedAt")

			again := b.buy(t, name, nil)
			require.Equal(t, http.StatusCreated, again.status, again.body)
			require.Equal(t, a.id(t), again.id(t))
			b.requireMoney(t, again.id(t), "100.00")
		})
	}
}

// The payment token is in no response, and in the database only while a charge may be made.
func TestPaymentTokenIsNotDisclosed(t *testing.T) {
	b := setup(t)
	for _, card := range []string{sagatest.GoodCard, sagatest.DeclinedCard, sagatest.PendingCard} {
		a := b.buy(t, card, map[string]any{"paymentToken": card})
		id := a.id(t)
		history := b.get(t, orders+"/"+id+"/history", b.as(t, b.buyer))
		require.NotContains(t, a.body+history.body, card)
		var stored bool
		require.NoError(t, b.pool.QueryRow(t.Context(),
			`SELECT payment_token IS NOT NULL FROM orders WHERE id = $1`, id).Scan(&stored))
		require.Equal(t, a.status == http.StatusAccepted, stored)
	}
}

package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// securedCard is a card whose bank wants the buyer to authenticate (3-D Secure).
const securedCard = "pm_card_threeDSecure2Required"

// securedOrder is an order whose buyer may have to act.
type securedOrder struct {
	demo.Order
	Action *struct {
		ClientSecret string `json:"clientSecret"`
		RedirectURL  string `json:"redirectUrl"`
	} `json:"action"`
}

// buySecured places an order for two tickets with securedCard. It requires that the order waits for the buyer and that
// its tickets are held, and that a repeated request is answered in the same way.
func (s sale) buySecured(t *testing.T, returnURL string) securedOrder {
	t.Helper()
	body := map[string]any{
		"eventId": s.event.EventID, "paymentMethod": "CREDIT_CARD", "paymentToken": securedCard,
		"ticketRequests": []map[string]any{{"ticketTypeId": s.tickets.TicketTypeID, "quantity": 2}},
	}
	if returnURL != "" {
		body["returnUrl"] = returnURL
	}
	req := post("payment-service", "/api/payments/orders", s.buyer.Token, body)
	req.Header = map[string]string{"Idempotency-Key": uuid.NewString()}
	var statuses []int
	s.Observe = func(e demo.Exchange) { statuses = append(statuses, e.Status) }
	var order, again securedOrder
	require.NoError(t, s.Do(t.Context(), req, &order))
	require.NoError(t, s.Do(t.Context(), req, &again))
	require.Equal(t, []int{http.StatusAccepted, http.StatusAccepted}, statuses)
	require.Equal(t, order, again)
	require.Equal(t, "REQUIRES_ACTION", order.PaymentStatus)
	require.NotNil(t, order.Action)
	require.Contains(t, order.Action.ClientSecret, "_secret_")
	require.Empty(t, charges(t, order.OrderID))
	require.Equal(t, 3, s.available(t))
	return order
}

// ends waits until the order has the status and as many tickets are for sale.
func (s sale) ends(ctx context.Context, t *testing.T, order uuid.UUID, status string, available int) demo.Order {
	t.Helper()
	ended, err := demo.Await(ctx, func() (demo.Order, error) { return s.Order(ctx, s.buyer, order) },
		func(o demo.Order) bool { return o.PaymentStatus != "REQUIRES_ACTION" })
	require.NoError(t, err)
	require.Equal(t, status, ended.PaymentStatus)
	_, err = demo.Await(ctx, func() (demo.Availability, error) { return s.Availability(ctx, s.event.EventID) },
		func(a demo.Availability) bool { return a.Of(s.tickets.TicketTypeID) == available })
	require.NoError(t, err)
	return ended
}

// atBank answers the question on the bank's page, and requires that the buyer is sent back to the shop with the result.
func atBank(t *testing.T, page, outcome, result string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page, strings.NewReader("outcome="+outcome))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultTransport.RoundTrip(req) // does not follow the redirect
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	back, err := res.Location()
	require.NoError(t, err)
	require.Equal(t, "shop.example.com", back.Host)
	require.Equal(t, result, back.Query().Get("redirect_status"))
}

// A card whose bank wants the buyer to authenticate: the order waits with its tickets held, and ends as the buyer
// decides, or after ten minutes without a decision.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	const shop = "https://shop.example.com/paid?from=bank"
	t.Run("Confirmed", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), redeliveryTimeout)
		defer cancel()
		s := newSale(t, 5)
		order := s.buySecured(t, shop)
		require.Contains(t, order.Action.RedirectURL, "/_bank/")
		atBank(t, order.Action.RedirectURL, "authenticate", "succeeded")
		s.ends(ctx, t, order.OrderID, "COMPLETED", 3)
		s.fulfilled(ctx, t, order.OrderID, 2)
		require.Len(t, charges(t, order.OrderID), 1)
	})
	t.Run("Declined", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), redeliveryTimeout)
		defer cancel()
		s := newSale(t, 5)
		order := s.buySecured(t, shop)
		atBank(t, order.Action.RedirectURL, "fail", "failed")
		ended := s.ends(ctx, t, order.OrderID, "FAILED", 5)
		require.Equal(t, "PAYMENT_INTENT_AUTHENTICATION_FAILURE", ended.FailureReason)
		require.Empty(t, charges(t, order.OrderID))
	})
	// A client with Stripe.js has no page to return to.
	t.Run("NotInTime", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), redeliveryTimeout)
		defer cancel()
		s := newSale(t, 5)
		order := s.buySecured(t, "")
		require.Empty(t, order.Action.RedirectURL)
		db, err := pgx.Connect(ctx, system.DatabaseURL("payment-service"))
		require.NoError(t, err)
		defer db.Close(context.WithoutCancel(ctx))
		_, err = db.Exec(ctx, `
			UPDATE orders SET charge_since = charge_since - interval '11 minutes', resume_at = now() WHERE id = $1`,
			order.OrderID)
		require.NoError(t, err)
		ended := s.ends(ctx, t, order.OrderID, "FAILED", 5)
		require.Equal(t, "CANCELED", ended.FailureReason)
		require.Empty(t, charges(t, order.OrderID))
	})
}

package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

// history returns the saga events of an order, each with a text for its buyer.
func (a api) history(w http.ResponseWriter, r *http.Request) error {
	o, err := a.orderOfCaller(r)
	if err != nil {
		return err
	}
	history, err := a.store.History(r.Context(), o.ID)
	if err != nil {
		return err
	}
	type eventJSON struct {
		EventType string           `json:"eventType"`
		Status    order.SagaStatus `json:"status"`
		Payload   json.RawMessage  `json:"payload"`
		Timestamp time.Time        `json:"timestamp"`
		Text      string           `json:"text"`
	}
	out := struct {
		OrderID uuid.UUID   `json:"orderId"`
		Events  []eventJSON `json:"events"`
	}{o.ID, make([]eventJSON, len(history))}
	for i, e := range history {
		text, err := textOf(e)
		if err != nil {
			return err
		}
		out.Events[i] = eventJSON{e.EventType, e.Status, e.Payload, e.Timestamp.UTC(), text}
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// textOf returns the text of a saga event for the buyer.
func textOf(e order.SagaEvent) (string, error) {
	var p struct {
		TotalAmount     money.Decimal
		Amount          money.Decimal
		Currency        money.Currency
		ExpiresAt       time.Time
		Tickets         int
		TicketsReleased int
		Announcements   int
		Reason          string
	}
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return "", fmt.Errorf("saga event %s: %w", e.EventType, err)
	}
	switch e.EventType {
	case "ORDER_CREATED":
		return "The order was placed.", nil
	case "TICKETS_RESERVED":
		return fmt.Sprintf("The tickets are held until %s for %s %s.",
			p.ExpiresAt.UTC().Format("15:04 UTC"), p.TotalAmount, p.Currency), nil
	case "RESERVATION_REFUSED":
		return "The tickets could not be reserved: " + readable(p.Reason) + ". Nothing was charged.", nil
	case "RESERVATION_ABANDONED":
		return "The order could not be processed in time and was cancelled. Nothing was charged.", nil
	case "PAYMENT_STARTED":
		return "The payment was started.", nil
	case "PAYMENT_COMPLETED":
		return "The order was paid.", nil
	case "PAYMENT_DECLINED":
		return "The payment failed: " + readable(p.Reason) + ". Nothing was charged.", nil
	case order.CodePaymentTooLate:
		return "The card was charged after the order had failed. The charge is refunded.", nil
	case "RESERVATION_RELEASED":
		return "The hold on " + tickets(p.TicketsReleased) + " was released.", nil
	case "TICKETS_GENERATED":
		return "The order has " + tickets(p.Tickets) + ".", nil
	case "TICKET_GENERATION_FAILED":
		return "The tickets could not be issued: " + readable(p.Reason) + ". The payment is refunded.", nil
	case "REANNOUNCED":
		return "The tickets were not issued yet and were requested again.", nil
	case order.CodeNotGenerated:
		return fmt.Sprintf("The tickets were not issued after %d requests. The payment is refunded.",
			p.Announcements), nil
	case events.CompensationFailed{}.Type():
		return "A step failed repeatedly: " + readable(p.Reason) + ". Our staff has been notified.", nil
	case "RETRY_REQUESTED":
		return "Our staff requested another attempt.", nil
	case "REFUND_REQUESTED":
		reason := strings.TrimSuffix(readable(p.Reason), ".")
		return fmt.Sprintf("A refund of %s %s was requested: %s.", p.Amount, p.Currency, reason), nil
	case "TICKETS_CANCELLED":
		return "The refund cancelled " + tickets(p.Tickets) + " of the order.", nil
	case "PAYMENT_REFUNDED":
		return fmt.Sprintf("%s %s was refunded to the card.", p.Amount, p.Currency), nil
	case "REFUND_FAILED":
		return fmt.Sprintf("The refund of %s %s failed: %s.", p.Amount, p.Currency, readable(p.Reason)), nil
	case "DISPUTE_OPEN":
		return fmt.Sprintf("The buyer's bank disputes the payment of %s %s (%s). The tickets are suspended until it decides.",
			p.Amount, p.Currency, readable(p.Reason)), nil
	case "DISPUTE_WON":
		return fmt.Sprintf("The dispute of %s %s was decided for the organizer. The tickets are valid again.",
			p.Amount, p.Currency), nil
	case "DISPUTE_LOST":
		return fmt.Sprintf("The dispute of %s %s was decided for the buyer. The tickets are void.", p.Amount, p.Currency), nil
	default: // an event type of another version of this service
		return readable(e.EventType) + ".", nil
	}
}

// tickets returns the number of tickets in words.
func tickets(n int) string {
	if n == 1 {
		return "1 ticket"
	}
	return fmt.Sprintf("%d tickets", n)
}

// readable returns a code such as INSUFFICIENT_FUNDS in lower-case words, and any other text unchanged.
func readable(code string) string {
	if strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return code
	}
	return strings.ToLower(strings.ReplaceAll(code, "_", " "))
}

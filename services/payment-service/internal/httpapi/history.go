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

func (a API) history(w http.ResponseWriter, r *http.Request) error {
	o, err := a.orderOfCaller(r)
	if err != nil {
		return err
	}
	history, err := a.Store.History(r.Context(), o.ID)
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
		text, err := inWords(e)
		if err != nil {
			return err
		}
		out.Events[i] = eventJSON{e.EventType, e.Status, e.Payload, e.Timestamp.UTC(), text}
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// inWords tells a saga event as its buyer would put it.
func inWords(e order.SagaEvent) (string, error) {
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
		return fmt.Sprintf("The tickets are held until %s for %s %s.", p.ExpiresAt.UTC().Format("15:04 UTC"), p.TotalAmount, p.Currency), nil
	case "RESERVATION_REFUSED":
		return "The tickets could not be reserved: " + codeInWords(p.Reason) + ". Nothing was charged.", nil
	case "RESERVATION_ABANDONED":
		return "The order could not be processed in time and was given up. Nothing was charged.", nil
	case "PAYMENT_STARTED":
		return "The card processor was asked for the payment.", nil
	case "PAYMENT_COMPLETED":
		return "The order was paid.", nil
	case "PAYMENT_DECLINED":
		return "The payment failed: " + codeInWords(p.Reason) + ". Nothing was charged.", nil
	case order.CodePaymentTooLate:
		return "The card was charged after the order had failed. The money goes back.", nil
	case "RESERVATION_RELEASED":
		return "What was held for the order (" + tickets(p.TicketsReleased) + ") is on sale again.", nil
	case "TICKETS_GENERATED":
		return "The order got " + tickets(p.Tickets) + ".", nil
	case "TICKET_GENERATION_FAILED":
		return "The tickets could not be issued: " + codeInWords(p.Reason) + ". The money goes back.", nil
	case "REANNOUNCED":
		return "The tickets were not issued yet and were asked for again.", nil
	case order.CodeNotGenerated:
		return fmt.Sprintf("The tickets were not issued, though they were asked for %d times. The money goes back.", p.Announcements), nil
	case events.CompensationFailed{}.Type():
		return "Something that has to be undone could not be: " + codeInWords(p.Reason) + ". Our staff has been told.", nil
	case "RETRY_REQUESTED":
		return "Our staff had it tried again.", nil
	case "REFUND_REQUESTED":
		return fmt.Sprintf("A refund of %s %s was begun: %s.", p.Amount, p.Currency, strings.TrimSuffix(codeInWords(p.Reason), ".")), nil
	case "TICKETS_CANCELLED":
		return "For the refund, " + tickets(p.Tickets) + " of the order stopped being valid.", nil
	case "PAYMENT_REFUNDED":
		return fmt.Sprintf("%s %s went back to the card.", p.Amount, p.Currency), nil
	case "REFUND_FAILED":
		return fmt.Sprintf("The refund of %s %s failed: %s.", p.Amount, p.Currency, codeInWords(p.Reason)), nil
	default: // written by another version of this service
		return codeInWords(e.EventType) + ".", nil
	}
}

func tickets(n int) string {
	if n == 1 {
		return "1 ticket"
	}
	return fmt.Sprintf("%d tickets", n)
}

// codeInWords reads INSUFFICIENT_FUNDS as people do. What is no code stays as it is.
func codeInWords(code string) string {
	if strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return code
	}
	return strings.ToLower(strings.ReplaceAll(code, "_", " "))
}

package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/contracts/events"
)

// The largest order passes through every limit in bytes: its event through SNS and SQS, and its tickets through two
// sidecars and the mail server, in one PDF.
func TestLargestOrderIsFulfilledAndMailed(t *testing.T) {
	t.Parallel()
	const perType = 100
	s := newSale(t, perType)
	types := []uuid.UUID{s.tickets.TicketTypeID}
	for len(types) < events.MaxOrderTickets/perType {
		name := fmt.Sprintf("Block %d", len(types))
		added, err := s.AddTicketType(t.Context(), s.organizer, s.event.EventID, name, "20.00", perType)
		require.NoError(t, err)
		types = append(types, added.TicketTypeID)
	}
	order := func(types []uuid.UUID) demo.Request {
		requests := make([]map[string]any, len(types))
		for i, id := range types {
			requests[i] = map[string]any{"ticketTypeId": id, "quantity": perType}
		}
		r := post("payment-service", "/api/payments/orders", s.buyer.Token, map[string]any{
			"eventId": s.event.EventID, "ticketRequests": requests,
			"paymentMethod": "CREDIT_CARD", "paymentToken": demo.GoodCard,
		})
		r.Header = map[string]string{"Idempotency-Key": uuid.NewString()}
		return r
	}
	tooLarge := refusal(t, s.Client, order(append(types, uuid.New())))
	require.Equal(t, http.StatusBadRequest, tooLarge.Status)
	require.Equal(t, "VALIDATION_ERROR", tooLarge.Code)

	var paid demo.Order
	require.NoError(t, s.Do(t.Context(), order(types), &paid))
	mail := requireMail(t, s.buyer.Email, s.event.Name)
	require.Contains(t, mail.Text, "your 300 tickets are attached, in one PDF file with a page for each")
	require.Len(t, mail.Attachments, 1)
	require.Equal(t, paid.OrderNumber+".pdf", mail.Attachments[0].Filename)
	content, err := sink().Open(t.Context(), mail, mail.Attachments[0])
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(content, []byte("%PDF-")))
	requirePublished(t, paid.OrderID, "PAYMENT_COMPLETED", "TICKETS_GENERATED")
}

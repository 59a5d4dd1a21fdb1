package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// The largest order gets its tickets, and one PDF of them that fits into a mail.
func TestLargestOrderHasOnePDF(t *testing.T) {
	t.Parallel()
	b := setup(t)
	user, order, reservation := uuid.New(), uuid.New(), uuid.New()
	var requests []string
	for i := range ticket.MaxTickets / ticket.MaxQuantity {
		kind := b.newType(t, b.event, fmt.Sprintf("Block %d", i), "100")
		requests = append(requests, fmt.Sprintf(`{"ticketTypeId":"%s","quantity":%d}`, kind, ticket.MaxQuantity))
	}
	reserve := `{"userId":"` + user.String() + `","eventId":"` + b.event.String() + `","reservationId":"` +
		reservation.String() + `","ticketRequests":[` + strings.Join(requests, ",") + `]}`
	status, body := b.internal(t, "reserve", reserve)
	require.Equal(t, http.StatusOK, status, body)
	status, body = b.internal(t, "confirm-purchase", confirmBody(reservation, order, user))
	require.Equal(t, http.StatusOK, status, body)
	var confirmed struct{ Tickets []confirmedTicket }
	require.NoError(t, json.Unmarshal([]byte(body), &confirmed))
	require.Len(t, confirmed.Tickets, ticket.MaxTickets)

	answer := func(user uuid.UUID) (answer calls.OrderPDFAnswer) {
		path := "/api/tickets/internal/orders/" + order.String() + "/pdf?userId=" + user.String()
		status, body := b.send(t, http.MethodGet, path, "", from(t, "notification-service"))
		require.Equal(t, http.StatusOK, status, body)
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.Equal(t, order, answer.OrderID)
		return answer
	}
	all := answer(user)
	require.Equal(t, ticket.MaxTickets, all.TicketCount)
	require.True(t, strings.HasPrefix(string(all.Content), "%PDF-"))
	require.Less(t, len(all.Content), calls.MaxMailAttachments)

	// A late mail has neither the code of a transferred ticket nor that of a cancelled one.
	bob := uuid.New()
	b.services.users = map[uuid.UUID]string{bob: "Bob"}
	status, body = b.send(t, http.MethodPost, "/api/tickets/"+confirmed.Tickets[0].TicketID.String()+"/transfer",
		`{"toUserId":"`+bob.String()+`"}`, b.as(t, user, identity.RoleUser))
	require.Equal(t, http.StatusOK, status, body)
	_, err := b.store.Cancel(t.Context(), confirmed.Tickets[1].TicketID, user, "")
	require.NoError(t, err)
	require.Equal(t, ticket.MaxTickets-2, answer(user).TicketCount)
	require.Equal(t, 1, answer(bob).TicketCount)
	require.Equal(t, calls.OrderPDFAnswer{OrderID: order}, answer(uuid.New()))

	for _, query := range []string{"", "?userId=me", "?userId="} {
		status, body := b.send(t, http.MethodGet, "/api/tickets/internal/orders/"+order.String()+"/pdf"+query, "",
			from(t, "notification-service"))
		require.Equal(t, http.StatusBadRequest, status, body)
		requireFailure(t, body, "VALIDATION_ERROR", "userId")
	}
}

func TestTooManyTicketsAreNotReserved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var requests []string
	for range ticket.MaxTickets/ticket.MaxQuantity + 1 {
		requests = append(requests, `{"ticketTypeId":"`+uuid.NewString()+`","quantity":100}`)
	}
	status, body := b.internal(t, "reserve", `{"userId":"`+uuid.NewString()+`","eventId":"`+b.event.String()+`",
		"reservationId":"`+uuid.NewString()+`","ticketRequests":[`+strings.Join(requests, ",")+`]}`)
	require.Equal(t, http.StatusBadRequest, status)
	requireFailure(t, body, "VALIDATION_ERROR", "ticketRequests")
}

package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestSuspendedTicketShowsWhyItDoesNotAdmit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	user := uuid.New()
	id := b.buy(t, user, b.newType(t, b.event, "VIP", "10"), "1")[0].TicketID
	k := b.ticket(t, id)
	code, err := b.signer.Code(k)
	require.NoError(t, err)
	path := "/api/tickets/" + id.String()
	report := func(status string, revision int) {
		t.Helper()
		got, body := b.deliver(t, "PAYMENT_DISPUTED", fmt.Sprintf(`{"disputeId": "dp_1", "orderId": %q, "userId": %q,
			"eventId": %q, "amount": 50.00, "currency": "USD", "reason": "FRAUDULENT", "status": %q, "revision": %d}`,
			k.OrderID, user, b.event, status, revision))
		require.Equal(t, http.StatusOK, got, body)
	}
	report("OPEN", 1)
	status, body := b.send(t, http.MethodGet, path, "", b.as(t, user))
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"status":"ACTIVE","suspension":"SUSPENDED"`)
	status, body = b.checkIn(t, code, "North", b.asOrganizer(t))
	require.Equal(t, http.StatusConflict, status, body)
	requireFailure(t, body, "TICKET_SUSPENDED", "")
	for _, file := range []string{"/qr.png", "/ticket.pdf"} {
		status, body = b.send(t, http.MethodGet, path+file, "", b.as(t, user))
		require.Equal(t, http.StatusConflict, status, body)
		requireFailure(t, body, "TICKET_SUSPENDED", "")
	}
	status, body = b.send(t, http.MethodPost, path+"/transfer", `{"toUserId":"`+uuid.NewString()+`"}`, b.as(t, user))
	require.Equal(t, http.StatusConflict, status, body)
	requireFailure(t, body, "TICKET_SUSPENDED", "")

	report("WON", 2)
	status, body = b.send(t, http.MethodGet, path, "", b.as(t, user))
	require.Equal(t, http.StatusOK, status, body)
	require.NotContains(t, body, "suspension")
	status, body = b.checkIn(t, code, "North", b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
}

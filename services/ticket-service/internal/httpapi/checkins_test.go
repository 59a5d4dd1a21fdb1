package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// The organizer undoes a check-in that was a mistake. The ticket admits again, and its history has both check-ins.
func TestOrganizerUndoesACheckIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	user := uuid.New()
	id := b.buy(t, user, b.newType(t, b.event, "VIP", "10"), "1")[0].TicketID
	code, err := b.signer.Code(b.ticket(t, id))
	require.NoError(t, err)
	path := "/api/tickets/" + id.String()
	undo := func(t *testing.T, ticket, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/tickets/"+ticket+"/check-in/undo", body, b.asOrganizer(t))
	}
	history := func(t *testing.T) string {
		t.Helper()
		status, body := b.send(t, http.MethodGet, path+"/check-ins", "", b.asOrganizer(t))
		require.Equal(t, http.StatusOK, status, body)
		return body
	}
	require.JSONEq(t, `{"checkIns":[]}`, history(t))
	const mistake = `{"reason":" Scanned by mistake "}`
	status, body := undo(t, id.String(), mistake)
	require.Equal(t, http.StatusConflict, status, body)
	requireFailure(t, body, "TICKET_NOT_CHECKED_IN", "")

	status, body = b.checkIn(t, code, "North", b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
	status, body = undo(t, id.String(), mistake)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"status":"ACTIVE"`)
	status, body = b.checkIn(t, code, "South", b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
	var got struct {
		CheckIns []struct {
			Gate, UndoneAt, Reason string
			UndoneBy               uuid.UUID
		}
	}
	require.NoError(t, json.Unmarshal([]byte(history(t)), &got))
	require.Len(t, got.CheckIns, 2)
	require.Equal(t, "South", got.CheckIns[0].Gate)
	require.Empty(t, got.CheckIns[0].UndoneAt)
	require.Equal(t, "North", got.CheckIns[1].Gate)
	require.NotEmpty(t, got.CheckIns[1].UndoneAt)
	require.Equal(t, b.organizer, got.CheckIns[1].UndoneBy)
	require.Equal(t, "Scanned by mistake", got.CheckIns[1].Reason)

	for _, tt := range []struct {
		name, ticket, body string
		status             int
		code, field        string
	}{
		{"Unknown", uuid.NewString(), mistake, 404, "TICKET_NOT_FOUND", ""},
		{"InvalidID", "first", mistake, 400, "VALIDATION_ERROR", "ticketId"},
		{"NoReason", id.String(), `{}`, 400, "VALIDATION_ERROR", "reason"},
		{"BlankReason", id.String(), `{"reason":" "}`, 400, "VALIDATION_ERROR", "reason"},
		{"LongReason", id.String(), `{"reason":"` + strings.Repeat("a", 201) + `"}`, 400, "VALIDATION_ERROR", "reason"},
		{"NULInReason", id.String(), `{"reason":"\u0000"}`, 400, "VALIDATION_ERROR", "reason"},
		{"NoBody", id.String(), ``, 400, "MALFORMED_JSON", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := undo(t, tt.ticket, tt.body)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

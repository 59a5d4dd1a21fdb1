package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestInternalGetReturnsDrafts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	draft, unknown := b.create(t), uuid.NewString()
	get := func(t *testing.T, id string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodGet, "/api/events/internal/"+id, "", from(t, "ticket-service"))
	}
	t.Run("Draft", func(t *testing.T) {
		t.Parallel()
		status, body := get(t, draft)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, b.details(draft, "DRAFT"), body)
	})
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		status, body := get(t, unknown)
		require.Equal(t, http.StatusNotFound, status)
		require.JSONEq(t, `{"error":"EVENT_NOT_FOUND","message":"Event with ID `+unknown+` not found"}`, body)
	})
	t.Run("NotAUUID", func(t *testing.T) {
		t.Parallel()
		status, body := b.sendUndocumented(t, http.MethodGet, "/api/events/internal/batch", from(t, "ticket-service"))
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "eventId")
	})
}

func TestValidateOrganizerComparesTheUser(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t)
	validate := func(t *testing.T, eventID, userID string) (int, string) {
		t.Helper()
		path := "/api/events/internal/" + eventID + "/validate-organizer/" + userID
		return b.send(t, http.MethodGet, path, "", from(t, "ticket-service"))
	}
	t.Run("Organizer", func(t *testing.T) {
		t.Parallel()
		status, body := validate(t, id, b.organizer.String())
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"isOrganizer":true,"eventId":"`+id+`","userId":"`+b.organizer.String()+`"}`, body)
	})
	t.Run("NotOrganizer", func(t *testing.T) {
		t.Parallel()
		status, body := validate(t, id, b.user.String())
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"isOrganizer":false,"eventId":"`+id+`","userId":"`+b.user.String()+`"}`, body)
	})
	for _, tt := range []struct {
		name, eventID, userID string
		status                int
		code, field           string
	}{
		{"UnknownEvent", uuid.NewString(), b.organizer.String(), 404, "EVENT_NOT_FOUND", ""},
		{"EventNotAUUID", "1", b.organizer.String(), 400, "VALIDATION_ERROR", "eventId"},
		{"UserNotAUUID", id, "1", 400, "VALIDATION_ERROR", "userId"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := validate(t, tt.eventID, tt.userID)
			require.Equal(t, tt.status, status)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestBatchReturnsTheKnownEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.create(t), b.create(t)
	b.publish(t, second)
	batch := func(t *testing.T, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/events/internal/batch", body, from(t, "notification-service"))
	}
	summary := func(id, status string) string {
		return `{"eventId":"` + id + `","name":"Summer Music Festival","eventDate":"2099-07-15T18:00:00Z",
			"status":"` + status + `"}`
	}
	t.Run("InTheOrderOfTheRequest", func(t *testing.T) {
		t.Parallel()
		status, body := batch(t, `{"eventIds":["`+second+`","`+uuid.NewString()+`","`+first+`"]}`)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"events":[`+summary(second, "PUBLISHED")+`,`+summary(first, "DRAFT")+`]}`, body)
	})
	t.Run("None", func(t *testing.T) {
		t.Parallel()
		status, body := batch(t, `{"eventIds":[]}`)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"events":[]}`, body)
	})
	for _, tt := range []struct{ name, body, field string }{
		{"TooMany", `{"eventIds":["` + strings.Repeat(first+`","`, 100) + first + `"]}`, "eventIds"},
		{"NotAUUID", `{"eventIds":["` + first + `","1"]}`, "eventIds[1]"},
		{"Missing", `{}`, "eventIds"},
		{"WrongType", `{"eventIds":7}`, "eventIds"},
		{"UnknownField", `{"ids":[]}`, "ids"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := batch(t, tt.body)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
}

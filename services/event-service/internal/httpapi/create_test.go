package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestCreateReturnsADraft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	image := "https://cdn.example.com/events/770e8400.jpg"
	request := newEvent(map[string]any{"imageUrl": image})
	status, body := b.send(t, http.MethodPost, "/api/events", request, b.asOrganizer(t))
	require.Equal(t, http.StatusCreated, status, body)
	var got struct{ EventID, ImageURL string }
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Equal(t, image, got.ImageURL)
	require.JSONEq(t, b.details(got.EventID, "DRAFT"), strings.Replace(body, `,"imageUrl":"`+image+`"`, "", 1))
}

func TestCreateReturnsTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, body := b.send(t, http.MethodPost, "/api/events",
		newEvent(map[string]any{"endDate": "2099-07-16T01:00:00+02:00"}), b.asOrganizer(t))
	require.Equal(t, http.StatusCreated, status, body)
	require.Contains(t, body, `"endDate":"2099-07-15T23:00:00Z"`)
	status, body = b.send(t, http.MethodPost, "/api/events", newEvent(map[string]any{"endDate": nil}), b.asOrganizer(t))
	require.Equal(t, http.StatusCreated, status, body)
	require.NotContains(t, body, "endDate")
}

func TestCreateReturnsTheTimeZone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, body := b.send(t, http.MethodPost, "/api/events",
		newEvent(map[string]any{"timeZone": "Europe/Zurich"}), b.asOrganizer(t))
	require.Equal(t, http.StatusCreated, status, body)
	require.Contains(t, body, `"timeZone":"Europe/Zurich"`)
}

// SUSPEND is the default, and is left out like in the contract's form.
func TestPolicyForDisputedTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, body := b.send(t, http.MethodPost, "/api/events",
		newEvent(map[string]any{"disputedTickets": "VOID"}), b.asOrganizer(t))
	require.Equal(t, http.StatusCreated, status, body)
	require.Contains(t, body, `"disputedTickets":"VOID"`)
	var created struct{ EventID string }
	require.NoError(t, json.Unmarshal([]byte(body), &created))
	status, body = b.send(t, http.MethodPatch, "/api/events/"+created.EventID,
		`{"disputedTickets":"SUSPEND"}`, b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
	require.NotContains(t, body, "disputedTickets")
}

func TestCreateRejectsMalformedBodies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	organizer := b.asOrganizer(t)
	for _, tt := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"Empty", "", 400, "MALFORMED_JSON"},
		{"MalformedJSON", `{"name":`, 400, "MALFORMED_JSON"},
		{"Array", `[]`, 400, "MALFORMED_JSON"},
		{"InvalidUTF8", "{\"name\":\"\xff\"}", 400, "MALFORMED_JSON"},
		{"TooLarge", newEvent(map[string]any{"description": strings.Repeat("a", web.MaxBody)}), 413, "BODY_TOO_LARGE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/events", tt.body, organizer)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, "")
		})
	}
}

func TestCreateNamesTheInvalidField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	organizer := b.asOrganizer(t)
	for _, tt := range []struct {
		name, field string
		value       any
	}{
		{"UnknownField", "status", "PUBLISHED"},
		{"WrongType", "name", 7},
		{"NULInName", "name", "a\x00b"},
		{"NoDate", "eventDate", ""},
		{"DateAsNumber", "eventDate", 4087900800},
		{"DateWithoutZone", "eventDate", "2099-07-15T18:00:00"},
		{"ImpossibleDate", "eventDate", "2099-02-30T18:00:00Z"},
		{"DateInThePast", "eventDate", "2001-07-15T18:00:00Z"},
		{"DateInTheYear10000", "eventDate", "9999-12-31T23:59:59-23:00"},
		{"EndAsNumber", "endDate", 4087900800},
		{"EndWithoutZone", "endDate", "2099-07-16T18:00:00"},
		{"EndBeforeTheStart", "endDate", "2099-07-15T17:00:00Z"},
		{"EndInTheYear1", "endDate", "0001-01-01T00:00:00Z"},
		{"EndAfterTwoYears", "endDate", "2101-07-15T17:00:00Z"},
		{"UnknownTimeZone", "timeZone", "Europe/Atlantis"},
		{"EmptyTimeZone", "timeZone", ""},
		{"UnknownCategory", "category", "OPERA"},
		{"RelativeImage", "imageUrl", "/a.jpg"},
		{"UnknownPolicy", "disputedTickets", "REFUND"},
		{"EmptyPolicy", "disputedTickets", ""},
		{"PolicyInLowerCase", "disputedTickets", "void"},
		{"PolicyAsNumber", "disputedTickets", 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/events", newEvent(map[string]any{tt.field: tt.value}), organizer)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
}

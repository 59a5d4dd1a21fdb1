package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
)

func TestPublishDependsOnUserStatusAndDate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const inThePast = `UPDATE events SET event_date = now() WHERE id = $1`
	const deleted = `DELETE FROM events WHERE id = $1`
	for _, tt := range []struct {
		name   string
		user   uuid.UUID
		role   identity.Role
		change string // SQL before the request
		status int
		code   string // empty for success
	}{
		{"ByItsOrganizer", b.organizer, identity.RoleOrganizer, ``, 200, ""},
		{"ByAnAdmin", b.admin, identity.RoleAdmin, ``, 200, ""},
		{"Again", b.organizer, identity.RoleOrganizer, setPublished, 200, ""},
		{"OthersDraft", b.user, identity.RoleOrganizer, ``, 404, "EVENT_NOT_FOUND"},
		{"OthersPublished", b.user, identity.RoleOrganizer, setPublished, 403, "FORBIDDEN"},
		{"Cancelled", b.organizer, identity.RoleOrganizer, setCancelled, 409, "EVENT_NOT_DRAFT"},
		{"DatePassed", b.organizer, identity.RoleOrganizer, inThePast, 409, "EVENT_DATE_PASSED"},
		{"Unknown", b.organizer, identity.RoleOrganizer, deleted, 404, "EVENT_NOT_FOUND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id := b.createWith(t, tt.change)
			status, body := b.send(t, http.MethodPost, "/api/events/"+id+"/publish", "", b.as(t, tt.user, tt.role))
			require.Equal(t, tt.status, status, body)
			if tt.code != "" {
				requireFailure(t, body, tt.code, "")
				return
			}
			require.JSONEq(t, b.details(id, "PUBLISHED"), body)
		})
	}
	t.Run("NotAUUID", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodPost, "/api/events/1/publish", "", b.asOrganizer(t))
		require.Equal(t, http.StatusBadRequest, status)
		requireFailure(t, body, "VALIDATION_ERROR", "eventId")
	})
}

func TestChangeSetsTheGivenFieldsOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		name   string
		user   uuid.UUID
		role   identity.Role
		change string // SQL before the request
		body   string
	}{
		{
			"Draft", b.organizer, identity.RoleOrganizer, ``,
			`{"description":"Bring a hat.","eventDate":"2099-08-15T18:00:00Z"}`,
		},
		{"Published", b.organizer, identity.RoleOrganizer, setPublished, `{"description":"Bring a hat."}`},
		{"EndOfPublished", b.organizer, identity.RoleOrganizer, setPublished, `{"endDate":"2099-07-16T02:00:00Z"}`},
		{"TimeZone", b.organizer, identity.RoleOrganizer, setPublished, `{"timeZone":"Europe/Zurich"}`},
		{"NoEnd", b.organizer, identity.RoleOrganizer, setEnd, `{"endDate":null}`},
		{"ByAnAdmin", b.admin, identity.RoleAdmin, setPublished, `{"description":"Bring a hat."}`},
		{"Nothing", b.organizer, identity.RoleOrganizer, setPublished, `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id := b.createWith(t, tt.change)
			status, body := b.send(t, http.MethodPatch, "/api/events/"+id, tt.body, b.as(t, tt.user, tt.role))
			require.Equal(t, http.StatusOK, status, body)
			var changed, got map[string]any
			require.NoError(t, json.Unmarshal([]byte(tt.body), &changed))
			require.NoError(t, json.Unmarshal([]byte(body), &got))
			for field, value := range changed {
				require.Equal(t, value, got[field])
			}
			require.Equal(t, "Summer Music Festival", got["name"])
		})
	}
}

func TestChangeRejectsInvalidRequests(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		name        string
		user        uuid.UUID
		change      string // SQL before the request
		body        string
		status      int
		code, field string
	}{
		{
			"DateOfPublished", b.organizer, setPublished, `{"eventDate":"2099-08-15T18:00:00Z"}`,
			400, "VALIDATION_ERROR", "eventDate",
		},
		{"PastDate", b.organizer, ``, `{"eventDate":"2001-08-15T18:00:00Z"}`, 400, "VALIDATION_ERROR", "eventDate"},
		{"NotADate", b.organizer, ``, `{"eventDate":"tomorrow"}`, 400, "VALIDATION_ERROR", "eventDate"},
		{"NotAnEnd", b.organizer, ``, `{"endDate":"late"}`, 400, "VALIDATION_ERROR", "endDate"},
		{"UnknownTimeZone", b.organizer, ``, `{"timeZone":"here"}`, 400, "VALIDATION_ERROR", "timeZone"},
		{"EndAtTheStart", b.organizer, ``, `{"endDate":"2099-07-15T18:00:00Z"}`, 400, "VALIDATION_ERROR", "endDate"},
		{"StartAfterTheEnd", b.organizer, setEnd, `{"eventDate":"2099-07-17T18:00:00Z"}`, 400, "VALIDATION_ERROR", "endDate"},
		{"Null", b.organizer, ``, `{"name":null}`, 400, "VALIDATION_ERROR", "name"},
		{"WrongType", b.organizer, ``, `{"category":7}`, 400, "VALIDATION_ERROR", "category"},
		{"NoPolicy", b.organizer, ``, `{"disputedTickets":""}`, 400, "VALIDATION_ERROR", "disputedTickets"},
		{"UnknownPolicy", b.organizer, ``, `{"disputedTickets":"KEEP"}`, 400, "VALIDATION_ERROR", "disputedTickets"},
		{"NullPolicy", b.organizer, ``, `{"disputedTickets":null}`, 400, "VALIDATION_ERROR", "disputedTickets"},
		{"BlankName", b.organizer, ``, `{"name":" "}`, 400, "VALIDATION_ERROR", "name"},
		{"Status", b.organizer, ``, `{"status":"PUBLISHED"}`, 400, "VALIDATION_ERROR", "status"},
		{"NoBody", b.organizer, ``, ``, 400, "MALFORMED_JSON", ""},
		{"Cancelled", b.organizer, setCancelled, `{"name":"A"}`, 409, "EVENT_CANCELLED", ""},
		{"OthersDraft", b.user, ``, `{"name":"A"}`, 404, "EVENT_NOT_FOUND", ""},
		{"OthersPublished", b.user, setPublished, `{"name":"A"}`, 403, "FORBIDDEN", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id := b.createWith(t, tt.change)
			status, body := b.send(t, http.MethodPatch, "/api/events/"+id, tt.body,
				b.as(t, tt.user, identity.RoleOrganizer))
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestPostponeReturnsBothDates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.createWith(t, setPublished)
	status, body := b.send(t, http.MethodPost, "/api/events/"+id+"/postpone",
		`{"eventDate":"2099-08-15T18:00:00Z","reason":"Storm"}`, b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
	want := strings.NewReplacer(
		"2099-07-15", "2099-08-15", `"PUBLISHED"`, `"PUBLISHED","postponedFrom":"2099-07-15T18:00:00Z"`,
	).Replace(b.details(id, "PUBLISHED"))
	require.JSONEq(t, want, body)
}

func TestPostponeRejectsInvalidRequests(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const later = `"eventDate":"2099-08-15T18:00:00Z"`
	for _, tt := range []struct {
		name        string
		change      string // SQL before the request
		body        string
		status      int
		code, field string
	}{
		{"Draft", ``, `{` + later + `,"reason":"Storm"}`, 409, "EVENT_NOT_PUBLISHED", ""},
		{"Cancelled", setCancelled, `{` + later + `,"reason":"Storm"}`, 409, "EVENT_CANCELLED", ""},
		{
			"ToThePast", setPublished, `{"eventDate":"2001-08-15T18:00:00Z","reason":"Storm"}`,
			400, "VALIDATION_ERROR", "eventDate",
		},
		{"NoDate", setPublished, `{"reason":"Storm"}`, 400, "VALIDATION_ERROR", "eventDate"},
		{"NoReason", setPublished, `{` + later + `}`, 400, "VALIDATION_ERROR", "reason"},
		{"NULInReason", setPublished, `{` + later + `,"reason":"a\u0000"}`, 400, "VALIDATION_ERROR", "reason"},
		{"UnknownField", setPublished, `{"date":"2099-08-15T18:00:00Z"}`, 400, "VALIDATION_ERROR", "date"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id := b.createWith(t, tt.change)
			status, body := b.send(t, http.MethodPost, "/api/events/"+id+"/postpone", tt.body, b.asOrganizer(t))
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

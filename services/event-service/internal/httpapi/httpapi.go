// Package httpapi is the HTTP interface of event-service: the public API and the internal endpoints of the contract. A
// handler decodes a request, calls package cancellation or package store, and encodes the result.
package httpapi

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/event-service/internal/cancellation"
	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Deps is what the API depends on.
type Deps struct {
	Store     *store.Store
	Canceller *cancellation.Canceller
	Guard     identity.Guard
	Readers   []string  // the app-ids that may read an event, beside the callers of calls.EventInfo
	Database  web.Check // the health of the database
}

type api struct {
	store     *store.Store
	canceller *cancellation.Canceller
}

// New returns the router.
func New(deps Deps) *mux.Router {
	a, guard := api{deps.Store, deps.Canceller}, deps.Guard
	r := web.NewRouter()
	web.Health(r, deps.Database)
	web.Docs(r, "event-service")
	get := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodGet) }
	post := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodPost) }

	// For organizers.
	post("/api/events", guard.Person(a.create, identity.RoleOrganizer))
	get("/api/events/mine", guard.Person(a.mine))
	post("/api/events/{eventId}/publish", guard.Person(a.publish))
	post("/api/events/{eventId}/postpone", guard.Person(a.postpone))
	post("/api/events/{eventId}/cancel", guard.Person(a.cancel))
	r.Handle("/api/events/{eventId}", guard.Person(a.change)).Methods(http.MethodPatch)

	// For everyone.
	get("/api/events", a.search)
	get("/api/events/{eventId}", optionalPerson(guard, a.get))

	// For services.
	guard.Service(r, calls.Events.Route, a.batch)
	guard.Service(r, calls.EventInfo.Route, a.getInternal, deps.Readers...)
	guard.Service(r, calls.ValidateOrganizer.Route, a.validateOrganizer)
	return r
}

// optionalPerson calls h for requests with a valid access token and for requests without one. An invalid token is an
// error: if it were ignored, its owner would get a 404 for their own draft.
func optionalPerson(guard identity.Guard, h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("Authorization") == "" {
			return h(w, r)
		}
		return guard.Person(h)(w, r)
	}
}

func parseTime(field, value string) (time.Time, error) {
	var t time.Time
	if err := t.UnmarshalText([]byte(value)); err != nil { // stricter than time.Parse
		return time.Time{}, problem.Field(field, "%s must be an RFC 3339 time", field).Because(err)
	}
	return t.UTC(), nil
}

// parseEnd parses the end of an event; nil is no end, and returned as the zero time. It returns a *problem.Error that
// names endDate.
func parseEnd(value *string) (time.Time, error) {
	if value == nil {
		return time.Time{}, nil
	}
	end, err := parseTime("endDate", *value)
	if err == nil && end.IsZero() { // a time like any other for the caller
		err = event.ErrEndNotAfterDate
	}
	return end, err
}

// detail returns the event in the contract's form, "Get Event Details". It adds what the organizer has set and the
// contract does not have, unless that is the default.
func detail(e event.Event) calls.EventInfoAnswer {
	return calls.EventInfoAnswer{
		EventID: e.ID, OrganizerID: e.OrganizerID, Name: e.Name, Description: e.Description, EventDate: e.Date,
		EndDate: e.EndDate, TimeZone: shownZone(e.TimeZone), VenueName: e.VenueName, VenueAddress: e.VenueAddress,
		Category: string(e.Category), Status: calls.EventStatus(e.Status), ImageURL: e.ImageURL,
		DisputedTickets: string(e.DisputedTickets.Shown()),
	}
}

// shownZone returns the time zone, or nothing for the default.
func shownZone(zone string) string {
	if zone == event.DefaultTimeZone {
		return ""
	}
	return zone
}

// publicEvent is an event in the public API. It adds two fields to the contract's form.
type publicEvent struct {
	calls.EventInfoAnswer
	CancellationReason string    `json:"cancellationReason,omitempty"`
	PostponedFrom      time.Time `json:"postponedFrom,omitzero"`
}

func public(e event.Event) publicEvent {
	return publicEvent{detail(e), e.CancellationReason, e.PostponedFrom}
}

func writeEvent(w http.ResponseWriter, status int, e event.Event) error {
	return web.WriteJSON(w, status, public(e))
}

func writePage(w http.ResponseWriter, page paging.Page, found []event.Event) error {
	listed, next := paging.Cut(page, found, func(e event.Event) (time.Time, uuid.UUID) { return e.Date, e.ID }, public)
	return web.WriteJSON(w, http.StatusOK, struct {
		Events     []publicEvent `json:"events"`
		NextCursor string        `json:"nextCursor,omitempty"`
	}{listed, next})
}

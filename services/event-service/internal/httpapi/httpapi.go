// Package httpapi is event-service's HTTP API.
package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// maxBatch is how many events one call may ask for.
const maxBatch = 100

// API answers event-service's routes.
type API struct {
	Store    *store.Store
	Services sidecar.Sender
	// Readers are services beyond those of package calls that may read an event.
	Readers []string
}

// Route adds the API's routes to router.
func (a API) Route(router *mux.Router, guard identity.Guard) {
	web.Docs(router, "event-service")
	router.Handle("/api/events", guard.Person(a.create, identity.RoleOrganizer)).Methods(http.MethodPost)
	router.Handle("/api/events", web.Handler(a.search)).Methods(http.MethodGet)
	router.Handle("/api/events/mine", guard.Person(a.mine)).Methods(http.MethodGet)
	router.Handle("/api/events/{eventId}/publish", guard.Person(a.publish)).Methods(http.MethodPost)
	router.Handle("/api/events/{eventId}/postpone", guard.Person(a.postpone)).Methods(http.MethodPost)
	router.Handle("/api/events/{eventId}/cancel", guard.Person(a.cancel)).Methods(http.MethodPost)
	router.Handle("/api/events/{eventId}", guard.Person(a.change)).Methods(http.MethodPatch)
	router.Handle("/api/events/{eventId}", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("Authorization") == "" {
			return a.get(w, r)
		}
		// No token is needed, but one that is shown has to be good: its owner would wonder where the
		// draft has gone.
		return guard.Person(a.get)(w, r)
	})).Methods(http.MethodGet)

	// For services.
	guard.Service(router, calls.Events.Route, a.batch)
	guard.Service(router, calls.EventInfo.Route, a.getInternal, a.Readers...)
	guard.Service(router, calls.ValidateOrganizer.Route, a.validateOrganizer)
}

func (a API) create(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name         string         `json:"name"`
		Description  string         `json:"description"`
		EventDate    string         `json:"eventDate"` // so that a bad one can be named
		VenueName    string         `json:"venueName"`
		VenueAddress string         `json:"venueAddress"`
		Category     event.Category `json:"category"`
		ImageURL     string         `json:"imageUrl"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	date, err := parseTime("eventDate", in.EventDate)
	if err != nil {
		return err
	}
	details, err := event.Details{
		Name: in.Name, Description: in.Description, Date: date, VenueName: in.VenueName, VenueAddress: in.VenueAddress,
		Category: in.Category, ImageURL: in.ImageURL,
	}.Check()
	if err != nil {
		return err
	}
	e, err := a.Store.Create(r.Context(), identity.CurrentUser(r.Context()).ID, details)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/events/"+e.ID.String())
	return writeEvent(w, http.StatusCreated, e)
}

func parseTime(field, value string) (time.Time, error) {
	var t time.Time
	if err := t.UnmarshalText([]byte(value)); err != nil { // stricter than time.Parse
		return time.Time{}, problem.Field(field, "%s must be an RFC 3339 time", field).Because(err)
	}
	return t.UTC(), nil
}

func (a API) publish(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	e, err := a.Store.Publish(r.Context(), id, identity.CurrentUser(r.Context()))
	if err != nil {
		return err
	}
	return writeEvent(w, http.StatusOK, e)
}

func (a API) change(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	var in struct {
		Name         web.Optional[string]         `json:"name"`
		Description  web.Optional[string]         `json:"description"`
		EventDate    web.Optional[string]         `json:"eventDate"`
		VenueName    web.Optional[string]         `json:"venueName"`
		VenueAddress web.Optional[string]         `json:"venueAddress"`
		Category     web.Optional[event.Category] `json:"category"`
		ImageURL     web.Optional[string]         `json:"imageUrl"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	change := event.Change{
		Name: in.Name.Value, Description: in.Description.Value, VenueName: in.VenueName.Value,
		VenueAddress: in.VenueAddress.Value, Category: in.Category.Value, ImageURL: in.ImageURL.Value,
	}
	if in.EventDate.Value != nil {
		date, err := parseTime("eventDate", *in.EventDate.Value)
		if err != nil {
			return err
		}
		change.Date = &date
	}
	e, err := a.Store.Change(r.Context(), id, identity.CurrentUser(r.Context()), change)
	if err != nil {
		return err
	}
	return writeEvent(w, http.StatusOK, e)
}

func (a API) postpone(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	var in struct {
		EventDate string `json:"eventDate"`
		Reason    string `json:"reason"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	date, err := parseTime("eventDate", in.EventDate)
	if err != nil {
		return err
	}
	reason, err := event.CheckReason(in.Reason)
	if err != nil {
		return err
	}
	e, err := a.Store.Postpone(r.Context(), id, identity.CurrentUser(r.Context()), date, reason)
	if err != nil {
		return err
	}
	return writeEvent(w, http.StatusOK, e)
}

func (a API) cancel(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	var in struct {
		Reason string `json:"reason"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	reason, err := event.CheckReason(in.Reason)
	if err != nil {
		return err
	}
	user := identity.CurrentUser(r.Context())
	e, err := a.Store.Event(r.Context(), id)
	if err != nil {
		return err
	}
	// Before anybody is asked on behalf of someone who may not cancel, or for what is done already.
	if cancelled, err := e.Cancel(user, reason); err != nil {
		return err
	} else if cancelled == e {
		return writeEvent(w, http.StatusOK, e)
	}
	tickets := 0 // of a draft nobody can have bought any
	if e.Status == event.Published {
		if tickets, err = a.countTickets(r.Context(), id); err != nil {
			return err
		}
	}
	if e, err = a.Store.Cancel(r.Context(), id, user, reason, e.Status, tickets); err != nil {
		return err
	}
	return writeEvent(w, http.StatusOK, e)
}

// countTickets asks ticket-service how many tickets of the event there are. It returns
// sidecar.ErrUnavailable.
func (a API) countTickets(ctx context.Context, id uuid.UUID) (int, error) {
	answer, err := sidecar.Call(ctx, a.Services, calls.TicketCount, calls.None{}, id)
	switch {
	case errors.Is(err, event.NotFound(id)):
		return 0, nil // it sells tickets only of events that it knows
	case err != nil:
		// Whatever else ticket-service said, the one who cancels can do nothing about it.
		return 0, sidecar.ErrUnavailable.Because(err)
	case answer.TicketCount == nil:
		return 0, sidecar.ErrUnavailable.Because(errors.New("ticket-service answered without ticketCount"))
	}
	return *answer.TicketCount, nil
}

func (a API) search(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	search := event.Search{Category: event.Category(query.Get("category")), Words: query.Get("q")}
	for _, bound := range []struct {
		name string
		time *time.Time
	}{{"from", &search.From}, {"to", &search.To}} {
		if value := query.Get(bound.name); value != "" {
			if *bound.time, err = parseTime(bound.name, value); err != nil {
				return err
			}
		}
	}
	if search, err = search.Check(); err != nil {
		return err
	}
	found, err := a.Store.Published(r.Context(), search, page)
	if err != nil {
		return err
	}
	return writePage(w, page, found)
}

func (a API) mine(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	found, err := a.Store.OrganizedBy(r.Context(), identity.CurrentUser(r.Context()).ID, page)
	if err != nil {
		return err
	}
	return writePage(w, page, found)
}

func (a API) get(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	e, err := a.Store.Event(r.Context(), id)
	if err != nil {
		return err
	}
	if !e.VisibleTo(identity.CurrentUser(r.Context())) {
		return event.NotFound(id)
	}
	return writeEvent(w, http.StatusOK, e)
}

func (a API) getInternal(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	e, err := a.Store.Event(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, detail(e))
}

func (a API) validateOrganizer(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	userID, err := web.PathID(r, "userId")
	if err != nil {
		return err
	}
	e, err := a.Store.Event(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.ValidateOrganizerAnswer{
		IsOrganizer: e.OrganizerID == userID, EventID: id, UserID: userID,
	})
}

func (a API) batch(w http.ResponseWriter, r *http.Request) error {
	var in calls.EventsRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	ids, err := web.ParseIDs("eventIds", in.EventIDs, maxBatch)
	if err != nil {
		return err
	}
	found, err := a.Store.Events(r.Context(), ids)
	if err != nil {
		return err
	}
	summaries := make([]calls.EventSummary, len(found))
	for i, e := range found {
		summaries[i] = calls.EventSummary{EventID: e.ID, Name: e.Name, EventDate: e.Date, Status: calls.EventStatus(e.Status)}
	}
	return web.WriteJSON(w, http.StatusOK, calls.EventsAnswer{Events: summaries})
}

func detail(e event.Event) calls.EventInfoAnswer {
	return calls.EventInfoAnswer{
		EventID: e.ID, OrganizerID: e.OrganizerID, Name: e.Name, Description: e.Description, EventDate: e.Date,
		VenueName: e.VenueName, VenueAddress: e.VenueAddress, Category: string(e.Category), Status: calls.EventStatus(e.Status),
		ImageURL: e.ImageURL,
	}
}

// publicEvent is an event as people see it: the contract's, and what became of it.
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
	found, next := paging.Cut(page, found, func(e event.Event) (time.Time, uuid.UUID) { return e.Date, e.ID })
	listed := make([]publicEvent, len(found))
	for i, e := range found {
		listed[i] = public(e)
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		Events     []publicEvent `json:"events"`
		NextCursor string        `json:"nextCursor,omitempty"`
	}{listed, next})
}

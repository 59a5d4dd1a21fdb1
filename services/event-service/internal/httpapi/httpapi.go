// Package httpapi is event-service's HTTP API.
package httpapi

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// maxBatch is how many events one call may ask for.
const maxBatch = 100

// API answers event-service's routes.
type API struct{ Store *store.Store }

// Route adds the API's routes to router.
func (a API) Route(router *mux.Router, guard identity.Guard) {
	router.Handle("/api/events", guard.Person(a.create, identity.RoleOrganizer)).Methods(http.MethodPost)
	router.Handle("/api/events/{eventId}/publish", guard.Person(a.publish)).Methods(http.MethodPost)
	router.Handle("/api/events/{eventId}", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("Authorization") == "" {
			return a.get(w, r)
		}
		// No token is needed, but one that is shown has to be good: its owner would wonder where the
		// draft has gone.
		return guard.Person(a.get)(w, r)
	})).Methods(http.MethodGet)

	// Which service may call what.
	for _, route := range []struct {
		method, path string
		handler      web.Handler
		callers      []string
	}{
		{http.MethodPost, "/api/events/internal/batch", a.batch, []string{
			"ticket-service", "payment-service", "notification-service",
		}},
		{http.MethodGet, "/api/events/internal/{eventId}", a.getInternal, []string{
			"ticket-service", "payment-service", "notification-service",
		}},
		{http.MethodGet, "/api/events/internal/{eventId}/validate-organizer/{userId}", a.validateOrganizer, []string{
			"ticket-service", "payment-service",
		}},
	} {
		router.Handle(route.path, guard.Service(route.handler, route.callers...)).Methods(route.method)
	}
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
	var date time.Time
	if err := date.UnmarshalText([]byte(in.EventDate)); err != nil { // stricter than time.Parse
		return problem.Field("eventDate", "eventDate must be an RFC 3339 time").Because(err)
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
	return writeEvent(w, http.StatusOK, e)
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
	return web.WriteJSON(w, http.StatusOK, struct {
		IsOrganizer bool      `json:"isOrganizer"`
		EventID     uuid.UUID `json:"eventId"`
		UserID      uuid.UUID `json:"userId"`
	}{e.OrganizerID == userID, id, userID})
}

func (a API) batch(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		EventIDs []string `json:"eventIds"`
	}
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
	type summary struct {
		EventID   uuid.UUID    `json:"eventId"`
		Name      string       `json:"name"`
		EventDate time.Time    `json:"eventDate"`
		Status    event.Status `json:"status"`
	}
	summaries := make([]summary, len(found))
	for i, e := range found {
		summaries[i] = summary{e.ID, e.Name, e.Date, e.Status}
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		Events []summary `json:"events"`
	}{summaries})
}

// writeEvent answers with the contract's "Get Event Details".
func writeEvent(w http.ResponseWriter, status int, e event.Event) error {
	return web.WriteJSON(w, status, struct {
		EventID      uuid.UUID      `json:"eventId"`
		OrganizerID  uuid.UUID      `json:"organizerId"`
		Name         string         `json:"name"`
		Description  string         `json:"description"`
		EventDate    time.Time      `json:"eventDate"`
		VenueName    string         `json:"venueName"`
		VenueAddress string         `json:"venueAddress"`
		Category     event.Category `json:"category"`
		Status       event.Status   `json:"status"`
		ImageURL     string         `json:"imageUrl,omitempty"`
	}{
		e.ID, e.OrganizerID, e.Name, e.Description, e.Date, e.VenueName, e.VenueAddress, e.Category, e.Status, e.ImageURL,
	})
}

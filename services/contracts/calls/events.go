package calls

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// The internal routes of event-service.
var (
	// EventInfo returns an event.
	EventInfo = Endpoint[None, EventInfoAnswer]{Route{
		App: eventService, Method: http.MethodGet, Path: "/api/events/internal/{eventId}",
		Callers:  []string{ticketService, paymentService, notificationService},
		Refusals: []problem.Kind{problem.NotFound},
	}}
	// ValidateOrganizer reports whether a user is the organizer of an event.
	ValidateOrganizer = Endpoint[None, ValidateOrganizerAnswer]{Route{
		App: eventService, Method: http.MethodGet, Path: "/api/events/internal/{eventId}/validate-organizer/{userId}",
		Callers: []string{ticketService, paymentService},
	}}
	// Events returns the events with the given ids. It leaves out unknown ids.
	Events = Endpoint[EventsRequest, EventsAnswer]{Route{
		App: eventService, Method: http.MethodPost, Path: "/api/events/internal/batch",
		Callers: []string{ticketService, paymentService, notificationService},
	}}
)

// EventStatus is the status of an event: DRAFT, PUBLISHED or CANCELLED.
type EventStatus string

// EventCancelled is the status of an event that does not take place.
const EventCancelled EventStatus = "CANCELLED"

// EventInfoAnswer is the answer of [EventInfo].
type EventInfoAnswer struct {
	EventID      uuid.UUID   `json:"eventId"`
	OrganizerID  uuid.UUID   `json:"organizerId"`
	Name         string      `json:"name"`
	Description  string      `json:"description"`
	EventDate    time.Time   `json:"eventDate"`
	EndDate      time.Time   `json:"endDate,omitzero"`
	TimeZone     string      `json:"timeZone,omitempty"` // of the IANA database
	VenueName    string      `json:"venueName"`
	VenueAddress string      `json:"venueAddress"`
	Category     string      `json:"category"`
	Status       EventStatus `json:"status"`
	ImageURL     string      `json:"imageUrl,omitempty"`
	// DisputedTickets is VOID, or empty for SUSPEND: what happens to tickets whose payment is disputed. It is beyond the
	// contract.
	DisputedTickets string `json:"disputedTickets,omitempty"`
}

// ValidateOrganizerAnswer is the answer of [ValidateOrganizer].
type ValidateOrganizerAnswer struct {
	IsOrganizer bool      `json:"isOrganizer"`
	EventID     uuid.UUID `json:"eventId"`
	UserID      uuid.UUID `json:"userId"`
}

// EventsRequest is the request of [Events].
type EventsRequest struct {
	EventIDs []string `json:"eventIds"`
}

// EventsAnswer is the answer of [Events].
type EventsAnswer struct {
	Events []EventSummary `json:"events"`
}

// EventSummary is an event in a list.
type EventSummary struct {
	EventID   uuid.UUID   `json:"eventId"`
	Name      string      `json:"name"`
	EventDate time.Time   `json:"eventDate"`
	Status    EventStatus `json:"status"`
}

package httpapi

import (
	"net/http"

	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func (a api) create(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name         string         `json:"name"`
		Description  string         `json:"description"`
		EventDate    string         `json:"eventDate"` // a string, so that the error for an invalid date can name the field
		EndDate      *string        `json:"endDate"`
		TimeZone     string         `json:"timeZone"`
		VenueName    string         `json:"venueName"`
		VenueAddress string         `json:"venueAddress"`
		Category     event.Category `json:"category"`
		ImageURL     string         `json:"imageUrl"`

		DisputedTickets event.DisputePolicy `json:"disputedTickets"`
	}
	in.TimeZone, in.DisputedTickets = event.DefaultTimeZone, event.SuspendDisputed
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	date, err := parseTime("eventDate", in.EventDate)
	if err != nil {
		return err
	}
	end, err := parseEnd(in.EndDate)
	if err != nil {
		return err
	}
	details, err := event.Details{
		Name: in.Name, Description: in.Description, Date: date, EndDate: end, TimeZone: in.TimeZone,
		VenueName: in.VenueName, VenueAddress: in.VenueAddress, Category: in.Category, ImageURL: in.ImageURL,
		DisputedTickets: in.DisputedTickets,
	}.Check()
	if err != nil {
		return err
	}
	e, err := a.store.Create(r.Context(), identity.CurrentUser(r.Context()).ID, details)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/events/"+e.ID.String())
	return writeEvent(w, http.StatusCreated, e)
}

func (a api) publish(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	e, err := a.store.Publish(r.Context(), id, identity.CurrentUser(r.Context()))
	if err != nil {
		return err
	}
	return writeEvent(w, http.StatusOK, e)
}

func (a api) change(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	var in struct {
		Name         web.Optional[string]         `json:"name"`
		Description  web.Optional[string]         `json:"description"`
		EventDate    web.Optional[string]         `json:"eventDate"`
		EndDate      web.Clearable[string]        `json:"endDate"`
		TimeZone     web.Optional[string]         `json:"timeZone"`
		VenueName    web.Optional[string]         `json:"venueName"`
		VenueAddress web.Optional[string]         `json:"venueAddress"`
		Category     web.Optional[event.Category] `json:"category"`
		ImageURL     web.Optional[string]         `json:"imageUrl"`

		DisputedTickets web.Optional[event.DisputePolicy] `json:"disputedTickets"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	change := event.Change{
		Name: in.Name.Value, Description: in.Description.Value, TimeZone: in.TimeZone.Value,
		VenueName: in.VenueName.Value, VenueAddress: in.VenueAddress.Value, Category: in.Category.Value,
		ImageURL:        in.ImageURL.Value,
		DisputedTickets: in.DisputedTickets.Value,
	}
	if in.EventDate.Value != nil {
		date, err := parseTime("eventDate", *in.EventDate.Value)
		if err != nil {
			return err
		}
		change.Date = &date
	}
	if in.EndDate.Present {
		end, err := parseEnd(in.EndDate.Value)
		if err != nil {
			return err
		}
		change.EndDate = &end
	}
	e, err := a.store.Change(r.Context(), id, identity.CurrentUser(r.Context()), change)
	if err != nil {
		return err
	}
	return writeEvent(w, http.StatusOK, e)
}

func (a api) postpone(w http.ResponseWriter, r *http.Request) error {
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
	e, err := a.store.Postpone(r.Context(), id, identity.CurrentUser(r.Context()), date, reason)
	if err != nil {
		return err
	}
	return writeEvent(w, http.StatusOK, e)
}

func (a api) cancel(w http.ResponseWriter, r *http.Request) error {
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
	e, err := a.canceller.Cancel(r.Context(), id, identity.CurrentUser(r.Context()), reason)
	if err != nil {
		return err
	}
	return writeEvent(w, http.StatusOK, e)
}

func (a api) mine(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	found, err := a.store.OrganizedBy(r.Context(), identity.CurrentUser(r.Context()).ID, page)
	if err != nil {
		return err
	}
	return writePage(w, page, found)
}

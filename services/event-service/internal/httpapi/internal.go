package httpapi

import (
	"net/http"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// maxBatch is the maximum number of events in one call.
const maxBatch = 100

func (a api) getInternal(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	e, err := a.store.Event(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, detail(e))
}

func (a api) validateOrganizer(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	userID, err := web.PathID(r, "userId")
	if err != nil {
		return err
	}
	e, err := a.store.Event(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.ValidateOrganizerAnswer{
		IsOrganizer: e.OrganizerID == userID, EventID: id, UserID: userID,
	})
}

func (a api) batch(w http.ResponseWriter, r *http.Request) error {
	var in calls.EventsRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	ids, err := web.ParseIDs("eventIds", in.EventIDs, maxBatch)
	if err != nil {
		return err
	}
	found, err := a.store.Events(r.Context(), ids)
	if err != nil {
		return err
	}
	summaries := make([]calls.EventSummary, len(found))
	for i, e := range found {
		summaries[i] = calls.EventSummary{
			EventID: e.ID, Name: e.Name, EventDate: e.Date, Status: calls.EventStatus(e.Status),
		}
	}
	return web.WriteJSON(w, http.StatusOK, calls.EventsAnswer{Events: summaries})
}

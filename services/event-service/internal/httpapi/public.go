package httpapi

import (
	"net/http"
	"time"

	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func (a api) search(w http.ResponseWriter, r *http.Request) error {
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
	found, err := a.store.Published(r.Context(), search, page)
	if err != nil {
		return err
	}
	return writePage(w, page, found)
}

func (a api) get(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	e, err := a.store.Event(r.Context(), id)
	if err != nil {
		return err
	}
	if !e.VisibleTo(identity.CurrentUser(r.Context())) {
		return event.NotFound(id)
	}
	return writeEvent(w, http.StatusOK, e)
}

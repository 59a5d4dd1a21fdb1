// Package httpapi is notification-service's HTTP API: what people were told, and the events that they
// are told of.
package httpapi

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// API answers the service's routes.
type API struct {
	Courier courier.Courier
	Guard   identity.Guard
}

// Router gives the routes.
func (a API) Router() *mux.Router {
	r := web.NewRouter()
	web.Health(r, web.Check{Name: "database", Probe: a.Courier.Store.Pool.Ping})
	web.Docs(r, "notification-service")
	r.Handle("/api/notifications", a.Guard.Person(a.mine)).Methods(http.MethodGet)
	r.Handle("/api/notifications/{notificationId}/resend", a.Guard.Person(a.resend)).Methods(http.MethodPost)
	return r
}

type summaryJSON struct {
	NotificationID uuid.UUID           `json:"notificationId"`
	Kind           notification.Kind   `json:"kind"`
	Status         notification.Status `json:"status"`
	OrderID        *uuid.UUID          `json:"orderId,omitempty"`
	CreatedAt      time.Time           `json:"createdAt"`
	SentAt         *time.Time          `json:"sentAt,omitempty"`
}

func (a API) mine(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	found, err := a.Courier.Store.List(r.Context(), identity.CurrentUser(r.Context()).ID, page)
	if err != nil {
		return err
	}
	var out struct {
		Notifications []summaryJSON `json:"notifications"`
		NextCursor    string        `json:"nextCursor,omitempty"`
	}
	found, out.NextCursor = paging.Cut(page, found, func(s notification.Summary) (time.Time, uuid.UUID) { return s.CreatedAt, s.ID })
	out.Notifications = make([]summaryJSON, len(found))
	for i, s := range found {
		out.Notifications[i] = summaryJSON{
			NotificationID: s.ID, Kind: s.Kind, Status: s.Status, OrderID: s.OrderID, CreatedAt: s.CreatedAt.UTC(),
		}
		if s.SentAt != nil {
			out.Notifications[i].SentAt = new(s.SentAt.UTC())
		}
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a API) resend(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "notificationId")
	if err != nil {
		return err
	}
	if err := a.Courier.Resend(r.Context(), identity.CurrentUser(r.Context()).ID, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

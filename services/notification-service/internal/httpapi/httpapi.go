// Package httpapi is notification-service's HTTP API for users: their notifications, and resends.
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
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

// Deps is what the API depends on.
type Deps struct {
	Store    *store.Store
	Courier  *courier.Courier
	Guard    identity.Guard
	Database web.Check // the health of the database
}

type api struct {
	store   *store.Store
	courier *courier.Courier
}

// New returns a router with the routes of notification-service, except those of its event consumer.
func New(deps Deps) *mux.Router {
	a := api{deps.Store, deps.Courier}
	r := web.NewRouter()
	web.Health(r, deps.Database)
	web.Docs(r, "notification-service")
	r.Handle("/api/notifications", deps.Guard.Person(a.list)).Methods(http.MethodGet)
	r.Handle("/api/notifications/{notificationId}/resend", deps.Guard.Person(a.resend)).Methods(http.MethodPost)
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

// list answers with a page of the user's own notifications.
func (a api) list(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	found, err := a.store.List(r.Context(), identity.CurrentUser(r.Context()).ID, page)
	if err != nil {
		return err
	}
	var out struct {
		Notifications []summaryJSON `json:"notifications"`
		NextCursor    string        `json:"nextCursor,omitempty"`
	}
	out.Notifications, out.NextCursor = paging.Cut(page, found, func(s notification.Summary) (time.Time, uuid.UUID) {
		return s.CreatedAt, s.ID
	}, func(s notification.Summary) summaryJSON {
		listed := summaryJSON{
			NotificationID: s.ID, Kind: s.Kind, Status: s.Status, OrderID: s.OrderID, CreatedAt: s.CreatedAt.UTC(),
		}
		if s.SentAt != nil {
			listed.SentAt = new(s.SentAt.UTC())
		}
		return listed
	})
	return web.WriteJSON(w, http.StatusOK, out)
}

// resend queues a notification of the user again.
func (a api) resend(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "notificationId")
	if err != nil {
		return err
	}
	if err := a.courier.Resend(r.Context(), identity.CurrentUser(r.Context()).ID, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

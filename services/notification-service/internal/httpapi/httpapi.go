// Package httpapi is notification-service's HTTP API: what people were told, and the events that they
// are told of.
package httpapi

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
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
	c, pool := a.Courier, a.Courier.Store.Pool
	r := web.NewRouter()
	web.Health(r, web.Check{Name: "database", Probe: pool.Ping})
	web.Docs(r, "notification-service")
	r.Handle("/api/notifications", a.Guard.Person(a.mine)).Methods(http.MethodGet)
	r.Handle("/api/notifications/{notificationId}/resend", a.Guard.Person(a.resend)).Methods(http.MethodPost)

	for path, handler := range map[string]web.Handler{
		"/events/tickets-generated":            messaging.Handle(pool, c.TicketsGenerated),
		"/events/ticket-transferred":           messaging.Handle(pool, c.TicketTransferred),
		"/events/ticket-cancelled":             messaging.Handle(pool, c.TicketCancelled),
		"/events/payment-completed":            messaging.Handle(pool, c.PaymentCompleted),
		"/events/payment-failed":               messaging.Handle(pool, c.PaymentFailed),
		"/events/refund-processed":             messaging.Handle(pool, c.RefundProcessed),
		"/events/email-verification-requested": messaging.Handle(pool, c.EmailVerificationRequested),
		"/events/password-reset-requested":     messaging.Handle(pool, c.PasswordResetRequested),
	} {
		r.Handle(path, a.Guard.Sidecar(handler)).Methods(http.MethodPost)
	}
	// Every other event: those of the subscription's default route, and those that it has a route for
	// and we do not, which would otherwise be lost, since the sidecar takes a 404 for an order to drop.
	r.PathPrefix("/events/").Handler(a.Guard.Sidecar(messaging.Unknown(pool))).Methods(http.MethodPost)
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
	found, out.NextCursor = web.CutPage(page, found, func(s notification.Summary) (time.Time, uuid.UUID) { return s.CreatedAt, s.ID })
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

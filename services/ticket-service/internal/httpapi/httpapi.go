// Package httpapi is the HTTP interface of ticket-service: the public API, the internal endpoints of the contract, and
// the cron tick of the sidecar. A handler decodes a request, calls package sales or package store, and encodes the
// result.
package httpapi

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

type api struct {
	sales     *sales.Sales
	store     *store.Store
	publicURL ticket.PublicURL
}

// New returns a router with the routes of ticket-service, except those of its event consumer. The health of the service
// is that of its database.
func New(
	selling *sales.Sales, tickets *store.Store, publicURL ticket.PublicURL, guard identity.Guard, database web.Check,
) *mux.Router {
	a := api{sales: selling, store: tickets, publicURL: publicURL}
	r := web.NewRouter()
	web.Health(r, database)
	web.Docs(r, "ticket-service")
	get := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodGet) }
	post := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodPost) }
	service := func(route calls.Route, h web.Handler) {
		guard.Service(r, route, h)
	}
	person := guard.Person
	organizer := func(h web.Handler) web.Handler { return person(h, identity.RoleOrganizer, identity.RoleAdmin) }

	// For services. They are registered before the public routes, whose {ticketId} would match "internal" too.
	service(calls.CheckAvailability.Route, a.checkAvailability)
	service(calls.Reserve.Route, refusing(reserveRefused, a.reserve))
	service(calls.ConfirmPurchase.Route, refusing(confirmRefused, a.confirm))
	service(calls.ReleaseReservation.Route, refusing(releaseRefused, a.release))
	service(calls.ExtendReservation.Route, refusing(extendRefused, a.extend))
	service(calls.CancelTickets.Route, refusing(cancelRefused, a.cancelRefunded))
	service(calls.TicketCount.Route, a.ticketCount)
	service(calls.Holders.Route, a.holders)
	service(calls.OrderTickets.Route, a.orderTickets)
	service(calls.TicketInfo.Route, a.internalTicket)
	service(calls.TicketPDF.Route, a.internalPDF)
	service(calls.OrderPDF.Route, a.internalOrderPDF)

	// For organizers.
	post("/api/tickets/types", organizer(a.createType))
	r.Handle("/api/tickets/types/{ticketTypeId}", organizer(a.changeType)).Methods(http.MethodPatch)
	get("/api/tickets/events/{eventId}/attendees.csv", organizer(a.attendees))
	post("/api/tickets/check-in", organizer(a.checkIn))
	get("/api/tickets/{ticketId}/check-ins", organizer(a.checkIns))
	post("/api/tickets/{ticketId}/check-in/undo", organizer(a.undoCheckIn))

	// For everyone, and for people who are logged in. Fixed paths are registered before {ticketId}.
	get("/api/tickets/.well-known/jwks.json", a.keys)
	get("/api/tickets/events/{eventId}/availability", a.availability)
	get("/api/tickets/mine", person(a.mine))
	get("/api/tickets/{ticketId}", person(a.ticket))
	get("/api/tickets/{ticketId}/qr.png", person(a.qrCode))
	get("/api/tickets/{ticketId}/ticket.pdf", person(a.pdf))
	post("/api/tickets/{ticketId}/transfer", person(a.transfer))
	post("/api/tickets/{ticketId}/cancel", person(a.cancel))

	// For the cron binding of the sidecar.
	post("/bindings/expire-reservations", guard.Sidecar(a.sweep))
	return r
}

func (a api) sweep(w http.ResponseWriter, r *http.Request) error {
	expired, cancelled, err := a.sales.Sweep(r.Context())
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		Expired   int `json:"expired"`
		Cancelled int `json:"cancelled"`
	}{expired, cancelled})
}

// writeFile writes a file that admits its bearer and therefore must not be cached.
func writeFile(w http.ResponseWriter, contentType string, content []byte) error {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "private, no-store")
	_, _ = w.Write(content) // fails only if the client has disconnected
	return nil
}

// Package httpapi is ticket-service's HTTP surface: the public API, the contract's internal endpoints,
// and the routes that its sidecar delivers events and cron ticks to.
package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/batching"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/printing"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/store"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Caller calls other services; *sidecar.Client is one.
type Caller interface {
	Call(ctx context.Context, app, method, path string, in, out any) error
}

// API serves ticket-service.
type API struct {
	Pool      *pgxpool.Pool
	Store     *store.Store
	PublicURL ticket.PublicURL
	Batcher   *batching.Batcher // for who reserves
	Signer    *ticket.Signer
	Services  Caller
	Guard     identity.Guard

	asking *singleflight.Group // for an event that event-service is being asked for
}

// Router gives the routes.
func (a API) Router() *mux.Router {
	a.asking = &singleflight.Group{}
	r := web.NewRouter()
	web.Health(r, web.Check{Name: "database", Probe: a.Pool.Ping})
	web.Docs(r, "ticket-service")
	get := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodGet) }
	post := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodPost) }
	service, person := a.Guard.Service, a.Guard.Person

	// For services, by the contract's "Ticket Service API Contracts"; package callers says for which. They
	// stand before the public routes, whose {ticketId} would take "internal" too.
	post("/api/tickets/internal/check-availability", service(a.checkAvailability))
	post("/api/tickets/internal/reserve", service(refusing("reserved", a.reserve)))
	post("/api/tickets/internal/confirm-purchase", service(refusing("confirmed", a.confirm)))
	post("/api/tickets/internal/release-reservation", service(refusing("released", a.release)))
	post("/api/tickets/internal/extend-reservation", service(refusing("extended", a.extend)))
	post("/api/tickets/internal/cancel", service(refusing("cancelled", a.cancelRefunded)))
	get("/api/tickets/internal/events/{eventId}/ticket-count", service(a.ticketCount))
	get("/api/tickets/internal/events/{eventId}/holders", service(a.holders))
	get("/api/tickets/internal/{ticketId}", service(a.internalTicket))
	get("/api/tickets/internal/{ticketId}/ticket.pdf", service(a.internalPDF))

	// For organizers.
	organizer := func(h web.Handler) web.Handler { return person(h, identity.RoleOrganizer, identity.RoleAdmin) }
	post("/api/tickets/types", organizer(a.createType))
	r.Handle("/api/tickets/types/{ticketTypeId}", organizer(a.changeType)).Methods(http.MethodPatch)
	get("/api/tickets/events/{eventId}/attendees.csv", organizer(a.attendees))
	post("/api/tickets/check-in", organizer(a.checkIn))

	// For people. What has a word of its own stands before {ticketId}.
	get("/api/tickets/.well-known/jwks.json", a.keys)
	get("/api/tickets/events/{eventId}/availability", a.availability)
	get("/api/tickets/mine", person(a.mine))
	get("/api/tickets/{ticketId}", person(a.ticket))
	get("/api/tickets/{ticketId}/qr.png", person(a.qrCode))
	get("/api/tickets/{ticketId}/ticket.pdf", person(a.pdf))
	post("/api/tickets/{ticketId}/transfer", person(a.transfer))
	post("/api/tickets/{ticketId}/cancel", person(a.cancel))

	// For the sidecar.
	post("/bindings/expire-reservations", a.Guard.Sidecar(a.expireReservations))
	return r
}

// Handlers returns the handlers of the events that the service consumes.
func (a API) Handlers() []inbox.Handler {
	return []inbox.Handler{
		inbox.On(a.paymentCompleted), inbox.On(a.paymentFailed),
		inbox.On(a.eventCreated), inbox.On(a.eventUpdated), inbox.On(a.eventPublished), inbox.On(a.eventCancelled),
	}
}

func (a API) paymentCompleted(ctx context.Context, e inbox.Event[events.PaymentCompleted]) error {
	p := e.Payload
	return a.Batcher.Issue(ctx, func(ctx context.Context) error {
		return a.Store.Fulfil(ctx, e.ID, p)
	})
}

func (a API) paymentFailed(ctx context.Context, e inbox.Event[events.PaymentFailed]) error {
	return a.Store.ReleaseUnpaid(ctx, e.ID, e.Payload)
}

func (a API) eventCreated(ctx context.Context, e inbox.Event[events.EventCreated]) error {
	return a.Store.ApplyEvent(ctx, e.ID, e.EventType, eventOf(e.Payload.EventDetails))
}

func (a API) eventUpdated(ctx context.Context, e inbox.Event[events.EventUpdated]) error {
	return a.Store.ApplyEvent(ctx, e.ID, e.EventType, eventOf(e.Payload.EventDetails))
}

func (a API) eventPublished(ctx context.Context, e inbox.Event[events.EventPublished]) error {
	return a.Store.ApplyEvent(ctx, e.ID, e.EventType, eventOf(e.Payload.EventDetails))
}

func (a API) eventCancelled(ctx context.Context, e inbox.Event[events.EventCancelled]) error {
	if err := a.Store.CancelEvent(ctx, e.ID, e.Payload); err != nil {
		return err
	}
	// The first batch now, which is all of most events; ticks do the rest. If it fails, the event comes again.
	if _, err := a.Store.ReleaseCancelled(ctx, store.CancelBatch); err != nil {
		return err
	}
	_, err := a.Store.CancelTickets(ctx, e.Payload.EventID, store.CancelBatch)
	return err
}

func eventOf(d events.EventDetails) ticket.Event {
	return ticket.Event{
		ID: d.EventID, OrganizerID: d.OrganizerID, Name: d.EventName, Date: d.EventDate,
		VenueName: d.VenueName, Status: ticket.EventStatus(d.Status), UpdatedAt: d.UpdatedAt,
	}
}

func (a API) expireReservations(w http.ResponseWriter, r *http.Request) error {
	expired, expireErr := a.Store.ExpireAllDue(r.Context())
	cancelled, cancelErr := a.Store.CancelAll(r.Context())
	if err := errors.Join(expireErr, cancelErr); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, map[string]int{"expired": expired, "cancelled": cancelled})
}

// fetchEvent asks event-service for an event and keeps what it says. Those who want the same one at the same time share the
// answer, so that a crowd that comes before its event was published here is no crowd there. It returns
// ticket.ErrEventNotFound or sidecar.ErrUnavailable.
func (a API) fetchEvent(ctx context.Context, id uuid.UUID) (ticket.Event, error) {
	found, err, _ := a.asking.Do(id.String(), func() (any, error) {
		// Whoever asked first may go away: the others stay.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		return a.askForEvent(ctx, id)
	})
	return found.(ticket.Event), err
}

// askTimeout is longer than a sidecar tries at most.
const askTimeout = 10 * time.Second

func (a API) askForEvent(ctx context.Context, id uuid.UUID) (ticket.Event, error) {
	var answer struct {
		OrganizerID uuid.UUID          `json:"organizerId"`
		Name        string             `json:"name"`
		EventDate   time.Time          `json:"eventDate"`
		VenueName   string             `json:"venueName"`
		Status      ticket.EventStatus `json:"status"`
	}
	err := a.Services.Call(ctx, "event-service", http.MethodGet, "/api/events/internal/"+id.String(), nil, &answer)
	switch {
	case errors.Is(err, ticket.ErrEventNotFound):
		return ticket.Event{}, ticket.ErrEventNotFound
	case err != nil:
		// Whatever else event-service said, the one who asks us can do nothing about it.
		return ticket.Event{}, sidecar.ErrUnavailable.Because(err)
	}
	e := ticket.Event{
		ID: id, OrganizerID: answer.OrganizerID, Name: answer.Name, Date: answer.EventDate,
		VenueName: answer.VenueName, Status: answer.Status,
	}
	return e, a.Store.SaveFetchedEvent(ctx, e)
}

// organized gives an event to whoever may act as its organizer, who never changes: our copy is as good as
// event-service's. It returns ticket.ErrEventNotFound, ticket.ErrNotOrganizer or sidecar.ErrUnavailable.
func (a API) organized(ctx context.Context, id uuid.UUID) (ticket.Event, error) {
	e, err := a.Store.Event(ctx, id)
	if errors.Is(err, ticket.ErrEventNotFound) {
		e, err = a.fetchEvent(ctx, id)
	}
	if err != nil {
		return e, err
	}
	if user := identity.CurrentUser(ctx); e.OrganizerID != user.ID && !user.Has(identity.RoleAdmin) {
		return e, ticket.ErrNotOrganizer
	}
	return e, nil
}

// fetchName asks auth-service for a user's name. It returns ticket.ErrUserNotFound or
// sidecar.ErrUnavailable.
func (a API) fetchName(ctx context.Context, userID uuid.UUID) (string, error) {
	var answer struct {
		FirstName string `json:"firstName"`
		LastName  string `json:"lastName"`
	}
	err := a.Services.Call(ctx, "auth-service", http.MethodGet, "/api/auth/internal/users/"+userID.String(), nil, &answer)
	switch {
	case errors.Is(err, ticket.ErrUserNotFound):
		return "", ticket.ErrUserNotFound
	case err != nil:
		return "", sidecar.ErrUnavailable.Because(err)
	}
	name := strings.TrimSpace(answer.FirstName + " " + answer.LastName)
	if name == "" {
		return "", sidecar.ErrUnavailable.Because(errors.New("auth-service answered without a name"))
	}
	return name, nil
}

// draw prints a ticket that still admits somebody. It returns ticket.ErrNotActive.
func (a API) draw(ctx context.Context, t ticket.Ticket) ([]byte, error) {
	code, err := a.code(t)
	if err != nil {
		return nil, err
	}
	e, err := a.Store.Event(ctx, t.EventID)
	if err != nil {
		return nil, err
	}
	return printing.PDF(t, e, code)
}

// code gives the code of a ticket that still admits somebody. It returns ticket.ErrNotActive.
func (a API) code(t ticket.Ticket) (string, error) {
	if t.Status != ticket.Active {
		return "", ticket.ErrNotActive
	}
	return a.Signer.Code(t)
}

func writeFile(w http.ResponseWriter, contentType string, content []byte) error {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "private, no-store") // whoever has it gets in
	// The client may have gone away; there is nobody to tell.
	_, _ = w.Write(content)
	return nil
}

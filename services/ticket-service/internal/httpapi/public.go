package httpapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/printing"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

type typeJSON struct {
	TicketTypeID      uuid.UUID      `json:"ticketTypeId"`
	EventID           uuid.UUID      `json:"eventId"`
	Name              string         `json:"name"`
	Price             money.Decimal  `json:"price"`
	Currency          money.Currency `json:"currency"`
	Capacity          int            `json:"capacity"`
	QuantityAvailable int            `json:"quantityAvailable"`
}

func typeToJSON(t ticket.Type) typeJSON {
	return typeJSON{
		TicketTypeID: t.ID, EventID: t.EventID, Name: t.Name, Price: t.Price.Decimal(), Currency: t.Price.Currency,
		Capacity: t.Capacity, QuantityAvailable: t.Available(),
	}
}

func (a API) createType(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		EventID  uuid.UUID     `json:"eventId"`
		Name     string        `json:"name"`
		Price    money.Decimal `json:"price"`
		Currency string        `json:"currency"`
		Capacity int           `json:"capacity"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if err := required(map[string]uuid.UUID{"eventId": in.EventID}); err != nil {
		return err
	}
	currency, err := money.ParseCurrency(in.Currency)
	if err != nil {
		return problem.Field("currency", "currency is %s", err)
	}
	price, err := in.Price.In(currency)
	if err != nil {
		return problem.Field("price", "price %s", err)
	}
	t := ticket.Type{
		ID: uuid.New(), EventID: in.EventID, Name: strings.TrimSpace(in.Name), Price: price, Capacity: in.Capacity,
	}
	if err := t.Validate(); err != nil {
		return err
	}
	event, err := a.fetchEvent(r.Context(), in.EventID)
	if err != nil {
		return err
	}
	if user := identity.CurrentUser(r.Context()); event.OrganizerID != user.ID && !user.Has(identity.RoleAdmin) {
		return ticket.ErrNotOrganizer
	}
	if err := a.Store.CreateType(r.Context(), t); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, typeToJSON(t))
}

func (a API) availability(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	event, err := a.Store.Event(r.Context(), id)
	if errors.Is(err, ticket.ErrEventNotFound) || err == nil && event.Status == ticket.EventDraft {
		event, err = a.fetchEvent(r.Context(), id) // perhaps an EVENT_* message is still under way to us
	}
	if err != nil {
		return err
	}
	if event.Status == ticket.EventDraft {
		return ticket.ErrEventNotFound
	}
	types, err := a.Store.Types(r.Context(), id)
	if err != nil {
		return err
	}
	out := struct {
		EventID     uuid.UUID  `json:"eventId"`
		OnSale      bool       `json:"onSale"`
		TicketTypes []typeJSON `json:"ticketTypes"`
	}{EventID: id, OnSale: event.Status == ticket.EventPublished, TicketTypes: []typeJSON{}}
	for _, t := range types {
		out.TicketTypes = append(out.TicketTypes, typeToJSON(t))
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// mineLimit bounds a list of one's own tickets.
const mineLimit = 200

func (a API) mine(w http.ResponseWriter, r *http.Request) error {
	tickets, err := a.Store.TicketsOf(r.Context(), identity.CurrentUser(r.Context()).ID, mineLimit)
	if err != nil {
		return err
	}
	out := struct {
		Tickets []ticketJSON `json:"tickets"`
	}{[]ticketJSON{}}
	for _, t := range tickets {
		out.Tickets = append(out.Tickets, a.ticketJSON(t))
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a API) qrCode(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ownTicket(r)
	if err != nil {
		return err
	}
	code, err := a.Signer.Code(t)
	if err != nil {
		return err
	}
	content, err := printing.QRCode(code)
	if err != nil {
		return err
	}
	return writeFile(w, "image/png", content)
}

func (a API) pdf(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ownTicket(r)
	if err != nil {
		return err
	}
	content, err := a.draw(r.Context(), t)
	if err != nil {
		return err
	}
	return writeFile(w, "application/pdf", content)
}

// ownTicket gives the ticket in the path if it is the caller's. Somebody else's is not found: whether
// it exists is nobody's business.
func (a API) ownTicket(r *http.Request) (ticket.Ticket, error) {
	t, err := a.ticketInPath(r)
	if err != nil {
		return t, err
	}
	if t.OwnerID != identity.CurrentUser(r.Context()).ID {
		return ticket.Ticket{}, ticket.ErrTicketNotFound
	}
	return t, nil
}

package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/printing"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

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
		out.TicketTypes = append(out.TicketTypes, typeToJSON(t, event))
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// keys gives what a scanner without a network checks codes against.
func (a API) keys(w http.ResponseWriter, _ *http.Request) error {
	set, err := a.Signer.PublicKeys()
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, set)
}

func (a API) mine(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	tickets, err := a.Store.TicketsOfUser(r.Context(), identity.CurrentUser(r.Context()).ID, page)
	if err != nil {
		return err
	}
	tickets, next := paging.Cut(page, tickets, func(t ticket.Ticket) (time.Time, uuid.UUID) { return t.CreatedAt, t.ID })
	listed := make([]ticketJSON, len(tickets))
	for i, t := range tickets {
		listed[i] = a.ticketJSON(t)
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		Tickets    []ticketJSON `json:"tickets"`
		NextCursor string       `json:"nextCursor,omitempty"`
	}{listed, next})
}

func (a API) ticket(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ownTicket(r)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, a.ticketJSON(t))
}

func (a API) qrCode(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ownTicket(r)
	if err != nil {
		return err
	}
	code, err := a.code(t)
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

func (a API) transfer(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		ToUserID string `json:"toUserId"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	to, err := web.ParseID("toUserId", in.ToUserID)
	if err != nil {
		return err
	}
	// Before anybody is asked for a name on behalf of someone who has nothing to give.
	t, err := a.ownTicket(r)
	if err != nil {
		return err
	}
	if to == t.OwnerID {
		return problem.Field("toUserId", "toUserId must be another user")
	}
	if t.Status != ticket.Active {
		return ticket.ErrNotActive
	}
	name, err := a.fetchName(r.Context(), to)
	if err != nil {
		return err
	}
	if t, err = a.Store.Transfer(r.Context(), t.ID, t.OwnerID, to, name); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, a.ticketJSON(t))
}

func (a API) cancel(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "ticketId")
	if err != nil {
		return err
	}
	var in struct {
		Reason string `json:"reason"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if err := ticket.ValidateText("reason", in.Reason, maxReason); err != nil {
		return err
	}
	t, err := a.Store.Cancel(r.Context(), id, identity.CurrentUser(r.Context()).ID, in.Reason)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, a.ticketJSON(t))
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

package httpapi

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// ticketInfo is the contract's TicketInfoDto.
func (a api) ticketInfo(t ticket.Ticket) calls.TicketInfoAnswer {
	return calls.TicketInfoAnswer{
		TicketID: t.ID, TicketNumber: t.Number, TicketTypeID: t.TypeID, EventID: t.EventID, OrderID: t.OrderID,
		HolderName: t.HolderName, QRCode: a.publicURL.QRCode(t.ID), Status: calls.TicketStatus(t.Status),
		CreatedAt: t.CreatedAt.UTC(),
	}
}

func (a api) availability(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	e, types, err := a.sales.Offer(r.Context(), id)
	if err != nil {
		return err
	}
	out := struct {
		EventID     uuid.UUID  `json:"eventId"`
		OnSale      bool       `json:"onSale"`
		TicketTypes []typeJSON `json:"ticketTypes"`
	}{EventID: id, OnSale: e.Status == ticket.EventPublished && e.ReadAt.Before(e.Date), TicketTypes: []typeJSON{}}
	for _, t := range types {
		listed := typeToJSON(t, e)
		out.OnSale = out.OnSale || listed.OnSale // some types are sold while the event takes place
		out.TicketTypes = append(out.TicketTypes, listed)
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// keys returns the key set with which scanners verify codes offline.
func (a api) keys(w http.ResponseWriter, _ *http.Request) error {
	set, err := a.sales.PublicKeys()
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, set)
}

func (a api) mine(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	tickets, err := a.store.TicketsOfUser(r.Context(), identity.CurrentUser(r.Context()).ID, page)
	if err != nil {
		return err
	}
	listed, next := paging.Cut(page, tickets, func(t ticket.Ticket) (time.Time, uuid.UUID) {
		return t.CreatedAt, t.ID
	}, a.ticketInfo)
	return web.WriteJSON(w, http.StatusOK, struct {
		Tickets    []calls.TicketInfoAnswer `json:"tickets"`
		NextCursor string                   `json:"nextCursor,omitempty"`
	}{listed, next})
}

func (a api) ticket(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ownTicket(r)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, a.ticketInfo(t))
}

func (a api) qrCode(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ownTicket(r)
	if err != nil {
		return err
	}
	content, err := a.sales.QRCode(t)
	if err != nil {
		return err
	}
	return writeFile(w, "image/png", content)
}

func (a api) pdf(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ownTicket(r)
	if err != nil {
		return err
	}
	content, err := a.sales.PDF(r.Context(), t)
	if err != nil {
		return err
	}
	return writeFile(w, "application/pdf", content)
}

func (a api) transfer(w http.ResponseWriter, r *http.Request) error {
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
	id, err := web.PathID(r, "ticketId")
	if err != nil {
		return err
	}
	t, err := a.sales.Transfer(r.Context(), id, identity.CurrentUser(r.Context()).ID, to)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, a.ticketInfo(t))
}

func (a api) cancel(w http.ResponseWriter, r *http.Request) error {
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
	t, err := a.store.Cancel(r.Context(), id, identity.CurrentUser(r.Context()).ID, in.Reason)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, a.ticketInfo(t))
}

// ownTicket returns the ticket in the path if it is the caller's.
func (a api) ownTicket(r *http.Request) (ticket.Ticket, error) {
	id, err := web.PathID(r, "ticketId")
	if err != nil {
		return ticket.Ticket{}, err
	}
	return a.sales.OwnTicket(r.Context(), identity.CurrentUser(r.Context()).ID, id)
}

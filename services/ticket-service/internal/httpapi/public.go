package httpapi

import (
	"context"
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
		Suspension: t.ShownSuspension(), CreatedAt: t.CreatedAt.UTC(),
	}
}

// ticketJSON is a ticket as its owner sees it: with the current details of its event.
type ticketJSON struct {
	calls.TicketInfoAnswer
	Event eventJSON `json:"event"`
}

type eventJSON struct {
	Name         string             `json:"name"`
	EventDate    time.Time          `json:"eventDate"`
	EndDate      *time.Time         `json:"endDate,omitempty"`
	VenueName    string             `json:"venueName"`
	VenueAddress string             `json:"venueAddress,omitempty"`
	Status       ticket.EventStatus `json:"status"`
}

// withEvents returns a function that encodes one of the tickets with the current details of its event.
func (a api) withEvents(ctx context.Context, tickets ...ticket.Ticket) (func(ticket.Ticket) ticketJSON, error) {
	ids := make([]uuid.UUID, len(tickets))
	for i, t := range tickets {
		ids[i] = t.EventID
	}
	known, err := a.store.Events(ctx, ids...)
	if err != nil {
		return nil, err
	}
	return func(t ticket.Ticket) ticketJSON {
		e := known[t.EventID] // which a ticket refers to
		shown := ticketJSON{a.ticketInfo(t), eventJSON{
			Name: e.Name, EventDate: e.Date.UTC(), VenueName: e.VenueName, VenueAddress: e.VenueAddress, Status: e.Status,
		}}
		if e.EndDate != nil {
			shown.Event.EndDate = new(e.EndDate.UTC())
		}
		return shown
	}, nil
}

// writeTicket writes a ticket with the details of its event.
func (a api) writeTicket(w http.ResponseWriter, r *http.Request, t ticket.Ticket) error {
	encode, err := a.withEvents(r.Context(), t)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, encode(t))
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
	encode, err := a.withEvents(r.Context(), tickets...)
	if err != nil {
		return err
	}
	listed, next := paging.Cut(page, tickets, func(t ticket.Ticket) (time.Time, uuid.UUID) {
		return t.CreatedAt, t.ID
	}, encode)
	return web.WriteJSON(w, http.StatusOK, struct {
		Tickets    []ticketJSON `json:"tickets"`
		NextCursor string       `json:"nextCursor,omitempty"`
	}{listed, next})
}

func (a api) ticket(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ownTicket(r)
	if err != nil {
		return err
	}
	return a.writeTicket(w, r, t)
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
	return a.writeTicket(w, r, t)
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
	return a.writeTicket(w, r, t)
}

// ownTicket returns the ticket in the path if it is the caller's.
func (a api) ownTicket(r *http.Request) (ticket.Ticket, error) {
	id, err := web.PathID(r, "ticketId")
	if err != nil {
		return ticket.Ticket{}, err
	}
	return a.sales.OwnTicket(r.Context(), identity.CurrentUser(r.Context()).ID, id)
}

package httpapi

import (
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func (a api) ticketCount(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	n, err := a.store.TicketCount(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.TicketCountAnswer{EventID: id, TicketCount: &n})
}

// holders lists the holders of active tickets of an event. The limit of a page counts orders; a page has all holders of
// its orders.
func (a api) holders(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	holdings, err := a.store.Holdings(r.Context(), id, page)
	if err != nil {
		return err
	}
	orders, next := paging.Cut(page, holdings, func(h ticket.Holding) (time.Time, uuid.UUID) {
		return h.Issued, h.OrderID
	}, func(h ticket.Holding) (holders []calls.Holder) {
		for userID, n := range h.Holders {
			holders = append(holders, calls.Holder{UserID: userID, OrderID: h.OrderID, TicketCount: n})
		}
		return holders
	})
	return web.WriteJSON(w, http.StatusOK, calls.HoldersAnswer{
		Holders: append([]calls.Holder{}, slices.Concat(orders...)...), NextCursor: next,
	})
}

// orderTickets lists the tickets of an order that a user owns.
func (a api) orderTickets(w http.ResponseWriter, r *http.Request) error {
	orderID, err := web.PathID(r, "orderId")
	if err != nil {
		return err
	}
	owner, err := web.ParseID("ownerId", r.URL.Query().Get("ownerId"))
	if err != nil {
		return err
	}
	tickets, err := a.store.TicketsOfOrder(r.Context(), orderID, owner)
	if err != nil {
		return err
	}
	out := calls.OrderTicketsAnswer{Tickets: make([]calls.OrderTicket, len(tickets))}
	for i, t := range tickets {
		out.Tickets[i] = calls.OrderTicket{
			TicketID: t.ID, TicketNumber: t.Number, Status: calls.TicketStatus(t.Status), RefundKey: t.RefundKey,
		}
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a api) internalTicket(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "ticketId")
	if err != nil {
		return err
	}
	t, err := a.store.Ticket(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, a.ticketInfo(t))
}

// internalPDF returns the PDF of a ticket for a mail. With ?userId=, the recipient of the mail, only a ticket that this
// user owns is found: the mail may be sent after a transfer, and the former owner must not get the code.
func (a api) internalPDF(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "ticketId")
	if err != nil {
		return err
	}
	var t ticket.Ticket
	if query := r.URL.Query(); query.Has("userId") {
		userID, err := web.ParseID("userId", query.Get("userId"))
		if err != nil {
			return err
		}
		t, err = a.sales.OwnTicket(r.Context(), userID, id)
		if err != nil {
			return err
		}
	} else if t, err = a.store.Ticket(r.Context(), id); err != nil {
		return err
	}
	content, err := a.sales.PDF(r.Context(), t)
	if err != nil {
		return err
	}
	return writeFile(w, "application/pdf", content)
}

// internalOrderPDF returns a PDF of the valid tickets of an order for a mail. It has only those of ?userId=, the
// recipient of the mail.
func (a api) internalOrderPDF(w http.ResponseWriter, r *http.Request) error {
	orderID, err := web.PathID(r, "orderId")
	if err != nil {
		return err
	}
	userID, err := web.ParseID("userId", r.URL.Query().Get("userId"))
	if err != nil {
		return err
	}
	content, count, err := a.sales.OrderPDF(r.Context(), userID, orderID)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "private, no-store") // as writeFile
	return web.WriteJSON(w, http.StatusOK, calls.OrderPDFAnswer{OrderID: orderID, TicketCount: count, Content: content})
}

package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// refusing adds the contract's flag to h's refusals: {"reserved": false, "error": ...}.
func refusing(flag string, h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		if kind := problem.KindOf(err); err == nil || kind != problem.NotFound && kind != problem.Conflict {
			return err
		}
		p := web.Problem(r, err)
		return web.WriteJSON(w, web.Status(p.Kind), map[string]any{flag: false, "error": p.Code, "message": p.Message})
	}
}

// ticketRequest is the contract's TicketRequestDto. Its id is read later, so that a bad one can be named;
// so are the ids of all requests.
type ticketRequest struct {
	TicketTypeID string `json:"ticketTypeId"`
	Quantity     int    `json:"quantity"`
}

func linesOf(requests []ticketRequest) ([]ticket.LineItem, error) {
	lines := make([]ticket.LineItem, len(requests))
	for i, q := range requests {
		id, err := web.ParseID("ticketRequests.ticketTypeId", q.TicketTypeID)
		if err != nil {
			return nil, err
		}
		lines[i] = ticket.LineItem{TypeID: id, Quantity: q.Quantity}
	}
	return lines, ticket.ValidateItems(lines)
}

// idField is an id in a request's body.
type idField struct {
	name, value string
	to          *uuid.UUID
}

// readIDs reads a request's ids, and refuses the first that is missing or none.
func readIDs(fields ...idField) error {
	for _, f := range fields {
		id, err := web.ParseID(f.name, f.value)
		if err != nil {
			return err
		}
		*f.to = id
	}
	return nil
}

func (a API) checkAvailability(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		EventID        string          `json:"eventId"`
		TicketRequests []ticketRequest `json:"ticketRequests"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	eventID, err := web.ParseID("eventId", in.EventID)
	if err != nil {
		return err
	}
	lines, err := linesOf(in.TicketRequests)
	if err != nil {
		return err
	}
	types, err := a.Store.Types(r.Context(), eventID)
	if err != nil {
		return err
	}
	available := map[uuid.UUID]int{}
	for _, t := range types {
		available[t.ID] = t.Available()
	}

	type availability struct {
		TicketTypeID      uuid.UUID `json:"ticketTypeId"`
		Available         bool      `json:"available"`
		QuantityAvailable int       `json:"quantityAvailable"`
		QuantityRequested int       `json:"quantityRequested"`
		Error             string    `json:"error,omitempty"`
	}
	out := struct {
		Available          bool           `json:"available"`
		TicketAvailability []availability `json:"ticketAvailability"`
	}{Available: true}
	for _, l := range lines {
		left, known := available[l.TypeID]
		line := availability{
			TicketTypeID: l.TypeID, Available: left >= l.Quantity,
			QuantityAvailable: left, QuantityRequested: l.Quantity,
		}
		switch {
		case !known:
			line.Error = ticket.ErrTypeNotFound.Code
		case !line.Available:
			line.Error = ticket.ErrInsufficientInventory.Code
		}
		out.Available = out.Available && line.Available
		out.TicketAvailability = append(out.TicketAvailability, line)
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a API) reserve(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		UserID                     string          `json:"userId"`
		EventID                    string          `json:"eventId"`
		ReservationID              string          `json:"reservationId"`
		TicketRequests             []ticketRequest `json:"ticketRequests"`
		ReservationDurationMinutes *int            `json:"reservationDurationMinutes"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	var q ticket.Request
	if err := readIDs(idField{"reservationId", in.ReservationID, &q.ReservationID},
		idField{"userId", in.UserID, &q.UserID}, idField{"eventId", in.EventID, &q.EventID}); err != nil {
		return err
	}
	var err error
	if q.Items, err = linesOf(in.TicketRequests); err != nil {
		return err
	}
	if q.Hold, err = ticket.HoldFor(in.ReservationDurationMinutes); err != nil {
		return err
	}
	res, err := a.Batcher.Reserve(r.Context(), q)
	if errors.Is(err, ticket.ErrEventNotOnSale) {
		// Perhaps EVENT_PUBLISHED is still under way to us: ask before turning a buyer down.
		if _, err := a.fetchEvent(r.Context(), q.EventID); err != nil {
			return err
		}
		res, err = a.Batcher.Reserve(r.Context(), q)
	}
	if err != nil {
		return err
	}

	type line struct {
		TicketTypeID uuid.UUID     `json:"ticketTypeId"`
		Quantity     int           `json:"quantity"`
		UnitPrice    money.Decimal `json:"unitPrice"`
		TotalPrice   money.Decimal `json:"totalPrice"`
	}
	out := struct {
		ReservationID uuid.UUID      `json:"reservationId"`
		Reserved      bool           `json:"reserved"`
		ExpiresAt     time.Time      `json:"expiresAt"`
		Currency      money.Currency `json:"currency"` // beyond the contract: a price alone cannot be charged
		Tickets       []line         `json:"tickets"`
	}{ReservationID: res.ID, Reserved: true, ExpiresAt: res.ExpiresAt.UTC()}
	for _, l := range res.Items {
		out.Currency = l.UnitPrice.Currency
		out.Tickets = append(out.Tickets, line{
			TicketTypeID: l.TypeID, Quantity: l.Quantity,
			UnitPrice: l.UnitPrice.Decimal(), TotalPrice: l.UnitPrice.Times(l.Quantity).Decimal(),
		})
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a API) confirm(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		ReservationID string `json:"reservationId"`
		OrderID       string `json:"orderId"`
		UserID        string `json:"userId"`
		HolderName    string `json:"holderName"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	p := ticket.Purchase{HolderName: in.HolderName}
	if err := readIDs(idField{"reservationId", in.ReservationID, &p.ReservationID},
		idField{"orderId", in.OrderID, &p.OrderID}, idField{"userId", in.UserID, &p.UserID}); err != nil {
		return err
	}
	if err := ticket.ValidateHolder(p.HolderName); err != nil {
		return err
	}
	var tickets []ticket.Ticket
	err := a.Batcher.Issue(r.Context(), func(ctx context.Context) (err error) {
		tickets, err = a.Store.Confirm(ctx, p)
		return err
	})
	if errors.Is(err, ticket.ErrReservationNotFound) {
		return problem.New(problem.NotFound, ticket.ErrReservationNotFound.Code,
			"Reservation %s not found or expired", p.ReservationID).Because(err)
	}
	if err != nil {
		return err
	}

	type confirmed struct {
		TicketID     uuid.UUID `json:"ticketId"`
		TicketNumber string    `json:"ticketNumber"`
		QRCode       string    `json:"qrCode"`
		TicketTypeID uuid.UUID `json:"ticketTypeId"`
	}
	out := struct {
		Confirmed bool        `json:"confirmed"`
		OrderID   uuid.UUID   `json:"orderId"`
		Tickets   []confirmed `json:"tickets"`
	}{Confirmed: true, OrderID: p.OrderID}
	for _, t := range tickets {
		out.Tickets = append(out.Tickets, confirmed{t.ID, t.Number, a.PublicURL.QRCode(t.ID), t.TypeID})
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a API) release(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		ReservationID string `json:"reservationId"`
		Reason        string `json:"reason"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	id, err := web.ParseID("reservationId", in.ReservationID)
	if err != nil {
		return err
	}
	if err := ticket.ValidateText("reason", in.Reason, maxReason); err != nil {
		return err
	}
	released, err := a.Store.Release(r.Context(), id, in.Reason)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		Released        bool      `json:"released"`
		ReservationID   uuid.UUID `json:"reservationId"`
		TicketsReleased int       `json:"ticketsReleased"`
	}{true, id, released})
}

func (a API) extend(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		ReservationID string `json:"reservationId"`
		Minutes       int    `json:"minutes"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	id, err := web.ParseID("reservationId", in.ReservationID)
	if err != nil {
		return err
	}
	hold, err := ticket.ExtendFor(in.Minutes)
	if err != nil {
		return err
	}
	expiresAt, err := a.Store.Extend(r.Context(), id, hold)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		Extended      bool      `json:"extended"`
		ReservationID uuid.UUID `json:"reservationId"`
		ExpiresAt     time.Time `json:"expiresAt"`
	}{true, id, expiresAt.UTC()})
}

// Limits of the texts in requests, in characters.
const (
	maxReason       = 200
	maxRefundReason = 500
	maxRefundKey    = 128
)

// maxRefunded is how many tickets an order can have.
const maxRefunded = ticket.MaxItems * ticket.MaxQuantity

func (a API) cancelRefunded(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		OrderID   string                 `json:"orderId"`
		TicketIDs web.Optional[[]string] `json:"ticketIds"`
		RefundKey string                 `json:"refundKey"`
		Reason    string                 `json:"reason"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	orderID, err := web.ParseID("orderId", in.OrderID)
	if err != nil {
		return err
	}
	refund := ticket.Refund{OrderID: orderID, Key: in.RefundKey, Reason: in.Reason}
	// Only a request without the field means all tickets: an empty list is somebody's mistake.
	if in.TicketIDs.Value != nil {
		if len(*in.TicketIDs.Value) == 0 {
			return problem.Field("ticketIds", "ticketIds must not be empty")
		}
		if refund.TicketIDs, err = web.ParseIDs("ticketIds", *in.TicketIDs.Value, maxRefunded); err != nil {
			return err
		}
	}
	if in.RefundKey == "" {
		return problem.Field("refundKey", "refundKey is required")
	}
	if err := ticket.ValidateText("refundKey", in.RefundKey, maxRefundKey); err != nil {
		return err
	}
	if err := ticket.ValidateText("reason", in.Reason, maxRefundReason); err != nil {
		return err
	}
	tickets, err := a.Store.CancelRefunded(r.Context(), refund)
	if err != nil {
		return err
	}

	type cancelled struct {
		TicketID     uuid.UUID `json:"ticketId"`
		TicketTypeID uuid.UUID `json:"ticketTypeId"`
	}
	out := struct {
		Cancelled bool        `json:"cancelled"`
		OrderID   uuid.UUID   `json:"orderId"`
		Tickets   []cancelled `json:"tickets"`
	}{true, orderID, []cancelled{}}
	for _, t := range tickets {
		out.Tickets = append(out.Tickets, cancelled{t.ID, t.TypeID})
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a API) ticketCount(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	n, err := a.Store.TicketCount(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		EventID     uuid.UUID `json:"eventId"`
		TicketCount int       `json:"ticketCount"`
	}{id, n})
}

// holders lists who holds valid tickets of an event. A page is one of orders, whose holders it gives all.
func (a API) holders(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	found, err := a.Store.Holdings(r.Context(), id, page)
	if err != nil {
		return err
	}
	type holder struct {
		UserID      uuid.UUID `json:"userId"`
		OrderID     uuid.UUID `json:"orderId"`
		TicketCount int       `json:"ticketCount"`
	}
	out := struct {
		Holders    []holder `json:"holders"`
		NextCursor string   `json:"nextCursor,omitempty"`
	}{Holders: []holder{}}
	found, out.NextCursor = paging.Cut(page, found, func(h ticket.Holding) (time.Time, uuid.UUID) { return h.Issued, h.OrderID })
	for _, h := range found {
		for userID, n := range h.Holders {
			out.Holders = append(out.Holders, holder{userID, h.OrderID, n})
		}
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// ticketJSON is the contract's TicketInfoDto.
type ticketJSON struct {
	TicketID     uuid.UUID     `json:"ticketId"`
	TicketNumber string        `json:"ticketNumber"`
	TicketTypeID uuid.UUID     `json:"ticketTypeId"`
	EventID      uuid.UUID     `json:"eventId"`
	OrderID      uuid.UUID     `json:"orderId"`
	HolderName   string        `json:"holderName"`
	QRCode       string        `json:"qrCode"`
	Status       ticket.Status `json:"status"`
	CreatedAt    time.Time     `json:"createdAt"`
}

func (a API) ticketJSON(t ticket.Ticket) ticketJSON {
	return ticketJSON{
		TicketID: t.ID, TicketNumber: t.Number, TicketTypeID: t.TypeID, EventID: t.EventID, OrderID: t.OrderID,
		HolderName: t.HolderName, QRCode: a.PublicURL.QRCode(t.ID), Status: t.Status, CreatedAt: t.CreatedAt.UTC(),
	}
}

func (a API) internalTicket(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ticketInPath(r)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, a.ticketJSON(t))
}

// internalPDF prints a ticket for a mail. ?userId= says who gets the mail: it may be about to go to
// somebody who has given the ticket away, to whom its code must not go, so that somebody else's ticket
// is not found.
func (a API) internalPDF(w http.ResponseWriter, r *http.Request) error {
	t, err := a.ticketInPath(r)
	if err != nil {
		return err
	}
	if r.URL.Query().Has("userId") {
		userID, err := web.ParseID("userId", r.URL.Query().Get("userId"))
		if err != nil {
			return err
		}
		if t.OwnerID != userID {
			return ticket.ErrTicketNotFound
		}
	}
	content, err := a.draw(r.Context(), t)
	if err != nil {
		return err
	}
	return writeFile(w, "application/pdf", content)
}

func (a API) ticketInPath(r *http.Request) (ticket.Ticket, error) {
	id, err := web.PathID(r, "ticketId")
	if err != nil {
		return ticket.Ticket{}, err
	}
	return a.Store.Ticket(r.Context(), id)
}

package httpapi

import (
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Limits of the texts in requests, in characters.
const (
	maxReason       = 200
	maxRefundReason = 500
	maxRefundKey    = 128
)

// maxRefunded is the maximum number of tickets of an order.
const maxRefunded = ticket.MaxItems * ticket.MaxQuantity

// refusing returns a handler that writes the refusals of h with a flag, as in {"reserved": false, "error": ...}. form
// adds the flag.
func refusing[T any](form func(calls.Refused) T, h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		if kind := problem.KindOf(err); err == nil || kind != problem.NotFound && kind != problem.Conflict {
			return err
		}
		p := web.Problem(r, err)
		return web.WriteJSON(w, web.Status(p.Kind), form(calls.Refused{Error: p.Code, Message: p.Message}))
	}
}

func reserveRefused(r calls.Refused) calls.ReserveRefused { return calls.ReserveRefused{Refused: r} }

func confirmRefused(r calls.Refused) calls.ConfirmPurchaseRefused {
	return calls.ConfirmPurchaseRefused{Refused: r}
}

func releaseRefused(r calls.Refused) calls.ReleaseReservationRefused {
	return calls.ReleaseReservationRefused{Refused: r}
}

func extendRefused(r calls.Refused) calls.ExtendReservationRefused {
	return calls.ExtendReservationRefused{Refused: r}
}

func cancelRefused(r calls.Refused) calls.CancelTicketsRefused {
	return calls.CancelTicketsRefused{Refused: r}
}

// parseItems returns the items of a request. It returns a *problem.Error that names the invalid field.
func parseItems(requests []calls.TicketRequest) ([]ticket.LineItem, error) {
	items := make([]ticket.LineItem, len(requests))
	for i, q := range requests {
		id, err := web.ParseID("ticketRequests.ticketTypeId", q.TicketTypeID)
		if err != nil {
			return nil, err
		}
		items[i] = ticket.LineItem{TypeID: id, Quantity: q.Quantity}
	}
	return items, ticket.ValidateItems(items)
}

// idField is a field of a request that contains an id.
type idField struct {
	name, value string
	to          *uuid.UUID
}

// parseIDs parses the ids of a request. It returns a *problem.Error that names the first missing or invalid one.
func parseIDs(fields ...idField) error {
	for _, f := range fields {
		id, err := web.ParseID(f.name, f.value)
		if err != nil {
			return err
		}
		*f.to = id
	}
	return nil
}

func (a api) checkAvailability(w http.ResponseWriter, r *http.Request) error {
	var in calls.CheckAvailabilityRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	eventID, err := web.ParseID("eventId", in.EventID)
	if err != nil {
		return err
	}
	items, err := parseItems(in.TicketRequests)
	if err != nil {
		return err
	}
	checked, err := a.sales.CheckAvailability(r.Context(), eventID, items)
	if err != nil {
		return err
	}
	out := calls.CheckAvailabilityAnswer{Available: true}
	for _, c := range checked {
		availability := calls.TicketAvailability{
			TicketTypeID: c.Item.TypeID, Available: c.Err == nil,
			QuantityAvailable: c.Left, QuantityRequested: c.Item.Quantity,
		}
		if c.Err != nil {
			availability.Error = c.Err.Code
			out.Available = false
		}
		out.TicketAvailability = append(out.TicketAvailability, availability)
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a api) reserve(w http.ResponseWriter, r *http.Request) error {
	var in calls.ReserveRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	var q ticket.Request
	err := parseIDs(idField{"reservationId", in.ReservationID, &q.ReservationID},
		idField{"userId", in.UserID, &q.UserID}, idField{"eventId", in.EventID, &q.EventID})
	if err != nil {
		return err
	}
	if q.Items, err = parseItems(in.TicketRequests); err != nil {
		return err
	}
	if q.Hold, err = ticket.HoldFor(in.ReservationDurationMinutes); err != nil {
		return err
	}
	q.ExpectedTotal = in.ExpectedTotal
	reservation, err := a.sales.Reserve(r.Context(), q)
	if errors.Is(err, ticket.ErrPriceChanged) {
		p, total := web.Problem(r, err), reservation.Total()
		return web.WriteJSON(w, web.Status(p.Kind), calls.ReserveRefused{
			Refused:      calls.Refused{Error: p.Code, Message: p.Message},
			CurrentTotal: total.Decimal(), Currency: total.Currency,
		})
	}
	if err != nil {
		return err
	}
	out := calls.ReserveAnswer{
		ReservationID: reservation.ID, Reserved: true, ExpiresAt: reservation.ExpiresAt.UTC(),
	}
	for _, item := range reservation.Items {
		out.Currency = item.UnitPrice.Currency
		out.Tickets = append(out.Tickets, calls.ReservedTickets{
			TicketTypeID: item.TypeID, TicketTypeName: item.TypeName, Quantity: item.Quantity,
			UnitPrice: item.UnitPrice.Decimal(), TotalPrice: item.UnitPrice.Times(item.Quantity).Decimal(),
		})
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a api) confirm(w http.ResponseWriter, r *http.Request) error {
	var in calls.ConfirmPurchaseRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	p := ticket.Purchase{HolderName: in.HolderName}
	err := parseIDs(idField{"reservationId", in.ReservationID, &p.ReservationID},
		idField{"orderId", in.OrderID, &p.OrderID}, idField{"userId", in.UserID, &p.UserID})
	if err != nil {
		return err
	}
	if err := ticket.ValidateHolder(p.HolderName); err != nil {
		return err
	}
	tickets, err := a.sales.Confirm(r.Context(), p)
	if errors.Is(err, ticket.ErrReservationNotFound) { // the contract's message names the id
		return problem.New(problem.NotFound, ticket.ErrReservationNotFound.Code,
			"Reservation %s not found or expired", p.ReservationID).Because(err)
	}
	if err != nil {
		return err
	}
	out := calls.ConfirmPurchaseAnswer{Confirmed: true, OrderID: p.OrderID}
	for _, t := range tickets {
		out.Tickets = append(out.Tickets, calls.ConfirmedTicket{
			TicketID: t.ID, TicketNumber: t.Number, QRCode: a.publicURL.QRCode(t.ID), TicketTypeID: t.TypeID,
		})
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a api) release(w http.ResponseWriter, r *http.Request) error {
	var in calls.ReleaseReservationRequest
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
	released, err := a.store.Release(r.Context(), id, in.Reason)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.ReleaseReservationAnswer{
		Released: true, ReservationID: id, TicketsReleased: released,
	})
}

func (a api) extend(w http.ResponseWriter, r *http.Request) error {
	var in calls.ExtendReservationRequest
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
	expiresAt, err := a.store.Extend(r.Context(), id, hold)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.ExtendReservationAnswer{
		Extended: true, ReservationID: id, ExpiresAt: expiresAt.UTC(),
	})
}

func (a api) cancelRefunded(w http.ResponseWriter, r *http.Request) error {
	var in calls.CancelTicketsRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	orderID, err := web.ParseID("orderId", in.OrderID)
	if err != nil {
		return err
	}
	refund := ticket.Refund{OrderID: orderID, Key: in.RefundKey, Reason: in.Reason, KeepUsed: in.KeepUsed}
	if in.OwnerID != nil {
		if refund.OwnerID, err = web.ParseID("ownerId", *in.OwnerID); err != nil {
			return err
		}
	}
	// Only a request without the field means all tickets. An empty list is a mistake of the caller.
	if in.TicketIDs != nil {
		if len(in.TicketIDs) == 0 {
			return problem.Field("ticketIds", "ticketIds must not be empty")
		}
		if refund.TicketIDs, err = web.ParseIDs("ticketIds", in.TicketIDs, maxRefunded); err != nil {
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
	tickets, err := a.store.CancelRefunded(r.Context(), refund)
	if err != nil {
		return err
	}
	out := calls.CancelTicketsAnswer{Cancelled: true, OrderID: orderID, Tickets: []calls.CancelledTicket{}}
	for _, t := range tickets {
		out.Tickets = append(out.Tickets, calls.CancelledTicket{TicketID: t.ID, TicketTypeID: t.TypeID})
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

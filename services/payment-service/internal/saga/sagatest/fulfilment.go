package sagatest

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Delivery is what ticket-service publishes when it has handled an event: one of the two events, or none.
type Delivery struct {
	ID        uuid.UUID // of the message
	Generated *events.TicketsGenerated
	Failed    *events.TicketGenerationFailed
}

// Deliver delivers an event of payment-service's outbox to ticket-service. An event that is delivered again has no
// effect, and Deliver returns the first Delivery.
func (s *Services) Deliver(cloudEvent []byte) (*Delivery, error) {
	var e struct {
		ID   uuid.UUID
		Type string
		Data struct{ Payload json.RawMessage }
	}
	if err := json.Unmarshal(cloudEvent, &e); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, known := s.delivered[e.ID]; known {
		return d, nil
	}
	d := &Delivery{ID: uuid.New()}
	switch e.Type {
	case events.PaymentCompleted{}.Type():
		var paid events.PaymentCompleted
		if err := json.Unmarshal(e.Data.Payload, &paid); err != nil {
			return nil, err
		}
		s.fulfil(paid, d)
	case events.PaymentFailed{}.Type():
		var failed events.PaymentFailed
		if err := json.Unmarshal(e.Data.Payload, &failed); err != nil {
			return nil, err
		}
		if _, err := s.releaseByID(failed.ReservationID); err != nil {
			return nil, err
		}
	}
	s.delivered[e.ID] = d
	return d, nil
}

// fulfil generates the tickets of a paid order, once. If its hold has ended and the tickets are sold, or if its tickets
// were cancelled before, the generation fails, now and whenever the order is announced again.
func (s *Services) fulfil(paid events.PaymentCompleted, d *Delivery) {
	r := s.reservations[paid.ReservationID]
	fulfilled := r != nil && r.order == paid.OrderID // for an earlier announcement
	if s.unfulfilled[paid.OrderID] || r == nil || !fulfilled && r.ended && !s.holdAgain(r) {
		s.unfulfilled[paid.OrderID] = true
		d.Failed = &events.TicketGenerationFailed{
			OrderID: paid.OrderID, UserID: paid.UserID, EventID: paid.EventID,
			ReservationID: paid.ReservationID, Reason: "INSUFFICIENT_INVENTORY",
		}
		return
	}
	if !fulfilled {
		r.order = paid.OrderID
		for _, i := range r.items {
			for range i.quantity {
				s.tickets[uuid.New()] = &ticket{order: paid.OrderID, typeID: i.typeID, owner: paid.UserID}
			}
		}
	}
	d.Generated = &events.TicketsGenerated{OrderID: paid.OrderID, UserID: paid.UserID, EventID: paid.EventID}
	for _, id := range s.ticketsOf(paid.OrderID) {
		d.Generated.Tickets = append(d.Generated.Tickets, events.Ticket{
			TicketID: id, TicketNumber: "TKT-2024-001234", TicketTypeID: s.tickets[id].typeID,
			QRCode: "https://cdn.example.com/qr/dd0e8400.png",
		})
	}
}

// holdAgain takes the tickets of an ended reservation off sale. It returns false if there are not enough.
func (s *Services) holdAgain(r *reservation) bool {
	for _, i := range r.items {
		if s.types[i.typeID].left < i.quantity {
			return false
		}
	}
	for _, i := range r.items {
		s.types[i.typeID].left -= i.quantity
	}
	return len(r.items) > 0
}

// confirm issues the tickets of a paid order, or returns those that it has.
func (s *Services) confirm(in calls.ConfirmPurchaseRequest) (calls.ConfirmPurchaseAnswer, error) {
	var paid events.PaymentCompleted
	var err error
	if paid.OrderID, err = web.ParseID("orderId", in.OrderID); err != nil {
		return calls.ConfirmPurchaseAnswer{}, err
	}
	if paid.ReservationID, err = web.ParseID("reservationId", in.ReservationID); err != nil {
		return calls.ConfirmPurchaseAnswer{}, err
	}
	if paid.UserID, err = web.ParseID("userId", in.UserID); err != nil {
		return calls.ConfirmPurchaseAnswer{}, err
	}
	var d Delivery
	s.fulfil(paid, &d)
	if d.Failed != nil {
		return calls.ConfirmPurchaseAnswer{}, problem.New(problem.Conflict, d.Failed.Reason, "Not enough tickets available")
	}
	answer := calls.ConfirmPurchaseAnswer{Confirmed: true, OrderID: paid.OrderID}
	for _, t := range d.Generated.Tickets {
		answer.Tickets = append(answer.Tickets, calls.ConfirmedTicket{
			TicketID: t.TicketID, TicketNumber: t.TicketNumber, QRCode: t.QRCode, TicketTypeID: t.TicketTypeID,
		})
	}
	return answer, nil
}

package sagatest

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

type ticketType struct {
	event        uuid.UUID
	price        money.Amount
	left         int
	maxPerPerson int  // 0 is no limit
	unchecked    bool // reserved at any total
}

type ticket struct {
	order, typeID, owner uuid.UUID
	used, cancelled      bool
}

type item struct {
	typeID   uuid.UUID
	quantity int
	price    money.Amount // of one ticket, when they were reserved
}

type reservation struct {
	id        uuid.UUID
	user      string
	items     []item // nil if the reservation was released before it was made
	expiresAt time.Time
	ended     bool      // released or expired: the tickets are on sale again
	order     uuid.UUID // set when the reservation is bought
}

// AddType adds a ticket type and returns its id.
func (s *Services) AddType(event uuid.UUID, price money.Amount, capacity int) uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := uuid.New()
	s.types[id] = &ticketType{event: event, price: price, left: capacity}
	return id
}

// SetPrice changes the price of the type for reservations that are made from now on.
func (s *Services) SetPrice(typeID uuid.UUID, price money.Amount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.types[typeID].price = price
}

// LimitPerPerson limits the tickets of the type that a person can reserve, with all orders.
func (s *Services) LimitPerPerson(typeID uuid.UUID, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.types[typeID].maxPerPerson = limit
}

// SkipTotalCheck makes the type reservable also at totals that payment-gateway refuses to charge, as types were before
// ticket-service checked that.
func (s *Services) SkipTotalCheck(typeID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.types[typeID].unchecked = true
}

// ExpireAndSellOut ends all holds on the type and sells all its tickets to others.
func (s *Services) ExpireAndSellOut(typeID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reservations {
		for _, i := range r.items {
			if i.typeID == typeID && r.order == uuid.Nil {
				r.ended = true
			}
		}
	}
	s.types[typeID].left = 0
}

// Left returns the number of tickets of the type that are on sale.
func (s *Services) Left(typeID uuid.UUID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.types[typeID].left
}

// Holds reports whether the reservation holds tickets, which are neither bought nor on sale.
func (s *Services) Holds(reservationID uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reservations[reservationID]
	return r != nil && !r.ended && r.order == uuid.Nil
}

// Tickets returns the number of valid tickets of the order, by type.
func (s *Services) Tickets(orderID uuid.UUID) map[uuid.UUID]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	tickets := map[uuid.UUID]int{}
	for _, t := range s.tickets {
		if t.order == orderID && !t.cancelled {
			tickets[t.typeID]++
		}
	}
	return tickets
}

// TicketIDs returns the ids of all tickets of the order, also of the cancelled ones.
func (s *Services) TicketIDs(orderID uuid.UUID) []uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ticketsOf(orderID)
}

// AddTicket adds a ticket to the order, without an event that is delivered.
func (s *Services) AddTicket(orderID, ticketID, typeID, owner uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets[ticketID] = &ticket{order: orderID, typeID: typeID, owner: owner}
}

// TransferTicket makes the user the owner of the ticket.
func (s *Services) TransferTicket(ticketID, owner uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets[ticketID].owner = owner
}

// UseTicket checks the ticket in.
func (s *Services) UseTicket(ticketID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets[ticketID].used = true
}

func (s *Services) reserve(in calls.ReserveRequest) (calls.ReserveAnswer, error) {
	var none calls.ReserveAnswer
	id, err := web.ParseID("reservationId", in.ReservationID)
	if err != nil {
		return none, err
	}
	event, err := web.ParseID("eventId", in.EventID)
	if err != nil {
		return none, err
	}
	r, known := s.reservations[id]
	switch {
	case known && r.ended:
		return none, problem.New(problem.Conflict, "RESERVATION_ENDED", "The reservation was released or has expired")
	case known:
		return s.reserved(r), nil
	}
	items := make([]item, len(in.TicketRequests))
	var total money.Amount
	unchecked := false
	for i, request := range in.TicketRequests {
		typeID, err := web.ParseID("ticketRequests.ticketTypeId", request.TicketTypeID)
		if err != nil {
			return none, err
		}
		t, known := s.types[typeID]
		switch {
		case !known || t.event != event:
			return none, problem.New(problem.NotFound, "TICKET_TYPE_NOT_FOUND", "This event has no such ticket type")
		case t.maxPerPerson > 0 && s.taken(in.UserID, typeID)+request.Quantity > t.maxPerPerson:
			return none, problem.New(problem.Conflict, "PERSON_LIMIT_EXCEEDED", "The quantity exceeds the limit per person")
		case t.left < request.Quantity:
			return none, problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available")
		}
		items[i] = item{typeID, request.Quantity, t.price}
		unchecked = unchecked || t.unchecked
		total = money.Of(total.Minor+t.price.Times(request.Quantity).Minor, t.price.Currency)
	}
	if _, err := total.ChargeUnits(); err != nil && total.Minor > 0 && !unchecked {
		return none, problem.New(problem.Conflict, "ORDER_TOTAL_TOO_LARGE", "The total is more than a card can be charged")
	}
	if in.ExpectedTotal != "" {
		if expected, err := in.ExpectedTotal.In(total.Currency); err != nil || expected != total {
			return none, priceChanged(total)
		}
	}
	for _, i := range items {
		s.types[i.typeID].left -= i.quantity
	}
	hold := time.Duration(*in.ReservationDurationMinutes) * time.Minute
	r = &reservation{id: id, user: in.UserID, items: items, expiresAt: time.Now().Add(hold)}
	s.reservations[id] = r
	return s.reserved(r), nil
}

// taken returns how many tickets of the type the user has reserved or bought.
func (s *Services) taken(user string, typeID uuid.UUID) (tickets int) {
	for _, r := range s.reservations {
		if r.user != user || r.ended {
			continue
		}
		for _, i := range r.items {
			if i.typeID == typeID {
				tickets += i.quantity
			}
		}
	}
	return tickets
}

// priceChanged returns the refusal of a request that expects another total, as the client of the sidecar does.
func priceChanged(total money.Amount) error {
	p := problem.New(problem.Conflict, calls.CodePriceChanged, "The price has changed: the total is now %s", total)
	body, err := json.Marshal(calls.ReserveRefused{
		Refused:      calls.Refused{Error: p.Code, Message: p.Message},
		CurrentTotal: total.Decimal(), Currency: total.Currency,
	})
	if err != nil {
		return err
	}
	p.Body = string(body)
	return p
}

// reserved returns the answer about a reservation.
func (s *Services) reserved(r *reservation) calls.ReserveAnswer {
	answer := calls.ReserveAnswer{ReservationID: r.id, Reserved: true, ExpiresAt: r.expiresAt.UTC()}
	for _, i := range r.items {
		answer.Currency = i.price.Currency
		answer.Tickets = append(answer.Tickets, calls.ReservedTickets{
			TicketTypeID: i.typeID, Quantity: i.quantity,
			UnitPrice: i.price.Decimal(), TotalPrice: i.price.Times(i.quantity).Decimal(),
		})
	}
	return answer
}

func (s *Services) extend(in calls.ExtendReservationRequest) (calls.ExtendReservationAnswer, error) {
	var none calls.ExtendReservationAnswer
	id, err := web.ParseID("reservationId", in.ReservationID)
	if err != nil {
		return none, err
	}
	r, known := s.reservations[id]
	if !known || r.ended || r.order != uuid.Nil {
		return none, problem.New(problem.NotFound, calls.CodeReservationNotFound, "No such reservation")
	}
	r.expiresAt = time.Now().Add(time.Duration(in.Minutes) * time.Minute)
	return calls.ExtendReservationAnswer{Extended: true, ReservationID: id, ExpiresAt: r.expiresAt.UTC()}, nil
}

func (s *Services) release(in calls.ReleaseReservationRequest) (calls.ReleaseReservationAnswer, error) {
	id, err := web.ParseID("reservationId", in.ReservationID)
	if err != nil {
		return calls.ReleaseReservationAnswer{}, err
	}
	released, err := s.releaseByID(id)
	return calls.ReleaseReservationAnswer{Released: true, ReservationID: id, TicketsReleased: released}, err
}

// releaseByID releases a reservation and returns the number of its tickets. It stores the release of an unknown
// reservation, so that the reservation is refused when it arrives later.
func (s *Services) releaseByID(id uuid.UUID) (tickets int, err error) {
	r, known := s.reservations[id]
	if !known {
		r = &reservation{id: id, ended: true}
		s.reservations[id] = r
	}
	if r.order != uuid.Nil {
		return 0, problem.New(problem.Conflict, "RESERVATION_COMPLETED", "The reservation was bought")
	}
	for _, i := range r.items {
		tickets += i.quantity
		if !r.ended {
			s.types[i.typeID].left += i.quantity
		}
	}
	r.ended = true
	return tickets, nil
}

func (s *Services) cancel(in calls.CancelTicketsRequest) (calls.CancelTicketsAnswer, error) {
	var none calls.CancelTicketsAnswer
	if answer, known := s.cancelled[in.RefundKey]; known {
		return answer, nil
	}
	orderID, err := web.ParseID("orderId", in.OrderID)
	if err != nil {
		return none, err
	}
	ids := s.ticketsOf(orderID)
	if in.TicketIDs != nil {
		if ids, err = web.ParseIDs("ticketIds", in.TicketIDs, len(in.TicketIDs)); err != nil {
			return none, err
		}
	}
	for _, id := range ids {
		t, known := s.tickets[id]
		switch {
		case !known || t.order != orderID:
			return none, problem.New(problem.NotFound, "TICKET_NOT_FOUND", "The order has no such ticket")
		case in.OwnerID != nil && t.owner.String() != *in.OwnerID:
			return none, problem.New(problem.NotFound, "TICKET_NOT_FOUND", "The ticket has another owner")
		case t.used && in.Reason != calls.ReasonEventCancelled && !in.KeepUsed:
			return none, problem.New(problem.Conflict, "TICKET_USED", "The ticket was used")
		}
	}
	if in.TicketIDs == nil && len(ids) == 0 {
		s.unfulfilled[orderID] = true
	}
	answer := calls.CancelTicketsAnswer{Cancelled: true, OrderID: orderID, Tickets: []calls.CancelledTicket{}}
	for _, id := range ids {
		t := s.tickets[id]
		if t.used && in.KeepUsed {
			continue
		}
		if !t.cancelled {
			s.types[t.typeID].left++
		}
		t.cancelled = true
		answer.Tickets = append(answer.Tickets, calls.CancelledTicket{TicketID: id, TicketTypeID: t.typeID})
	}
	s.cancelled[in.RefundKey] = answer
	return answer, nil
}

// orderTickets lists the tickets of an order that the owner in the query has.
func (s *Services) orderTickets(r calls.Request) (calls.OrderTicketsAnswer, error) {
	answer := calls.OrderTicketsAnswer{Tickets: []calls.OrderTicket{}}
	for _, id := range s.ticketsOf(r.IDs[0]) {
		t := s.tickets[id]
		if t.owner.String() != r.Query.Get("ownerId") {
			continue
		}
		status := calls.TicketActive
		switch {
		case t.cancelled:
			status = calls.TicketCancelled
		case t.used:
			status = calls.TicketUsed
		}
		answer.Tickets = append(answer.Tickets, calls.OrderTicket{TicketID: id, Status: status})
	}
	return answer, nil
}

func (s *Services) ticketsOf(orderID uuid.UUID) []uuid.UUID {
	var ids []uuid.UUID
	for id, t := range s.tickets {
		if t.order == orderID {
			ids = append(ids, id)
		}
	}
	return ids
}

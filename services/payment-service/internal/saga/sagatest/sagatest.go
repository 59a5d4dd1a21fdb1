// Package sagatest stands where the network would be: a ticket-service, a payment-gateway and an
// event-service that keep the promises which the sagas count on, behind a line that tests can cut.
//
// They do each deed once, by reservation id, attempt key or refund key, and give the same answer again.
// As the real ones do, they refuse what they cannot read.
package sagatest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

// Cards, by the gateway's names for them.
const (
	GoodCard     = "pm_card_visa"
	DeclinedCard = "pm_card_visa_chargeDeclinedInsufficientFunds"
	PendingCard  = "pm_card_pending" // the bank takes its time
)

// Genuine is the signature of the card processor.
const Genuine = "genuine"

// Call is a kind of call that the sagas make.
type Call string

// The calls.
const (
	Reserve Call = "Reserve"
	Extend  Call = "Extend"
	Release Call = "Release"
	Charge  Call = "Charge"
	Ask     Call = "Ask" // what became of a charge
	Cancel  Call = "Cancel"
	Refund  Call = "Refund"
	Verify  Call = "Verify" // a notice
	Whose   Call = "Whose"  // is the event
)

// Fault is what befalls one call; deed is what the callee would do and answer.
type Fault func(ctx context.Context, deed func() (any, error)) (any, error)

var errLost = sidecar.ErrUnavailable.Because(errors.New("cut by the test"))

// CallLost is a call that never arrives.
func CallLost(context.Context, func() (any, error)) (any, error) { return nil, errLost }

// AnswerLost is a call whose deed is done and whose answer never arrives.
func AnswerLost(_ context.Context, deed func() (any, error)) (any, error) {
	_, _ = deed()
	return nil, errLost
}

// Refused is a call that is refused with p before anything is done.
func Refused(p *problem.Error) Fault {
	return func(context.Context, func() (any, error)) (any, error) { return nil, p }
}

// Answered is a call that is answered without any deed.
func Answered(answer any) Fault {
	return func(context.Context, func() (any, error)) (any, error) { return answer, nil }
}

// Services are the callees. The zero value has no tickets to sell.
type Services struct {
	mu           sync.Mutex
	faults       map[Call][]Fault
	types        map[uuid.UUID]*ticketType
	reservations map[uuid.UUID]*reservation
	tickets      map[uuid.UUID]*ticket
	cancelled    map[string]any // answers by refund key
	charges      map[string]*charge
	refunds      map[string]*refund
	delivered    map[uuid.UUID]*Delivery
	organizers   map[uuid.UUID]uuid.UUID // by event
	refused      map[uuid.UUID]bool      // orders that get no tickets any more
}

type ticket struct {
	order, typeID   uuid.UUID
	used, cancelled bool
}

type ticketType struct {
	event uuid.UUID
	price money.Amount
	left  int
}

type line struct {
	TicketTypeID uuid.UUID `json:"ticketTypeId"`
	Quantity     int       `json:"quantity"`
}

type reserveRequest struct {
	UserID                     uuid.UUID `json:"userId"`
	EventID                    uuid.UUID `json:"eventId"`
	ReservationID              uuid.UUID `json:"reservationId"`
	TicketRequests             []line    `json:"ticketRequests"`
	ReservationDurationMinutes int       `json:"reservationDurationMinutes"`
}

type reservation struct {
	request   reserveRequest
	expiresAt time.Time
	ended     bool      // released or expired: the tickets are back on sale
	order     uuid.UUID // set once bought
}

type charge struct {
	request       chargeRequest
	answer        chargeAnswer
	transactionID string
}

type chargeRequest struct {
	AttemptKey     string         `json:"attemptKey"`
	AttemptedSince string         `json:"attemptedSince"`
	OrderID        uuid.UUID      `json:"orderId"`
	Amount         money.Decimal  `json:"amount"`
	Currency       money.Currency `json:"currency"`
	PaymentToken   string         `json:"paymentToken"`
	Description    string         `json:"description"`
}

type chargeAnswer struct {
	AttemptKey    string `json:"attemptKey"`
	Status        string `json:"status"`
	TransactionID string `json:"transactionId,omitempty"`
	DeclineCode   string `json:"declineCode,omitempty"`
	Message       string `json:"message,omitempty"`
	Retryable     bool   `json:"retryable"`
}

type refund struct {
	transactionID string
	amount        money.Decimal
	answer        map[string]any
}

// AddType puts tickets of one type on sale.
func (s *Services) AddType(event uuid.UUID, price money.Amount, capacity int) uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.types == nil {
		s.types = map[uuid.UUID]*ticketType{}
		s.reservations = map[uuid.UUID]*reservation{}
		s.tickets = map[uuid.UUID]*ticket{}
		s.cancelled = map[string]any{}
		s.organizers = map[uuid.UUID]uuid.UUID{}
		s.refused = map[uuid.UUID]bool{}
		s.charges = map[string]*charge{}
		s.refunds = map[string]*refund{}
		s.delivered = map[uuid.UUID]*Delivery{}
		s.faults = map[Call][]Fault{}
	}
	id := uuid.New()
	s.types[id] = &ticketType{event: event, price: price, left: capacity}
	return id
}

// Next makes these faults befall the next calls of the kind, one each.
func (s *Services) Next(call Call, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[call] = append(s.faults[call], faults...)
}

// Pending tells how many faults have befallen no call yet, and forgets them.
func (s *Services) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, faults := range s.faults {
		n += len(faults)
	}
	clear(s.faults)
	return n
}

// ExpireAndSellOut lets the time of all holds on the type run out and sells every ticket to others.
func (s *Services) ExpireAndSellOut(typeID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reservations {
		for _, l := range r.request.TicketRequests {
			if l.TicketTypeID == typeID && r.order == uuid.Nil {
				r.ended = true
			}
		}
	}
	s.types[typeID].left = 0
}

// Settle makes the bank decide on all charges that are pending.
func (s *Services) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.charges {
		if c.answer.Status == "PENDING" {
			c.answer.Status = "SUCCEEDED"
		}
	}
}

// Left tells how many tickets of the type can be bought.
func (s *Services) Left(typeID uuid.UUID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.types[typeID].left
}

// Holds tells whether the reservation holds tickets that are neither bought nor given back.
func (s *Services) Holds(reservationID uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reservations[reservationID]
	return r != nil && !r.ended && r.order == uuid.Nil
}

// Tickets gives the number of valid tickets of the order, by type.
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

// TicketIDs gives all tickets that the order ever got.
func (s *Services) TicketIDs(orderID uuid.UUID) []uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []uuid.UUID
	for id, t := range s.tickets {
		if t.order == orderID {
			ids = append(ids, id)
		}
	}
	return ids
}

// AddTicket gives the order a ticket, as Deliver does for whole orders.
func (s *Services) AddTicket(orderID, ticketID, typeID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets[ticketID] = &ticket{order: orderID, typeID: typeID}
}

// Use lets somebody in with the ticket.
func (s *Services) Use(ticketID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets[ticketID].used = true
}

// Organize makes the user the organizer of the event.
func (s *Services) Organize(event, user uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.organizers[event] = user
}

// Money gives what was taken for an order and what was given back of that.
func (s *Services) Money(orderID uuid.UUID) (charged, refunded []money.Decimal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.charges {
		if c.request.OrderID != orderID || c.answer.Status != "SUCCEEDED" {
			continue
		}
		charged = append(charged, c.request.Amount)
		for _, r := range s.refunds {
			if r.transactionID == c.transactionID {
				refunded = append(refunded, r.amount)
			}
		}
	}
	return charged, refunded
}

// Transaction gives the name of the charge that was made for an order.
func (s *Services) Transaction(orderID uuid.UUID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.charges {
		if c.request.OrderID == orderID {
			return c.transactionID
		}
	}
	return ""
}

// Call is the sagas' way in.
func (s *Services) Call(ctx context.Context, app, method, path string, in, out any) error {
	if ctx.Err() != nil { // a process that is dead calls nobody
		return sidecar.ErrUnavailable.Because(ctx.Err())
	}
	// What goes over the wire is all that a callee sees.
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	path, query, _ := strings.Cut(path, "?")
	call, deed, err := s.route(app+" "+method+" "+path, query, body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	fault := func(_ context.Context, deed func() (any, error)) (any, error) { return deed() }
	if queue := s.faults[call]; len(queue) > 0 {
		fault, s.faults[call] = queue[0], queue[1:]
	}
	s.mu.Unlock()

	answer, err := fault(ctx, func() (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return deed()
	})
	if err != nil {
		return err
	}
	if body, err = json.Marshal(answer); err != nil {
		return err
	}
	return json.Unmarshal(body, out)
}

func (s *Services) route(endpoint, query string, body []byte) (Call, func() (any, error), error) {
	switch endpoint {
	case "ticket-service POST /api/tickets/internal/reserve":
		in, err := read[reserveRequest](body)
		return Reserve, func() (any, error) { return s.reserve(in) }, err
	case "ticket-service POST /api/tickets/internal/release-reservation":
		in, err := read[struct {
			ReservationID uuid.UUID `json:"reservationId"`
			Reason        string    `json:"reason"`
		}](body)
		return Release, func() (any, error) { return s.release(in.ReservationID) }, err
	case "ticket-service POST /api/tickets/internal/extend-reservation":
		in, err := read[struct {
			ReservationID uuid.UUID `json:"reservationId"`
			Minutes       int       `json:"minutes"`
		}](body)
		return Extend, func() (any, error) { return s.extend(in.ReservationID, in.Minutes) }, err
	case "ticket-service POST /api/tickets/internal/cancel":
		in, err := read[cancelRequest](body)
		return Cancel, func() (any, error) { return s.cancel(in) }, err
	case "payment-gateway POST /api/gateway/internal/webhooks/verify":
		in, err := read[struct {
			Payload   string `json:"payload"`
			Signature string `json:"signature"`
		}](body)
		return Verify, func() (any, error) {
			if in.Signature != Genuine {
				return map[string]any{"verified": false}, nil
			}
			return map[string]any{"verified": true, "event": json.RawMessage(in.Payload)}, nil
		}, err
	case "payment-gateway POST /api/gateway/internal/charges":
		in, err := read[chargeRequest](body)
		return Charge, func() (any, error) { return s.charge(in) }, err
	case "payment-gateway GET /api/gateway/internal/charges":
		values, err := url.ParseQuery(query)
		if err == nil {
			_, err = time.Parse(time.RFC3339, values.Get("attemptedSince"))
		}
		return Ask, func() (any, error) { return s.ask(values.Get("attemptKey")) }, err
	case "payment-gateway POST /api/gateway/internal/refunds":
		in, err := read[refundRequest](body)
		return Refund, func() (any, error) { return s.refund(in) }, err
	}
	if rest, whose := strings.CutPrefix(endpoint, "event-service GET /api/events/internal/"); whose {
		event, user, _ := strings.Cut(rest, "/validate-organizer/")
		return Whose, func() (any, error) {
			organizer := s.organizers[uuid.MustParse(event)]
			return map[string]any{"isOrganizer": organizer == uuid.MustParse(user), "eventId": event, "userId": user}, nil
		}, nil
	}
	return "", nil, fmt.Errorf("nobody serves %s", endpoint)
}

// read is as strict as web.Decode.
func read[T any](body []byte) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	return v, d.Decode(&v)
}

func (s *Services) reserve(in reserveRequest) (any, error) {
	r, known := s.reservations[in.ReservationID]
	switch {
	case known && (r.ended || len(r.request.TicketRequests) == 0):
		return nil, problem.New(problem.Conflict, "RESERVATION_ENDED", "The reservation was released or has expired")
	case known:
		return s.held(r), nil
	}
	for _, l := range in.TicketRequests {
		t, known := s.types[l.TicketTypeID]
		switch {
		case !known || t.event != in.EventID:
			return nil, problem.New(problem.NotFound, "TICKET_TYPE_NOT_FOUND", "This event has no such ticket type")
		case t.left < l.Quantity:
			return nil, problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available")
		}
	}
	for _, l := range in.TicketRequests {
		s.types[l.TicketTypeID].left -= l.Quantity
	}
	hold := time.Duration(in.ReservationDurationMinutes) * time.Minute
	r = &reservation{request: in, expiresAt: time.Now().Add(hold)}
	s.reservations[in.ReservationID] = r
	return s.held(r), nil
}

func (s *Services) held(r *reservation) any {
	var tickets []map[string]any
	var currency money.Currency
	for _, l := range r.request.TicketRequests {
		price := s.types[l.TicketTypeID].price
		currency = price.Currency
		tickets = append(tickets, map[string]any{
			"ticketTypeId": l.TicketTypeID, "quantity": l.Quantity,
			"unitPrice": price.Decimal(), "totalPrice": price.Times(l.Quantity).Decimal(),
		})
	}
	return map[string]any{
		"reservationId": r.request.ReservationID, "reserved": true, "expiresAt": r.expiresAt.UTC(),
		"currency": currency, "tickets": tickets,
	}
}

func (s *Services) extend(id uuid.UUID, minutes int) (any, error) {
	r, known := s.reservations[id]
	if !known || r.ended || r.order != uuid.Nil {
		return nil, problem.New(problem.NotFound, "RESERVATION_NOT_FOUND", "No such reservation, or not any more")
	}
	r.expiresAt = time.Now().Add(time.Duration(minutes) * time.Minute)
	return map[string]any{"extended": true, "reservationId": id, "expiresAt": r.expiresAt.UTC()}, nil
}

func (s *Services) release(id uuid.UUID) (any, error) {
	r, known := s.reservations[id]
	if !known {
		r = &reservation{ended: true} // a tombstone
		s.reservations[id] = r
	}
	if r.order != uuid.Nil {
		return nil, problem.New(problem.Conflict, "RESERVATION_COMPLETED", "The reservation is already bought")
	}
	released := 0
	for _, l := range r.request.TicketRequests {
		released += l.Quantity
		if !r.ended {
			s.types[l.TicketTypeID].left += l.Quantity
		}
	}
	r.ended = true
	return map[string]any{"released": true, "reservationId": id, "ticketsReleased": released}, nil
}

func (s *Services) charge(in chargeRequest) (any, error) {
	if c, known := s.charges[in.AttemptKey]; known {
		if c.request != in {
			return nil, problem.New(problem.Conflict, "KEY_REUSED", "This key was used for something else before")
		}
		return c.answer, nil
	}
	c := &charge{request: in, transactionID: "pi_" + strings.ReplaceAll(uuid.NewString(), "-", "")}
	c.answer = chargeAnswer{AttemptKey: in.AttemptKey, TransactionID: c.transactionID}
	switch in.PaymentToken {
	case GoodCard:
		c.answer.Status = "SUCCEEDED"
	case PendingCard:
		c.answer.Status = "PENDING"
	case DeclinedCard:
		c.answer.Status, c.answer.DeclineCode, c.answer.Message = "DECLINED", "INSUFFICIENT_FUNDS", "Your card has insufficient funds."
	default:
		c.answer = chargeAnswer{
			AttemptKey: in.AttemptKey, Status: "DECLINED", DeclineCode: "UNKNOWN_PAYMENT_METHOD",
			Message: "The card processor does not know this payment method",
		}
	}
	s.charges[in.AttemptKey] = c
	return c.answer, nil
}

func (s *Services) ask(key string) (any, error) {
	if c, known := s.charges[key]; known {
		return c.answer, nil
	}
	return chargeAnswer{AttemptKey: key, Status: "NOT_FOUND"}, nil
}

type cancelRequest struct {
	OrderID   uuid.UUID   `json:"orderId"`
	TicketIDs []uuid.UUID `json:"ticketIds"`
	RefundKey string      `json:"refundKey"`
	Reason    string      `json:"reason"`
}

func (s *Services) cancel(in cancelRequest) (any, error) {
	if answer, known := s.cancelled[in.RefundKey]; known {
		return answer, nil
	}
	ids := in.TicketIDs
	if ids == nil {
		for id, t := range s.tickets {
			if t.order == in.OrderID {
				ids = append(ids, id)
			}
		}
	}
	for _, id := range ids {
		t, known := s.tickets[id]
		switch {
		case !known || t.order != in.OrderID:
			return nil, problem.New(problem.NotFound, "TICKET_NOT_FOUND", "The order has no such ticket")
		case t.used && in.Reason != "EVENT_CANCELLED":
			return nil, problem.New(problem.Conflict, "TICKET_USED", "The ticket was used")
		}
	}
	if in.TicketIDs == nil && len(ids) == 0 {
		s.refused[in.OrderID] = true
	}
	cancelled := []map[string]any{}
	for _, id := range ids {
		t := s.tickets[id]
		if !t.cancelled {
			s.types[t.typeID].left++
		}
		t.cancelled = true
		cancelled = append(cancelled, map[string]any{"ticketId": id, "ticketTypeId": t.typeID})
	}
	answer := map[string]any{"cancelled": true, "orderId": in.OrderID, "tickets": cancelled}
	s.cancelled[in.RefundKey] = answer
	return answer, nil
}

type refundRequest struct {
	RefundKey     string         `json:"refundKey"`
	TransactionID string         `json:"transactionId"`
	Amount        money.Decimal  `json:"amount"`
	Currency      money.Currency `json:"currency"`
	Reason        string         `json:"reason"`
}

func (s *Services) refund(in refundRequest) (any, error) {
	if r, known := s.refunds[in.RefundKey]; known {
		return r.answer, nil
	}
	for _, c := range s.charges {
		if c.transactionID == in.TransactionID && c.answer.Status == "SUCCEEDED" {
			r := &refund{transactionID: in.TransactionID, amount: in.Amount, answer: map[string]any{
				"refundKey": in.RefundKey, "refundId": "re_" + strings.ReplaceAll(uuid.NewString(), "-", ""), "status": "SUCCEEDED",
			}}
			s.refunds[in.RefundKey] = r
			return r.answer, nil
		}
	}
	return nil, problem.New(problem.NotFound, "UNKNOWN_TRANSACTION", "The card processor does not know this transaction")
}

// Delivery is what ticket-service publishes after an event: one of the two, or neither.
type Delivery struct {
	ID        uuid.UUID // of the message
	Generated *events.TicketsGenerated
	Failed    *events.TicketGenerationFailed
}

// Deliver hands an event of payment-service's outbox to ticket-service, which acts on it once and gives
// the same answer again.
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
		if _, err := s.release(failed.ReservationID); err != nil {
			return nil, err
		}
	}
	s.delivered[e.ID] = d
	return d, nil
}

func (s *Services) fulfil(paid events.PaymentCompleted, d *Delivery) {
	r := s.reservations[paid.ReservationID]
	bought := r != nil && r.order == paid.OrderID // before, under another message id
	if s.refused[paid.OrderID] || r == nil || !bought && r.ended && !s.takeAgain(r) {
		s.refused[paid.OrderID] = true
		d.Failed = &events.TicketGenerationFailed{
			OrderID: paid.OrderID, UserID: paid.UserID, EventID: paid.EventID,
			ReservationID: paid.ReservationID, Reason: "INSUFFICIENT_INVENTORY",
		}
		return
	}
	if !bought {
		r.order = paid.OrderID
		for _, l := range r.request.TicketRequests {
			for range l.Quantity {
				s.tickets[uuid.New()] = &ticket{order: paid.OrderID, typeID: l.TicketTypeID}
			}
		}
	}
	d.Generated = &events.TicketsGenerated{OrderID: paid.OrderID, UserID: paid.UserID, EventID: paid.EventID}
	for id, t := range s.tickets {
		if t.order == paid.OrderID {
			d.Generated.Tickets = append(d.Generated.Tickets, events.Ticket{
				TicketID: id, TicketNumber: "TKT-2024-001234", TicketTypeID: t.typeID,
				QRCode: "https://cdn.example.com/qr/dd0e8400.png",
			})
		}
	}
}

func (s *Services) takeAgain(r *reservation) bool {
	for _, l := range r.request.TicketRequests {
		if s.types[l.TicketTypeID].left < l.Quantity {
			return false
		}
	}
	for _, l := range r.request.TicketRequests {
		s.types[l.TicketTypeID].left -= l.Quantity
	}
	return len(r.request.TicketRequests) > 0
}

// Package sales computes the sales figures of an event. A figure is a sum over events such as PAYMENT_COMPLETED, so it
// does not depend on the order in which they arrive.
package sales

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// The errors of changes and reports.
var (
	// ErrNotFound reports an event that is unknown or that the caller may not see.
	ErrNotFound = problem.New(problem.NotFound, "EVENT_NOT_FOUND", "No such event")
	// ErrCurrency reports a change in another currency than that of the event's other sales. ticket-service enforces
	// one currency per event. So this is a bug in another service, and adding the amounts would hide it.
	ErrCurrency = problem.New(problem.Unprocessable, "CURRENCY_MISMATCH", "All ticket types of an event have one currency")
	// ErrQuantity reports a sale of less than one ticket.
	ErrQuantity = errors.New("quantity is not positive")
	// ErrIncomplete reports a message without an event id, a ticket type id or a time.
	ErrIncomplete = errors.New("no event id, no ticket type id or no time")
)

// EventStatus is the status of an event in event-service.
type EventStatus string

// EventCancelled is the status of an event that will not take place.
const EventCancelled EventStatus = "CANCELLED"

// Event is the service's copy of an event.
type Event struct {
	ID          uuid.UUID
	OrganizerID uuid.UUID
	Name        string
	Status      EventStatus
	UpdatedAt   time.Time // the latest version wins
}

// Check returns ErrIncomplete if e has no id or no time.
func (e Event) Check() error {
	if e.ID == uuid.Nil || e.UpdatedAt.IsZero() {
		return ErrIncomplete
	}
	return nil
}

// Change is what one message adds to an event's figures.
type Change struct {
	EventID          uuid.UUID
	Currency         money.Currency // empty if the change has no amount
	OrdersCompleted  int
	OrdersFailed     int
	TicketsGenerated int
	TicketsCancelled int
	Refunds          int
	Refunded         int64 // minor units
	Disputes         int
	Disputed         int64     // minor units; negative if a bank gives them back
	At               time.Time // when the sale or check-in happened; zero for other changes
	ByTicketType     []TypeSales
}

// Check returns ErrIncomplete if c has no event, a part of c has no ticket type, or a sale or check-in has no time.
func (c Change) Check() error {
	if c.EventID == uuid.Nil {
		return ErrIncomplete
	}
	for _, t := range c.ByTicketType {
		if t.TicketTypeID == uuid.Nil || c.At.IsZero() && (t.Tickets > 0 || t.CheckedIn != 0) {
			return ErrIncomplete
		}
	}
	return nil
}

// Hour returns what c adds to the figures of the UTC hour of c.At.
func (c Change) Hour() HourSales {
	h := HourSales{Hour: c.At.UTC().Truncate(time.Hour)}
	for _, t := range c.ByTicketType {
		h.Tickets += t.Tickets
		h.Revenue += t.Revenue
		h.CheckedIn += t.CheckedIn
	}
	return h
}

// TypeSales are the figures of one ticket type.
type TypeSales struct {
	TicketTypeID uuid.UUID
	Tickets      int64
	Revenue      int64 // minor units
	CheckedIn    int64 // tickets used for entry
	Refunded     int64 // tickets cancelled for a refund
}

// MaxHours is how many hours a report has, 366 days.
const MaxHours = 366 * 24

// HourSales are the figures of one hour.
type HourSales struct {
	Hour      time.Time // when the hour begins
	Tickets   int64
	Revenue   int64 // minor units
	CheckedIn int64
}

// Item is one line item of an order.
type Item struct {
	TicketTypeID uuid.UUID
	Quantity     int
	UnitPrice    money.Decimal
}

// Order returns the change of an order that was paid at the given time. It returns ErrQuantity, or an error of package
// money for an invalid currency or price.
func Order(eventID uuid.UUID, currency money.Currency, items []Item, at time.Time) (Change, error) {
	c := Change{EventID: eventID, Currency: currency, OrdersCompleted: 1, At: at}
	if _, err := money.ParseCurrency(string(currency)); err != nil {
		return Change{}, err
	}
	byType := map[uuid.UUID]TypeSales{}
	for _, item := range items {
		if item.Quantity < 1 {
			return Change{}, ErrQuantity
		}
		price, err := item.UnitPrice.In(currency)
		if err != nil {
			return Change{}, fmt.Errorf("unit price %q: %w", item.UnitPrice, err)
		}
		s := byType[item.TicketTypeID]
		byType[item.TicketTypeID] = TypeSales{
			TicketTypeID: item.TicketTypeID,
			Tickets:      s.Tickets + int64(item.Quantity),
			Revenue:      s.Revenue + price.Times(item.Quantity).Minor,
		}
	}
	for _, s := range byType {
		c.ByTicketType = append(c.ByTicketType, s)
	}
	// Concurrent changes lock the rows of ticket types in this order, so that they do not deadlock.
	slices.SortFunc(c.ByTicketType, func(a, b TypeSales) int {
		return cmp.Compare(a.TicketTypeID.String(), b.TicketTypeID.String())
	})
	return c, nil
}

// Refund returns the change of a refund. It returns an error of package money for an invalid currency or amount.
func Refund(eventID uuid.UUID, currency money.Currency, amount money.Decimal) (Change, error) {
	if _, err := money.ParseCurrency(string(currency)); err != nil {
		return Change{}, err
	}
	refunded, err := amount.In(currency)
	if err != nil {
		return Change{}, fmt.Errorf("refund of %q: %w", amount, err)
	}
	return Change{EventID: eventID, Currency: currency, Refunds: 1, Refunded: refunded.Minor}, nil
}

// Dispute returns the change of a dispute with a new status; previous is empty for a new dispute. The bank has the
// amount of a dispute that is open or lost. It returns an error of package money for an invalid currency or amount.
func Dispute(
	eventID uuid.UUID, currency money.Currency, amount money.Decimal, previous, status string,
) (Change, error) {
	if _, err := money.ParseCurrency(string(currency)); err != nil {
		return Change{}, err
	}
	disputed, err := amount.In(currency)
	if err != nil {
		return Change{}, fmt.Errorf("dispute of %q: %w", amount, err)
	}
	c := Change{EventID: eventID, Currency: currency}
	if previous == "" {
		c.Disputes = 1
	}
	taken := func(status string) bool { return status == events.DisputeOpen || status == events.DisputeLost }
	switch {
	case taken(status) && !taken(previous):
		c.Disputed = disputed.Minor
	case !taken(status) && taken(previous):
		c.Disputed = -disputed.Minor
	}
	return c, nil
}

// Cancellation returns the change of a cancelled ticket. The ticket still counts as sold, because it was paid. A refund
// is a change of its own.
func Cancellation(eventID, ticketTypeID uuid.UUID, forRefund bool) Change {
	c := Change{EventID: eventID, TicketsCancelled: 1}
	if forRefund {
		c.ByTicketType = []TypeSales{{TicketTypeID: ticketTypeID, Refunded: 1}}
	}
	return c
}

// CheckIn returns the change of a ticket that was used for entry at the given time.
func CheckIn(eventID, ticketTypeID uuid.UUID, at time.Time) Change {
	return Change{EventID: eventID, At: at, ByTicketType: []TypeSales{{TicketTypeID: ticketTypeID, CheckedIn: 1}}}
}

// UndoneCheckIn returns the change of a ticket whose check-in of the given time was undone. It may be added before the
// change of the check-in.
func UndoneCheckIn(eventID, ticketTypeID uuid.UUID, at time.Time) Change {
	return Change{EventID: eventID, At: at, ByTicketType: []TypeSales{{TicketTypeID: ticketTypeID, CheckedIn: -1}}}
}

// Report has all figures of an event.
type Report struct {
	Event            Event
	Currency         money.Currency // empty before the first order or refund
	OrdersCompleted  int64
	OrdersFailed     int64
	TicketsGenerated int64
	TicketsCancelled int64
	Refunds          int64
	Refunded         int64 // minor units
	Disputes         int64
	Disputed         int64       // minor units; what banks have taken
	ByTicketType     []TypeSales // ordered by id
	ByHour           []HourSales // the last MaxHours in order, without hours in which nothing happened
}

// Tickets returns the number of tickets sold.
func (r Report) Tickets() int64 {
	var n int64
	for _, t := range r.ByTicketType {
		n += t.Tickets
	}
	return n
}

// Revenue returns the amount paid in minor units. Refunds are not subtracted.
func (r Report) Revenue() int64 {
	var minor int64
	for _, t := range r.ByTicketType {
		minor += t.Revenue
	}
	return minor
}

// CheckedIn returns the number of tickets used for entry.
func (r Report) CheckedIn() int64 {
	var n int64
	for _, t := range r.ByTicketType {
		n += t.CheckedIn
	}
	return n
}

// VisibleTo reports whether the user is the event's organizer or an admin.
func (r Report) VisibleTo(user identity.User) bool {
	return user.Has(identity.RoleAdmin) || user.ID == r.Event.OrganizerID
}

// Totals has the figures of an event in a list.
type Totals struct {
	EventID    uuid.UUID
	Name       string
	Status     EventStatus
	KnownSince time.Time      // when this service first stored the event
	Currency   money.Currency // empty before the first order or refund
	Tickets    int64
	Revenue    int64 // minor units, refunds not subtracted
	Refunded   int64 // minor units
	CheckedIn  int64
}

// Package sales counts what an event sold. Its figures are sums over what happened, which come out the
// same in whatever order it is heard of.
package sales

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// What can be wrong with a change, or with asking for a report.
var (
	ErrNotFound = problem.New(problem.NotFound, "EVENT_NOT_FOUND", "No such event")
	// ErrCurrency is a change in another currency than the event sells in. ticket-service sees to it
	// that an event has one, so this is a bug somewhere, and adding up would hide it.
	ErrCurrency = problem.New(problem.Unprocessable, "CURRENCY_MISMATCH", "All ticket types of an event have one currency")
	// ErrQuantity is a sale of less than one ticket.
	ErrQuantity = errors.New("quantity is not positive")
	// ErrIncomplete is a message that leaves out which event it is of, or since when that is so.
	ErrIncomplete = errors.New("no event id or no time of change")
)

// Event is what is known of an event.
type Event struct {
	ID          uuid.UUID
	OrganizerID uuid.UUID
	Name        string
	Status      string
	UpdatedAt   time.Time // of two that differ, the later one is true
}

// Check returns ErrIncomplete if e cannot be put anywhere.
func (e Event) Check() error {
	if e.ID == uuid.Nil || e.UpdatedAt.IsZero() {
		return ErrIncomplete
	}
	return nil
}

// StatusCancelled is the status of an event that will not take place.
const StatusCancelled = "CANCELLED"

// Change is what one message adds to an event's figures.
type Change struct {
	EventID          uuid.UUID
	Currency         money.Currency // empty when no money is involved
	OrdersCompleted  int
	OrdersFailed     int
	TicketsGenerated int
	Refunded         int64 // minor units
	Sold             []TypeSales
}

// Check returns ErrIncomplete if c belongs to no event.
func (c Change) Check() error {
	if c.EventID == uuid.Nil {
		return ErrIncomplete
	}
	return nil
}

// TypeSales is what was sold of one ticket type.
type TypeSales struct {
	TicketTypeID uuid.UUID
	Tickets      int64
	Revenue      int64 // minor units
}

// Line is one line of an order.
type Line struct {
	TicketTypeID uuid.UUID
	Quantity     int
	UnitPrice    money.Decimal
}

// Order gives the change that a paid order makes. It returns ErrQuantity, or money's errors for a
// currency or a price that is none.
func Order(eventID uuid.UUID, currency money.Currency, lines []Line) (Change, error) {
	c := Change{EventID: eventID, Currency: currency, OrdersCompleted: 1}
	if _, err := money.ParseCurrency(string(currency)); err != nil {
		return Change{}, err
	}
	byType := map[uuid.UUID]TypeSales{}
	for _, l := range lines {
		if l.Quantity < 1 {
			return Change{}, ErrQuantity
		}
		price, err := l.UnitPrice.In(currency)
		if err != nil {
			return Change{}, fmt.Errorf("unit price %q: %w", l.UnitPrice, err)
		}
		s := byType[l.TicketTypeID]
		byType[l.TicketTypeID] = TypeSales{
			TicketTypeID: l.TicketTypeID,
			Tickets:      s.Tickets + int64(l.Quantity),
			Revenue:      s.Revenue + price.Times(l.Quantity).Minor,
		}
	}
	for _, s := range byType {
		c.Sold = append(c.Sold, s)
	}
	// In the order of ids, in which concurrent changes lock their rows.
	slices.SortFunc(c.Sold, func(a, b TypeSales) int { return cmp.Compare(a.TicketTypeID.String(), b.TicketTypeID.String()) })
	return c, nil
}

// Refund gives the change that a refund makes. It returns money's errors.
func Refund(eventID uuid.UUID, currency money.Currency, amount money.Decimal) (Change, error) {
	if _, err := money.ParseCurrency(string(currency)); err != nil {
		return Change{}, err
	}
	refunded, err := amount.In(currency)
	if err != nil {
		return Change{}, fmt.Errorf("refund of %q: %w", amount, err)
	}
	return Change{EventID: eventID, Currency: currency, Refunded: refunded.Minor}, nil
}

// Report is an event's figures.
type Report struct {
	Event            Event
	Currency         money.Currency // empty before any money moved
	OrdersCompleted  int64
	OrdersFailed     int64
	TicketsGenerated int64
	Refunded         int64       // minor units
	ByTicketType     []TypeSales // by id
}

// Tickets gives the number of tickets sold.
func (r Report) Tickets() int64 {
	var n int64
	for _, t := range r.ByTicketType {
		n += t.Tickets
	}
	return n
}

// Revenue gives what was paid, refunds not taken off, in minor units.
func (r Report) Revenue() int64 {
	var minor int64
	for _, t := range r.ByTicketType {
		minor += t.Revenue
	}
	return minor
}

// VisibleTo reports whether the user may see the report: it is for the event's organizer and for
// admins.
func (r Report) VisibleTo(user identity.User) bool {
	return user.Has(identity.RoleAdmin) || user.ID == r.Event.OrganizerID
}

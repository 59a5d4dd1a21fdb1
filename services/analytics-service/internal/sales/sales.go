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
	// ErrIncomplete is a message that leaves out which event or ticket type it is of, or when that was.
	ErrIncomplete = errors.New("no event id, no ticket type id or no time")
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
	TicketsCancelled int
	Refunds          int
	Refunded         int64     // minor units
	At               time.Time // the hour that sales and check-ins belong to; zero when there are none
	ByTicketType     []TypeSales
}

// Check returns ErrIncomplete if c, or a part of it, belongs nowhere.
func (c Change) Check() error {
	if c.EventID == uuid.Nil {
		return ErrIncomplete
	}
	for _, t := range c.ByTicketType {
		if t.TicketTypeID == uuid.Nil || c.At.IsZero() && (t.Tickets > 0 || t.CheckedIn > 0) {
			return ErrIncomplete
		}
	}
	return nil
}

// Hour gives what c adds to the hour that it belongs to.
func (c Change) Hour() HourSales {
	h := HourSales{Hour: c.At.UTC().Truncate(time.Hour)}
	for _, t := range c.ByTicketType {
		h.Tickets += t.Tickets
		h.Revenue += t.Revenue
		h.CheckedIn += t.CheckedIn
	}
	return h
}

// TypeSales is what was sold of one ticket type, and what became of it.
type TypeSales struct {
	TicketTypeID uuid.UUID
	Tickets      int64
	Revenue      int64 // minor units
	CheckedIn    int64 // tickets that let somebody in
	Refunded     int64 // tickets that were cancelled for a refund
}

// HourSales is what was sold in one hour, and who came in.
type HourSales struct {
	Hour      time.Time // its beginning
	Tickets   int64
	Revenue   int64 // minor units
	CheckedIn int64
}

// Line is one line of an order.
type Line struct {
	TicketTypeID uuid.UUID
	Quantity     int
	UnitPrice    money.Decimal
}

// Order gives the change that an order makes that was paid at that time. It returns ErrQuantity, or
// money's errors for a currency or a price that is none.
func Order(eventID uuid.UUID, currency money.Currency, lines []Line, at time.Time) (Change, error) {
	c := Change{EventID: eventID, Currency: currency, OrdersCompleted: 1, At: at}
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
		c.ByTicketType = append(c.ByTicketType, s)
	}
	// In the order of ids, in which concurrent changes lock their rows.
	slices.SortFunc(c.ByTicketType, func(a, b TypeSales) int {
		return cmp.Compare(a.TicketTypeID.String(), b.TicketTypeID.String())
	})
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
	return Change{EventID: eventID, Currency: currency, Refunds: 1, Refunded: refunded.Minor}, nil
}

// Cancellation gives the change that a cancelled ticket makes. Its sale stays a sale, as it stays paid:
// if money goes back, a refund says so.
func Cancellation(eventID, ticketTypeID uuid.UUID, forRefund bool) Change {
	c := Change{EventID: eventID, TicketsCancelled: 1}
	if forRefund {
		c.ByTicketType = []TypeSales{{TicketTypeID: ticketTypeID, Refunded: 1}}
	}
	return c
}

// CheckIn gives the change that a ticket makes when it lets somebody in.
func CheckIn(eventID, ticketTypeID uuid.UUID, at time.Time) Change {
	return Change{EventID: eventID, At: at, ByTicketType: []TypeSales{{TicketTypeID: ticketTypeID, CheckedIn: 1}}}
}

// Report is an event's figures.
type Report struct {
	Event            Event
	Currency         money.Currency // empty before any money moved
	OrdersCompleted  int64
	OrdersFailed     int64
	TicketsGenerated int64
	TicketsCancelled int64
	Refunds          int64
	Refunded         int64       // minor units
	ByTicketType     []TypeSales // by id
	ByHour           []HourSales // from the first on; hours in which nothing happened are left out
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

// CheckedIn gives the number of tickets that let somebody in.
func (r Report) CheckedIn() int64 {
	var n int64
	for _, t := range r.ByTicketType {
		n += t.CheckedIn
	}
	return n
}

// VisibleTo reports whether the user may see the report: it is for the event's organizer and for
// admins.
func (r Report) VisibleTo(user identity.User) bool {
	return user.Has(identity.RoleAdmin) || user.ID == r.Event.OrganizerID
}

// Totals are an event's figures in short, for a list.
type Totals struct {
	EventID    uuid.UUID
	Name       string
	Status     string
	KnownSince time.Time      // when it was first heard of
	Currency   money.Currency // empty before any money moved
	Tickets    int64
	Revenue    int64 // minor units, refunds not taken off
	Refunded   int64 // minor units
	CheckedIn  int64
}

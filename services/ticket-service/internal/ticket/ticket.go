// Package ticket holds the rules of inventory, reservations and tickets.
//
// # Inventory
//
// A ticket type has a capacity, of which some tickets are sold and some are held by reservations that
// are not paid yet. At every commit sold + held <= capacity.
//
// # Reservations
//
//	            reserve                confirm
//	(nothing) ----------> ACTIVE ------------------> COMPLETED
//	    |                  |  |                          ^
//	    | release          |  | time passes              | confirm of a paid order,
//	    v                  |  v                          | if stock is left
//	CANCELLED <------------+ EXPIRED --------------------+
//	            release, or the event is cancelled
//
// The caller picks a reservation's id, so that every step can be repeated: the same step again gives
// the same answer. A release that overtakes its reserve leaves a CANCELLED reservation without lines,
// a tombstone, which refuses the reserve when it comes. Both EXPIRED and CANCELLED have given their
// tickets back; if the order turns out to be paid all the same, its tickets are taken anew while stock
// is left. COMPLETED is final.
//
// # Tickets
//
//	transfer
//	 +---+
//	 v   |      check-in
//	 ACTIVE ----------------> USED
//	    |                      |
//	    | cancel: by its       | the event is cancelled
//	    | owner, because its   |
//	    | money goes back, or  |
//	    | with the event       |
//	    v                      |
//	CANCELLED <----------------+
//
// A ticket is ACTIVE from the commit that completed its reservation. Its QR code is a signed token
// (see Signer), which anybody with the public key can check offline. A transfer gives it another owner
// and another version of its code, so that the old one admits nobody. A used ticket's money does not go
// back, but for an event that is cancelled, maybe while it went on: then nobody keeps a ticket. CANCELLED is
// final. A cancelled ticket has given its place back.
//
// # Orders
//
// An order that was paid and could not get its tickets is refunded, so it never gets any: the refusal is
// kept, and whoever asks for its tickets again hears the same. So is that of an order whose money goes
// back before it had tickets.
//
// # Cancelled events
//
// An event that is cancelled is off sale at once: no hold and no ticket is issued from then on, and an
// order that is paid later is refused its tickets. Its live reservations are released and its
// tickets, used ones too, cancelled in batches, of which each is a transaction. What is left when a process dies on the way
// is found by the next tick.
package ticket

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Errors of this service. Compare with errors.Is, which looks at the code.
var (
	ErrInsufficientInventory = problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available")
	ErrTypeNotFound          = problem.New(problem.NotFound, "TICKET_TYPE_NOT_FOUND", "This event has no such ticket type")
	ErrTypeExists            = problem.New(problem.Conflict, "TICKET_TYPE_EXISTS", "The event already has a ticket type of this name")
	ErrCurrencyMixed         = problem.New(problem.Conflict, "CURRENCY_MISMATCH", "All ticket types of an event have one currency")
	ErrEventNotFound         = problem.New(problem.NotFound, "EVENT_NOT_FOUND", "No such event")
	ErrEventNotOnSale        = problem.New(problem.Conflict, "EVENT_NOT_ON_SALE", "The event is not on sale")
	ErrNotOrganizer          = problem.New(problem.Forbidden, "NOT_EVENT_ORGANIZER", "You are not the organizer of this event")
	ErrReservationNotFound   = problem.New(problem.NotFound, "RESERVATION_NOT_FOUND", "Reservation not found or expired")
	ErrReservationReused     = problem.New(problem.Conflict, "RESERVATION_ID_REUSED", "Another reservation has this id")
	ErrReservationEnded      = problem.New(problem.Conflict, "RESERVATION_ENDED", "The reservation was released or has expired")
	ErrReservationCompleted  = problem.New(problem.Conflict, "RESERVATION_COMPLETED", "The reservation is already bought")
	ErrOrderRefused          = problem.New(problem.Conflict, "ORDER_REFUSED", "The order gets no tickets: it is refunded")

	ErrSalesNotStarted   = problem.New(problem.Conflict, "SALES_NOT_STARTED", "These tickets are not on sale yet")
	ErrSalesEnded        = problem.New(problem.Conflict, "SALES_ENDED", "These tickets are not on sale any more")
	ErrOrderLimit        = problem.New(problem.Conflict, "ORDER_LIMIT_EXCEEDED", "One order may not have that many of these tickets")
	ErrCapacityBelowSold = problem.New(problem.Conflict, "CAPACITY_BELOW_SOLD", "More tickets than that are sold and held")
	ErrEventCancelled    = problem.New(problem.Conflict, "EVENT_CANCELLED", "The event is cancelled")
	// ErrSalesEndPast reports a new type that could never be sold.
	ErrSalesEndPast = problem.Field("salesEnd", "salesEnd must be in the future")

	ErrTicketNotFound   = problem.New(problem.NotFound, "TICKET_NOT_FOUND", "No such ticket")
	ErrNotActive        = problem.New(problem.Conflict, "TICKET_NOT_ACTIVE", "The ticket was used or cancelled")
	ErrAlreadyCheckedIn = problem.New(problem.Conflict, "ALREADY_CHECKED_IN", "The ticket was used before")
	ErrCodeSuperseded   = problem.New(problem.Conflict, "CODE_SUPERSEDED", "The ticket was transferred and has another code now")
	ErrEventPassed      = problem.New(problem.Conflict, "EVENT_PASSED", "The event has begun")
	ErrTicketUsed       = problem.New(problem.Conflict, "TICKET_USED", "A ticket that was used to enter cannot be cancelled")
	ErrUserNotFound     = problem.New(problem.NotFound, "USER_NOT_FOUND", "No such user")
)

// EventStatus is an event's status, in event-service's words.
type EventStatus string

// The statuses that matter here: tickets are on sale only for a published event, a draft is nobody's
// business but its organizer's, and a cancelled event stays cancelled.
const (
	EventDraft     EventStatus = "DRAFT"
	EventPublished EventStatus = "PUBLISHED"
	EventCancelled EventStatus = "CANCELLED"
)

// Event is this service's copy of an event, kept up to date from event-events.
type Event struct {
	ID          uuid.UUID
	OrganizerID uuid.UUID
	Name        string
	Date        time.Time
	VenueName   string
	Status      EventStatus
	UpdatedAt   time.Time // of the event at event-service; zero when that is not known
}

// Type is a kind of ticket of one event.
type Type struct {
	ID       uuid.UUID
	EventID  uuid.UUID
	Name     string
	Price    money.Amount
	Capacity int
	Sold     int
	Held     int
	// Sales begin at SalesStart and are over at SalesEnd; nil is no bound.
	SalesStart, SalesEnd *time.Time
	MaxPerOrder          *int // nil is no limit
	InSales              bool // whether now is between the two, by the database's clock
}

// Available is how many tickets can still be reserved.
func (t Type) Available() int { return t.Capacity - t.Sold - t.Held }

// Limits of a ticket type.
const (
	MaxCapacity = 1_000_000
	MaxNameLen  = 100 // characters
)

// Validate returns a *problem.Error that names the first bad field.
func (t Type) Validate() error {
	switch n := utf8.RuneCountInString(t.Name); {
	case n == 0 || n > MaxNameLen:
		return problem.Field("name", "name must have 1 to %d characters", MaxNameLen)
	case hasControl(t.Name):
		return problem.Field("name", "name must not contain control characters")
	case t.Capacity < 1 || t.Capacity > MaxCapacity:
		return problem.Field("capacity", "capacity must be between 1 and %d", MaxCapacity)
	case t.MaxPerOrder != nil && (*t.MaxPerOrder < 1 || *t.MaxPerOrder > MaxQuantity):
		return problem.Field("maxPerOrder", "maxPerOrder must be between 1 and %d", MaxQuantity)
	case t.SalesStart != nil && t.SalesEnd != nil && !t.SalesStart.Before(*t.SalesEnd):
		return problem.Field("salesEnd", "salesEnd must be after salesStart")
	}
	return nil
}

// ValidateText checks a text that may be empty and is not ours: a reason, the name of a gate. It returns a
// *problem.Error that names the field.
func ValidateText(field, text string, limit int) error {
	if utf8.RuneCountInString(text) > limit || hasControl(text) {
		return problem.Field(field, "%s must have at most %d characters and no control characters", field, limit)
	}
	return nil
}

// hasControl reports whether text has what has no business on a ticket. PostgreSQL could not even
// store a NUL.
func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }

// Limits of a reservation.
const (
	MaxLines    = 20
	MaxQuantity = 100 // tickets of one type
	HoldTime    = 15 * time.Minute
	MaxHoldTime = 30 * time.Minute // with all extensions
)

// Line is a number of tickets of one type. UnitPrice is set once they are reserved.
type Line struct {
	TypeID    uuid.UUID
	Quantity  int
	UnitPrice money.Amount
}

// ValidateLines checks what was asked for. It returns a *problem.Error that names the field.
func ValidateLines(lines []Line) error {
	if len(lines) == 0 || len(lines) > MaxLines {
		return problem.Field("ticketRequests", "ticketRequests must have 1 to %d entries", MaxLines)
	}
	seen := map[uuid.UUID]bool{}
	for _, l := range lines {
		if l.Quantity < 1 || l.Quantity > MaxQuantity {
			return problem.Field("ticketRequests.quantity", "quantity must be between 1 and %d", MaxQuantity)
		}
		if seen[l.TypeID] {
			return problem.Field("ticketRequests.ticketTypeId", "each ticket type may stand in a request once")
		}
		seen[l.TypeID] = true
	}
	return nil
}

// Quantity is how many tickets the lines make.
func Quantity(lines []Line) int {
	n := 0
	for _, l := range lines {
		n += l.Quantity
	}
	return n
}

// ReservationStatus is where a reservation stands; see the package comment.
type ReservationStatus string

// The contract's reservation statuses.
const (
	Active    ReservationStatus = "ACTIVE"
	Completed ReservationStatus = "COMPLETED"
	Cancelled ReservationStatus = "CANCELLED"
	Expired   ReservationStatus = "EXPIRED"
)

// Reservation is a hold on tickets.
type Reservation struct {
	ID        uuid.UUID
	UserID    uuid.UUID
	EventID   uuid.UUID
	Status    ReservationStatus
	ExpiresAt time.Time
	Lines     []Line
}

// HoldFor gives the length of a hold from the minutes that a caller asked for: at most HoldTime, and
// HoldTime if it did not say.
func HoldFor(minutes *int) (time.Duration, error) {
	if minutes == nil {
		return HoldTime, nil
	}
	if *minutes < 1 {
		return 0, problem.Field("reservationDurationMinutes", "reservationDurationMinutes must be at least 1")
	}
	return time.Duration(min(*minutes, int(HoldTime/time.Minute))) * time.Minute, nil
}

// ExtendFor gives the length of an extension from the minutes that a caller asked for: at most
// MaxHoldTime.
func ExtendFor(minutes int) (time.Duration, error) {
	if minutes < 1 {
		return 0, problem.Field("minutes", "minutes must be at least 1")
	}
	return time.Duration(min(minutes, int(MaxHoldTime/time.Minute))) * time.Minute, nil
}

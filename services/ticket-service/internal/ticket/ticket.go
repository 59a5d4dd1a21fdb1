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
//	            release
//
// The caller picks a reservation's id, so that every step can be repeated: the same step again gives
// the same answer. A release that overtakes its reserve leaves a CANCELLED reservation without lines,
// a tombstone, which refuses the reserve when it comes. Both EXPIRED and CANCELLED have given their
// tickets back; if the order turns out to be paid all the same, its tickets are taken anew while stock
// is left. COMPLETED is final.
//
// # Tickets
//
// A ticket is ACTIVE from the commit that completed its reservation. Its QR code is a signed token
// (see Signer), which anybody with the public key can check offline.
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
	ErrTicketNotFound        = problem.New(problem.NotFound, "TICKET_NOT_FOUND", "No such ticket")
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

// SameRequest reports whether a repeated reserve asks for what r already is, and not for something
// else under an id that is taken.
func (r Reservation) SameRequest(userID, eventID uuid.UUID, lines []Line) bool {
	if r.UserID != userID || r.EventID != eventID || len(r.Lines) != len(lines) {
		return false
	}
	quantity := map[uuid.UUID]int{}
	for _, l := range r.Lines {
		quantity[l.TypeID] = l.Quantity
	}
	for _, l := range lines {
		if quantity[l.TypeID] != l.Quantity {
			return false
		}
	}
	return true
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

// Status is where a ticket stands.
type Status string

// Valid admits its holder once; the other statuses admit nobody.
const (
	Valid Status = "ACTIVE"
)

// Ticket is the right of its holder to one admission.
type Ticket struct {
	ID          uuid.UUID
	Number      string // TKT-YYYY-NNNNNN
	TypeID      uuid.UUID
	TypeName    string
	EventID     uuid.UUID
	OrderID     uuid.UUID
	OwnerID     uuid.UUID
	HolderName  string
	Status      Status
	CodeVersion int // the version of the QR code that is valid
	CreatedAt   time.Time
}

// MaxHolderName bounds the name on a ticket, in characters.
const MaxHolderName = 200

// ValidateHolder checks the name that goes on tickets.
func ValidateHolder(name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > MaxHolderName {
		return problem.Field("holderName", "holderName must have 1 to %d characters", MaxHolderName)
	}
	if hasControl(name) {
		return problem.Field("holderName", "holderName must not contain control characters")
	}
	return nil
}

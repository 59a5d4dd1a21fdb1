package ticket

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Errors of this service. Compare them with errors.Is, which compares their codes.
var (
	ErrInsufficientInventory = problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available")
	ErrTypeNotFound          = problem.New(problem.NotFound, "TICKET_TYPE_NOT_FOUND", "This event has no such ticket type")
	ErrTypeExists            = problem.New(problem.Conflict, "TICKET_TYPE_EXISTS",
		"The event already has a ticket type of this name")
	// ErrTooManyTypes reports an event that has MaxTypes ticket types.
	ErrTooManyTypes = problem.New(problem.Conflict, "TICKET_TYPE_LIMIT_EXCEEDED",
		"An event can have at most %d ticket types", MaxTypes)
	ErrCurrencyMixed = problem.New(problem.Conflict, "CURRENCY_MISMATCH",
		"All ticket types of an event must have the same currency")
	ErrEventNotFound       = problem.New(problem.NotFound, "EVENT_NOT_FOUND", "No such event")
	ErrEventNotOnSale      = problem.New(problem.Conflict, "EVENT_NOT_ON_SALE", "The event is not on sale")
	ErrNotOrganizer        = problem.New(problem.Forbidden, "NOT_EVENT_ORGANIZER", "You do not organize this event")
	ErrReservationNotFound = problem.New(problem.NotFound, "RESERVATION_NOT_FOUND", "Reservation not found or expired")
	ErrReservationReused   = problem.New(problem.Conflict, "RESERVATION_ID_REUSED",
		"Another reservation already has this id")
	ErrReservationEnded = problem.New(problem.Conflict, "RESERVATION_ENDED",
		"The reservation was released or has expired")
	ErrReservationCompleted = problem.New(problem.Conflict, "RESERVATION_COMPLETED",
		"The reservation is already completed")
	ErrOrderRefused = problem.New(problem.Conflict, "ORDER_REFUSED",
		"The order cannot get its tickets and is refunded")

	ErrSalesNotStarted = problem.New(problem.Conflict, "SALES_NOT_STARTED", "The sale of these tickets has not started")
	ErrSalesEnded      = problem.New(problem.Conflict, "SALES_ENDED", "The sale of these tickets has ended")
	ErrOrderLimit      = problem.New(problem.Conflict, "ORDER_LIMIT_EXCEEDED",
		"The quantity exceeds the limit per order for these tickets")
	// ErrOrderTooLarge reports a purchase of more than MaxTickets tickets, reserved before there was this limit.
	ErrOrderTooLarge = problem.New(problem.Conflict, "ORDER_TOO_LARGE", "An order can have at most %d tickets", MaxTickets)
	// ErrPersonLimit reports a request with which a person would have more tickets than the limit, with all orders.
	ErrPersonLimit = problem.New(problem.Conflict, "PERSON_LIMIT_EXCEEDED",
		"The quantity exceeds the limit per person for these tickets, with earlier orders included")
	// ErrTotalTooLarge reports items whose total no card can be charged.
	ErrTotalTooLarge = problem.New(problem.Conflict, "ORDER_TOTAL_TOO_LARGE",
		"The total is more than a card can be charged")
	// ErrPriceChanged reports items that cost another total than the request expects.
	ErrPriceChanged = problem.New(problem.Conflict, "PRICE_CHANGED", "The price of the tickets has changed")

	ErrCapacityBelowSold = problem.New(problem.Conflict, "CAPACITY_BELOW_SOLD",
		"The capacity is lower than the number of tickets sold and held")
	ErrEventCancelled = problem.New(problem.Conflict, "EVENT_CANCELLED", "The event is cancelled")
	// ErrSalesEndPast reports a new type whose sale would already be over.
	ErrSalesEndPast = problem.Field("salesEnd", "salesEnd must be in the future")

	ErrTicketNotFound = problem.New(problem.NotFound, "TICKET_NOT_FOUND", "No such ticket")
	ErrNotActive      = problem.New(problem.Conflict, "TICKET_NOT_ACTIVE", "The ticket was used or cancelled")
	// ErrSuspended and ErrVoid report a ticket that does not admit because its payment is disputed.
	ErrSuspended = problem.New(problem.Conflict, "TICKET_SUSPENDED",
		"The payment of this ticket is disputed at the bank; the ticket is suspended until the bank decides")
	ErrVoid = problem.New(problem.Conflict, "TICKET_VOID",
		"The payment of this ticket is disputed at the bank or was taken back; the ticket is void")
	ErrAlreadyCheckedIn = problem.New(problem.Conflict, "ALREADY_CHECKED_IN", "The ticket was already used")
	ErrNotCheckedIn     = problem.New(problem.Conflict, "TICKET_NOT_CHECKED_IN", "The ticket is not checked in")
	// ErrTicketRefunded reports a used ticket whose price was refunded, and which therefore cannot become active again.
	ErrTicketRefunded = problem.New(problem.Conflict, "TICKET_REFUNDED", "The ticket was refunded after it was used")
	ErrCodeSuperseded = problem.New(problem.Conflict, "CODE_SUPERSEDED",
		"The ticket was transferred and this code is no longer valid")
	// ErrCheckInNotOpen and ErrCheckInClosed report a check-in outside the window of the event.
	ErrCheckInNotOpen = problem.New(problem.Conflict, "CHECK_IN_NOT_OPEN", "The check-in for the event is not open yet")
	ErrCheckInClosed  = problem.New(problem.Conflict, "CHECK_IN_CLOSED", "The check-in for the event is closed")

	ErrEventPassed  = problem.New(problem.Conflict, "EVENT_PASSED", "The event has already started")
	ErrTicketUsed   = problem.New(problem.Conflict, "TICKET_USED", "A used ticket cannot be cancelled")
	ErrUserNotFound = problem.New(problem.NotFound, "USER_NOT_FOUND", "No such user")
)

// EventStatus is the status of an event, as defined by event-service.
type EventStatus string

// The statuses that matter to this service. Tickets are on sale only for a published event. A draft is visible
// only to its organizer. A cancelled event stays cancelled.
const (
	EventDraft     EventStatus = "DRAFT"
	EventPublished EventStatus = "PUBLISHED"
	EventCancelled EventStatus = "CANCELLED"
)

// Event is this service's copy of an event. The topic event-events keeps it up to date.
type Event struct {
	ID           uuid.UUID
	OrganizerID  uuid.UUID
	Name         string
	Date         time.Time  // when it starts
	EndDate      *time.Time // when it ends; nil if the organizer has not set it
	VenueName    string
	VenueAddress string // empty if it is not known yet
	Status       EventStatus
	// DisputedTickets is for storing an event; it is not read back. Only store.Store.Disputed uses it.
	DisputedTickets DisputePolicy
	UpdatedAt       time.Time // when event-service last changed the event; zero if unknown
	ReadAt          time.Time // the database's time when the event was read
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
	// SalesStart and SalesEnd bound the time of sale. A nil SalesStart is no bound. A nil SalesEnd is the start of the
	// event. Only a type with a SalesEnd can be sold while the event takes place.
	SalesStart, SalesEnd *time.Time
	MaxPerOrder          *int // nil is no limit
	MaxPerPerson         *int // with all orders of a buyer; nil is no limit
}

// Available returns how many tickets can still be reserved.
func (t Type) Available() int { return t.Capacity - t.Sold - t.Held }

// CheckSale returns nil if tickets of the type are on sale at the time now. Otherwise it returns ErrEventNotOnSale,
// ErrSalesNotStarted or ErrSalesEnded. e is the event of the type. No ticket is sold after the end of the event.
func (t Type) CheckSale(e Event, now time.Time) error {
	end := e.Date
	if t.SalesEnd != nil {
		end = *t.SalesEnd
	}
	if e.EndDate != nil && e.EndDate.Before(end) {
		end = *e.EndDate
	}
	switch {
	case e.Status != EventPublished:
		return ErrEventNotOnSale
	case t.SalesStart != nil && now.Before(*t.SalesStart):
		return ErrSalesNotStarted
	case !now.Before(end):
		return ErrSalesEnded
	}
	return nil
}

// Limits of a ticket type.
const (
	MaxCapacity = 1_000_000
	MaxNameLen  = 100 // characters
	MaxTypes    = 200 // of an event
)

// Validate returns a *problem.Error that names the first invalid field.
func (t Type) Validate() error {
	switch n := utf8.RuneCountInString(t.Name); {
	case n == 0 || n > MaxNameLen:
		return problem.Field("name", "name must have 1 to %d characters", MaxNameLen)
	case hasControl(t.Name):
		return problem.Field("name", "name must not contain control characters")
	case chargeError(t.Price) != nil:
		return problem.Field("price", "price %s", chargeError(t.Price))
	case t.Capacity < 1 || t.Capacity > MaxCapacity:
		return problem.Field("capacity", "capacity must be between 1 and %d", MaxCapacity)
	case t.MaxPerOrder != nil && (*t.MaxPerOrder < 1 || *t.MaxPerOrder > MaxQuantity):
		return problem.Field("maxPerOrder", "maxPerOrder must be between 1 and %d", MaxQuantity)
	case t.MaxPerPerson != nil && (*t.MaxPerPerson < 1 || *t.MaxPerPerson > MaxQuantity):
		return problem.Field("maxPerPerson", "maxPerPerson must be between 1 and %d", MaxQuantity)
	case t.SalesStart != nil && t.SalesEnd != nil && !t.SalesStart.Before(*t.SalesEnd):
		return problem.Field("salesEnd", "salesEnd must be after salesStart")
	}
	return nil
}

// chargeError returns the reason why a card cannot be charged the amount, nil if it can or if there is nothing to
// charge.
func chargeError(amount money.Amount) error {
	if amount.Minor == 0 { // free tickets
		return nil
	}
	_, err := amount.ChargeUnits()
	return err
}

// ValidateText checks an optional text from a caller, such as a reason or the name of a gate. limit is in
// characters. It returns a *problem.Error that names the field.
func ValidateText(field, text string, limit int) error {
	if utf8.RuneCountInString(text) > limit || hasControl(text) {
		return problem.Field(field, "%s must have at most %d characters and no control characters", field, limit)
	}
	return nil
}

// hasControl reports whether text contains control characters. PostgreSQL cannot store NUL, and the others would
// break the layout of a printed ticket.
func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }

// Limits of a reservation.
const (
	MaxItems    = 20
	MaxQuantity = 100 // tickets of one type
	MaxTickets  = events.MaxOrderTickets
	HoldTime    = 15 * time.Minute
	MaxHoldTime = 30 * time.Minute // including all extensions
)

// LineItem is a quantity of tickets of one type. TypeName and UnitPrice are set once the tickets are reserved.
type LineItem struct {
	TypeID    uuid.UUID
	TypeName  string
	Quantity  int
	UnitPrice money.Amount
}

// ValidateItems checks the items of a request. It returns a *problem.Error that names the invalid field.
func ValidateItems(items []LineItem) error {
	if len(items) == 0 || len(items) > MaxItems {
		return problem.Field("ticketRequests", "ticketRequests must have 1 to %d entries", MaxItems)
	}
	seen := map[uuid.UUID]bool{}
	for _, item := range items {
		if item.Quantity < 1 || item.Quantity > MaxQuantity {
			return problem.Field("ticketRequests.quantity", "quantity must be between 1 and %d", MaxQuantity)
		}
		if seen[item.TypeID] {
			return problem.Field("ticketRequests.ticketTypeId", "each ticket type may appear only once in a request")
		}
		seen[item.TypeID] = true
	}
	if Quantity(items) > MaxTickets {
		return problem.Field("ticketRequests", "ticketRequests must not have more than %d tickets in total", MaxTickets)
	}
	return nil
}

// Quantity returns the total number of tickets of the items.
func Quantity(items []LineItem) int {
	n := 0
	for _, item := range items {
		n += item.Quantity
	}
	return n
}

// total returns the price of all items, which are not empty and have one currency.
func total(items []LineItem) money.Amount {
	sum := money.Of(0, items[0].UnitPrice.Currency)
	for _, item := range items {
		sum = sum.Plus(item.UnitPrice.Times(item.Quantity))
	}
	return sum
}

// ReservationStatus is the state of a reservation; see the package comment.
type ReservationStatus string

// The reservation statuses of the contract.
const (
	ReservationActive    ReservationStatus = "ACTIVE"
	ReservationCompleted ReservationStatus = "COMPLETED"
	ReservationCancelled ReservationStatus = "CANCELLED"
	ReservationExpired   ReservationStatus = "EXPIRED"
)

// Reservation is a hold on tickets.
type Reservation struct {
	ID        uuid.UUID
	UserID    uuid.UUID
	EventID   uuid.UUID
	Status    ReservationStatus
	ExpiresAt time.Time
	Items     []LineItem
}

// Total returns the price of a reservation that has items.
func (r Reservation) Total() money.Amount { return total(r.Items) }

// HoldFor returns the length of a hold for the minutes that a caller asked for: HoldTime if minutes is nil, and
// never more than HoldTime. It returns a *problem.Error for less than one minute.
func HoldFor(minutes *int) (time.Duration, error) {
	if minutes == nil {
		return HoldTime, nil
	}
	if *minutes < 1 {
		return 0, problem.Field("reservationDurationMinutes", "reservationDurationMinutes must be at least 1")
	}
	return time.Duration(min(*minutes, int(HoldTime/time.Minute))) * time.Minute, nil
}

// ExtendFor returns the length of an extension for the minutes that a caller asked for, at most MaxHoldTime. It
// returns a *problem.Error for less than one minute.
func ExtendFor(minutes int) (time.Duration, error) {
	if minutes < 1 {
		return 0, problem.Field("minutes", "minutes must be at least 1")
	}
	return time.Duration(min(minutes, int(MaxHoldTime/time.Minute))) * time.Minute, nil
}

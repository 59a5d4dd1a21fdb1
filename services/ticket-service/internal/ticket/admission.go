package ticket

import (
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Status is the state of a ticket; see the package comment.
type Status string

// The ticket statuses of the contract. Only an Active ticket admits its holder, and only once.
const (
	Active    Status = "ACTIVE"
	Used      Status = "USED"
	Cancelled Status = "CANCELLED"
)

// Ticket admits its holder to an event once.
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
	CheckedInAt time.Time // zero if the ticket was never used
	Gate        string    // where it was used; may be empty
	RefundKey   string    // of the refund that cancelled it; empty if none did
}

// Holding lists the holders of an order's active tickets, with the number of tickets of each.
type Holding struct {
	OrderID uuid.UUID
	Issued  time.Time // all tickets of an order are issued at once
	Holders map[uuid.UUID]int
}

// The check-in window of an event. Its start keeps a ticket for one evening from admitting on the evening before. Its
// end leaves gates that were offline the time to report whom they admitted.
const (
	CheckInBeforeStart = 6 * time.Hour
	CheckInAfterEnd    = 6 * time.Hour
	CheckInAfterStart  = 24 * time.Hour // for an event whose end is unknown
)

// CheckInWindow returns when the check-in for the event opens, and when it closes.
func (e Event) CheckInWindow() (opens, closes time.Time) {
	opens = e.Date.Add(-CheckInBeforeStart)
	if e.EndDate != nil {
		return opens, e.EndDate.Add(CheckInAfterEnd)
	}
	return opens, e.Date.Add(CheckInAfterStart)
}

// CheckIn returns the ticket after its holder was admitted to e, the ticket's event, with a code of the given version.
// It returns ErrCodeSuperseded, ErrAlreadyCheckedIn, ErrNotActive, ErrCheckInNotOpen or ErrCheckInClosed, with the
// unchanged ticket.
func (t Ticket) CheckIn(e Event, version int, gate string, now time.Time) (Ticket, error) {
	opens, closes := e.CheckInWindow()
	switch {
	case version != t.CodeVersion:
		return t, ErrCodeSuperseded
	case t.Status == Used:
		return t, ErrAlreadyCheckedIn
	case t.Status != Active:
		return t, ErrNotActive
	case now.Before(opens):
		return t, problem.New(problem.Conflict, ErrCheckInNotOpen.Code, "The check-in for the event opens at %s",
			opens.UTC().Format(time.RFC3339))
	case !now.Before(closes):
		return t, problem.New(problem.Conflict, ErrCheckInClosed.Code, "The check-in for the event closed at %s",
			closes.UTC().Format(time.RFC3339))
	}
	t.Status, t.CheckedInAt, t.Gate = Used, now, gate
	return t, nil
}

// CheckIn is an entry of a ticket's history of check-ins.
type CheckIn struct {
	At       time.Time
	Gate     string
	UndoneAt time.Time // zero if it was not undone; then the others are zero too
	UndoneBy uuid.UUID
	Reason   string // for undoing it
}

// UndoCheckIn returns the ticket as it was before it was checked in, so that it admits again. It returns
// ErrNotCheckedIn for a ticket that is not used; a used ticket that was cancelled stays cancelled.
func (t Ticket) UndoCheckIn() (Ticket, error) {
	if t.Status != Used {
		return t, ErrNotCheckedIn
	}
	t.Status, t.CheckedInAt, t.Gate = Active, time.Time{}, ""
	return t, nil
}

// Transfer returns the ticket after its owner, from, transferred it to another user, whose name is holder. It
// returns ErrTicketNotFound if from does not own the ticket, and ErrNotActive.
func (t Ticket) Transfer(from, to uuid.UUID, holder string) (Ticket, error) {
	switch {
	case t.OwnerID != from:
		return t, ErrTicketNotFound
	case t.Status != Active:
		return t, ErrNotActive
	}
	t.OwnerID, t.HolderName = to, holder
	t.CodeVersion++
	return t, nil
}

// Cancel returns the ticket after its owner cancelled it. It returns ErrTicketNotFound if owner does not own the
// ticket, ErrNotActive, and ErrEventPassed from the event's start on.
func (t Ticket) Cancel(owner uuid.UUID, eventDate, now time.Time) (Ticket, error) {
	switch {
	case t.OwnerID != owner:
		return t, ErrTicketNotFound
	case t.Status != Active:
		return t, ErrNotActive
	case !now.Before(eventDate):
		return t, ErrEventPassed
	}
	t.Status = Cancelled
	return t, nil
}

// ToCancel returns the tickets that a refund still has to cancel: all that are not cancelled yet. If one of them was
// used, and the event is not cancelled, it is left out if the refund keeps used tickets; otherwise ToCancel returns
// ErrTicketUsed.
func ToCancel(tickets []Ticket, eventCancelled, keepUsed bool) ([]Ticket, error) {
	var left []Ticket
	for _, t := range tickets {
		switch {
		case t.Status == Cancelled:
		case t.Status != Used || eventCancelled:
			left = append(left, t)
		case !keepUsed:
			return nil, ErrTicketUsed
		}
	}
	return left, nil
}

// MaxHolderName is the maximum length of the name on a ticket in characters: a first and a last name of at most
// 100 characters each, and a space.
const MaxHolderName = 201

// ValidateHolder checks the name on a ticket. It returns a *problem.Error that names the field.
func ValidateHolder(name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > MaxHolderName {
		return problem.Field("holderName", "holderName must have 1 to %d characters", MaxHolderName)
	}
	if hasControl(name) {
		return problem.Field("holderName", "holderName must not contain control characters")
	}
	return nil
}

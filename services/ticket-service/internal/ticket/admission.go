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

// Suspension is why an active ticket does not admit its holder: the payment of its order is disputed at the bank. It is
// empty for a ticket that admits.
type Suspension string

// The suspensions. They depend on what the organizer wants for disputed tickets.
const (
	// Suspended tickets admit again with the same codes if the dispute is won.
	Suspended Suspension = "SUSPENDED"
	// Void tickets get new codes if the dispute is won. The tickets of a dispute that is lost are void too.
	Void Suspension = "VOID"
)

// DisputePolicy is what an organizer wants for tickets whose payment is disputed, as defined by event-service.
type DisputePolicy string

// The policies.
const (
	SuspendDisputed DisputePolicy = "SUSPEND"
	VoidDisputed    DisputePolicy = "VOID"
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
	Suspension  Suspension // of the order
	CodeVersion int        // the version of the QR code that is valid
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
// It returns ErrSuspended, ErrVoid, ErrCodeSuperseded, ErrAlreadyCheckedIn, ErrNotActive, ErrCheckInNotOpen or
// ErrCheckInClosed, with the unchanged ticket.
func (t Ticket) CheckIn(e Event, version int, gate string, now time.Time) (Ticket, error) {
	opens, closes := e.CheckInWindow()
	switch {
	case t.Status == Active && t.Suspension != "": // of a void ticket, no code is valid
		return t, t.Usable()
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

// Usable returns nil if the ticket can admit its holder. Otherwise it returns ErrNotActive, ErrSuspended or ErrVoid.
func (t Ticket) Usable() error {
	switch {
	case t.Status != Active:
		return ErrNotActive
	case t.Suspension == Void:
		return ErrVoid
	case t.Suspension != "":
		return ErrSuspended
	}
	return nil
}

// ShownSuspension returns the suspension of an active ticket, and nothing for a used or cancelled one, which does not
// admit anyway.
func (t Ticket) ShownSuspension() string {
	if t.Status != Active {
		return ""
	}
	return string(t.Suspension)
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
// returns ErrTicketNotFound if from does not own the ticket, and the errors of Usable.
func (t Ticket) Transfer(from, to uuid.UUID, holder string) (Ticket, error) {
	if t.OwnerID != from {
		return t, ErrTicketNotFound
	}
	if err := t.Usable(); err != nil {
		return t, err
	}
	t.OwnerID, t.HolderName = to, holder
	t.CodeVersion++
	return t, nil
}

// Cancel returns the ticket after its owner cancelled it. It returns ErrTicketNotFound if owner does not own the
// ticket, the errors of Usable, and ErrEventPassed from the event's start on.
func (t Ticket) Cancel(owner uuid.UUID, eventDate, now time.Time) (Ticket, error) {
	if t.OwnerID != owner {
		return t, ErrTicketNotFound
	}
	if err := t.Usable(); err != nil {
		return t, err
	}
	if !now.Before(eventDate) {
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

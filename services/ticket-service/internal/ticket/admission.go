package ticket

import (
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Status is where a ticket stands; see the package comment.
type Status string

// Valid admits its holder once; the other statuses admit nobody.
const (
	Valid Status = "ACTIVE"
	Used  Status = "USED"
	Void  Status = "CANCELLED"
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
	CheckedInAt time.Time // zero unless it is Used, or was
	Gate        string    // where, if that was said
}

// Holding is who holds valid tickets of an order, and how many each.
type Holding struct {
	OrderID uuid.UUID
	Issued  time.Time // all tickets of an order are issued at once
	Holders map[uuid.UUID]int
}

// CheckIn gives the ticket as it is once its holder, who showed a code of this version, was let in. It
// returns ErrCodeSuperseded, ErrAlreadyCheckedIn or ErrNotActive.
func (t Ticket) CheckIn(version int, gate string, now time.Time) (Ticket, error) {
	switch {
	case version != t.CodeVersion:
		return t, ErrCodeSuperseded
	case t.Status == Used:
		return t, ErrAlreadyCheckedIn
	case t.Status != Valid:
		return t, ErrNotActive
	}
	t.Status, t.CheckedInAt, t.Gate = Used, now, gate
	return t, nil
}

// Transfer gives the ticket as it is once its owner from gave it to another user, whose name goes on it.
// It returns ErrTicketNotFound when it is not from's, and ErrNotActive.
func (t Ticket) Transfer(from, to uuid.UUID, holder string) (Ticket, error) {
	switch {
	case t.OwnerID != from:
		return t, ErrTicketNotFound
	case t.Status != Valid:
		return t, ErrNotActive
	}
	t.OwnerID, t.HolderName = to, holder
	t.CodeVersion++
	return t, nil
}

// GiveUp says whether the owner may cancel the ticket now. It returns ErrTicketNotFound when it is not
// theirs, ErrNotActive, or ErrEventPassed.
func (t Ticket) GiveUp(owner uuid.UUID, eventDate, now time.Time) error {
	switch {
	case t.OwnerID != owner:
		return ErrTicketNotFound
	case t.Status != Valid:
		return ErrNotActive
	case !now.Before(eventDate):
		return ErrEventPassed
	}
	return nil
}

// ToCancel gives those of the tickets that have to be cancelled for their money to go back: all that
// are not cancelled yet. It returns ErrTicketUsed if one has let somebody in, unless the event is cancelled.
func ToCancel(tickets []Ticket, eventCancelled bool) ([]Ticket, error) {
	var left []Ticket
	for _, t := range tickets {
		if t.Status == Used && !eventCancelled {
			return nil, ErrTicketUsed
		}
		if t.Status != Void {
			left = append(left, t)
		}
	}
	return left, nil
}

// MaxHolderName bounds the name on a ticket, in characters: a first and a last name of 100 each, with the
// space between.
const MaxHolderName = 201

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

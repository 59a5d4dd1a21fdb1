package ticket

import (
	"bytes"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Request asks for tickets to be held for a while: all lines or none.
type Request struct {
	ReservationID uuid.UUID
	UserID        uuid.UUID
	EventID       uuid.UUID
	Hold          time.Duration
	Lines         []Line
}

// Answer is what a request got: a reservation, or why not.
type Answer struct {
	Reservation Reservation
	Err         error
}

// Inventory is what requests are judged against: all that they touch, as it is while nobody else can take tickets of
// these types.
type Inventory struct {
	Now          time.Time
	Events       map[uuid.UUID]EventStatus
	Types        map[uuid.UUID]*Type
	Reservations map[uuid.UUID]Reservation
	// Made are the reservations that requests have got, in their order.
	Made []Reservation
}

// Reserve judges a request against what those before it left. What it gets is taken from the inventory; a refusal
// takes nothing, so that a request for four tickets of which three are left does not stand in the way of one for
// three. The same request under the same id gets the same reservation. Its errors are ErrInsufficientInventory,
// ErrTypeNotFound, ErrEventNotOnSale (which may mean that our copy of the event lags), ErrSalesNotStarted,
// ErrSalesEnded, ErrOrderLimit, ErrReservationReused and ErrReservationEnded.
func (i *Inventory) Reserve(q Request) (Reservation, error) {
	if r, known := i.Reservations[q.ReservationID]; known {
		return r, r.repeated(q)
	}
	if i.Events[q.EventID] != EventPublished {
		return Reservation{}, ErrEventNotOnSale
	}
	lines := InOrder(q.Lines)
	for n, l := range lines {
		t, known := i.Types[l.TypeID]
		switch {
		case !known || t.EventID != q.EventID:
			return Reservation{}, ErrTypeNotFound
		case t.SalesStart != nil && i.Now.Before(*t.SalesStart):
			return Reservation{}, ErrSalesNotStarted
		case t.SalesEnd != nil && !i.Now.Before(*t.SalesEnd):
			return Reservation{}, ErrSalesEnded
		case t.MaxPerOrder != nil && *t.MaxPerOrder < l.Quantity:
			return Reservation{}, ErrOrderLimit
		case t.Available() < l.Quantity:
			return Reservation{}, ErrInsufficientInventory
		}
		lines[n].UnitPrice = t.Price
	}
	for _, l := range lines {
		i.Types[l.TypeID].Held += l.Quantity
	}
	r := Reservation{
		ID: q.ReservationID, UserID: q.UserID, EventID: q.EventID, Status: Active, ExpiresAt: i.Now.Add(q.Hold), Lines: lines,
	}
	i.Reservations[r.ID] = r
	i.Made = append(i.Made, r)
	return r, nil
}

// repeated says whether a request may have r, which has the id that it picked.
func (r Reservation) repeated(q Request) error {
	switch {
	case len(r.Lines) == 0: // a tombstone: the release came first
		return ErrReservationEnded
	case !r.sameRequest(q):
		return ErrReservationReused
	case r.Status == Cancelled || r.Status == Expired:
		return ErrReservationEnded
	}
	return nil
}

// sameRequest reports whether a request asks for what r already is, and not for something else under an id that is taken.
func (r Reservation) sameRequest(q Request) bool {
	return r.UserID == q.UserID && r.EventID == q.EventID &&
		slices.EqualFunc(InOrder(r.Lines), InOrder(q.Lines), func(a, b Line) bool {
			return a.TypeID == b.TypeID && a.Quantity == b.Quantity
		})
}

// InOrder gives the lines by ticket type, the order in which every transaction locks them.
func InOrder(lines []Line) []Line {
	return slices.SortedFunc(slices.Values(lines), func(a, b Line) int {
		return bytes.Compare(a.TypeID[:], b.TypeID[:])
	})
}

package ticket

import (
	"bytes"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Request asks to hold tickets for a while: all items or none.
type Request struct {
	ReservationID uuid.UUID
	UserID        uuid.UUID
	EventID       uuid.UUID
	Hold          time.Duration
	Items         []LineItem
	// ExpectedTotal is what the items cost by what the buyer has seen, in the currency of their types; empty if unknown.
	ExpectedTotal money.Decimal
}

// expects reports whether sum is the total that the buyer has seen, if that is known.
func (q Request) expects(sum money.Amount) bool {
	if q.ExpectedTotal == "" {
		return true
	}
	expected, err := q.ExpectedTotal.In(sum.Currency)
	return err == nil && expected == sum
}

// Result is the outcome of a Request: a reservation, or the error that refused it.
type Result struct {
	Reservation Reservation
	Err         error
}

// Buyer is a person as the buyer of tickets of one type.
type Buyer struct {
	UserID uuid.UUID
	TypeID uuid.UUID
}

// Inventory is everything that a batch of requests touches, read while the ticket types are locked.
type Inventory struct {
	Now          time.Time
	Events       map[uuid.UUID]Event // with their statuses and times only
	Types        map[uuid.UUID]*Type
	Reservations map[uuid.UUID]Reservation
	// Taken is how many tickets count towards the limits per person. It has the buyers of types with such a limit.
	Taken map[Buyer]int
	// Created are the reservations that Reserve has created, in the order of the requests.
	Created []Reservation
}

// Reserve checks a request against what the requests before it left and takes its tickets from the inventory. A
// refusal takes nothing: when three tickets are left, a request for four does not block one for three. Repeating
// a request under the same id returns the same reservation.
//
// The errors are ErrInsufficientInventory, ErrTypeNotFound, ErrEventNotOnSale (possibly because this service's
// copy of the event is out of date), ErrSalesNotStarted, ErrSalesEnded, ErrOrderLimit, ErrPersonLimit,
// ErrTotalTooLarge, ErrPriceChanged, ErrReservationReused and ErrReservationEnded. With ErrPriceChanged it also
// returns the items with their current prices.
func (i *Inventory) Reserve(q Request) (Reservation, error) {
	if r, known := i.Reservations[q.ReservationID]; known {
		return r, r.checkRepeated(q)
	}
	event := i.Events[q.EventID]
	if event.Status != EventPublished {
		return Reservation{}, ErrEventNotOnSale
	}
	items := SortedByType(q.Items)
	for n, item := range items {
		t, known := i.Types[item.TypeID]
		if !known || t.EventID != q.EventID {
			return Reservation{}, ErrTypeNotFound
		}
		if err := t.CheckSale(event, i.Now); err != nil {
			return Reservation{}, err
		}
		switch {
		case t.MaxPerOrder != nil && *t.MaxPerOrder < item.Quantity:
			return Reservation{}, ErrOrderLimit
		case t.MaxPerPerson != nil && *t.MaxPerPerson < i.Taken[Buyer{q.UserID, item.TypeID}]+item.Quantity:
			return Reservation{}, ErrPersonLimit
		case t.Available() < item.Quantity:
			return Reservation{}, ErrInsufficientInventory
		}
		items[n].TypeName, items[n].UnitPrice = t.Name, t.Price
	}
	sum := total(items)
	if chargeError(sum) != nil {
		return Reservation{}, ErrTotalTooLarge
	}
	if !q.expects(sum) {
		return Reservation{Items: items}, problem.New(problem.Conflict, ErrPriceChanged.Code,
			"The price has changed: the total is now %s", sum)
	}
	for _, item := range items {
		t := i.Types[item.TypeID]
		t.Held += item.Quantity
		if t.MaxPerPerson != nil {
			i.Taken[Buyer{q.UserID, item.TypeID}] += item.Quantity
		}
	}
	r := Reservation{
		ID: q.ReservationID, UserID: q.UserID, EventID: q.EventID,
		Status: ReservationActive, ExpiresAt: i.Now.Add(q.Hold), Items: items,
	}
	i.Reservations[r.ID] = r
	i.Created = append(i.Created, r)
	return r, nil
}

// checkRepeated returns nil if the result of q is r, which has the id that q chose: q is then a repetition of the
// request that created r. It returns ErrReservationReused or ErrReservationEnded otherwise.
func (r Reservation) checkRepeated(q Request) error {
	switch {
	case len(r.Items) == 0: // a tombstone: the release came first
		return ErrReservationEnded
	case !r.matches(q):
		return ErrReservationReused
	case r.Status == ReservationCancelled || r.Status == ReservationExpired:
		return ErrReservationEnded
	}
	return nil
}

// matches reports whether q asks for the user, event and items of r.
func (r Reservation) matches(q Request) bool {
	return r.UserID == q.UserID && r.EventID == q.EventID &&
		slices.EqualFunc(SortedByType(r.Items), SortedByType(q.Items), func(a, b LineItem) bool {
			return a.TypeID == b.TypeID && a.Quantity == b.Quantity
		})
}

// SortedByType returns a copy of items sorted by ticket type id, the order in which every transaction locks the
// types.
func SortedByType(items []LineItem) []LineItem {
	return slices.SortedFunc(slices.Values(items), func(a, b LineItem) int {
		return bytes.Compare(a.TypeID[:], b.TypeID[:])
	})
}

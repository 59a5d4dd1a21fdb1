package refund

import (
	"slices"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
)

// Returned returns the tickets that a holder returns: those with the ids, or all that are valid if ids is nil. held are
// the tickets of the order that the user owns. Returned returns ErrTicketNotFound for an id that is not among them,
// ErrTicketUsed, and ErrNotRefundable for a cancelled ticket. Without ids it returns them only if no ticket is left.
func Returned(held []calls.OrderTicket, ids []uuid.UUID) ([]uuid.UUID, error) {
	var valid []uuid.UUID
	used := false
	for _, t := range held {
		switch t.Status {
		case calls.TicketActive:
			valid = append(valid, t.TicketID)
		case calls.TicketUsed:
			used = true
		case calls.TicketCancelled:
		}
	}
	switch {
	case ids == nil && len(valid) > 0:
		return valid, nil
	case ids == nil && used:
		return nil, ErrTicketUsed
	case ids == nil && len(held) > 0:
		return nil, notRefundable("Your tickets of this order are cancelled already")
	case ids == nil:
		return nil, notRefundable("You own no tickets of this order; their owners can return them")
	}
	for _, id := range ids {
		i := slices.IndexFunc(held, func(t calls.OrderTicket) bool { return t.TicketID == id })
		switch {
		case i < 0:
			return nil, ErrTicketNotFound
		case held[i].Status == calls.TicketUsed:
			return nil, ErrTicketUsed
		case held[i].Status != calls.TicketActive:
			return nil, notRefundable("One of these tickets is cancelled already")
		}
	}
	return ids, nil
}

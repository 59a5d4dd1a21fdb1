package ticket

import "github.com/google/uuid"

// Purchase completes a reservation for a paid order.
type Purchase struct {
	ReservationID uuid.UUID
	OrderID       uuid.UUID
	UserID        uuid.UUID
	HolderName    string
}

// Refund cancels the tickets of an order because payment-service refunds them.
type Refund struct {
	OrderID   uuid.UUID
	TicketIDs []uuid.UUID // nil is all tickets of the order
	Key       string      // payment-service's key of the refund
	Reason    string
	KeepUsed  bool // used tickets stay as they are
	// OwnerID is the user who returns the tickets; uuid.Nil if it does not matter who owns them.
	OwnerID uuid.UUID
}

package notification

// Class is a group of notifications with workers of its own, so that many notifications of one class do not delay those
// of another.
type Class string

// The classes.
const (
	// Account has the mails that a user waits for to get on: the links to verify an address and to set a password.
	Account Class = "ACCOUNT"
	// Orders has the mails about what one user does with an order or a ticket.
	Orders Class = "ORDER"
	// Alert has the mails to operations.
	Alert Class = "ALERT"
	// Bulk has the mails that one decision of an organizer causes for all holders of tickets.
	Bulk Class = "BULK"
)

// Classes returns all classes, the most urgent first.
func Classes() []Class { return []Class{Account, Orders, Alert, Bulk} }

// Class returns the class of a notification of this kind, unless it belongs to an announcement. Refunds are Bulk
// because the cancellation of an event causes one for each order, and the mail asks for no action.
func (k Kind) Class() Class {
	switch k {
	case EmailVerification, PasswordReset:
		return Account
	case CompensationFailed, DeadLetterArchived, PaymentDisputed:
		return Alert
	case EventCancelled, EventPostponed, EventChanged, RefundProcessed:
		return Bulk
	default:
		return Orders
	}
}

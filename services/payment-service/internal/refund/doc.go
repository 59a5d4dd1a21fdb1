// Package refund holds the rules of refunds and the steps of the refund saga.
//
// # The refund saga
//
// A refund is committed as an intent before anything is done for it. Its Step is what the saga does next. Every call is
// idempotent: tickets are cancelled once per refund Key, and the gateway refunds once per refund Key.
//
//	CANCEL_TICKETS --cancelled--> REFUND --refunded--> DONE (SUCCEEDED)
//	      |                         |
//	      | one was used (*)        | refused by the bank
//	      v                         v
//	     DONE (FAILED)             DONE (FAILED)
//
// (*) Used tickets are refunded too if the event was cancelled, before it began or while it went on. Every buyer is
// refunded then, and no ticket stays valid.
//
// A refund of an amount cancels no tickets, and an order whose tickets could not be generated has none. Such refunds
// begin at REFUND. Tickets are cancelled first because a ticket can be used while its refund is in progress, and a
// refund cannot be reversed.
//
// After a postponement, the holder of a ticket decides whether to keep it, not its buyer. A return therefore
// names the holder, and ticket-service cancels the tickets only if they are still that user's: a ticket that was
// transferred in the meantime fails the refund with TICKET_NOT_FOUND, and the new holder decides. The money goes to the
// charge of the order, so to its buyer.
//
// The sum of an order's refunds that have not failed is never more than the charge. The order's row is locked while a
// refund is admitted, so that two concurrent requests cannot both get the rest. A constraint of the database enforces
// the same. The order is REFUNDED when everything has been refunded.
//
// When an event is cancelled, what is left of each of its orders is refunded: of orders that are done immediately, of
// others as soon as they are. No order is refunded twice, because nothing is left of it then.
//
// While a payment is disputed, the card processor refuses to refund it: no refund is admitted, and one that is in
// progress ends FAILED with CHARGE_DISPUTED. A dispute that is won repeats it, and then also refunds an order whose
// event was cancelled meanwhile. After one that is lost the bank has returned the money, and only a rest can be
// refunded.
//
// A refund that the bank refuses ends FAILED, and the order stays as it is. A person has to look at it, and may request
// another refund.
package refund

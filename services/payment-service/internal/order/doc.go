// Package order holds the rules of orders and the steps of the purchase saga.
//
// # The purchase saga
//
// An order's Step is what the saga does next. It is committed before the call that it stands for, so that after a crash
// another process can repeat the call. Every call is idempotent.
//
//	RESERVE --reserved--> CHARGE --paid--> FULFIL --tickets generated--> DONE   (COMPLETED)
//	   |                    |                |
//	   | refused            | declined       | no tickets left
//	   v                    v                v
//	  DONE               RELEASE           REFUND --refunded--> DONE            (REFUNDED)
//	(FAILED)                | released
//	                        v
//	                       DONE (FAILED)
//
// The order's Status, the contract's paymentStatus, is PENDING until the outcome of the charge is known. The charge is
// the pivot of the saga. Before it, the saga is compensated by releasing the hold. After it, the saga goes forward
// only: to tickets, or to a refund. At REFUND there is a refund of the whole order, which the saga of package refund
// carries out. The order is done when that refund is.
//
// A RESERVE whose response was lost is compensated unless the buyer repeats the request: the buyer's request ended with
// an error, so nothing has been sold.
//
// A CHARGE whose response was lost is never compensated on a guess. It is repeated under the same attempt key, which
// cannot charge twice, while the hold is extended. When the charge is ChargeWindow old, or the hold has ended, charging
// stops permanently, and that is committed. From then on only the outcome is looked up. The gateway's answer "no such
// charge" is final once no request can be in flight any more.
//
// FULFIL belongs to ticket-service, which handles PAYMENT_COMPLETED and publishes TICKETS_GENERATED or
// TICKET_GENERATION_FAILED. If neither arrives, the order is announced again, and ticket-service publishes its outcome
// again. If that fails until FulfilWindow has passed, the order is refunded and any tickets it has are cancelled.
//
// A Notice, which is a webhook event of the card processor, may report the outcome of a charge before the response
// does, or instead of it. It moves the order in the same way and never back. A charge that succeeded after its order
// had failed does not change the order. It is refunded.
package order

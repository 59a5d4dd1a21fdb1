// Package ticket holds the rules of inventory, reservations and tickets.
//
// # Inventory
//
// A ticket type has a capacity. Some of its tickets are sold, and some are held by reservations that are not
// paid yet. At every commit sold + held <= capacity.
//
// # Reservations
//
//	            reserve                confirm
//	(nothing) ----------> ACTIVE ------------------> COMPLETED
//	    |                  |  |                          ^
//	    | release          |  | hold time passes         | confirm of a paid order,
//	    v                  |  v                          | if tickets are left
//	CANCELLED <------------+ EXPIRED --------------------+
//	            release, or the event is cancelled
//
// The caller chooses a reservation's id, which makes every step idempotent: repeating a step returns the same
// result. A release that arrives before its reserve creates a CANCELLED reservation without items, a tombstone;
// the late reserve is then refused. An EXPIRED or CANCELLED reservation has returned its tickets to the
// inventory. If its order turns out to be paid, tickets are taken from the inventory again while some are left.
// COMPLETED is final.
//
// # Tickets
//
//	transfer
//	 +---+
//	 v   |      check-in
//	 ACTIVE ----------------> USED
//	    |                      |
//	    | cancelled by its     | the event is cancelled
//	    | owner, by a refund,  |
//	    | or with the event    |
//	    v                      |
//	CANCELLED <----------------+
//
// A ticket is ACTIVE from the commit that completed its reservation. Its QR code contains a signed token (see
// Signer) that anyone with the public key can check offline. A transfer changes the owner and increments the
// version of the code, so that the previous code no longer admits. A used ticket is not refunded, except when
// its event is cancelled, possibly while the event was running: then all tickets are cancelled. CANCELLED is
// final. A cancelled ticket is available for sale again.
//
// # Orders
//
// A paid order that cannot get its tickets is refunded, and must never get any later. The refusal is therefore
// stored, and every further request for the order's tickets returns the same refusal. An order that is refunded
// before it had tickets is refused in the same way.
//
// # Cancelled events
//
// A cancelled event is off sale at once: no reservation and no ticket is created from then on, and an order that
// is paid later is refused its tickets. The event's live reservations are released and its tickets, used ones
// included, are cancelled in batches; each batch is one transaction. If a process dies in between, the next cron
// tick continues.
package ticket

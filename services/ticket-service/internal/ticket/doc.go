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
//	    |  ^ check-in undone   |
//	    |  +-------------------|
//	    |                      |
//	    | cancelled by its     | the event is cancelled
//	    | owner, by a refund,  |
//	    | or with the event    |
//	    v                      |
//	CANCELLED <----------------+
//
// A ticket is ACTIVE from the commit that completed its reservation. Its QR code contains a signed token (see
// Signer) that anyone with the public key can check offline. A transfer changes the owner and increments the
// version of the code, so that the previous code no longer admits. Check-in is possible only in the window of the
// event, see Event.CheckInWindow. The organizer can undo a check-in, for example after a scan by mistake; the
// history of the ticket keeps it. A used ticket is not refunded, except when its event is cancelled, possibly while
// the event was running: then all tickets are cancelled. CANCELLED is final. A cancelled ticket is available for
// sale again.
//
// # Disputes
//
// While the payment of an order is disputed at the bank, its tickets are suspended: they do not admit, have no QR code
// and no PDF, and cannot be transferred or cancelled by their owners, who may be other people than the buyer. The
// suspension belongs to the order and stands beside the status of its tickets, so that it also applies to tickets that
// are issued later, and so that a dispute that is won leaves each ticket as it was. The place of a suspended ticket
// stays taken. The organizer may want disputed tickets to be VOID instead: then the codes that are in circulation never
// admit again, also at gates that learn superseded codes only now and then, and the holders get new ones if the dispute
// is won.
//
// A dispute that is lost cancels the tickets for good, and their places are on sale again: the organizer has lost the
// money and can earn it with another buyer. Used tickets stay used, because their holders took the places; if their
// check-in is undone, they still do not admit, because the order stays suspended.
//
// # Limits
//
// A type may have a limit per order, and a limit per person, which applies to all orders of a buyer together: to the
// tickets that the buyer's live reservations hold, and to those that the buyer bought and that are not cancelled, used
// ones included. Released and expired reservations and cancelled tickets do not count, so the buyer may buy again.
// A transferred ticket counts for its buyer and not for its owner: otherwise a buyer could give tickets away and buy
// more, and a gift would take the receiver's share. A new limit takes no ticket from anybody who has more.
//
// The limits are checked when tickets are reserved, and not again later: an order that is paid after its reservation
// has expired gets its tickets even if its buyer has bought others since.
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

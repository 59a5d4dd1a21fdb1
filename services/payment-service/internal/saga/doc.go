// Package saga drives orders through the purchase saga and refunds through the refund saga. It makes the calls that the
// steps of packages order and refund stand for, and records their outcomes with package store.
//
// # Steps
//
// A driver repeats three actions until the order or refund is done, or until a step belongs to another service:
//
//  1. It reads the step, which is committed.
//  2. It makes the call that the step stands for, outside any transaction.
//  3. It commits the outcome: the next step, the saga_events and the events to publish, in one transaction.
//
// The process can die between any two of these actions. The committed step then says which call to make next, and it
// does not matter whether the dead process had made that call: every call is idempotent under a key that was committed
// before it. A repeated call returns the outcome of the first.
//
//	call               key
//	reserve, release   the reservation id
//	charge             the attempt key, which is derived from the order's id
//	cancel, refund     the refund key, which is derived from the refund's id
//
// # Leases
//
// A driver holds the lease of what it drives, for a minute that each step renews. The first driver is the request that
// placed the order or requested the refund. If its process dies, the lease expires, and a sweep takes over. If a call
// fails, the driver ends its lease and schedules the next attempt; see store.Store.BackOff. A driver whose lease
// expired during a slow call does no harm, because an outcome is committed only if the order is still at the step that
// it belongs to.
//
// # Sweeps
//
// Every few seconds a cron tick of the sidecar starts a sweep on each replica. It leases what is due and drives it on.
// It also announces orders again whose tickets were not reported, and creates the refunds of cancelled events. A
// compensation is repeated until it succeeds. After several failed attempts COMPENSATION_FAILED alerts operations.
//
// # What a crash leads to
//
//	the process dies             afterwards
//	at RESERVE                   If the buyer repeats the request within a minute, the order is driven on. Otherwise
//	                             the sweep releases the reservation, and the order is FAILED. ticket-service stores
//	                             the release, so a reserve that arrives after it is refused.
//	at CHARGE, before the call   The sweep makes the charge.
//	at CHARGE, after the call    The sweep repeats the charge and gets the first outcome. The card is charged once.
//	at FULFIL                    Nothing is left to do here: PAYMENT_COMPLETED was committed with the step, and any
//	                             replica publishes it.
//	at RELEASE                   The sweep repeats the release.
//	during a refund              The sweep repeats the cancellation or the refund. Each takes effect once.
//
// # Example: the card is charged and the process dies
//
// The order is at CHARGE, its tickets are held for 15 minutes, and the buyer's request has no response. Stripe has
// charged the card, and nothing of that is recorded here.
//
// Within a minute the lease expires, and a sweep of any replica leases the order. It repeats the charge under the same
// attempt key, which payment-gateway sends as Stripe's idempotency key. Stripe returns the outcome of the first
// request. The sweep commits it: the order is paid, at FULFIL, with PAYMENT_COMPLETED in the outbox. The relay
// publishes the event, ticket-service generates the tickets, and TICKETS_GENERATED completes the order. Stripe's
// webhook may report the charge earlier; it moves the order in the same way. A buyer who repeats the request gets the
// same order in any case.
//
// If payment-gateway does not respond, the attempts go on with growing intervals, and each extends the hold. Ten
// minutes after the first attempt, or when the hold has ended, charging stops for good. From then on the gateway is
// only asked what became of the charge. If the card was charged, the order goes on as above. If the tickets have been
// sold to others in the meantime, the order is refunded. If there is no charge, and no request can be in flight any
// more, the order is FAILED.
//
// # Notices
//
// The card processor's webhooks arrive independently of any driver and need no lease. They record the same outcomes as
// the responses to calls do. Whichever is second changes nothing.
package saga

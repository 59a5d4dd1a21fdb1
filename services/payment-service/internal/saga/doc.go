// Package saga drives orders through the purchase saga and refunds through the refund saga. A step of a saga is a call
// to another service or the wait for an event. The saga makes the call and records its outcome with package store.
//
// # Steps
//
//	purchase   RESERVE -> CHARGE -> FULFIL -> DONE
//	           RESERVE -> RELEASE -> DONE            the reservation's outcome is unknown, and the buyer did not retry
//	           CHARGE  -> RELEASE -> DONE            the card was declined, or no charge was made in time
//	           FULFIL  -> REFUND  -> DONE            the tickets could not be issued
//	refund     CANCEL_TICKETS -> REFUND -> DONE      the money is refunded after the tickets are cancelled
//
// RELEASE and the refund saga are the compensations. The buyer's order is COMPLETED as soon as it is paid, at FULFIL.
// FULFIL belongs to ticket-service, which reports TICKETS_GENERATED or TICKET_GENERATION_FAILED.
//
// A driver repeats three actions until the saga is done or waits for an event:
//
//  1. It reads the committed step.
//  2. It makes the call of that step, outside any transaction.
//  3. It commits the outcome in one transaction: the next step, the saga_events, and the events to publish.
//
// The process can die between any two of these actions. The next driver repeats the call of the committed step. It does
// not need to know whether the dead process had made that call: each call has an idempotency key that was committed
// before it, and a repeated call returns the outcome of the first.
//
//	call               key
//	reserve, release   the reservation id
//	charge             the attempt key; an order has one, derived from its id
//	cancel, refund     the refund key, derived from the refund's id
//
// # Leases
//
// A driver holds a lease on what it drives, for one minute. Each committed step renews it. The first driver is the
// request that placed the order or requested the refund. If that process dies, the lease expires. If a call fails
// without an outcome (ErrUnsettled), the driver ends its lease and schedules the next attempt; see store.Store.BackOff.
// A decline is an outcome, not a failure.
//
// A call may take longer than the lease, so two drivers may make the same call. The key makes that safe at the callee.
// Here, an outcome is committed only if the order is still at the step that it belongs to.
//
// # Sweeps
//
// Every few seconds each replica's sidecar starts a sweep with a cron tick. A sweep leases the sagas that are due and
// drives them. It also creates the refunds of cancelled events. A compensation that gets no answer is repeated until it
// succeeds. After order.MaxTries failed attempts it publishes COMPENSATION_FAILED once, which alerts operations, and
// continues.
//
// # Refusals
//
// A refusal of a call for good is an outcome of its step, and the call is not repeated:
//
//	reserve    The order is FAILED with the reason.
//	charge     If the card processor refused it, the order is FAILED and its hold is released. If payment-gateway refused
//	           the request itself, the charge is settled at once: an earlier attempt may have charged.
//	confirm    The order is refunded.
//	cancel     The refund is FAILED, and no money is returned.
//	refund     The refund is FAILED. Operations and the buyer are told; see store.Store.RefundFailed.
//	settle,    Neither tells how to continue. The attempts end after order.MaxTries of them. COMPENSATION_FAILED alerts
//	release    operations, and an admin lists the order as stuck and can retry it.
//
// services/decisions/refusals-are-outcomes.md has the refusals of every call in the system.
//
// An order at FULFIL is due after two minutes without a report. The sweep then publishes PAYMENT_COMPLETED again, as a
// new message; ticket-service answers for an order that it knows already and issues no second tickets. It repeats that
// after four minutes and every four minutes from then on. After order.FulfilWindow (30 minutes) it asks ticket-service
// for the tickets with a call. If ticket-service refuses, it refunds the order, cancels any tickets of it, and
// publishes COMPENSATION_FAILED. If ticket-service does not respond, it asks again: a refund could not cancel the
// tickets either.
//
// # What a crash leads to
//
//	the process dies             afterwards
//	at RESERVE                   When the lease has expired, the first of two continues. A repeated request of the
//	                             buyer drives the order on. A sweep goes to RELEASE, because the buyer has seen an
//	                             error and nothing is sold yet. ticket-service stores the release, and refuses a
//	                             reserve that arrives after it.
//	at CHARGE, before the call   The sweep makes the charge.
//	at CHARGE, after the call    The sweep repeats the charge and gets the first outcome. The card is charged once.
//	at FULFIL                    PAYMENT_COMPLETED was committed with the step. The relay of any replica publishes it.
//	at RELEASE                   The sweep repeats the release.
//	during a refund              The sweep repeats the call of the step. Each takes effect once.
//
// # Example: the card is charged and the process dies
//
// The order is at CHARGE. Its tickets are held until 15 minutes after they were reserved. Stripe has charged the card,
// and the database does not have the outcome. The buyer's connection breaks.
//
// The lease expires after at most a minute, and the next sweep of any replica leases the order. It repeats the charge
// under the same attempt key, which payment-gateway sends as Stripe's idempotency key. Stripe returns the outcome of
// the first request. The sweep commits it: the order is COMPLETED, at FULFIL, with PAYMENT_COMPLETED in the outbox. The
// relay publishes the event, ticket-service issues the tickets, TICKETS_GENERATED moves the order to DONE, and
// notification-service mails the tickets. Stripe's webhook may arrive before the sweep does. It commits the same
// outcome.
//
// The buyer may repeat the request with the same Idempotency-Key. The response is about the same order: 202 while
// another driver holds the lease, 201 once it is paid, 402 if the card was declined. Another Idempotency-Key makes
// another order.
//
// # If the outcome of a charge stays unknown
//
// If payment-gateway or Stripe does not respond, the attempts continue at growing intervals. From one minute after the
// order reached CHARGE, each attempt first extends the hold, up to 30 minutes in all. If the extension fails, the
// attempt is made anyway, unless ticket-service reports that the hold has ended.
//
// Ten minutes after the order reached CHARGE, or when the hold has ended, charging stops for good. From then on each
// attempt asks payment-gateway to settle the charge. Settling returns the outcome, and makes sure that a charge that
// was not made is never made, also by a request that is still on its way:
//
//   - The card was charged: the order moves to FULFIL. If its hold has ended, ticket-service reserves the tickets
//     again; if they are sold, it reports TICKET_GENERATION_FAILED, and the order is refunded.
//   - The card was declined, or there is no charge: the order is FAILED, and its hold is released.
//   - payment-gateway does not respond, or the bank still processes the charge: it is asked again, at most every five
//     minutes, without end.
//   - payment-gateway refuses the question: a person has to look, as above.
//
// A charge that is reported after its order has FAILED is refunded.
//
// # Authentication
//
// A bank may require the buyer to authenticate (3-D Secure). The order then stays at CHARGE with an action, which the
// buyer sees as REQUIRES_ACTION, and its hold is extended. Stripe's webhook or the next attempt reports the outcome.
// After ten minutes the charge is settled like any other, which cancels it if the buyer has not authenticated.
//
// # Disputes
//
// A buyer may dispute a charge at the bank, which takes the money until it has decided. Webhooks report that, and a
// sweep reads the list of disputes every two minutes and looks open ones up, because webhooks may be lost.
// PAYMENT_DISPUTED reports each new status: ticket-service suspends the tickets, restores them if the dispute is won,
// and cancels them if it is lost. No refund is made meanwhile; see package refund. A dispute may be reported before its
// order is known to be paid. It is stored then, and a sweep applies it when the order has the transaction. Inquiries,
// for which a bank takes no money, are ignored.
//
// # Webhooks
//
// Stripe's webhooks arrive at any time, also while a driver holds the lease. Notice records the outcomes that they
// report, under the same condition: the order is still at the step that the outcome belongs to. Stripe repeats a
// webhook that was not accepted for up to three days.
package saga

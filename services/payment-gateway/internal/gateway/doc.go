// Package gateway charges and refunds cards with Stripe's PaymentIntents API and parses Stripe's webhooks.
//
// # Charges
//
// An attempt key stands for one charge of one order. It is sent as Stripe's idempotency key, so for 24 hours, as long
// as Stripe keeps the key, repeating a Charge after a crash, a timeout or a lost response returns the outcome of the
// first request. After that a caller must not repeat a Charge, and looks it up with Find. (payment-service stops
// charging after ten minutes.)
//
// A decline is an outcome, not an error. ErrUnavailable means that the outcome is unknown: the card may have been
// charged. The caller repeats the same Charge to learn the outcome.
//
// Stripe also saves its own internal errors (500) under the idempotency key. A repetition then receives the saved
// error, marked as a replay, whether or not the first request charged the card. Charge never returns a replayed error.
// It looks up the charge and returns its outcome. If there is none, it returns a retryable decline, since nothing can
// be charged under this key any more.
//
// # Lookups
//
// Find first asks Stripe's search, which is one request. The search index lags behind writes by up to a minute, and by
// an hour during an outage at Stripe. If the search finds nothing, Find reads the list of all PaymentIntents created
// since the first attempt, which does not lag, up to a limit. If it read the whole list, NotFound means that there was
// no such charge at that moment. If it did not, the NotFound is marked Retryable: a later lookup may find the charge.
// Find cannot know about a request that is still on its way to Stripe. The caller waits until there can be none.
//
// # Refunds
//
// A refund key stands for one refund, without a limit in time. Refund first looks for the key among the refunds of the
// charge, a list that does not lag, and creates a refund if it is not there. It sends the key as Stripe's idempotency
// key too, so concurrent requests create one refund.
//
// # Webhooks
//
// A webhook event is accepted only if it is signed with the endpoint's secret and the signature is at most five minutes
// old. Stripe signs each delivery anew. The PaymentIntent in the event becomes the Charge that a response with it would
// become.
//
// # Retries
//
// This package retries nothing within a call. Retries within a call belong to the sidecar's policy, which stops them
// when the circuit breaker opens. Attempts that are minutes apart belong to the saga of payment-service, which stores
// them.
package gateway

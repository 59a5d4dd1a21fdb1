// Package gateway charges and refunds cards with Stripe's PaymentIntents API and parses Stripe's webhooks.
//
// # Charges
//
// An attempt key is charged at most once. It is sent as Stripe's idempotency key, so repeating a Charge after a crash,
// a timeout or a lost response returns the outcome of the first request. Stripe keeps an idempotency key for 24 hours.
// A caller must not repeat a Charge after that, and can still look it up with Find.
//
// A decline is an outcome, not an error. ErrUnavailable means that the outcome is unknown: the card may have been
// charged. The caller repeats the same Charge to find out.
//
// Stripe also saves its own internal errors (500) under the idempotency key. Every repetition then receives the saved
// error, marked as a replay, although the first request has ended with or without a charge. Charge never returns a
// replayed error. It looks up what the first request did and returns that.
//
// # Lookups
//
// Find first asks Stripe's search, which is one request. The search index lags behind writes by up to a minute, and by
// an hour during an outage at Stripe. If the search finds nothing, Find reads the list of all PaymentIntents created
// since the first attempt, which does not lag. NotFound is therefore true at that moment, except where the list is too
// long to be read; Retryable is set in that case. Find cannot know about a request that is still on its way to Stripe.
// The caller has to rule that out.
//
// # Refunds
//
// A refund key is refunded at most once, without a limit in time. Besides sending the key as an idempotency key, Refund
// looks for it among the refunds of the charge before it creates one. That list does not lag.
//
// # Webhooks
//
// A webhook event is accepted only if it is signed with the endpoint's secret and the signature is at most five minutes
// old. Its PaymentIntent is translated to the same Charge that the response to the charge request is.
//
// # Retries
//
// This package retries nothing. Retries belong to the sidecar's policy, which stops them when the circuit breaker
// opens. A second layer of retries would multiply the first.
package gateway

// Package gateway charges and refunds cards with Stripe's PaymentIntents API and parses Stripe's webhooks.
//
// # Charges
//
// An attempt key stands for one charge of one order. It is sent as Stripe's idempotency key, so for 24 hours, as long
// as Stripe keeps the key, repeating a Charge after a crash, a timeout or a lost response returns the present state of
// the intent that the first request created. After that a caller must not repeat a Charge; it calls Settle.
//
// A decline is an outcome, not an error. ErrUnavailable means that the outcome is unknown: the card may have been
// charged. The caller repeats the same Charge to learn the outcome.
//
// A charge that RequiresAction waits for the buyer, who authenticates at the bank. Repeating the Charge returns its
// present state. An intent that Stripe created and did not confirm is confirmed by the next repetition.
//
// Stripe also saves its own internal errors (500) under the idempotency key. A repetition then receives the saved
// error, marked as a replay, whether or not the first request charged the card. Charge never returns a replayed error.
// It looks up the charge and returns its outcome. If there is none, it returns a retryable decline, since nothing can
// be charged under this key any more.
//
// # Settling
//
// Settle ends an attempt. It first uses the attempt key for an intent that has no card. If that succeeds, no charge was
// made, and none can be made by a request that is still on its way: Stripe would refuse it for its other parameters. If
// Stripe refuses Settle's request, the key is used, and so the original request can be repeated without charging twice;
// its saved answer has the id of the intent. Settle cancels an intent that waits for the buyer.
//
// After 24 hours, or if the saved answer is an internal error, Settle searches for the key in the metadata of intents.
// Stripe's search index lags behind writes by up to a minute, and by an hour during an outage at Stripe. Up to an age
// of two hours, Settle reads the list of intents as well, which does not lag. On a busy account that list is too long,
// and Settle returns ErrUnavailable until the index has caught up.
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

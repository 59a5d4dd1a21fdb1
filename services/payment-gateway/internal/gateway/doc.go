// Package gateway charges and refunds cards with Stripe.
//
// What the caller may rely on:
//
//   - One attempt key is one charge. It is Stripe's idempotency key, so the same Charge again, after a
//     crash, a timeout or a lost answer, gives the answer of the first. Stripe keeps a key for 24
//     hours: a Charge must not be repeated later than that; Find still tells.
//   - A decline is an answer, not an error. Every error that is ErrUnavailable means "not known":
//     the charge may have happened, and the same Charge again is the way to find out.
//   - Stripe also saves an internal error of its own under a key, and a repetition only gets that back,
//     marked as a replay. The request has ended then, with its effect or without, so Charge looks which
//     it was: an error that is replayed is never the answer.
//   - Find asks Stripe's search first, which is quick and lags behind its writes, by up to a minute and in
//     an outage by an hour, and then reads the list of what was made since the first attempt, which does
//     not lag. So a NotFound is true of the moment, unless that list is too long to be read, which
//     Retryable says; that a Charge is still on its way, only the caller can rule out.
//   - One refund key is one refund, for ever: beside the idempotency key, a refund is looked for among
//     those of its charge (a list, which does not lag) before it is made.
//
// What Stripe sends on its own, by webhook, is believed if it is signed with the endpoint's secret, and
// lately. It is told in the words of a Charge.
//
// Nothing is retried here. A retry belongs to the sidecar's policy, which sees the breaker; two
// layers of retries multiply.
package gateway

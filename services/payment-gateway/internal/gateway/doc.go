// Package gateway charges and refunds cards with Stripe.
//
// What the caller may rely on:
//
//   - One attempt key is one charge. It is Stripe's idempotency key, so the same Charge again, after a
//     crash, a timeout or a lost answer, gives the answer of the first. Stripe keeps a key for 24
//     hours: a Charge must not be repeated later than that; Find still tells.
//   - A decline is an answer, not an error. Every error that is ErrUnavailable means "not known":
//     the charge may have happened, and the same Charge again is the way to find out.
//   - Find is weaker than repeating the Charge. Stripe's search lags behind its writes, by up to a
//     minute and in an outage by an hour, so a NotFound is final only for an old attempt. It is there
//     for attempts too old to be repeated, and for keys under which Stripe saved an internal error of
//     its own, which a repetition only gets back.
//   - One refund key is one refund, for ever: beside the idempotency key, a refund is looked for among
//     those of its charge (a list, which does not lag) before it is made.
//
// What Stripe sends on its own, by webhook, is believed if it is signed with the endpoint's secret, and
// lately. It is told in the words of a Charge.
//
// Nothing is retried here. A retry belongs to the sidecar's policy, which sees the breaker; two
// layers of retries multiply.
package gateway

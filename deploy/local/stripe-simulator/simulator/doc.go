// Package simulator is Stripe's PaymentIntents and Refunds API over a journal on
// disk; the command above it says what it has of Stripe and what not.
//
// One mutex guards all state. A POST runs in three steps: it claims its
// idempotency key (in memory: a claim that dies with the process was never
// answered), it executes and appends one journal line with every object it
// changed and the answer it will give, and it answers. Between the last two a
// crash, or a switch, loses the answer and nothing else; the retry is replayed.
//
// Nothing that identifies a card is logged or kept: test payment methods are
// names, and the brand, the last four digits and the outcome are constants.
package simulator

// Package simulator implements Stripe's PaymentIntents and Refunds API on top of a journal on disk. The documentation
// of the command stripe-simulator lists which parts of Stripe it has.
//
// One mutex guards all state. A POST runs in three steps:
//
//  1. It claims its idempotency key, in memory only. A claim that is lost with the process was never answered.
//  2. It executes, and appends one journal line with every object that it changed and the answer.
//  3. It answers.
//
// A crash or an injected fault between steps 2 and 3 loses the answer and nothing else. The retry gets the saved
// answer.
//
// Nothing that identifies a card is logged or stored: test payment methods are names, and the brand, the last four
// digits and the outcome of each are constants.
package simulator

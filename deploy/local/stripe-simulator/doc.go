// Command stripe-simulator simulates the part of Stripe's HTTP API that this system uses. stripe-go works with it
// unchanged, and its state survives a restart. The services do not know about it: STRIPE_API_BASE points
// payment-gateway to this simulator, and to the real Stripe when it is empty.
//
//	stripe-simulator -addr 127.0.0.1:12111 -data .local/stripe \
//	    -webhook-url http://127.0.0.1:8083/api/payments/webhooks/stripe
//
// # What it implements
//
//	POST /v1/payment_intents                create; confirm=true charges in the same call
//	POST /v1/payment_intents/{id}/confirm
//	POST /v1/payment_intents/{id}/cancel
//	GET  /v1/payment_intents/{id}
//	GET  /v1/payment_intents                newest first; limit, starting_after, ending_before, created[gt|gte|lt|lte]
//	GET  /v1/payment_intents/search         query=metadata['k']:'v' AND status:'succeeded'; limit, page
//	POST /v1/refunds                        by payment_intent or charge; full or partial
//	GET  /v1/refunds/{id}
//	GET  /v1/refunds                        payment_intent, charge; paged like the list of intents
//	GET  /v1/disputes, /v1/disputes/{id}
//	POST /v1/disputes/{id}                  evidence[uncategorized_text]=winning_evidence or losing_evidence
//	POST /v1/disputes/{id}/close            accepts that the dispute is lost
//
// Requests are form-encoded. Objects and errors have Stripe's JSON. A secret key is required, as a bearer token or as
// the user of basic authentication; a live key is rejected. A parameter that the simulator does not implement is
// rejected with 400 parameter_unknown and never ignored, so a request that succeeds was understood completely.
//
// Payment methods are Stripe's test methods, with the outcomes that Stripe documents. pm_card_visa, pm_card_mastercard
// and other brands succeed. Generic decline, insufficient funds, lost and stolen card, expired card, incorrect CVC,
// processing error and velocity limit are answered with 402 and a card_error. pm_card_authenticationRequired and
// pm_card_threeDSecure2Required need 3-D Secure: the intent stays in requires_action, unless error_on_requires_action
// declines it. The page /_bank/{id} stands for the cardholder's bank and completes it. pm_card_createDispute is
// charged, and disputed a second later; a charge whose dispute is open or lost cannot be refunded. A refund of
// pm_card_pendingRefund is pending first; one of pm_card_refundFail succeeds first and fails a second later.
//
// Idempotency-Key works as in Stripe. A request with the same key and the same parameters gets the saved answer (200,
// 402 or 500) and the header Idempotent-Replayed. Other parameters get 400 idempotency_error, and a key whose first
// request is still running gets 409 idempotency_key_in_use. A request that fails validation saves nothing. Keys expire
// after 24 hours.
//
// With -webhook-url it sends webhooks: payment_intent.*, refund.*, charge.refunded, charge.refund.updated and
// charge.dispute.*, signed with the secret in STRIPE_WEBHOOK_SECRET. Events may arrive in any order. An event that is
// not accepted is sent again for two minutes. Events are not in the journal, so
// stopping the simulator loses those that are not yet delivered.
//
// # What it does not implement
//
// Customers, saved cards, manual capture, expand, fees, balances, Stripe.js, Connect, inquiries, early fraud warnings,
// rate limits, and API versions (every Stripe-Version gets the same answer). Search sees a write immediately,
// unless the fault searchLagMs gives it Stripe's lag.
//
// # State
//
// Every change is one line of an append-only journal in the data directory. The line holds the changed objects and the
// saved answer together, and is written and synced before the request is answered. At the start the journal is
// replayed. A torn last line is truncated: its request was never answered. SIGKILL at any point loses nothing that was
// answered.
//
// # Control, for tests and audits
//
//	GET /healthz
//	GET /_charges      every PaymentIntent with the amounts refunded and disputed, oldest first
//	GET /_counters     what happened since the start: charges, declines, replays and so on; inFlight is the keys in use
//	GET, PUT, DELETE /_faults
//	POST /_webhooks    sends the events about failed refunds again
//	GET, POST /_bank/{id}   the bank's page; POST outcome=authenticate or outcome=fail
//
// The faults (see [simulator.Faults]) delay or fail requests, lose answers, leave charges unconfirmed or processing,
// dispute charges, fail refunds, and delay, lose or repeat webhooks:
//
//	curl -X PUT localhost:12111/_faults -d '{"loseAnswer":1}'
//
// executes the next charge and then drops the connection, so that the caller does not learn the outcome.
package main

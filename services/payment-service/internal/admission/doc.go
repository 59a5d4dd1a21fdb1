// Package admission limits how much work payment-service accepts: an OrderQueue for orders, and a Pacer for charges.
// Both make requests wait before anything has been done for them, where waiting costs nothing.
//
// # Orders
//
// An order takes several calls to other services, each with a timeout of seconds. Orders that are all processed at once
// share the processors until their calls time out. The timeouts open the circuit breakers, and then no order succeeds.
// The OrderQueue therefore lets Concurrency orders in, makes up to QueueSize others wait for at most MaxWait, and
// rejects the rest with ErrBusy: 429 with Retry-After. A rejected order has not been stored, so the client can repeat
// the request.
//
// # Charges
//
// payment-gateway accepts a number of calls per second from each caller; its sidecar rejects the others with 429. Dapr
// counts such a rejection as a failure for the caller's circuit breaker. A burst of orders would open the breaker, and
// all of them would stay unpaid until it closes. The Pacer spaces charges so that they stay below the limit.
//
// # Why not in the sidecar
//
// Dapr has three limits, and none of them does this:
//
//   - appMaxConcurrency counts everything that an app receives. Orders, events, cron ticks and reads share it, so a
//     burst of orders would delay the events that complete them. Its queue has no limit and no maximum wait: requests
//     whose clients have timed out are processed anyway.
//   - The middleware middleware.http.ratelimit counts requests per second. It rejects and does not queue, and it does
//     not know how long an order takes.
//   - A rejection by a sidecar counts as a failure for the caller's circuit breaker. A 429 of the app does not, because
//     it is sent with its status in a header.
//
// The sidecars' limits remain as the outer bounds; see services/decisions/admission-control-in-code.md. Both limits of
// this package hold per process.
package admission

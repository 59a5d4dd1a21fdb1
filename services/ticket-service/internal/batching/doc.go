// Package batching combines concurrent requests to reserve tickets into shared transactions, and rejects requests
// that would have to wait too long.
//
// # Why batches
//
// When sales open, most requests want tickets of one type, and only one transaction at a time can update that
// type's row. With one transaction per request, every request would wait for the disk while all others wait for the
// row's lock: throughput would be one reservation per commit. A batch makes one commit serve up to BatchSize
// requests.
//
// # Queues, workers and batches
//
//   - Requests for the same set of ticket types share a queue and are served first in, first out.
//   - Up to Concurrency workers take batches from the queues. A batch is at most BatchSize requests and is one
//     transaction.
//   - A request that finds its queue empty and a worker free starts at once. Requests that arrive during a
//     transaction form the next batch. No request waits for a batch to fill, so the batch size follows the load.
//   - At most one worker serves a queue at a time, so that a process has at most one connection that waits for the
//     lock of a popular type's row. Batches of other processes, and batches for other sets of types that include
//     this one, are serialized by the row's lock. All transactions lock types in the order of their ids.
//   - While all workers are busy, a batch may combine several short queues: a thousand types that go on sale at
//     once do not need a thousand commits.
//
// # Results and failures
//
//   - Each request in a batch is checked against what the requests before it left, and has a result of its own (see
//     ticket.Inventory). The result is returned after the commit. The package keeps no state that a crash could
//     lose: a request that was not answered has no effect, or one that its repetition returns.
//   - If a batch fails, each of its requests is repeated in a transaction of its own, so that a request that cannot
//     succeed fails alone. It does not matter whether the batch failed or only its result was lost: a request that
//     is repeated under the same reservation id returns the reservation that it already has.
//   - A panic in a batch is an error of its requests; it does not end the process.
//   - A request whose context ends while it is queued is removed from its queue. If its batch is already running, the
//     reservation is committed: a repetition of the request returns it, and otherwise the hold expires.
//
// # Load shedding
//
// A request is rejected at once with ErrBusy (429 with Retry-After) if its queue has QueueSize requests, or if its
// expected wait exceeds MaxWait. The expected wait is the number of batches ahead of the request times the time that
// the queue's latest batch took. While all queued requests fit into one batch, none is rejected for its expected
// wait: then the disk or a lock is slow and not the load too high, and rejections would not help.
//
// A sidecar cannot do this. Dapr's app-max-concurrency lets a fixed number of requests through and makes the others
// wait without limit; it does not know which requests compete for the same tickets and could share a transaction,
// and it treats events and cron ticks alike. Its rate limiter has a fixed rate, while the rate that this service
// can sustain depends on the database. It rejects without knowing when a retry would succeed, and the caller's
// circuit breaker counts a rejection by a sidecar as a failure, so that a popular sale would open it. The limits in
// the sidecars' configuration remain as outer bounds. See services/decisions/admission-control-in-code.md and
// services/decisions/batched-reservations.md.
//
// # Issuing tickets
//
// The transactions that issue the tickets of paid reservations update the same rows and are not batched. During a
// sale many of them would wait for the row's lock, and every batch behind all of them. Issue therefore runs at most
// Concurrency of them at a time.
package batching

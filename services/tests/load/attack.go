package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// load describes how requests are sent. Either clients or perSecond is set.
type load struct {
	// clients is the number of clients, each of which sends its next request when the last one is answered.
	clients int
	// perSecond is the rate of an open load, whose requests are due at even intervals.
	perSecond int
	// during is how long requests are sent.
	during time.Duration
	// requests, if set, is the maximum number of requests.
	requests int
	// client, if set, sends the requests.
	client *http.Client
}

// outcome is the outcome of a load.
type outcome struct {
	answers      map[int]int           // number of answers by status; 0 counts requests without an answer
	last         map[int]time.Duration // time of the last answer by status, since the start
	took         time.Duration
	latency      *hdrhistogram.Histogram // in microseconds
	firstFailure string                  // error and body of the first answer that is not a success
}

// maxLatency is the longest latency that can be recorded. Latencies have a precision of three digits.
const maxLatency = 5 * time.Minute

// perSecond returns the number of answers per second that have the status.
func (o outcome) perSecond(status int) float64 { return float64(o.answers[status]) / o.took.Seconds() }

// percentile returns the latency in milliseconds that p percent of the answers do not exceed.
func (o outcome) percentile(p float64) float64 {
	return float64(o.latency.ValueAtPercentile(p)) / 1000
}

// expect returns an error unless every answer has one of the statuses.
func (o outcome) expect(statuses ...int) error {
	failed := 0
	for _, n := range o.answers {
		failed += n
	}
	for _, status := range statuses {
		failed -= o.answers[status]
	}
	if failed > 0 {
		return fmt.Errorf("%d requests failed; the first failure: %s", failed, o.firstFailure)
	}
	return nil
}

// merge adds the outcome of a load that ran after this one.
func (o *outcome) merge(other outcome) {
	if o.latency == nil {
		*o = other
		return
	}
	for status, n := range other.answers {
		o.answers[status] += n
		o.last[status] = o.took + other.last[status]
	}
	o.took += other.took
	o.latency.Merge(other.latency)
	if o.firstFailure == "" {
		o.firstFailure = other.firstFailure
	}
}

// latencies adds the p50 and p99 of one side's turn to the results.
func (o outcome) latencies(r *results, name string, side int) {
	r.row(name, "p50", "ms").add(side, o.percentile(50))
	r.row(name, "p99", "ms").add(side, o.percentile(99))
}

// cappedPacer is a pacer that stops after a number of requests.
type cappedPacer struct {
	vegeta.Pacer
	requests int
}

// Pace stops when all requests are sent, and otherwise returns the wait of the inner pacer.
func (c cappedPacer) Pace(elapsed time.Duration, sent uint64) (wait time.Duration, stop bool) {
	if sent >= uint64(c.requests) { //nolint:gosec // never negative
		return 0, true
	}
	return c.Pacer.Pace(elapsed, sent)
}

// attack sends the requests that next generates, as the load describes, and waits for all answers. Without l.client, a
// request times out after 30 s.
func attack(ctx context.Context, l load, next vegeta.Targeter) (outcome, error) {
	pacer := vegeta.Pacer(vegeta.Rate{Freq: l.perSecond, Per: time.Second})
	if l.requests > 0 {
		pacer = cappedPacer{pacer, l.requests}
	}
	client := l.client
	if client == nil {
		// Each load opens its own connections. They are closed afterwards, so that the server does not keep both.
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, vegeta.DefaultConnections
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport, Timeout: vegeta.DefaultTimeout}
	}
	options := []func(*vegeta.Attacker){vegeta.Client(client)}
	if l.clients > 0 {
		n := uint64(l.clients)
		options = append(options, vegeta.Workers(n), vegeta.MaxWorkers(n))
	}
	attacker := vegeta.NewAttacker(options...)
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()

	o := outcome{
		answers: map[int]int{}, last: map[int]time.Duration{},
		latency: hdrhistogram.New(1, maxLatency.Microseconds(), 3),
	}
	began := time.Now()
	for r := range attacker.Attack(next, pacer, l.during, "") {
		o.answers[int(r.Code)]++
		o.last[int(r.Code)] = max(o.last[int(r.Code)], r.End().Sub(began))
		if o.firstFailure == "" && r.Error != "" {
			o.firstFailure = fmt.Sprintf("%s %s", r.Error, r.Body)
		}
		latency := r.Latency
		if l.perSecond > 0 {
			latency += lateness(r.Timestamp.Sub(began), r.Seq, l.perSecond)
		}
		if err := o.latency.RecordValue(latency.Microseconds()); err != nil {
			return o, fmt.Errorf("record a latency of %s: %w", latency, err)
		}
	}
	o.took = time.Since(began)
	return o, ctx.Err()
}

// lateness returns how long after its due time a request of an open load was sent. The load generator competes for the
// processors too, and a request that it sends late has waited for that long.
func lateness(sent time.Duration, seq uint64, perSecond int) time.Duration {
	// vegeta sends the first request at the end of the first interval or earlier.
	due := time.Duration(float64(seq+1) / float64(perSecond) * float64(time.Second))
	return max(0, sent-due)
}

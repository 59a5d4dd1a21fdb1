package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// load is how requests come.
type load struct {
	// clients, where set, each send a request when their last one is answered.
	clients int
	// perSecond, where set, is how many requests are due in a second, at even distances.
	perSecond int
	// during is how long they come.
	during time.Duration
	// requests, where set, is how many come at most.
	requests int
	// client, where set, sends them.
	client *http.Client
}

// shots are what came of a load.
type shots struct {
	answers map[int]int           // by status; 0 is for what had no answer
	last    map[int]time.Duration // when the last of them came, from the beginning
	took    time.Duration
	latency *hdrhistogram.Histogram // in microseconds
	trouble string                  // the first answer that was no success
}

// Latencies up to maxLatency are told apart, to three digits.
const maxLatency = 5 * time.Minute

// perSecond is how many requests were answered with status in a second.
func (s shots) perSecond(status int) float64 { return float64(s.answers[status]) / s.took.Seconds() }

// percentile is the latency in milliseconds that so many percent of the answers stay within.
func (s shots) percentile(p float64) float64 { return float64(s.latency.ValueAtPercentile(p)) / 1000 }

// only is an error unless every answer had one of these statuses.
func (s shots) only(statuses ...int) error {
	bad := 0
	for _, n := range s.answers {
		bad += n
	}
	for _, status := range statuses {
		bad -= s.answers[status]
	}
	if bad > 0 {
		return fmt.Errorf("%d requests failed, such as with %s", bad, s.trouble)
	}
	return nil
}

// merge adds what came of another load.
func (s *shots) merge(other shots) {
	if s.latency == nil {
		*s = other
		return
	}
	for status, n := range other.answers {
		s.answers[status] += n
		s.last[status] = s.took + other.last[status]
	}
	s.took += other.took
	s.latency.Merge(other.latency)
	if s.trouble == "" {
		s.trouble = other.trouble
	}
}

// limited lets so many requests through to a pacer.
type limited struct {
	vegeta.Pacer
	requests int
}

// Pace stops when all requests are sent.
func (l limited) Pace(elapsed time.Duration, sent uint64) (wait time.Duration, stop bool) {
	if sent >= uint64(l.requests) { //nolint:gosec // never negative
		return 0, true
	}
	return l.Pacer.Pace(elapsed, sent)
}

// fire sends what next gives, as the load says, and waits for all answers. Sent requests that it hears nothing of for
// half a minute are given up.
func fire(ctx context.Context, l load, next vegeta.Targeter) (shots, error) {
	pacer := vegeta.Pacer(vegeta.Rate{Freq: l.perSecond, Per: time.Second})
	if l.requests > 0 {
		pacer = limited{pacer, l.requests}
	}
	client := l.client
	if client == nil {
		// The next load opens its own connections, and the server should not keep both.
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, vegeta.DefaultConnections
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport, Timeout: vegeta.DefaultTimeout}
	}
	options := []func(*vegeta.Attacker){vegeta.Client(client)}
	if l.clients > 0 {
		n := uint64(l.clients) //nolint:gosec // never negative
		options = append(options, vegeta.Workers(n), vegeta.MaxWorkers(n))
	}
	attacker := vegeta.NewAttacker(options...)
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()

	s := shots{answers: map[int]int{}, last: map[int]time.Duration{}, latency: hdrhistogram.New(1, maxLatency.Microseconds(), 3)}
	began := time.Now()
	for r := range attacker.Attack(next, pacer, l.during, "") {
		s.answers[int(r.Code)]++
		s.last[int(r.Code)] = max(s.last[int(r.Code)], r.End().Sub(began))
		if s.trouble == "" && r.Error != "" {
			s.trouble = fmt.Sprintf("%s %s", r.Error, r.Body)
		}
		latency := r.Latency
		if l.perSecond > 0 {
			latency += late(r.Timestamp.Sub(began), r.Seq, l.perSecond)
		}
		if err := s.latency.RecordValue(latency.Microseconds()); err != nil {
			return s, fmt.Errorf("a latency of %s: %w", latency, err)
		}
	}
	s.took = time.Since(began)
	return s, ctx.Err()
}

// late is how long after it was due a request was sent: the generator is a process like any other, and what it is late is
// time that somebody waited.
func late(sent time.Duration, seq uint64, perSecond int) time.Duration {
	// vegeta sends the first one an interval after the beginning, or before that.
	due := time.Duration(float64(seq+1) / float64(perSecond) * float64(time.Second))
	return max(0, sent-due)
}

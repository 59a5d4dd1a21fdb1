package simulator

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// Faults are the faults that the simulator injects, for tests. They are kept in memory and are off at the start. A
// field that is a number of requests or events counts down with each one that it affects; a negative number affects all
// until it is set again. Only requests to /v1/ and webhooks are affected.
type Faults struct {
	// PathPrefix limits the faults of requests to paths with this prefix.
	PathPrefix string `json:"pathPrefix,omitempty"`
	// Method limits the faults of requests to one HTTP method.
	Method string `json:"method,omitempty"`
	// DelayMs delays a request before it has any effect. Its idempotency key is in use meanwhile.
	DelayMs int `json:"delayMs,omitempty"`
	// DelayAnswerMs delays the answer of a request whose effects are already durable.
	DelayAnswerMs int `json:"delayAnswerMs,omitempty"`
	// Fail is the number of requests that get Status and have no effect. Nothing is saved under their keys.
	Fail int `json:"fail,omitempty"`
	// Status is the answer to a request that Fail affects: 429 or 500 to 599. The default is 503.
	Status int `json:"status,omitempty"`
	// FailAfter is the number of POSTs that are executed, charge included, but answered with 500. That wrong answer is
	// saved: a retry with the same key gets the 500 again, and only a look-up shows the charge.
	FailAfter int `json:"failAfter,omitempty"`
	// LoseAnswer is the number of POSTs that are executed (or replayed) and whose connection is then dropped.
	LoseAnswer int `json:"loseAnswer,omitempty"`
	// SearchLagMs hides intents younger than this from search. Stripe's own index lags by up to a minute.
	SearchLagMs int `json:"searchLagMs,omitempty"`
	// LeaveUnconfirmed is the number of charges that stop before they are confirmed, as when Stripe fails between the two
	// steps.
	LeaveUnconfirmed int `json:"leaveUnconfirmed,omitempty"`
	// Process is the number of charges that are processing first, and succeed after SettleMs.
	Process int `json:"process,omitempty"`
	// Dispute is the number of charges that the cardholder disputes after SettleMs.
	Dispute int `json:"dispute,omitempty"`
	// FailRefund is the number of refunds that succeed first, and fail after SettleMs.
	FailRefund int `json:"failRefund,omitempty"`
	// LackBalance is the number of refunds that the account's balance does not cover.
	LackBalance int `json:"lackBalance,omitempty"`
	// SettleMs is the time until a later change of a charge or refund. The default is 1000.
	SettleMs int `json:"settleMs,omitempty"`
	// WebhookDelayMs delays every webhook.
	WebhookDelayMs int `json:"webhookDelayMs,omitempty"`
	// LoseWebhook is the number of events that are not sent.
	LoseWebhook int `json:"loseWebhook,omitempty"`
	// RepeatWebhook is the number of events that are sent twice.
	RepeatWebhook int `json:"repeatWebhook,omitempty"`
}

func (f Faults) validate() *apiError {
	switch {
	case f.DelayMs < 0, f.DelayAnswerMs < 0, f.SearchLagMs < 0, f.WebhookDelayMs < 0, f.SettleMs < 0:
		return invalidRequest("", "",
			"delayMs, delayAnswerMs, searchLagMs, settleMs and webhookDelayMs cannot be negative")
	case f.Status != 0 && f.Status != http.StatusTooManyRequests && (f.Status < 500 || f.Status > 599):
		return invalidRequest("", "status", "status must be 429 or between 500 and 599")
	}
	return nil
}

func (f Faults) affects(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, f.PathPrefix) && (f.Method == "" || f.Method == r.Method)
}

// requestFault is the fault of one request, decided when the request arrives.
type requestFault struct {
	delay, delayAnswer time.Duration
	failStatus         int // 0 when the request does not fail
}

// injector holds the current faults. It has its own lock, so that a delayed request does not block the control API.
type injector struct {
	mu     sync.Mutex
	faults Faults
}

func (i *injector) get() Faults {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.faults
}

func (i *injector) set(f Faults) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = f
}

// request returns the fault of a request that has just arrived, and counts it.
func (i *injector) request(r *http.Request) requestFault {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.faults.affects(r) {
		return requestFault{}
	}
	f := requestFault{
		delay:       time.Duration(i.faults.DelayMs) * time.Millisecond,
		delayAnswer: time.Duration(i.faults.DelayAnswerMs) * time.Millisecond,
	}
	if take(&i.faults.Fail) {
		f.failStatus = i.faults.Status
		if f.failStatus == 0 {
			f.failStatus = http.StatusServiceUnavailable
		}
	}
	return f
}

// failsAfter reports whether r is to be answered with 500 although it was executed, and counts it.
func (i *injector) failsAfter(r *http.Request) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.faults.affects(r) && take(&i.faults.FailAfter)
}

// losesAnswer reports whether the answer to r is to be lost, and counts it.
func (i *injector) losesAnswer(r *http.Request) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.faults.affects(r) && take(&i.faults.LoseAnswer)
}

// searchLag does not depend on path and method, because it is a property of the index.
func (i *injector) searchLag() time.Duration {
	return time.Duration(i.get().SearchLagMs) * time.Millisecond
}

// counts reports whether a fault affects a charge or a refund, and counts it.
func (i *injector) counts(fault func(*Faults) *int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return take(fault(&i.faults))
}

func (i *injector) leavesUnconfirmed() bool {
	return i.counts(func(f *Faults) *int { return &f.LeaveUnconfirmed })
}

func (i *injector) processes() bool { return i.counts(func(f *Faults) *int { return &f.Process }) }

func (i *injector) disputes() bool { return i.counts(func(f *Faults) *int { return &f.Dispute }) }

func (i *injector) failsRefund() bool { return i.counts(func(f *Faults) *int { return &f.FailRefund }) }

func (i *injector) lacksBalance() bool {
	return i.counts(func(f *Faults) *int { return &f.LackBalance })
}

// webhook returns the faults of one event, and counts them.
func (i *injector) webhook() (lost, repeated bool, delay time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if take(&i.faults.LoseWebhook) {
		return true, false, 0
	}
	return false, take(&i.faults.RepeatWebhook), time.Duration(i.faults.WebhookDelayMs) * time.Millisecond
}

// take reports whether a counter is not 0, and decrements a positive one.
func take(counter *int) bool {
	if *counter > 0 {
		*counter--
		return true
	}
	return *counter < 0
}

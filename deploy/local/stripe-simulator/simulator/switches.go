package simulator

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// Switches are the ways to break the simulator on purpose. They live in memory
// and start switched off. A counter counts down with each request it strikes; a
// negative one strikes until it is set again. Only requests to /v1/ are struck, and webhooks.
//
// A switch with a counter that is both delayed and lost is first delayed.
type Switches struct {
	// PathPrefix limits the switches for requests to paths that begin with it.
	PathPrefix string `json:"pathPrefix,omitempty"`
	// Method limits them to one HTTP method.
	Method string `json:"method,omitempty"`
	// DelayMs holds a request before anything happens; its idempotency key is in use meanwhile.
	DelayMs int `json:"delayMs,omitempty"`
	// DelayAnswerMs holds the answer of a request whose effects are already durable.
	DelayAnswerMs int `json:"delayAnswerMs,omitempty"`
	// Fail answers this many requests with Status before anything happens; nothing is saved under their keys.
	Fail int `json:"fail,omitempty"`
	// Status is what Fail answers: 500 or above, or 429; 503 when left out.
	Status int `json:"status,omitempty"`
	// FailAfter executes this many POSTs, charge included, and answers and saves
	// 500 for them: the key replays the 500, and only a look-up tells the truth.
	FailAfter int `json:"failAfter,omitempty"`
	// LoseAnswer executes this many POSTs (or replays them) and then drops the connection.
	LoseAnswer int `json:"loseAnswer,omitempty"`
	// SearchLagMs hides intents younger than this from search, as Stripe does for up to a minute.
	SearchLagMs int `json:"searchLagMs,omitempty"`
	// WebhookDelayMs holds every webhook.
	WebhookDelayMs int `json:"webhookDelayMs,omitempty"`
	// LoseWebhook sends nothing of this many events.
	LoseWebhook int `json:"loseWebhook,omitempty"`
	// RepeatWebhook sends this many events twice.
	RepeatWebhook int `json:"repeatWebhook,omitempty"`
}

func (s Switches) valid() *apiError {
	switch {
	case s.DelayMs < 0, s.DelayAnswerMs < 0, s.SearchLagMs < 0, s.WebhookDelayMs < 0:
		return invalidRequest("", "", "delayMs, delayAnswerMs, searchLagMs and webhookDelayMs cannot be negative")
	case s.Status != 0 && s.Status != http.StatusTooManyRequests && (s.Status < 500 || s.Status > 599):
		return invalidRequest("", "status", "status must be 429 or between 500 and 599")
	}
	return nil
}

// strike is what the switches do to one request.
type strike struct {
	delay, delayAnswer time.Duration
	failStatus         int
}

// board holds the current switches; it has a lock of its own, so that a request
// under a delay never blocks the control API.
type board struct {
	mu  sync.Mutex
	set Switches
}

func (b *board) get() Switches {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set
}

func (b *board) put(s Switches) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set = s
}

// arriving says what happens to r before it is looked at.
func (b *board) arriving(r *http.Request) strike {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.set.matches(r) {
		return strike{}
	}
	s := strike{
		delay:       time.Duration(b.set.DelayMs) * time.Millisecond,
		delayAnswer: time.Duration(b.set.DelayAnswerMs) * time.Millisecond,
	}
	if take(&b.set.Fail) {
		s.failStatus = b.set.Status
		if s.failStatus == 0 {
			s.failStatus = http.StatusServiceUnavailable
		}
	}
	return s
}

// failsAfter reports whether r, executed, shall answer 500 all the same.
func (b *board) failsAfter(r *http.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set.matches(r) && take(&b.set.FailAfter)
}

// losesAnswer reports whether the answer to r shall be lost.
func (b *board) losesAnswer(r *http.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set.matches(r) && take(&b.set.LoseAnswer)
}

// searchLag is independent of path and method: it is a property of the index.
func (b *board) searchLag() time.Duration {
	return time.Duration(b.get().SearchLagMs) * time.Millisecond
}

// webhook says what happens to an event.
func (b *board) webhook() (lost, repeated bool, delay time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if take(&b.set.LoseWebhook) {
		return true, false, 0
	}
	return false, take(&b.set.RepeatWebhook), time.Duration(b.set.WebhookDelayMs) * time.Millisecond
}

func (s Switches) matches(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, s.PathPrefix) && (s.Method == "" || s.Method == r.Method)
}

func take(counter *int) bool {
	if *counter > 0 {
		*counter--
		return true
	}
	return *counter < 0
}

//go:build faults

package faults_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// fault is something that is done to the system.
type fault struct {
	at     time.Duration // after the round began
	kind   string        // kill, freeze, stripe or repeat
	target string        // the process; for stripe the switches to set; for repeat the service whose events come again
	length time.Duration // until it is started, resumed or switched back
}

func (f fault) String() string {
	return fmt.Sprintf("%5.1fs %s %s for %.1fs", f.at.Seconds(), f.kind, f.target, f.length.Seconds())
}

// Ways in which Stripe is not at its best.
var moods = []string{
	`{"method":"POST","loseAnswer":3}`,
	`{"method":"POST","fail":4,"status":500}`,
	`{"method":"POST","failAfter":1}`,
	`{"method":"POST","delayMs":1500}`,
	`{"method":"POST","delayAnswerMs":2500}`,
	`{"repeatWebhook":5,"webhookDelayMs":1500}`,
	`{"loseWebhook":5}`,
}

// schedule draws a round's faults. The same seed draws the same ones; when exactly they meet the system is up to the
// machine.
func schedule(random *rand.Rand, apps []string, n int, during time.Duration) []fault {
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(random.Int64N(int64(to-from))) }
	one := func(of []string) string { return of[random.IntN(len(of))] }
	// Where a purchase passes through, there is more to break.
	busy := []string{"payment-service", "ticket-service", "payment-service", "ticket-service", "payment-gateway", "notification-service", "analytics-service"}
	faults := make([]fault, n)
	for i := range faults {
		f := fault{at: time.Duration(i)*during/time.Duration(n) + between(0, during/time.Duration(n)), kind: "kill", length: between(0, 2*time.Second)}
		switch dice := random.IntN(23); {
		case dice < 6:
			f.target = one(busy)
		case dice < 8:
			f.target = one(apps)
		case dice < 11:
			f.target = one(busy) + "-sidecar"
		case dice < 12:
			f.target = one(apps) + "-sidecar"
		case dice < 15:
			f.target = one([]string{"postgres", "fauxqs", "stripe-simulator"})
		case dice < 18:
			f.kind, f.length = "freeze", between(500*time.Millisecond, 4*time.Second)
			f.target = one([]string{one(busy), one(busy) + "-sidecar", "stripe-simulator", "fauxqs"})
		case dice < 21:
			f.kind, f.target, f.length = "repeat", one([]string{"payment-service", "ticket-service", "event-service"}), 0
		default:
			f.kind, f.target, f.length = "stripe", one(moods), between(2*time.Second, 4*time.Second)
		}
		faults[i] = f
	}
	return faults
}

func list(faults []fault) string {
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	return b.String()
}

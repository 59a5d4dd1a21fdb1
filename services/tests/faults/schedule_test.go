package faults_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// fault is something that is done to the system.
type fault struct {
	at     time.Duration // after the round began
	kind   string        // one of kinds
	target string        // the process or the app; for stripe the faults to inject
	length time.Duration // until it is started, resumed or switched back; how long a request is held back

	within   string // which of an app's requests it is done to: part of their path
	requests int    // to how many of them
}

// kinds of faults, and what each is counted in.
var kinds = []struct{ name, counted string }{
	{"kill", "kills"},              // with SIGKILL, and started again
	{"freeze", "freezes"},          // with SIGSTOP, and resumed
	{"lose", "lost answers"},       // of requests that had their effect
	{"twice", "repeated requests"}, // after their answer
	{"late", "late requests"},      // held back, while others overtake them
	{"repeat", "repeated events"},  // as if their relay had died before it marked them
	{"stripe", "Stripe faults"},
}

func (f fault) String() string {
	if f.requests > 0 {
		s := fmt.Sprintf("%5.1fs %s %d of %s%s", f.at.Seconds(), f.kind, f.requests, f.target, f.within)
		if f.length > 0 {
			s += fmt.Sprintf(" by %.1fs", f.length.Seconds())
		}
		return s
	}
	return fmt.Sprintf("%5.1fs %s %s for %.1fs", f.at.Seconds(), f.kind, f.target, f.length.Seconds())
}

// Faults that the Stripe simulator injects.
var stripeFaults = []string{
	`{"method":"POST","loseAnswer":3}`,
	`{"method":"POST","fail":4,"status":500}`,
	`{"method":"POST","failAfter":1}`,
	`{"method":"POST","delayMs":1500}`,
	`{"method":"POST","delayAnswerMs":2500}`,
	`{"repeatWebhook":5,"webhookDelayMs":1500}`,
	`{"loseWebhook":5}`,
}

// Where calls and events arrive, those most often through which purchases pass.
var ways = []struct{ app, within string }{
	{"ticket-service", "/internal/"},
	{"ticket-service", "/internal/"},
	{"ticket-service", "/events"},
	{"ticket-service", "/bindings/"},
	{"payment-gateway", "/internal/"},
	{"payment-gateway", "/internal/"},
	{"payment-service", "/orders"}, // which people ask again for under the same key
	{"payment-service", "/events"},
	{"payment-service", "/bindings/"},
	{"notification-service", "/events"},
	{"notification-service", "/bindings/"},
	{"analytics-service", "/events"},
	{"email-service", "/internal/"},
	{"event-service", "/internal/"},
	{"auth-service", "/internal/"},
}

// amount is how many faults there are in a round, and in which time.
type amount struct {
	kills, others int
	during        time.Duration
}

// schedule draws a round's faults. The same seed draws the same ones; when exactly they meet the system is up to the
// machine. Replicated are the apps that run twice.
func schedule(random *rand.Rand, apps, replicated []string, n amount) []fault {
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(random.Int64N(int64(to-from))) }
	one := func(of []string) string { return of[random.IntN(len(of))] }
	// Where a purchase passes through, there is more to break.
	busy := []string{"payment-service", "ticket-service", "payment-service", "ticket-service", "payment-gateway", "notification-service", "analytics-service"}
	replica := func(app string) string {
		if slices.Contains(replicated, app) && random.IntN(2) == 0 {
			return app + "-2"
		}
		return app
	}
	process := func() string {
		switch dice := random.IntN(16); {
		case dice < 6:
			return replica(one(busy))
		case dice < 8:
			return replica(one(apps))
		case dice < 11:
			return replica(one(busy)) + "-sidecar"
		case dice < 12:
			return replica(one(apps)) + "-sidecar"
		default:
			return one([]string{"postgres", "fauxqs", "stripe-simulator", "maildev"})
		}
	}

	order := make([]string, n.kills, n.kills+n.others)
	for i := range order {
		order[i] = "kill"
	}
	for range n.others {
		order = append(order, one([]string{"freeze", "freeze", "lose", "lose", "twice", "twice", "late", "late", "repeat", "stripe"}))
	}
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })

	slot := n.during / time.Duration(len(order))
	up := map[string]time.Duration{} // when what was killed is up again
	faults := make([]fault, len(order))
	for i, kind := range order {
		f := fault{at: time.Duration(i)*slot + between(0, slot), kind: kind}
		switch kind {
		case "kill":
			for f.target = process(); up[f.target] > f.at; { // the dead cannot die
				f.target = process()
			}
			f.length = between(0, 2*time.Second)
			up[f.target] = f.at + f.length + slot
		case "freeze":
			f.target, f.length = process(), between(500*time.Millisecond, 4*time.Second)
		case "lose", "twice", "late":
			way := ways[random.IntN(len(ways))]
			f.target, f.within, f.requests = replica(way.app), way.within, 1+random.IntN(3)
			if kind == "late" {
				f.length = between(500*time.Millisecond, 8*time.Second)
			}
		case "repeat":
			f.target = one([]string{"payment-service", "ticket-service", "event-service"})
		case "stripe":
			f.target, f.length = one(stripeFaults), between(2*time.Second, 4*time.Second)
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

package faults_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
)

// fault is one fault of a schedule.
type fault struct {
	at     time.Duration // after the start of the round
	kind   faultKind
	target string        // a process, an app or a connection; for stripeFault the name of one of stripeFaults
	length time.Duration // how long a process is down or frozen, a request is delayed, or another fault lasts

	stripe simulator.Faults // of a stripeFault

	contains string // of a fault in requests: part of the requests' path
	requests int    // of a fault in requests: how many requests it applies to
}

type faultKind string

const (
	kill       faultKind = "kill"        // with SIGKILL, and start again
	freeze     faultKind = "freeze"      // with SIGSTOP, and resume
	loseAnswer faultKind = "lose answer" // of a request that took effect
	duplicate  faultKind = "duplicate"   // a request, after its answer
	delay      faultKind = "delay"       // a request, so that others overtake it
	// republish marks events as not published, as if their relay had died before it marked them.
	republish   faultKind = "republish"
	stripeFault faultKind = "stripe"
	// These drop what is sent on the connections of an app to its database or its sidecar. Those that exist when the fault
	// ends stay dead.
	swallowDatabase faultKind = "swallow packets to a database:"
	swallowSidecar  faultKind = "swallow packets to a sidecar:"
)

// counted has the kinds of faults in the order of the report, and what the report calls their number.
var counted = []struct {
	kind faultKind
	unit string
}{
	{kill, "kills"},
	{freeze, "freezes"},
	{loseAnswer, "lost answers"},
	{duplicate, "duplicate requests"},
	{delay, "delayed requests"},
	{republish, "republished events"},
	{stripeFault, "Stripe faults"},
	{swallowDatabase, "swallowed connections to databases"},
	{swallowSidecar, "swallowed connections to sidecars"},
}

func (f fault) String() string {
	if f.requests > 0 {
		s := fmt.Sprintf("%5.1fs %s %d of %s%s", f.at.Seconds(), f.kind, f.requests, f.target, f.contains)
		if f.length > 0 {
			s += fmt.Sprintf(" by %.1fs", f.length.Seconds())
		}
		return s
	}
	return fmt.Sprintf("%5.1fs %s %s for %.1fs", f.at.Seconds(), f.kind, f.target, f.length.Seconds())
}

// routes has the routes that receive calls and events. Those of a purchase occur more often.
var routes = []struct{ app, contains string }{
	{"ticket-service", "/internal/"},
	{"ticket-service", "/internal/"},
	{"ticket-service", "/events"},
	{"ticket-service", "/bindings/"},
	{"payment-gateway", "/internal/"},
	{"payment-gateway", "/internal/"},
	{"payment-service", "/orders"}, // buyers repeat these requests under the same idempotency key
	{"payment-service", "/events"},
	{"payment-service", "/bindings/"},
	{"notification-service", "/events"},
	{"notification-service", "/bindings/"},
	{"analytics-service", "/events"},
	{"email-service", "/internal/"},
	{"event-service", "/internal/"},
	{"auth-service", "/internal/"},
}

// intensity is the number of faults of a round, and its duration.
type intensity struct {
	kills, others int
	stripe        int // at most one of each of stripeFaults
	during        time.Duration
}

// newSchedule draws the faults of a round. The same seed draws the same faults, but the state in which they meet the
// system depends on the machine. replicated has the apps with two replicas.
func newSchedule(random *rand.Rand, apps, replicated []string, n intensity) []fault {
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(random.Int64N(int64(to-from))) }
	one := func(of []string) string { return of[random.IntN(len(of))] }
	// The apps that take part in a purchase have more states to be interrupted in.
	busy := []string{
		"payment-service", "ticket-service", "payment-service", "ticket-service", "payment-gateway", "notification-service",
		"analytics-service",
	}
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

	kinds := slices.Repeat([]faultKind{kill}, n.kills)
	others := []faultKind{
		freeze, freeze, loseAnswer, loseAnswer, duplicate, duplicate, delay, delay, republish,
		swallowDatabase, swallowSidecar,
	}
	kinds = append(kinds, swallowDatabase, swallowSidecar) // each at least once
	for range n.others {
		kinds = append(kinds, others[random.IntN(len(others))])
	}
	random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })

	slot := n.during / time.Duration(len(kinds))
	up := map[string]time.Duration{} // when a killed process is up again
	faults := make([]fault, len(kinds))
	for i, kind := range kinds {
		f := fault{at: time.Duration(i)*slot + between(0, slot), kind: kind}
		switch kind {
		case kill:
			for f.target = process(); up[f.target] > f.at; { // a process that is down cannot be killed
				f.target = process()
			}
			f.length = between(0, 2*time.Second)
			up[f.target] = f.at + f.length + slot
		case freeze:
			f.target, f.length = process(), between(500*time.Millisecond, 4*time.Second)
		case loseAnswer, duplicate, delay:
			route := routes[random.IntN(len(routes))]
			f.target, f.contains, f.requests = replica(route.app), route.contains, 1+random.IntN(3)
			if kind == delay {
				f.length = between(500*time.Millisecond, 8*time.Second)
			}
		case republish:
			f.target = one([]string{"payment-service", "ticket-service", "event-service"})
		case swallowDatabase:
			f.target = one([]string{
				"payment-service", "ticket-service", "notification-service", "event-service", "analytics-service",
			}) + "-to-database"
			f.length = between(time.Second, 20*time.Second)
		case swallowSidecar:
			f.target = replica(one(busy)) + one([]string{"-to-sidecar-http", "-to-sidecar-grpc"})
			f.length = between(time.Second, 20*time.Second)
		case stripeFault: // drawn below
		}
		faults[i] = f
	}
	// The simulator has one set of faults, so those of Stripe do not overlap.
	slot = n.during / time.Duration(n.stripe)
	for i, which := range random.Perm(len(stripeFaults))[:n.stripe] {
		faults = append(faults, fault{
			at: time.Duration(i)*slot + between(0, slot/10), kind: stripeFault, target: stripeFaults[which].name,
			length: between(slot/2, slot*8/10), stripe: stripeFaults[which].faults,
		})
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return faults
}

// formatSchedule returns a schedule with one fault on each line.
func formatSchedule(faults []fault) string {
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	return b.String()
}

// The schedules of ten seeds have every fault, and only known targets.
func TestSchedulesHaveEveryFault(t *testing.T) {
	t.Parallel()
	apps := []string{"auth-service", "event-service"}
	drawn := map[string]bool{}
	for seed := range uint64(10) {
		kinds := map[faultKind]int{}
		end := time.Duration(0)
		for _, f := range newSchedule(rand.New(rand.NewPCG(seed, 0)), apps, replicated, full) {
			kinds[f.kind]++
			if f.kind != stripeFault {
				continue
			}
			drawn[f.target] = true
			require.NotZero(t, f.stripe)
			require.LessOrEqual(t, end, f.at, "two faults of the simulator overlap")
			end = f.at + f.length
			require.LessOrEqual(t, end, full.during)
		}
		require.Equal(t, full.kills, kinds[kill])
		require.Equal(t, full.stripe, kinds[stripeFault])
		require.NotZero(t, kinds[swallowDatabase])
		require.NotZero(t, kinds[swallowSidecar])
	}
	for _, f := range stripeFaults {
		require.True(t, drawn[f.name], f.name)
	}
}

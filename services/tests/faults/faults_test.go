// Package faults_test runs the whole system under load and injects faults. It kills and freezes processes, drops
// answers, duplicates, delays and reorders requests and events, drops the packets of connections to databases and
// sidecars, and lets the Stripe simulator misbehave. Afterwards the
// records of all services must balance: an exact audit (package audit) has no findings, and every user got each
// notification.
//
// In a round, users register, events go on sale, the users buy, transfer, cancel, use and refund tickets, and the
// organizer postpones one event and cancels another. The banks of some buyers ask them about a payment. At the same
// time a schedule of faults is executed, which is drawn from the seed. Then the faults end and every process runs
// again. Within settleTimeout the system must settle on its own, with nothing lost and nothing done twice. Operators
// only retry the refunds that the bank sent back.
//
// FAULTS_SEED sets the seed, or several seeds as in 1-10,68. FAULTS_ROUNDS sets the number of rounds of each seed.
// `make faults` sets both. Without them there is one short round.
package faults_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/tests/audit"
)

// Intensities of a round that FAULTS_SEED or FAULTS_ROUNDS requested, and of the round that is part of all tests.
var (
	full  = intensity{kills: 28, others: 20, stripe: len(stripeFaults), during: time.Minute}
	short = intensity{kills: 5, others: 5, stripe: 4, during: 12 * time.Second}
)

const (
	// settleTimeout is how long the system may take to settle after the faults. A queue hides for a minute what a dead
	// process had received. The delays between the attempts of a saga or of a mail grow. And an answer that a charge
	// does not exist is final only some minutes after the last attempt to charge.
	settleTimeout = 10 * time.Minute
	// progressInterval is the time between two reports of the progress.
	progressInterval = 5 * time.Second
)

// replicated has the apps with two replicas.
var replicated = []string{"ticket-service", "payment-service"}

// experiment is the rounds of a test.
type experiment struct {
	seeds  []uint64
	rounds int // of each seed
	intensity
}

func TestRecordsBalanceUnderFaults(t *testing.T) {
	e, err := readExperiment(os.Getenv("FAULTS_SEED"), os.Getenv("FAULTS_ROUNDS"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := e.run(ctx, start(ctx, t, replicated...)); err != nil {
		t.Fatal(err)
	}
}

// readExperiment returns the experiment that the values of FAULTS_SEED and FAULTS_ROUNDS describe.
func readExperiment(seeds, rounds string) (experiment, error) {
	if seeds == "" && rounds == "" {
		return experiment{[]uint64{68}, 1, short}, nil
	}
	e := experiment{rounds: 1, intensity: full}
	for part := range strings.SplitSeq(cmp.Or(seeds, "68"), ",") {
		from, to, found := strings.Cut(part, "-")
		if !found {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 64)
		last, lastErr := strconv.ParseUint(to, 10, 64)
		if err != nil || lastErr != nil || last < first {
			return experiment{}, fmt.Errorf("FAULTS_SEED: %q is neither a number nor a range such as 1-10", part)
		}
		for seed := first; seed <= last; seed++ {
			e.seeds = append(e.seeds, seed)
		}
	}
	var err error
	if e.rounds, err = strconv.Atoi(cmp.Or(rounds, "1")); err != nil || e.rounds < 1 {
		return experiment{}, fmt.Errorf("FAULTS_ROUNDS: %q is not a number of rounds", rounds)
	}
	return e, nil
}

// progress prints a line about the progress of a test.
func progress(format string, args ...any) {
	fmt.Printf("faults: "+format+"\n", args...)
}

// run executes all rounds on one system. Each round begins with the data of the rounds before it.
func (e experiment) run(ctx context.Context, h *harness) error {
	began, all := time.Now(), tally{}
	for _, seed := range e.seeds {
		for round := range e.rounds {
			h.tally = tally{}
			progress("seed %d, round %d of %d", seed, round+1, e.rounds)
			if err := h.round(ctx, seed, uint64(round), e.intensity); err != nil {
				return fmt.Errorf("seed %d, round %d: %w", seed, round+1, err)
			}
			progress("seed %d, round %d of %d balances: %s", seed, round+1, e.rounds, h.tally)
			progress("Stripe: %s; %s", h.tally.stripe(), h.tally.buyers())
			all.add(h.tally)
		}
	}
	progress("%d seeds, %d rounds, all balance after %s: %s",
		len(e.seeds), len(e.seeds)*e.rounds, time.Since(began).Round(time.Second), all)
	progress("killed: %s", all.killed())
	progress("Stripe: %s", all.stripe())
	progress("%s; %d orders retried by operators", all.buyers(), all[retried])
	progress("%d mails arrived, %d of them duplicates", h.mails.total, h.mails.duplicates())
	return nil
}

// tally counts the injected faults by their kind. It also counts the kills of each process, under the key
// "kill <process>".
type tally map[string]int

func (t tally) add(other tally) {
	for key, n := range other {
		t[key] += n
	}
}

func (t tally) String() string {
	counts := make([]string, len(counted))
	for i, c := range counted {
		counts[i] = fmt.Sprintf("%d %s", t[string(c.kind)], c.unit)
	}
	return strings.Join(counts, ", ")
}

// buyers returns how the buyers answered whom their bank asked, and how many tickets were checked in.
func (t tally) buyers() string {
	return fmt.Sprintf("banks asked buyers, who said yes %d times, no %d times and nothing %d times; "+
		"%d tickets checked in, of which %d were undone",
		t["bank "+bankYes], t["bank "+bankNo], t["bank "+bankNothing], t[checkedIn], t[undone])
}

// killed returns the killed processes, each with the number of kills.
func (t tally) killed() string {
	var counts []string
	for _, key := range slices.Sorted(maps.Keys(t)) {
		if process, is := strings.CutPrefix(key, string(kill)+" "); is {
			counts = append(counts, fmt.Sprintf("%s %d", process, t[key]))
		}
	}
	return strings.Join(counts, ", ")
}

// round runs a workload while a schedule is executed, and then waits until the system has settled.
func (h *harness) round(ctx context.Context, seed, round uint64, n intensity) error {
	schedule := newSchedule(rand.New(rand.NewPCG(seed, round)), h.apps, replicated, n)
	fmt.Print(formatSchedule(schedule))
	if err := h.checkTargets(schedule); err != nil {
		return err
	}
	secrets, err := h.secrets()
	if err != nil {
		return err
	}
	sidecars := []string{h.system.App("auth-service").SidecarURL()}
	for _, app := range h.system.Apps() {
		if slices.Contains(replicated, app.ID) {
			sidecars = append(sidecars, app.SidecarURL())
		}
	}
	// A service that has just started may not have the keys yet with which it verifies tokens.
	preparing, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	w, err := demo.Await(preparing, func() (*workload, error) {
		return newWorkload(preparing, sidecars, h.system.StripeURL(), secrets["ticket-service-signing-seed"], h.count)
	}, func(*workload) bool { return true })
	if err != nil {
		return fmt.Errorf("prepare the workload: %w", err)
	}
	began := time.Now()
	reporting, stop := context.WithCancel(ctx)
	go h.reportProgress(reporting, w)
	var g errgroup.Group
	g.Go(func() error { return w.run(ctx, seed<<8+round, n.during) })
	g.Go(func() error { return h.execute(ctx, schedule) })
	g.Go(func() error { return h.decideDisputes(ctx, rand.New(rand.NewPCG(seed, round)), n.during) })
	err = errors.Join(g.Wait(), h.repair(ctx))
	stop()
	if err != nil {
		return err
	}
	progress("%d orders attempted, %d answered, the last %s after the start, %d refused; "+
		"%d tickets transferred or cancelled, %d refunds. Waiting for the system to settle",
		w.attempted.Load(), w.answered.Load(), time.Unix(0, w.lastAnswer.Load()).Sub(began).Round(time.Second),
		w.refused.Load(), w.ticketsMoved.Load(), w.refunds.Load())
	return h.awaitSettled(ctx)
}

// reportProgress prints the progress of a round until ctx is done.
func (h *harness) reportProgress(ctx context.Context, w *workload) {
	for began := time.Now(); pause(ctx, progressInterval) == nil; {
		var down []string
		for name, p := range h.processes {
			if !p.Alive() {
				down = append(down, name)
			}
		}
		slices.Sort(down)
		h.mu.Lock()
		progress("%3.0fs: %d orders answered, %s; down: %s",
			time.Since(began).Seconds(), w.answered.Load(), h.tally, cmp.Or(strings.Join(down, ", "), "nothing"))
		h.mu.Unlock()
	}
}

// awaitSettled waits until two audits in succession find that the system has settled: an exact audit has no findings,
// and the mails match the notifications.
func (h *harness) awaitSettled(ctx context.Context) error {
	deadline, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	began, reported, reportedAt, clean := time.Now(), "", time.Now(), 0
	var operated time.Time
	for {
		if time.Since(operated) > operatorInterval {
			operated = time.Now()
			if err := h.operate(deadline); err != nil && deadline.Err() == nil {
				progress("operators: %v", err)
			}
		}
		report, err := h.sources.Audit(ctx, true)
		found := report.Discrepancies()
		var wrong []string
		if err == nil && len(found) == 0 {
			if err = h.mails.collect(); err == nil {
				wrong, err = h.mails.compare(ctx, h.sources.Databases)
			}
		}
		clean++
		if err != nil || len(found)+len(wrong) > 0 {
			clean = 0
		}
		if clean == 2 {
			progress("settled after %s", time.Since(began).Round(time.Second))
			return nil
		}
		now := unsettled(found, wrong, err)
		since := time.Since(reportedAt)
		if since > 6*progressInterval || since > progressInterval && now != reported {
			reported, reportedAt = now, time.Now()
			progress("%3.0fs: %s", time.Since(began).Seconds(), now)
		}
		if pause(deadline, time.Second) != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("wait for the system to settle: %w", ctx.Err())
			}
			if err == nil {
				err = report.Print(os.Stdout)
			}
			for _, f := range found {
				wrong = append(wrong, f.String())
			}
			return errors.Join(fmt.Errorf("not settled after %s:\n  %s", settleTimeout, strings.Join(wrong, "\n  ")), err)
		}
	}
}

// unsettled returns in one line what has not settled yet.
func unsettled(found []audit.Finding, mails []string, err error) string {
	if err != nil {
		return err.Error()
	}
	count := map[string]int{}
	for _, f := range found {
		count[f.Check]++
	}
	if len(mails) > 0 {
		count["mails"] = len(mails)
	}
	var parts []string
	for _, check := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%d %s", count[check], check))
	}
	return cmp.Or(strings.Join(parts, ", "), "no findings")
}

// Package faults_test runs the whole system under load while its processes are killed and frozen, answers are lost,
// requests and events come twice, late and out of order, and the card processor misbehaves, and then wants the books to
// balance: an exact audit (package audit) that finds nothing, and everybody told once of what happened.
//
// A round: people come, events go on sale, everybody buys, gives tickets away and gives them back, one event is
// postponed and one cancelled, and meanwhile a schedule drawn from the seed is carried out. Then everything is put right
// again, and within a while the system has to have come to rest by itself, with nothing lost and nothing done twice.
//
// FAULTS_SEED chooses the schedule, or several as in 1-10,68, and FAULTS_ROUNDS how many rounds there are of each;
// `make faults` sets them. Without them there is one short round.
package faults_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/contracts"
	"github.com/eventbooking/eventbooking/services/tests/audit"
)

// How much happens in a round that somebody asked for, and in the one that is part of all tests.
var (
	full  = amount{kills: 28, others: 20, during: time.Minute}
	short = amount{kills: 5, others: 5, during: 12 * time.Second}
)

const (
	// A queue hides for a minute what a dead process had received, a saga or a mail that met no answer waits longer each
	// time, and "no such charge" is believed four minutes after it was tried.
	restingTime = 10 * time.Minute
	// heartbeat is how long nothing is said.
	heartbeat = 5 * time.Second
)

// replicated are the apps that run twice.
var replicated = []string{"ticket-service", "payment-service"}

// trial is what a run does: rounds of each seed.
type trial struct {
	seeds  []uint64
	rounds int
	amount
}

func TestTheBooksBalanceWhateverDies(t *testing.T) {
	trial, err := readTrial(os.Getenv("FAULTS_SEED"), os.Getenv("FAULTS_ROUNDS"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := trial.run(ctx, start(ctx, t, replicated...)); err != nil {
		t.Fatal(err)
	}
}

func readTrial(seeds, rounds string) (trial, error) {
	if seeds == "" && rounds == "" {
		return trial{[]uint64{68}, 1, short}, nil
	}
	t := trial{rounds: 1, amount: full}
	for part := range strings.SplitSeq(cmp.Or(seeds, "68"), ",") {
		from, to, found := strings.Cut(part, "-")
		if !found {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 64)
		last, lastErr := strconv.ParseUint(to, 10, 64)
		if err != nil || lastErr != nil || last < first {
			return trial{}, fmt.Errorf("FAULTS_SEED: %q is neither a number nor a range such as 1-10", part)
		}
		for seed := first; seed <= last; seed++ {
			t.seeds = append(t.seeds, seed)
		}
	}
	var err error
	if t.rounds, err = strconv.Atoi(cmp.Or(rounds, "1")); err != nil || t.rounds < 1 {
		return trial{}, fmt.Errorf("FAULTS_ROUNDS: %q is not a number of rounds", rounds)
	}
	return t, nil
}

// say tells somebody who watches.
func say(format string, args ...any) {
	fmt.Printf("faults: "+format+"\n", args...)
}

// start runs a system of its own, whose apps are reached by hops only, with replicas of some of them. It ends with the test;
// if that failed, its logs and databases stay.
func start(ctx context.Context, t *testing.T, replicas ...string) *breaker {
	t.Helper()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	cfg, err := stack.Throwaway(root)
	require.NoError(t, err)
	h, err := newHops(cfg.DataDir)
	require.NoError(t, err)
	cfg.Out, cfg.Replicas, cfg.Interpose = os.Stderr, replicas, h.interpose
	system, err := stack.Start(ctx, cfg)
	t.Cleanup(func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		assert.NoError(t, system.Stop(stopping))
		if t.Failed() {
			t.Log("logs are left in", filepath.Join(cfg.DataDir, "logs")+", and the databases beside them")
		} else {
			assert.NoError(t, os.RemoveAll(cfg.DataDir))
		}
	})
	require.NoError(t, err)
	b := &breaker{
		system: system, hops: h, processes: map[string]*stack.Process{}, down: map[string]int{},
		books: audit.Sources{Databases: map[string]*pgxpool.Pool{}, Stripe: system.StripeURL(), AWS: system.AWSEndpoint()},
		mails: postbox{dir: filepath.Join(cfg.DataDir, "mail"), arrived: map[letter]int{}},
	}
	b.books.Subscriptions, err = contracts.Subscriptions()
	require.NoError(t, err)
	for _, service := range audit.Services {
		pool, err := pgxpool.New(ctx, system.DatabaseURL(service))
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		b.books.Databases[service] = pool
	}
	for _, app := range system.Apps() {
		if app.Name == app.ID {
			b.apps = append(b.apps, app.ID)
		}
		b.processes[app.Name], b.processes[app.Name+"-sidecar"] = app.Process, app.Sidecar
	}
	for _, name := range []string{"postgres", "fauxqs", "maildev", "stripe-simulator"} {
		b.processes[name] = system.Server(name)
	}
	return b
}

// run has a system go through all rounds, each of which begins with what the one before left.
func (t trial) run(ctx context.Context, b *breaker) error {
	began, all := time.Now(), tally{}
	for _, seed := range t.seeds {
		for round := range t.rounds {
			b.tally = tally{}
			say("seed %d, round %d of %d", seed, round+1, t.rounds)
			if err := b.round(ctx, seed, uint64(round), t.amount); err != nil {
				return fmt.Errorf("seed %d, round %d: %w", seed, round+1, err)
			}
			say("seed %d, round %d of %d balances: %s", seed, round+1, t.rounds, b.tally)
			all.add(b.tally)
		}
	}
	say("%d seeds, %d rounds, all balance after %s: %s", len(t.seeds), len(t.seeds)*t.rounds, time.Since(began).Round(time.Second), all)
	say("killed: %s", all.killed())
	say("%d mails arrived, %d of them the same as one before", b.mails.mails, b.mails.repeated())
	return nil
}

// tally counts what was done, by the kind of fault, and kills by process besides.
type tally map[string]int

func (t tally) add(other tally) {
	for what, n := range other {
		t[what] += n
	}
}

func (t tally) String() string {
	counts := make([]string, len(kinds))
	for i, k := range kinds {
		counts[i] = fmt.Sprintf("%d %s", t[k.name], k.counted)
	}
	return strings.Join(counts, ", ")
}

// killed lists the processes that were killed, and how often each was.
func (t tally) killed() string {
	var counts []string
	for _, what := range slices.Sorted(maps.Keys(t)) {
		if process, is := strings.CutPrefix(what, "kill "); is {
			counts = append(counts, fmt.Sprintf("%s %d", process, t[what]))
		}
	}
	return strings.Join(counts, ", ")
}

// breaker breaks the system and puts it right.
type breaker struct {
	system    *stack.Stack
	hops      *hops
	apps      []string
	processes map[string]*stack.Process
	books     audit.Sources
	mails     postbox

	mu    sync.Mutex
	down  map[string]int // processes that a fault keeps down, and how many do
	tally tally          // of this round
}

// round has people trade while a plan is carried out, and then waits for rest.
func (b *breaker) round(ctx context.Context, seed, round uint64, n amount) error {
	plan := schedule(rand.New(rand.NewPCG(seed, round)), b.apps, replicated, n)
	fmt.Print(list(plan))
	sidecars := []string{b.system.App("auth-service").SidecarURL()}
	for _, app := range b.system.Apps() {
		if slices.Contains(replicated, app.ID) {
			sidecars = append(sidecars, app.SidecarURL())
		}
	}
	m, err := open(ctx, sidecars)
	if err != nil {
		return fmt.Errorf("open the sale: %w", err)
	}
	began := time.Now()
	watching, stop := context.WithCancel(ctx)
	go b.watch(watching, m)
	var g errgroup.Group
	g.Go(func() error { return m.trade(ctx, seed<<8+round, n.during) })
	g.Go(func() error { return b.carryOut(ctx, plan) })
	err = errors.Join(g.Wait(), b.repair(ctx))
	stop()
	if err != nil {
		return err
	}
	say("%d orders tried, %d answered, the last %s after the beginning, %d refused; %d tickets moved, %d refunds. Waiting for rest",
		m.attempted.Load(), m.answered.Load(), time.Unix(0, m.lastAnswer.Load()).Sub(began).Round(time.Second), m.refused.Load(),
		m.moved.Load(), m.returned.Load())
	return b.rest(ctx)
}

// watch says how far the round is.
func (b *breaker) watch(ctx context.Context, m *market) {
	for began := time.Now(); pause(ctx, heartbeat) == nil; {
		var down []string
		for name, p := range b.processes {
			if !p.Alive() {
				down = append(down, name)
			}
		}
		slices.Sort(down)
		b.mu.Lock()
		say("%3.0fs: %d orders answered, %s; down: %s", time.Since(began).Seconds(), m.answered.Load(), b.tally, cmp.Or(strings.Join(down, ", "), "nothing"))
		b.mu.Unlock()
	}
}

// carryOut carries out a plan, each fault in its time, and returns when all are over. What ends meanwhile for another
// reason, for want of its database say, is started again, as whoever runs services does.
func (b *breaker) carryOut(ctx context.Context, plan []fault) error {
	var g errgroup.Group
	over := make(chan struct{})
	g.Go(func() error {
		for {
			select {
			case <-over:
				return nil
			case <-time.After(time.Second):
				if err := b.revive(); err != nil {
					return err
				}
			}
		}
	})
	var faults errgroup.Group
	for _, f := range plan {
		faults.Go(func() error {
			if err := pause(ctx, f.at); err != nil {
				return err
			}
			return b.inflict(ctx, f)
		})
	}
	err := faults.Wait()
	close(over)
	return errors.Join(err, g.Wait())
}

// revive starts what ended by itself.
func (b *breaker) revive() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, p := range b.processes {
		if b.down[name] == 0 && !p.Alive() {
			say("%s ended by itself, starting it", name)
			if err := p.Start(); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepDown says that a fault wants the process to be down, or no longer.
func (b *breaker) keepDown(name string, faults int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down[name] += faults
}

func (b *breaker) count(what string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tally[what] += n
}

func (b *breaker) inflict(ctx context.Context, f fault) error {
	p := b.processes[f.target]
	switch f.kind {
	case "kill":
		b.keepDown(f.target, 1)
		defer b.keepDown(f.target, -1)
		if p.Alive() {
			b.count("kill", 1)
			b.count("kill "+f.target, 1)
		}
		if err := p.Kill(); err != nil {
			return err
		}
		if err := pause(ctx, f.length); err != nil {
			return err
		}
		return p.Start()
	case "freeze":
		if err := p.Pause(); err != nil {
			return err
		}
		b.count("freeze", 1)
		return errors.Join(pause(ctx, f.length), p.Resume())
	case "lose", "twice", "late":
		m := &meddling{within: f.within, left: f.requests, lose: f.kind == "lose", twice: f.kind == "twice"}
		counted := func() { b.count(f.kind, 1) }
		if f.kind == "late" {
			m.before = func() {
				counted()
				_ = pause(ctx, f.length) // a round that ends early ends the wait as well
			}
		} else {
			m.after = counted
		}
		b.hops.add(f.target, m)
		return nil
	case "repeat":
		// The database may be down just now: then this fault is spared it.
		tag, err := b.books.Databases[f.target].Exec(ctx, `
			UPDATE outbox SET published_at = NULL WHERE id IN (
				SELECT id FROM outbox WHERE published_at IS NOT NULL ORDER BY md5(id::text) LIMIT 20)`)
		if err == nil {
			b.count("repeat", int(tag.RowsAffected()))
		}
		return ctx.Err()
	default:
		// The simulator may be down just now: then this fault is spared it.
		if b.stripeFaults(ctx, http.MethodPut, f.target) == nil {
			b.count("stripe", 1)
			if err := pause(ctx, f.length); err != nil {
				return err
			}
			_ = b.stripeFaults(ctx, http.MethodDelete, "") // a killed simulator starts again without faults
		}
		return ctx.Err()
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (b *breaker) stripeFaults(ctx context.Context, method, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, b.system.StripeURL()+"/_faults", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return errors.New(res.Status)
	}
	return nil
}

// repair brings everything up again.
func (b *breaker) repair(ctx context.Context) error {
	b.hops.clear()
	deadline, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		if err := b.revive(); err != nil {
			return err
		}
		err := b.system.WaitHealthy(deadline)
		if err == nil {
			err = b.stripeFaults(ctx, http.MethodDelete, "")
		}
		if err == nil {
			return nil
		}
		if pauseErr := pause(deadline, time.Second); pauseErr != nil {
			return errors.Join(err, pauseErr)
		}
	}
}

// rest waits until an exact audit finds nothing and every mail is where it should be, twice: what is at rest stays so.
func (b *breaker) rest(ctx context.Context) error {
	deadline, cancel := context.WithTimeout(ctx, restingTime)
	defer cancel()
	began, said, saidAt, clean := time.Now(), "", time.Now(), 0
	for {
		report, err := b.books.Audit(ctx, true)
		found := report.Discrepancies()
		var wrong []string
		if err == nil && len(found) == 0 {
			if err = b.mails.empty(); err == nil {
				wrong, err = b.mails.compare(ctx, b.books.Databases)
			}
		}
		clean++
		if err != nil || len(found)+len(wrong) > 0 {
			clean = 0
		}
		if clean == 2 {
			say("at rest after %s", time.Since(began).Round(time.Second))
			return nil
		}
		now := unsettled(found, wrong, err)
		if since := time.Since(saidAt); since > 6*heartbeat || since > heartbeat && now != said {
			said, saidAt = now, time.Now()
			say("%3.0fs: %s", time.Since(began).Seconds(), now)
		}
		if pause(deadline, time.Second) != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("wait for rest: %w", ctx.Err())
			}
			if err == nil {
				err = report.Print(os.Stdout)
			}
			for _, f := range found {
				wrong = append(wrong, f.String())
			}
			return errors.Join(fmt.Errorf("no rest after %s:\n  %s", restingTime, strings.Join(wrong, "\n  ")), err)
		}
	}
}

// unsettled says in a line what keeps the system from rest.
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
	return cmp.Or(strings.Join(parts, ", "), "nothing is unsettled")
}

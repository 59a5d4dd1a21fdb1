//go:build faults

// Package faults_test runs the whole system under load while its processes are killed and frozen, its events come twice
// and late, and its card processor misbehaves, and then wants the books to balance: an exact audit (package audit) that finds nothing.
//
// A round: people come, events go on sale, everybody buys, gives tickets away and gives them back, one event is
// cancelled, and meanwhile a schedule drawn from the seed is carried out. Then everything is put right again, and within a
// while the system has to have come to rest by itself, with nothing lost and nothing done twice.
//
// FAULTS_SEED and FAULTS_ROUNDS choose the schedule and how many rounds of it there are; `make faults` sets them.
package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/tests/audit"
)

const (
	faultsInARound = 8
	tradingTime    = 12 * time.Second
	// A queue hides for a minute what a dead process had received, and a saga that met no answer waits longer each time.
	restingTime = 6 * time.Minute
)

func TestTheBooksBalanceWhateverDies(t *testing.T) {
	seed, rounds := setting(t, "FAULTS_SEED", 68), setting(t, "FAULTS_ROUNDS", 1)
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, seed, rounds); err != nil {
		t.Fatal(err)
	}
}

func setting(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		t.Fatalf("%s: %q is not a number", variable, value)
	}
	return n
}

// say tells somebody who watches.
func say(format string, args ...any) {
	fmt.Printf("faults: "+format+"\n", args...)
}

func run(ctx context.Context, seed, rounds uint64) (err error) {
	root, err := stack.FindRoot()
	if err != nil {
		return err
	}
	cfg, err := stack.Throwaway(root)
	if err != nil {
		return err
	}
	cfg.Out = os.Stderr
	system, err := stack.Start(ctx, cfg)
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, system.Stop(stopping))
		if err != nil {
			err = fmt.Errorf("seed %d: %w\nlogs and data are left in %s", seed, err, cfg.DataDir)
		} else {
			err = os.RemoveAll(cfg.DataDir)
		}
	}()
	if err != nil {
		return err
	}
	b := breaker{system: system, processes: map[string]*stack.Process{}, down: map[string]int{}}
	books := audit.Sources{Databases: map[string]*pgxpool.Pool{}, Stripe: system.StripeURL(), AWS: system.AWSEndpoint()}
	if books.Subscriptions, err = audit.ReadSubscriptions(filepath.Join(root, "components", "local")); err != nil {
		return err
	}
	for _, service := range audit.Services {
		pool, err := pgxpool.New(ctx, system.DatabaseURL(service))
		if err != nil {
			return err
		}
		defer pool.Close()
		books.Databases[service] = pool
	}
	b.databases = books.Databases
	for _, app := range system.Apps() {
		b.apps = append(b.apps, app.ID)
		b.processes[app.ID], b.processes[app.ID+"-sidecar"] = app.Process, app.Sidecar
	}
	for _, name := range []string{"postgres", "fauxqs", "maildev", "stripe-simulator"} {
		b.processes[name] = system.Server(name)
	}

	for round := range rounds {
		began := time.Now()
		random := rand.New(rand.NewPCG(seed, round))
		plan := schedule(random, b.apps, faultsInARound, tradingTime)
		say("seed %d, round %d of %d:\n%s", seed, round+1, rounds, list(plan))
		m, err := open(ctx, demo.Client{Sidecar: system.App("auth-service").SidecarURL()})
		if err != nil {
			return fmt.Errorf("round %d: open: %w", round+1, err)
		}
		var g errgroup.Group
		g.Go(func() error { return m.trade(ctx, seed+round, tradingTime) })
		g.Go(func() error { return b.carryOut(ctx, plan) })
		if err := errors.Join(g.Wait(), b.repair(ctx)); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		say("%d orders tried: %d answered, %d refused; %d tickets moved. Waiting for rest",
			m.attempted.Load(), m.answered.Load(), m.refused.Load(), m.moved.Load())
		if err := b.rest(ctx, books); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		say("round %d balances after %s; %d kills, %d freezes, %d moods of Stripe and %d repeated events so far",
			round+1, time.Since(began).Round(time.Second), b.kills, b.freezes, b.moods, b.repeats)
	}
	return nil
}

// breaker breaks the system and puts it right.
type breaker struct {
	system    *stack.Stack
	apps      []string
	processes map[string]*stack.Process
	databases map[string]*pgxpool.Pool

	mu                    sync.Mutex
	down                  map[string]int // processes that a fault keeps down, and how many do
	kills, freezes, moods int
	repeats               int // events published again
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

func (b *breaker) inflict(ctx context.Context, f fault) error {
	count := func(n *int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		*n++
	}
	p := b.processes[f.target]
	switch f.kind {
	case "kill":
		b.keepDown(f.target, 1)
		defer b.keepDown(f.target, -1)
		if p.Alive() {
			count(&b.kills)
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
		count(&b.freezes)
		return errors.Join(pause(ctx, f.length), p.Resume())
	case "repeat":
		// As if their relay had died before it marked them: they come a second time, late and in another order. The
		// database may be down just now: then this fault is spared it.
		tag, err := b.databases[f.target].Exec(ctx, `
			UPDATE outbox SET published_at = NULL WHERE id IN (
				SELECT id FROM outbox WHERE published_at IS NOT NULL ORDER BY md5(id::text) LIMIT 20)`)
		if err == nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.repeats += int(tag.RowsAffected())
		}
		return ctx.Err()
	default:
		// The simulator may be down just now: then this fault is spared it.
		if b.switches(ctx, http.MethodPut, f.target) == nil {
			count(&b.moods)
		}
		return pause(ctx, f.length)
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

func (b *breaker) switches(ctx context.Context, method, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, b.system.StripeURL()+"/_switches", bytes.NewReader([]byte(body)))
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
	deadline, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		if err := b.revive(); err != nil {
			return err
		}
		err := b.system.WaitHealthy(deadline)
		if err == nil {
			err = b.switches(ctx, http.MethodDelete, "")
		}
		if err == nil {
			return nil
		}
		if pauseErr := pause(deadline, time.Second); pauseErr != nil {
			return errors.Join(err, pauseErr)
		}
	}
}

// rest waits until an exact audit finds nothing, twice: what is at rest stays so.
func (b *breaker) rest(ctx context.Context, books audit.Sources) error {
	deadline, cancel := context.WithTimeout(ctx, restingTime)
	defer cancel()
	clean := 0
	for {
		report, err := books.Audit(ctx, true)
		clean++
		if err != nil || len(report.Discrepancies()) > 0 {
			clean = 0
		}
		if clean == 2 {
			return nil
		}
		if pause(deadline, 2*time.Second) != nil {
			if err == nil {
				err = report.Print(os.Stdout)
			}
			return errors.Join(fmt.Errorf("no rest after %s: %v", restingTime, report.Discrepancies()), err)
		}
	}
}

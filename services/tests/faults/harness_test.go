package faults_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
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

// harness runs a system, injects faults into it, and repairs it.
type harness struct {
	system    *stack.Stack
	proxies   *proxies
	tunnels   tunnels
	apps      []string                  // the app-ids
	processes map[string]*stack.Process // apps, sidecars (with the suffix "-sidecar") and servers
	sources   audit.Sources
	mails     mailbox
	admin     session

	stripeFaulty sync.Mutex // held while the Stripe simulator has faults

	mu    sync.Mutex
	down  map[string]int // by process: the number of faults that keep it down
	tally tally          // of this round
}

// start starts a system whose sidecars reach the apps only through proxies, and whose apps reach their sidecars and
// databases only through others, with two replicas of some apps. The system
// is stopped when the test ends. If the test failed, its logs and databases are kept.
func start(ctx context.Context, t *testing.T, replicas ...string) *harness {
	t.Helper()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	t.Setenv("EVENT_CHANGE_DELAY", "5s") // the apps inherit it
	cfg, err := stack.Throwaway(root)
	require.NoError(t, err)
	p, err := newProxies(cfg.DataDir)
	require.NoError(t, err)
	links := tunnels{}
	cfg.Out, cfg.Replicas, cfg.Interpose, cfg.Tunnel = os.Stderr, replicas, p.interpose, links.opener(ctx)
	system, err := stack.Start(ctx, cfg)
	t.Cleanup(func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		assert.NoError(t, system.Stop(stopping))
		if t.Failed() {
			t.Log("logs are kept in", filepath.Join(cfg.DataDir, "logs")+", and the databases next to them")
		} else {
			assert.NoError(t, os.RemoveAll(cfg.DataDir))
		}
	})
	require.NoError(t, err)
	h := &harness{
		system: system, proxies: p, tunnels: links, processes: map[string]*stack.Process{},
		down: map[string]int{}, tally: tally{},
		sources: audit.Sources{
			Databases: map[string]*pgxpool.Pool{}, Stripe: system.StripeURL(), AWS: system.AWSEndpoint(),
		},
		mails: mailbox{dir: filepath.Join(cfg.DataDir, "mail"), arrived: map[mailID]int{}},
	}
	h.sources.Subscriptions, err = contracts.Subscriptions()
	require.NoError(t, err)
	for _, service := range audit.Services {
		pool, err := pgxpool.New(ctx, system.DatabaseURL(service))
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		h.sources.Databases[service] = pool
	}
	for _, app := range system.Apps() {
		if app.Name == app.ID {
			h.apps = append(h.apps, app.ID)
		}
		h.processes[app.Name], h.processes[app.Name+"-sidecar"] = app.Process, app.Sidecar
	}
	for _, name := range []string{"postgres", "fauxqs", "maildev", "stripe-simulator"} {
		h.processes[name] = system.Server(name)
	}
	return h
}

// execute injects each fault of a schedule at its time, and returns when all of them have ended. Meanwhile it restarts
// processes that exited for another reason, such as a missing database, as an orchestrator would.
func (h *harness) execute(ctx context.Context, schedule []fault) error {
	var g errgroup.Group
	done := make(chan struct{})
	g.Go(func() error {
		for {
			select {
			case <-done:
				return nil
			case <-time.After(time.Second):
				if err := h.restartExited(); err != nil {
					return err
				}
			}
		}
	})
	var faults errgroup.Group
	for _, f := range schedule {
		faults.Go(func() error {
			if err := pause(ctx, f.at); err != nil {
				return err
			}
			return h.inject(ctx, f)
		})
	}
	err := faults.Wait()
	close(done)
	return errors.Join(err, g.Wait())
}

// restartExited starts the processes that have exited and that no fault keeps down.
func (h *harness) restartExited() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, p := range h.processes {
		if h.down[name] == 0 && !p.Alive() {
			progress("%s has exited, restarting it", name)
			if err := p.Start(); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepDown adds to the number of faults that keep a process down.
func (h *harness) keepDown(name string, faults int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down[name] += faults
}

func (h *harness) count(key string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tally[key] += n
}

// inject injects a fault. Faults with a length end before inject returns, except the delay of requests.
func (h *harness) inject(ctx context.Context, f fault) error {
	switch f.kind {
	case kill:
		return h.kill(ctx, f)
	case freeze:
		p := h.processes[f.target]
		if err := p.Pause(); err != nil {
			return err
		}
		h.count(string(freeze), 1)
		return errors.Join(pause(ctx, f.length), p.Resume())
	case loseAnswer, duplicate, delay:
		h.intercept(ctx, f)
		return nil
	case republish:
		// If the database is down, this fault is skipped.
		tag, err := h.sources.Databases[f.target].Exec(ctx, `
			UPDATE outbox SET published_at = NULL WHERE id IN (
				SELECT id FROM outbox WHERE published_at IS NOT NULL ORDER BY md5(id::text) LIMIT 20)`)
		if err == nil {
			h.count(string(republish), int(tag.RowsAffected()))
		}
		return ctx.Err()
	case stripeFault:
		return h.injectStripeFault(ctx, f)
	case swallowDatabase, swallowSidecar:
		link := h.tunnels[f.target]
		link.Swallow()
		defer link.Forward()
		h.count(string(f.kind), 1)
		return pause(ctx, f.length)
	}
	return errors.New("unknown kind of fault: " + string(f.kind))
}

// checkTargets returns an error if a fault is for a process or connection that the system does not have.
func (h *harness) checkTargets(schedule []fault) error {
	for _, f := range schedule {
		known := true
		switch f.kind {
		case kill, freeze:
			_, known = h.processes[f.target]
		case swallowDatabase, swallowSidecar:
			_, known = h.tunnels[f.target]
		case republish:
			_, known = h.sources.Databases[f.target]
		case loseAnswer, duplicate, delay, stripeFault:
		}
		if !known {
			return errors.New("unknown target: " + f.String())
		}
	}
	return nil
}

func (h *harness) kill(ctx context.Context, f fault) error {
	h.keepDown(f.target, 1)
	defer h.keepDown(f.target, -1)
	p := h.processes[f.target]
	if p.Alive() {
		h.count(string(kill), 1)
		h.count(string(kill)+" "+f.target, 1)
	}
	if err := p.Kill(); err != nil {
		return err
	}
	if err := pause(ctx, f.length); err != nil {
		return err
	}
	return p.Start()
}

// intercept injects a fault into requests.
func (h *harness) intercept(ctx context.Context, f fault) {
	i := &interception{
		contains: f.contains, left: f.requests, lose: f.kind == loseAnswer, duplicate: f.kind == duplicate,
	}
	count := func() { h.count(string(f.kind), 1) }
	if f.kind == delay {
		i.before = func() {
			count()
			_ = pause(ctx, f.length) // a cancelled round ends the delay
		}
	} else {
		i.after = count
	}
	h.proxies.add(f.target, i)
}

// pause waits for d. It returns the error of ctx if that is done first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// repair removes all faults, and waits until every process runs and is healthy.
func (h *harness) repair(ctx context.Context) error {
	h.proxies.clear()
	deadline, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		if err := h.restartExited(); err != nil {
			return err
		}
		err := h.system.WaitHealthy(deadline)
		if err == nil {
			err = h.stripe(ctx, http.MethodDelete, "/_faults", nil, nil)
		}
		if err == nil {
			return nil
		}
		if pauseErr := pause(deadline, time.Second); pauseErr != nil {
			return errors.Join(err, pauseErr)
		}
	}
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// maxMemory is the aim for the memory of a service, in MiB.
const maxMemory = 40

// footprint measures how long the system takes to start, and the memory of each of its processes.
func (b *bench) footprint(ctx context.Context) (r results, err error) {
	times, idle, during := b.times(3), 15*time.Second, 10*time.Second
	if b.quick {
		times, idle, during = 1, 2*time.Second, 2*time.Second
	}
	r.Sides = []string{"as shipped"}
	if err := b.starts(ctx, &r, times); err != nil {
		return r, err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t, err := b.openTestbed(ctx)
	defer func() { err = t.stop(ctx, err) }()
	if err != nil {
		return r, err
	}
	if err := t.authenticate(ctx); err != nil {
		return r, err
	}
	r.note("Memory is the resident set size (RSS): %s after the start, and the maximum while 64 clients reserved tickets "+
		"of one type.", idle)
	if err := pause(ctx, idle); err != nil {
		return r, err
	}
	for range times {
		t.memory(&r, "memory, idle", map[string]float64{})
	}
	for turn := range times {
		highest, done := map[string]float64{}, make(chan error, 1)
		go func() {
			_, err := t.measure(ctx, t.contenders[0], 1, load{clients: 64, during: during})
			done <- err
		}()
		for loaded := true; loaded; {
			select {
			case err := <-done:
				if err != nil {
					return r, err
				}
				loaded = false
			case <-time.After(200 * time.Millisecond):
				t.sample(highest)
			}
		}
		t.memory(&r, "memory under load", highest)
		progress("  turn %d of %d: ticket-service uses %s MiB under load", turn+1, times, number(highest["ticket-service"]))
	}
	return r, nil
}

// sample updates the highest memory of each process, in MiB by process name.
func (t *testbed) sample(highest map[string]float64) {
	for _, app := range t.Apps() {
		for _, p := range []*stack.Process{app.Process, app.Sidecar} {
			highest[p.Name] = max(highest[p.Name], float64(usageOf(p.PID(), false).memory)/(1<<20))
		}
	}
}

// memory samples once more and adds the highest memory of each process to the results, services first.
func (t *testbed) memory(r *results, what string, highest map[string]float64) {
	t.sample(highest)
	for _, app := range t.Apps() {
		row := r.row(app.Process.Name, what, "MiB")
		row.add(0, highest[app.Process.Name])
		row.aim(fmt.Sprintf("under %d", maxMemory), row.median(0) < maxMemory)
	}
	for _, app := range t.Apps() {
		r.row(app.Sidecar.Name, what, "MiB").add(0, highest[app.Sidecar.Name])
	}
}

// starts measures `make up`. What it builds and installs is there already.
func (b *bench) starts(ctx context.Context, r *results, times int) error {
	for turn := range times {
		cfg, err := stack.Throwaway(b.root)
		if err != nil {
			return err
		}
		env := append(os.Environ(), "DATA_DIR="+cfg.DataDir, "PORT_OFFSET="+strconv.Itoa(cfg.PortOffset))
		for _, step := range []struct{ target, name string }{
			{"up", "in a new directory"},
			{"down", ""},
			{"up", "after make down"},
			{"up", "when everything is up"},
			{"down", ""},
		} {
			began := time.Now()
			cmd := exec.CommandContext(ctx, "make", "-s", step.target) //nolint:gosec // one of the targets above
			cmd.Dir, cmd.Env = b.root, env
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("make %s: %w\n%s", step.target, err, out)
			}
			if step.name != "" {
				r.row("make up, "+step.name, "time", "s").add(0, time.Since(began).Seconds())
				progress("  turn %d of %d: make up, %s: %s", turn+1, times, step.name,
					time.Since(began).Round(100*time.Millisecond))
			}
		}
		if err := os.RemoveAll(cfg.DataDir); err != nil {
			return fmt.Errorf("remove a system's directory: %w", err)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

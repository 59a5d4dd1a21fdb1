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

// maxMemory is what a service should do with, in MiB.
const maxMemory = 40

// footprint measures how long the system takes to start, and how much memory each of its processes has.
func (b *bench) footprint(ctx context.Context) (r results, err error) {
	times, rest, during := b.times(3), 15*time.Second, 10*time.Second
	if b.quick {
		times, rest, during = 1, 2*time.Second, 2*time.Second
	}
	r.Sides = []string{"as shipped"}
	if err := b.starts(ctx, &r, times); err != nil {
		return r, err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := b.openCounter(ctx)
	defer func() { err = c.stop(ctx, err) }()
	if err != nil {
		return r, err
	}
	if err := c.authenticate(ctx); err != nil {
		return r, err
	}
	r.note("Memory is what is resident (RSS): %s after the start, and the most that there was while 64 clients reserved tickets of one type.", rest)
	if err := pause(ctx, rest); err != nil {
		return r, err
	}
	for range times {
		c.memory(&r, "memory at rest", map[string]float64{})
	}
	for turn := range times {
		most, over := map[string]float64{}, make(chan error, 1)
		go func() {
			_, err := c.volley(ctx, c.contenders[0], 1, load{clients: 64, during: during})
			over <- err
		}()
		for loaded := true; loaded; {
			select {
			case err := <-over:
				if err != nil {
					return r, err
				}
				loaded = false
			case <-time.After(200 * time.Millisecond):
				c.sample(most)
			}
		}
		c.memory(&r, "memory under load", most)
		say("  turn %d of %d: ticket-service has %s MiB under load", turn+1, times, number(most["ticket-service"]))
	}
	return r, nil
}

// sample keeps the most memory that each process was seen with, in MiB.
func (c *counter) sample(most map[string]float64) {
	for _, app := range c.Apps() {
		for _, p := range []*stack.Process{app.Process, app.Sidecar} {
			most[p.Name] = max(most[p.Name], float64(use(p.PID(), false).memory)/(1<<20))
		}
	}
}

// memory adds what each process has now or had before, services first.
func (c *counter) memory(r *results, what string, most map[string]float64) {
	c.sample(most)
	for _, app := range c.Apps() {
		row := r.row(app.Process.Name, what, "MiB")
		row.add(0, most[app.Process.Name])
		row.aim(fmt.Sprintf("under %d", maxMemory), row.median(0) < maxMemory)
	}
	for _, app := range c.Apps() {
		r.row(app.Sidecar.Name, what, "MiB").add(0, most[app.Sidecar.Name])
	}
}

// starts measures `make up`, with what it needs built and installed already.
func (b *bench) starts(ctx context.Context, r *results, times int) error {
	for turn := range times {
		cfg, err := stack.Throwaway(b.root)
		if err != nil {
			return err
		}
		env := append(os.Environ(), "DATA_DIR="+cfg.DataDir, "PORT_OFFSET="+strconv.Itoa(cfg.PortOffset))
		for _, step := range []struct{ target, name string }{
			{"up", "in a new directory"}, {"down", ""}, {"up", "after make down"}, {"up", "when all is up"}, {"down", ""},
		} {
			began := time.Now()
			cmd := exec.CommandContext(ctx, "make", "-s", step.target) //nolint:gosec // one of those above
			cmd.Dir, cmd.Env = b.root, env
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("make %s: %w\n%s", step.target, err, out)
			}
			if step.name != "" {
				r.row("make up, "+step.name, "time", "s").add(0, time.Since(began).Seconds())
				say("  turn %d of %d: make up, %s: %s", turn+1, times, step.name, time.Since(began).Round(100*time.Millisecond))
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

package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// Start starts a whole stack as children of this process and waits until it is healthy. The caller must Stop the
// returned stack, which may be nil after an error.
func Start(ctx context.Context, cfg Config) (*Stack, error) {
	cfg.owned = true
	t, err := ensureTools(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, f, err := cfg.prepare(ctx, t)
	if err != nil {
		return nil, err
	}
	st, err := open(cfg, s, f)
	if err != nil {
		return nil, err
	}
	st.node = t.node
	if st.servers, err = cfg.servers(t, s, f); err != nil {
		return nil, err
	}
	if err := checkPorts(appClaims(f)); err != nil {
		return st, err
	}
	if err := cfg.startServers(ctx, st.servers, s); err != nil {
		return st, err
	}
	for i, a := range f.Apps {
		app := cfg.process(a.name, a.Command[0], a.Command[1:]...)
		tunneled, err := cfg.tunnelSidecar(a)
		if err != nil {
			return st, err
		}
		app.env = append(cfg.processEnv(s, f), f.appEnv(tunneled)...)
		sidecar, err := cfg.sidecar(a, st.apps[i].URL(), t.daprd, s, f)
		if err != nil {
			return st, err
		}
		st.apps[i].Process, st.apps[i].Sidecar = app, sidecar
		for _, p := range []*Process{sidecar, app} {
			if err := p.Start(); err != nil {
				return st, err
			}
		}
	}
	return st, st.WaitHealthy(ctx)
}

// Stop stops the processes of a stack that Start has started: first the apps, so that they can finish their requests,
// then the sidecars, then the servers. It resumes paused processes first.
func (s *Stack) Stop(ctx context.Context) error {
	if s == nil {
		return nil
	}
	var apps, sidecars, servers []*Process
	for _, a := range s.apps {
		apps, sidecars = append(apps, a.Process), append(sidecars, a.Sidecar)
	}
	for _, srv := range s.servers {
		servers = append(servers, srv.Process)
	}
	return errors.Join(
		stopAll(ctx, apps, AppGrace), stopAll(ctx, sidecars, sidecarGrace), stopAll(ctx, servers, serverGrace))
}

// AppGrace is how long an app may take to stop before it is killed. It is longer than any request takes.
const AppGrace = 80 * time.Second

// How long other processes may take to stop before they are killed.
const (
	sidecarGrace = 8 * time.Second
	serverGrace  = 15 * time.Second
)

func stopAll(ctx context.Context, processes []*Process, grace time.Duration) error {
	var g errgroup.Group
	for _, p := range processes {
		if p == nil {
			continue
		}
		g.Go(func() error {
			if err := p.Resume(); err != nil {
				return err
			}
			return p.Stop(ctx, grace)
		})
	}
	return g.Wait()
}

// prepare prepares what Up and Start have in common: the secrets, the binaries of the apps, and the files that the dapr
// CLI and a shell read.
func (c *Config) prepare(ctx context.Context, t tools) (secrets, *runFile, error) {
	s, err := c.loadSecrets()
	if err != nil {
		return nil, nil, err
	}
	f, err := c.readApps()
	if err != nil {
		return nil, nil, err
	}
	if err := c.writeEnv(s, f); err != nil {
		return nil, nil, err
	}
	if err := c.writeWrapper(t.daprd); err != nil {
		return nil, nil, err
	}
	return s, f, c.build(ctx, f)
}

// build builds the apps and the Stripe simulator. It is fast when nothing has changed.
func (c *Config) build(ctx context.Context, f *runFile) error {
	bin := c.bin("") + string(filepath.Separator)
	args := []string{"build", "-buildvcs=false", "-o", bin, "./deploy/local/stripe-simulator"}
	for _, a := range f.Apps {
		args = append(args, "./services/"+a.AppID)
	}
	unlock, err := lock(c.bin(".build.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	done := c.progress("apps", "build")
	var out bytes.Buffer
	if err := c.goTool(ctx, &out, ".", args...); err != nil {
		done("failed")
		return fmt.Errorf("%w\n%s", err, out.String())
	}
	done("built")
	return nil
}

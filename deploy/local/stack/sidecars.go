package stack

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// StartSidecars runs no more of a stack than the apps' sidecars, as dapr.yaml has them but with the resources of these
// directories. cfg.Interpose gives what stands in for the apps. The caller must Stop what it gets, which after a failure
// may be nil.
func StartSidecars(ctx context.Context, cfg Config, resources ...string) (*Stack, error) {
	cfg.owned = true
	daprd, err := cfg.ensureDaprd(ctx, runtime.GOOS)
	if err != nil {
		return nil, err
	}
	s, err := cfg.loadSecrets()
	if err != nil {
		return nil, err
	}
	f, err := cfg.readApps()
	if err != nil {
		return nil, err
	}
	f.Common.ResourcesPaths = resources
	st, err := open(cfg, s, f)
	if err != nil {
		return nil, err
	}
	for i, a := range f.Apps {
		if st.apps[i].Sidecar, err = cfg.sidecar(a, st.apps[i].URL(), daprd, s, f); err != nil {
			return st, err
		}
		if err := st.apps[i].Sidecar.Start(); err != nil {
			return st, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, healthyDeadline)
	defer cancel()
	for _, a := range st.apps {
		// One that is healthy may not know yet that its app is, and lets no call through until it does.
		for a.healthy(ctx, a.SidecarURL()+"/v1.0/invoke/"+a.ID+"/method"+readyPath) != nil {
			if !a.Sidecar.Alive() {
				return st, fmt.Errorf("%s ended; the end of %s:\n%s", a.Sidecar.Name, a.Sidecar.Log, a.Sidecar.Tail())
			}
			select {
			case <-ctx.Done():
				return st, fmt.Errorf("%s is not healthy (log in %s): %w", a.Sidecar.Name, a.Sidecar.Log, ctx.Err())
			case <-time.After(pollInterval):
			}
		}
	}
	return st, nil
}

// sidecar is the sidecar of an app, or of what comes between the two.
func (c *Config) sidecar(a runApp, app, daprd string, s secrets, f *runFile) (*Process, error) {
	if c.Interpose != nil {
		var err error
		if a.AppPort, err = c.Interpose(a.name, app); err != nil {
			return nil, fmt.Errorf("come between %s and its sidecar: %w", a.name, err)
		}
	}
	p := c.process(a.name+"-sidecar", daprd, append(loopbackArgs, f.daprdArgs(a)...)...)
	p.env = c.processEnv(s, f)
	return p, nil
}

// GRPCPort is the port of the gRPC API of an app's sidecar, the first of its replicas, or 0 for another name.
func (s *Stack) GRPCPort(id string) int {
	for _, a := range s.run.Apps {
		if a.AppID == id {
			return a.DaprGRPCPort
		}
	}
	return 0
}

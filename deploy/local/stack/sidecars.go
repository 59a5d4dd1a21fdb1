package stack

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// StartSidecars starts only the sidecars of a stack, with the settings of dapr.yaml but with the resources in the given
// directories. cfg.Interpose returns the ports of the stand-ins for the apps. The caller must Stop the returned stack,
// which may be nil after an error.
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
		// A healthy sidecar refuses calls to its app until it has found the app healthy too.
		for a.healthy(ctx, a.SidecarURL()+"/v1.0/invoke/"+a.ID+"/method"+readyPath) != nil {
			if !a.Sidecar.Alive() {
				return st, fmt.Errorf("%s ended; the last lines of %s:\n%s", a.Sidecar.Name, a.Sidecar.Log, a.Sidecar.Tail())
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

// sidecar returns the sidecar of an app at URL app, or with Interpose of the proxy between the two.
func (c *Config) sidecar(a runApp, app, daprd string, s secrets, f *runFile) (*Process, error) {
	if c.Interpose != nil {
		var err error
		if a.AppPort, err = c.Interpose(a.name, app); err != nil {
			return nil, fmt.Errorf("put a proxy between %s and its sidecar: %w", a.name, err)
		}
	}
	p := c.process(a.name+"-sidecar", daprd, append(loopbackArgs, f.daprdArgs(a)...)...)
	p.env = c.processEnv(s, f)
	return p, nil
}

// tunnelSidecar returns the app with the ports of the proxies to its sidecar, if there are any.
func (c *Config) tunnelSidecar(a runApp) (runApp, error) {
	if c.Tunnel == nil {
		return a, nil
	}
	for api, port := range map[string]*int{"http": &a.DaprHTTPPort, "grpc": &a.DaprGRPCPort} {
		var err error
		if *port, err = c.Tunnel(a.name+"-to-sidecar-"+api, loopback(*port)); err != nil {
			return a, fmt.Errorf("put a proxy between %s and its sidecar: %w", a.name, err)
		}
	}
	return a, nil
}

// GRPCPort returns the port of the gRPC API of an app's sidecar, for the first replica, or 0 for an unknown app.
func (s *Stack) GRPCPort(id string) int {
	for _, a := range s.run.Apps {
		if a.AppID == id {
			return a.DaprGRPCPort
		}
	}
	return 0
}

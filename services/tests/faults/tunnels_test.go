package faults_test

import (
	"context"

	"github.com/eventbooking/eventbooking/services/internal/dial/dialtest"
)

// tunnels are the proxies in the connections of the apps to their databases and sidecars.
type tunnels struct {
	ctx    context.Context //nolint:containedctx // the stack's configuration passes none
	byName map[string]*dialtest.Proxy
}

// open starts a proxy. It is the Tunnel of the stack's configuration, which calls it before the system runs.
func (t *tunnels) open(name, address string) (port int, err error) {
	proxy, err := dialtest.NewProxy(t.ctx, address)
	if err != nil {
		return 0, err
	}
	t.byName[name] = proxy // open until the process ends
	return proxy.Port(), nil
}

package faults_test

import (
	"context"

	"github.com/eventbooking/eventbooking/services/internal/dial/dialtest"
)

// tunnels are the proxies in the connections of the apps to their databases and sidecars, by name.
type tunnels map[string]*dialtest.Proxy

// opener returns the Tunnel of the stack's configuration. It starts a proxy, which is open until the process ends.
func (t tunnels) opener(ctx context.Context) func(name, address string) (port int, err error) {
	return func(name, address string) (port int, err error) {
		proxy, err := dialtest.NewProxy(ctx, address)
		if err != nil {
			return 0, err
		}
		t[name] = proxy
		return proxy.Port(), nil
	}
}

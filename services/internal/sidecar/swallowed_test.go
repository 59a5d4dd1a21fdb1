package sidecar_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/dial/dialtest"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/sidecar/sidecartest"
)

// recovery bounds the time until a request succeeds after its connection began to swallow packets.
const recovery = 30 * time.Second

// connectThrough returns a client whose connections to the sidecar pass the proxies.
func connectThrough(
	t *testing.T, callee http.HandlerFunc,
) (client *sidecar.Client, overHTTP, overGRPC *dialtest.Proxy) {
	t.Helper()
	proxy := func(port int) *dialtest.Proxy {
		p, err := dialtest.NewProxy(t.Context(), net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		require.NoError(t, err)
		t.Cleanup(p.Close)
		return p
	}
	httpPort, grpcPort := sidecartest.Serve(t, map[string]string{"key": "value"}, callee)
	overHTTP, overGRPC = proxy(httpPort), proxy(grpcPort)
	client, err := sidecar.Connect(t.Context(), "payment-service", overHTTP.Port(), overGRPC.Port())
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client, overHTTP, overGRPC
}

func TestSwallowedGRPCConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	client, _, proxy := connectThrough(t, answer(200, "{}"))
	get := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Secret(ctx, "key")
		return err
	}
	require.NoError(t, get())
	proxy.Swallow()
	require.Error(t, get())
	proxy.Forward() // new connections only
	require.Eventually(t, func() bool { return get() == nil }, recovery, 100*time.Millisecond)
}

func TestSwallowedHTTPConnectionsCostOneTimeout(t *testing.T) {
	t.Parallel()
	const n = 5
	var arrived sync.WaitGroup
	arrived.Add(n)
	var first sync.Once
	all := make(chan struct{})
	client, proxy, _ := connectThrough(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-all:
		default: // the first calls are answered together, so that each has a connection of its own
			arrived.Done()
			first.Do(func() { go func() { arrived.Wait(); close(all) }() })
			<-all
		}
		answer(200, "{}")(w, r)
	})
	call := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		_, err := sidecar.Call(ctx, client, calls.TicketInfo, calls.None{}, uuid.New())
		return err
	}
	var callers sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		callers.Go(func() { errs[i] = call(recovery) })
	}
	callers.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	proxy.Swallow()
	proxy.Forward()
	require.ErrorIs(t, call(500*time.Millisecond), context.DeadlineExceeded)
	require.NoError(t, call(recovery/10), "on a new connection, not on one of the other idle ones")
}

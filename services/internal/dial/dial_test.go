package dial_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/dial"
	"github.com/eventbooking/eventbooking/services/internal/dial/dialtest"
)

// echo serves connections that send back what they receive, and returns the address.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	return listener.Addr().String()
}

func TestProxySwallowsAndForwards(t *testing.T) {
	t.Parallel()
	proxy, err := dialtest.NewProxy(t.Context(), echo(t))
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	answers := func(conn net.Conn) bool {
		_, err := conn.Write([]byte("x"))
		require.NoError(t, err, "the proxy acknowledges everything")
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
		_, err = conn.Read(make([]byte, 1))
		return err == nil
	}
	connect := func() net.Conn {
		conn, err := dial.Context(t.Context(), "tcp", proxy.Address())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	before := connect()
	require.True(t, answers(before))
	proxy.Swallow()
	during := connect()
	require.False(t, answers(before))
	require.False(t, answers(during))
	proxy.Forward()
	require.False(t, answers(before), "a swallowed connection stays swallowed")
	require.False(t, answers(during))
	require.True(t, answers(connect()))
}

package dial_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/dial"
)

func TestConnectionsLimitUnacknowledgedData(t *testing.T) {
	t.Parallel()
	conn, err := dial.Context(t.Context(), "tcp", echo(t))
	require.NoError(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		const tcpUserTimeout = 18
		for option, want := range map[int]int{tcpUserTimeout: 15000, syscall.TCP_KEEPIDLE: 10, syscall.TCP_KEEPINTVL: 5} {
			got, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}))
}

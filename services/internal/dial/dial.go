// Package dial opens TCP connections that fail within seconds after the peer has stopped responding.
package dial

import (
	"context"
	"net"
	"strings"
	"syscall"
	"time"
)

const (
	// connectTimeout bounds an attempt to connect.
	connectTimeout = 5 * time.Second
	// unacknowledged is how long sent data may remain unacknowledged. Linux's default is about 15 minutes.
	unacknowledged = 15 * time.Second
)

// keepAlive detects within 25 s that the peer of an idle connection is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// Context connects to an address, within 5 s. The kernel closes the connection if its peer acknowledges neither data,
// for 15 s, nor the probes of an idle connection. A peer that acknowledges everything and responds to nothing is not
// detected: each request needs a deadline as well.
func Context(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: connectTimeout, KeepAliveConfig: keepAlive, Control: control}
	return dialer.DialContext(ctx, network, address)
}

// control sets the options of a TCP socket before it is connected.
func control(network, _ string, conn syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = limitUnacknowledged(fd, unacknowledged) }); err != nil {
		return err
	}
	return failed
}

package stack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// claim is a port that a process of the stack is about to listen on.
type claim struct {
	process  string
	port     int
	variable string // the variable that sets this port; empty when only PORT_OFFSET moves it
}

// checkPorts returns an error that names every claimed port on which another program listens.
func checkPorts(claims []claim) error {
	var taken []error
	for _, c := range claims {
		if free(c.port) {
			continue
		}
		remedy := "PORT_OFFSET=<n>, which is added to all ports"
		if c.variable != "" {
			remedy = c.variable + "=<port> or " + remedy
		}
		taken = append(taken, fmt.Errorf("port %d of %s is in use by another program: stop that program, or set %s",
			c.port, c.process, remedy))
	}
	return errors.Join(taken...)
}

func free(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// freeOffset returns a port offset at which every port of a stack is free. The range of offsets avoids the ports of a
// stack without an offset, and the ports that the operating system uses for outgoing connections.
func freeOffset(root string) (int, error) {
	const from, to, step = 11000, 17000, 2 * replicaShift
	first := rand.IntN((to - from) / step)
	for i := range (to - from) / step {
		offset := from + (first+i)%((to-from)/step)*step
		cfg := Config{Root: root, PortOffset: offset}
		cfg.standardPorts()
		apps, err := cfg.readApps()
		if err != nil {
			return 0, err
		}
		if checkPorts(append(cfg.serverClaims(), appClaims(apps)...)) == nil {
			return offset, nil
		}
	}
	return 0, errors.New("this machine has no free range of ports for a stack")
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

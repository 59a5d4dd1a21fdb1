package stack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// claim is a port that a process of ours is about to listen on.
type claim struct {
	process  string
	port     int
	variable string // what moves this port alone; empty when only PORT_OFFSET does
}

// checkPorts names every claimed port that somebody else listens on.
func checkPorts(claims []claim) error {
	var taken []error
	for _, c := range claims {
		if free(c.port) {
			continue
		}
		way := "PORT_OFFSET=<n>, which shifts all ports"
		if c.variable != "" {
			way = c.variable + "=<port> or " + way
		}
		taken = append(taken, fmt.Errorf("port %d, which %s needs, is in use by another program: stop that, or set %s", c.port, c.process, way))
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

// freeOffset finds an offset at which every port of a stack is free, in a range that keeps clear of a stack without one and of
// the ports that the system gives to outgoing connections.
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
	return 0, errors.New("no free range of ports for a stack on this machine")
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

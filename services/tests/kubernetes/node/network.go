package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
)

// network is the node's part of 10.0.0.0/8. It contains the addresses of the node, of the machine's end of the link, of
// pods and of services. Its number is 0 if there is none.
type network struct{ number int }

func (w network) name() string         { return "eventbooking" + strconv.Itoa(w.number) }
func (w network) all() string          { return fmt.Sprintf("10.%d.0.0/16", w.number) }
func (w network) outside() string      { return fmt.Sprintf("10.%d.0.1", w.number) }
func (w network) address() string      { return fmt.Sprintf("10.%d.0.2", w.number) }
func (w network) pods() string         { return fmt.Sprintf("10.%d.1.0/24", w.number) }
func (w network) services() string     { return fmt.Sprintf("10.%d.128.0/24", w.number) }
func (w network) firstService() string { return fmt.Sprintf("10.%d.128.1", w.number) }

// connect connects the network namespace of a process with the machine's, using the first free network.
func connect(ctx context.Context, process int) (network, error) {
	namespace := strconv.Itoa(process)
	for number := 64; number < 256; number++ {
		w := network{number}
		if taken, err := w.taken(); err != nil || taken {
			if err != nil {
				return network{}, err
			}
			continue
		}
		// The name of the interface reserves the network: no other node can use the name at the same time.
		_, err := output(exec.CommandContext(ctx,
			"ip", "link", "add", w.name(), "type", "veth", "peer", "name", "uplink", "netns", namespace))
		if err != nil {
			if taken, terr := w.taken(); terr == nil && taken {
				continue
			}
			return network{}, err
		}
		for _, command := range []string{
			"ip address add " + w.outside() + "/30 dev " + w.name(),
			"ip link set " + w.name() + " up",
			"nsenter --target=" + namespace + " --net ip link set lo up",
			"nsenter --target=" + namespace + " --net ip address add " + w.address() + "/30 dev uplink",
			"nsenter --target=" + namespace + " --net ip link set uplink up",
			// The API server needs a route to a service's address before kube-proxy rewrites it to that of a pod.
			"nsenter --target=" + namespace + " --net ip route add " + w.services() + " via " + w.outside(),
			"ip route add " + w.all() + " via " + w.address(),
		} {
			words := strings.Fields(command)
			if _, err := output(exec.CommandContext(ctx, words[0], words[1:]...)); err != nil {
				return w, err
			}
		}
		return w, nil
	}
	return network{}, errors.New("all networks from 10.64.0.0/16 to 10.255.0.0/16 are in use")
}

// taken reports whether an interface of this machine has an address in the network, or its name.
func (w network) taken() (bool, error) {
	_, all, err := net.ParseCIDR(w.all())
	if err != nil {
		return false, fmt.Errorf("parse a network: %w", err)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false, fmt.Errorf("read the machine's addresses: %w", err)
	}
	for _, a := range addresses {
		if of, ok := a.(*net.IPNet); ok && (all.Contains(of.IP) || of.Contains(all.IP)) {
			return true, nil
		}
	}
	_, err = net.InterfaceByName(w.name())
	return err == nil, nil
}

// disconnect removes the machine's end of the link at once. The kernel removes it too, but only some time after the
// node's end is gone.
func (w network) disconnect(ctx context.Context) error {
	if _, err := net.InterfaceByName(w.name()); err != nil {
		return nil //nolint:nilerr // the interface is gone
	}
	if _, err := output(exec.CommandContext(ctx, "ip", "link", "delete", w.name())); err != nil {
		if _, gone := net.InterfaceByName(w.name()); gone != nil {
			return nil //nolint:nilerr // the kernel removed it first
		}
		return err
	}
	return nil
}

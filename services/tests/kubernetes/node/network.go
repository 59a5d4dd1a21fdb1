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

// network is the node's part of 10.0.0.0/8: its own address and ours at the other end of the link, its pods and its services.
// It is 0 when there is none.
type network struct{ number int }

func (w network) name() string         { return "eventbooking" + strconv.Itoa(w.number) }
func (w network) all() string          { return fmt.Sprintf("10.%d.0.0/16", w.number) }
func (w network) outside() string      { return fmt.Sprintf("10.%d.0.1", w.number) }
func (w network) address() string      { return fmt.Sprintf("10.%d.0.2", w.number) }
func (w network) pods() string         { return fmt.Sprintf("10.%d.1.0/24", w.number) }
func (w network) services() string     { return fmt.Sprintf("10.%d.128.0/24", w.number) }
func (w network) firstService() string { return fmt.Sprintf("10.%d.128.1", w.number) }

// connect joins the network namespace of a process to ours, by a network that nobody uses yet.
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
		// The interface's name is what another node cannot have at the same time.
		if _, err := output(exec.CommandContext(ctx, "ip", "link", "add", w.name(), "type", "veth", "peer", "name", "uplink", "netns", namespace)); err != nil {
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
			// Before it becomes that of a pod, the API server looks for a way to a service's address.
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
	return network{}, errors.New("every network from 10.64.0.0/16 to 10.255.0.0/16 is used already")
}

// taken is whether an interface of this machine has an address in the network.
func (w network) taken() (bool, error) {
	_, all, err := net.ParseCIDR(w.all())
	if err != nil {
		return false, fmt.Errorf("read a network: %w", err)
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

// disconnect takes our end of the link away at once; the kernel does so some time after the node's end is gone.
func (w network) disconnect(ctx context.Context) error {
	if _, err := net.InterfaceByName(w.name()); err != nil {
		return nil //nolint:nilerr // it is gone
	}
	if _, err := output(exec.CommandContext(ctx, "ip", "link", "delete", w.name())); err != nil {
		if _, gone := net.InterfaceByName(w.name()); gone != nil {
			return nil //nolint:nilerr // the kernel was faster
		}
		return err
	}
	return nil
}

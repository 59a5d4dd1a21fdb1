package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// plugins is where Debian has the programs that give pods their network.
const plugins = "/usr/lib/cni"

// missing are the packages of Debian that the node needs and this machine has not.
func missing() []string {
	var packages []string
	for program, of := range map[string]string{
		"containerd": "containerd", "runc": "runc", plugins + "/ptp": "containernetworking-plugins", "iptables": "iptables",
		"ip": "iproute2", "nsenter": "util-linux",
	} {
		if _, err := exec.LookPath(program); err != nil {
			packages = append(packages, of)
		}
	}
	slices.Sort(packages)
	return packages
}

// Requirements says what keeps a node from running on this machine: everything at once, a sentence each, and nothing that Start
// would install.
func Requirements(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("only root can start a node")
	}
	var failures []error
	if packages := missing(); len(packages) > 0 {
		if _, err := exec.LookPath("apt-get"); err != nil {
			failures = append(failures, fmt.Errorf("a node needs %s, and there is no apt-get to install it with", strings.Join(packages, ", ")))
		}
	}
	probe := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "true")
	if _, err := output(probe); err != nil {
		failures = append(failures, fmt.Errorf("a node needs namespaces of its own: %w", err))
	}
	if known, err := os.ReadFile("/proc/filesystems"); err != nil || !bytes.Contains(known, []byte("\toverlay\n")) {
		failures = append(failures, errors.New("a node needs a kernel with overlayfs"))
	}
	const group = "eventbooking-probe"
	if err := errors.Join(makeGroups(group), removeGroups(group)); err != nil {
		failures = append(failures, fmt.Errorf("a node needs control groups: %w", err))
	}
	return errors.Join(failures...)
}

// install gets the missing packages. A service that comes with them does not run when it is done.
func (n *Node) install(ctx context.Context) error {
	packages := missing()
	if len(packages) == 0 {
		return nil
	}
	n.say("installing " + strings.Join(packages, ", "))
	commands := [][]string{
		{"apt-get", "update"},
		append([]string{"apt-get", "install", "--yes", "--no-install-recommends", "--option=DPkg::Lock::Timeout=300"}, packages...),
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil && slices.Contains(packages, "containerd") {
		commands = append(commands, []string{"systemctl", "disable", "--now", "containerd"})
	}
	for _, command := range commands {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if _, err := output(cmd); err != nil {
			return err
		}
	}
	return nil
}

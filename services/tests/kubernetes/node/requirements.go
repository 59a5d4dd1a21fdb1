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

// plugins is the directory of Debian's CNI plugins, which set up the network of pods.
const plugins = "/usr/lib/cni"

// missing returns the Debian packages that the node needs and that are not installed.
func missing() []string {
	var packages []string
	for program, of := range map[string]string{
		"containerd": "containerd", "runc": "runc", plugins + "/ptp": "containernetworking-plugins",
		"iptables": "iptables", "ip": "iproute2", "nsenter": "util-linux",
	} {
		if _, err := exec.LookPath(program); err != nil {
			packages = append(packages, of)
		}
	}
	slices.Sort(packages)
	return packages
}

// Requirements returns an error with all reasons why a node cannot run on this machine, one line each. Packages that
// Start would install are not among them.
func Requirements(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("only root can start a node")
	}
	var failures []error
	if packages := missing(); len(packages) > 0 {
		if _, err := exec.LookPath("apt-get"); err != nil {
			failures = append(failures, fmt.Errorf("a node needs %s, and there is no apt-get to install them",
				strings.Join(packages, ", ")))
		}
	}
	probe := exec.CommandContext(ctx,
		"unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "true")
	if _, err := output(probe); err != nil {
		failures = append(failures, fmt.Errorf("a node needs its own namespaces: %w", err))
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

// install installs the missing packages. It disables the service that the package containerd starts.
func (n *Node) install(ctx context.Context) error {
	packages := missing()
	if len(packages) == 0 {
		return nil
	}
	n.progress("installing " + strings.Join(packages, ", "))
	install := []string{
		"apt-get", "install", "--yes", "--no-install-recommends", "--option=DPkg::Lock::Timeout=300",
	}
	commands := [][]string{{"apt-get", "update"}, append(install, packages...)}
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

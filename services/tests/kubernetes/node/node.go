package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// PauseImage is what every pod is built around. It has to be imported before the first pod can run.
const PauseImage = "eventbooking.local/pause:latest"

// Node is a cluster of one node.
type Node struct {
	dir string
	say func(string)

	machine *stack.Process
	first   int // the machine's first process
	network network
	parts   []*stack.Process // the machine, and what runs in it
	admin   *http.Client
}

// Start installs and builds what is missing, starts a node, and waits until it can take pods. Everything that it writes is
// below dir, which stays when the node is closed. The caller must Close what it gets, even with an error.
func Start(ctx context.Context, root, dir string, progress func(string)) (*Node, error) {
	n := &Node{dir: dir, say: progress}
	return n, n.start(ctx, root)
}

func (n *Node) start(ctx context.Context, root string) error {
	// The address of a socket is a path of at most 107 characters.
	if longest := filepath.Join(n.dir, "kubelet", "pod-resources", "kubelet.sock"); !filepath.IsAbs(n.dir) || len(longest) > 100 {
		return fmt.Errorf("%s is no absolute path, or a node's sockets would have too long a one there", n.dir)
	}
	if err := Requirements(ctx); err != nil {
		return err
	}
	if err := n.install(ctx); err != nil {
		return err
	}
	program, err := stack.EnsureKubernetes(ctx, stack.Config{Root: root, ToolsDir: filepath.Join(root, ".local"), Out: lines(n.say)})
	if err != nil {
		return err
	}
	began := time.Now()
	if err := n.link(program); err != nil {
		return err
	}
	if err := n.startMachine(ctx); err != nil {
		return err
	}
	if err := n.configure(); err != nil {
		return err
	}
	if err := n.startControlPlane(ctx); err != nil {
		return err
	}
	if err := n.startNode(ctx); err != nil {
		return err
	}
	n.say(fmt.Sprintf("ready after %s", time.Since(began).Round(100*time.Millisecond)))
	return nil
}

// lines takes whole lines and hands them on as progress.
type lines func(string)

func (say lines) Write(text []byte) (int, error) {
	say(strings.TrimSpace(string(text)))
	return len(text), nil
}

// program is the path by which one of the programs in tools/node's binary is called.
func (n *Node) program(name string) string { return filepath.Join(n.dir, "bin", name) }

// link gives the binary the names of the programs in it.
func (n *Node) link(binary string) error {
	if err := os.MkdirAll(n.program(""), 0o755); err != nil {
		return fmt.Errorf("make a place for the programs: %w", err)
	}
	for _, name := range []string{
		"machine", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns", "kubectl",
	} {
		if err := os.Symlink(binary, n.program(name)); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

func (n *Node) startMachine(ctx context.Context) error {
	record := filepath.Join(n.dir, "machine")
	n.machine = stack.Child(n.dir, "machine", n.program("machine"), record)
	if err := n.machine.Start(); err != nil {
		return err
	}
	n.parts = append(n.parts, n.machine)
	err := n.wait(ctx, "machine", func(context.Context) error {
		text, err := os.ReadFile(record)
		if err != nil {
			return err
		}
		n.first, err = strconv.Atoi(string(text))
		return err
	})
	if err != nil {
		return err
	}
	if n.network, err = connect(ctx, n.first); err != nil {
		return err
	}
	return makeGroups(n.network.name())
}

// startControlPlane starts what the API server needs, and itself.
func (n *Node) startControlPlane(ctx context.Context) error {
	// Nobody else is on the machine's loopback, and nothing written is worth waiting for a disk.
	err := n.run("etcd", "--data-dir="+filepath.Join(n.dir, "etcd"), "--unsafe-no-fsync", "--listen-peer-urls=http://127.0.0.1:2380",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379")
	if err != nil {
		return err
	}
	err = n.run("kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
		"--bind-address="+n.network.address(), "--advertise-address="+n.network.address(), "--service-cluster-ip-range="+n.network.services(),
		"--tls-cert-file="+n.etc("node.crt"), "--tls-private-key-file="+n.etc("node.key"), "--client-ca-file="+n.etc("ca.crt"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+n.etc("accounts.crt"), "--service-account-signing-key-file="+n.etc("accounts.key"),
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority="+n.etc("ca.crt"),
		"--kubelet-client-certificate="+n.etc("admin.crt"), "--kubelet-client-key="+n.etc("admin.key"))
	if err != nil {
		return err
	}
	return n.wait(ctx, "kube-apiserver", n.answers("https", ":6443/readyz"))
}

// startNode starts what works for the API server.
func (n *Node) startNode(ctx context.Context) error {
	if err := n.run("containerd", "--config="+n.etc("containerd.toml")); err != nil {
		return err
	}
	// A kubelet does not wait for it.
	err := n.wait(ctx, "containerd", func(context.Context) error {
		_, err := os.Stat(n.containerd())
		return err
	})
	if err != nil {
		return err
	}
	err = n.run("kubelet", "--config="+n.etc("kubelet.yaml"), "--kubeconfig="+n.etc("kubelet.conf"),
		"--root-dir="+filepath.Join(n.dir, "kubelet"), "--hostname-override=node", "--node-ip="+n.network.address())
	if err != nil {
		return err
	}
	err = n.run("kube-controller-manager", "--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials",
		"--root-ca-file="+n.etc("ca.crt"), "--service-account-private-key-file="+n.etc("accounts.key"),
		"--cluster-signing-cert-file="+n.etc("ca.crt"), "--cluster-signing-key-file="+n.etc("ca.key"),
		"--kubeconfig="+n.etc("kube-controller-manager.conf"))
	if err != nil {
		return err
	}
	err = n.run("kube-scheduler", "--bind-address=127.0.0.1", "--leader-elect=false", "--kubeconfig="+n.etc("kube-scheduler.conf"))
	if err != nil {
		return err
	}
	if err := n.run("kube-proxy", "--config="+n.etc("kube-proxy.yaml")); err != nil {
		return err
	}
	if err := n.run("coredns", "-conf="+n.etc("Corefile")); err != nil {
		return err
	}
	cluster, err := os.Open(n.etc("cluster.yaml"))
	if err != nil {
		return fmt.Errorf("read what a cluster is set up with: %w", err)
	}
	defer cluster.Close()
	if _, err := n.KubectlIn(ctx, cluster, "apply", "-f", "-"); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		ready func(context.Context) error
	}{
		{"kube-proxy", n.answers("http", ":10256/healthz")},
		{"coredns", n.answers("http", ":8181/ready")},
		{"kube-controller-manager", n.answers("https", ":6443/api/v1/namespaces/default/serviceaccounts/default")},
		{"kubelet", n.kubeletReady},
	} {
		if err := n.wait(ctx, part.name, part.ready); err != nil {
			return err
		}
	}
	return nil
}

// containerd is the socket at which containerd answers.
func (n *Node) containerd() string { return filepath.Join(n.dir, "containerd.sock") }

// run starts a program in the machine.
func (n *Node) run(name string, args ...string) error {
	path := n.program(name)
	if name == "containerd" { // which is Debian's
		path = "/usr/bin/containerd"
	}
	p := stack.Child(n.dir, name, "/usr/bin/nsenter", append([]string{
		"--target=" + strconv.Itoa(n.first), "--pid", "--mount", "--net", "--uts", "--ipc", "--", path,
	}, args...)...)
	n.parts = append(n.parts, p)
	return p.Start()
}

// patience is how long a part of the node may take to come up.
const patience = 2 * time.Minute

// wait returns when a part of the node is ready. An error has what it logged last, or what another part did that ended.
func (n *Node) wait(ctx context.Context, part string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not ready within %s", patience))
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		for _, p := range n.parts {
			switch {
			case !p.Alive():
				return fmt.Errorf("%s ended; the end of %s:\n%s", p.Name, p.Log, p.Tail())
			case p.Name == part && ctx.Err() != nil:
				return fmt.Errorf("%s: %w: %w; the end of %s:\n%s", p.Name, context.Cause(ctx), err, p.Log, p.Tail())
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answers is whether the node answers at a port and path.
func (n *Node) answers(scheme, where string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := n.get(ctx, scheme+"://"+n.network.address()+where)
		return err
	}
}

// kubeletReady is whether the API server knows of a kubelet that takes pods.
func (n *Node) kubeletReady(ctx context.Context) error {
	text, err := n.get(ctx, "https://"+n.network.address()+":6443/api/v1/nodes/node")
	if err != nil {
		return err
	}
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(text, &node); err != nil {
		return fmt.Errorf("read the node: %w", err)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			if c.Status == "True" {
				return nil
			}
			return errors.New(c.Message)
		}
	}
	return errors.New("no kubelet has reported")
}

// get asks a part of the node, as the cluster's administrator where that one wants to know.
func (n *Node) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	res, err := n.admin.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	return text, nil
}

// Kubeconfig is the file with which kubectl reaches the cluster as its administrator.
func (n *Node) Kubeconfig() string { return n.etc("admin.conf") }

// Env is our environment, with the node's kubectl before any other one in the PATH, and that reaches the cluster.
func (n *Node) Env() []string {
	return append(os.Environ(), "PATH="+filepath.Join(n.dir, "bin")+":"+os.Getenv("PATH"), "KUBECONFIG="+n.Kubeconfig(),
		"NO_PROXY="+n.network.all())
}

// Command is a call of kubectl that has not started.
func (n *Node) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, n.program("kubectl"), args...)
	cmd.Env = n.Env()
	return cmd
}

// Kubectl gives what kubectl prints. An error has what it said.
func (n *Node) Kubectl(ctx context.Context, args ...string) ([]byte, error) {
	return n.KubectlIn(ctx, nil, args...)
}

// KubectlIn is Kubectl with something to read.
func (n *Node) KubectlIn(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := n.Command(ctx, args...)
	cmd.Stdin = stdin
	return output(cmd)
}

// Import makes the images of an OCI archive known to the node by the names that the archive gives them.
func (n *Node) Import(ctx context.Context, archive string) error {
	_, err := output(exec.CommandContext(ctx, "ctr", "--address="+n.containerd(), "--namespace=k8s.io",
		"images", "import", archive))
	return err
}

// output is what a command prints. An error has what it said.
func output(cmd *exec.Cmd) ([]byte, error) {
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	text, err := cmd.Output()
	if err != nil {
		return text, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(complaints.Bytes()))
	}
	return text, nil
}

// Close ends the node, and with it every process, mount, network namespace, interface, packet filter and control group that it
// made. Its files stay. It is safe after a start that failed half-way, and a second time.
func (n *Node) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var failures []error
	if n.machine != nil {
		failures = append(failures, n.machine.Stop(ctx, 30*time.Second))
	}
	for _, p := range n.parts { // what ran in it is gone, but they may not have noticed
		failures = append(failures, p.Kill())
	}
	if n.network.number != 0 {
		// Once we are disconnected, another node may take the name.
		failures = append(failures, removeGroups(n.network.name()), n.network.disconnect(ctx))
	}
	return errors.Join(failures...)
}

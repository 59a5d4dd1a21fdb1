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

// PauseImage is the image of the container that holds a pod's namespaces. It has to be imported before the first pod
// runs.
const PauseImage = "eventbooking.local/pause:latest"

// Node is a cluster of one node.
type Node struct {
	dir      string
	progress func(string)

	machine *stack.Process
	first   int // id of the machine's first process
	network network
	parts   []*stack.Process // the machine, and the components in it
	admin   *http.Client
}

// Start installs and builds what is missing, starts a node, and waits until the node accepts pods. It writes only to
// dir, which stays when the node is closed. progress receives lines about the progress. The caller must Close the
// returned node, even after an error.
func Start(ctx context.Context, root, dir string, progress func(string)) (*Node, error) {
	n := &Node{dir: dir, progress: progress}
	return n, n.start(ctx, root)
}

func (n *Node) start(ctx context.Context, root string) error {
	// The path of a Unix socket has at most 107 characters.
	longest := filepath.Join(n.dir, "kubelet", "pod-resources", "kubelet.sock")
	if !filepath.IsAbs(n.dir) || len(longest) > 100 {
		return fmt.Errorf("%s is not an absolute path, or it is too long for the paths of sockets in it", n.dir)
	}
	if err := Requirements(ctx); err != nil {
		return err
	}
	if err := n.install(ctx); err != nil {
		return err
	}
	program, err := stack.EnsureKubernetes(ctx, stack.Config{
		Root: root, ToolsDir: filepath.Join(root, ".local"), Out: lines(n.progress),
	})
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
	n.progress(fmt.Sprintf("ready after %s", time.Since(began).Round(100*time.Millisecond)))
	return nil
}

// lines is a writer of whole lines that reports each as progress.
type lines func(string)

func (l lines) Write(text []byte) (int, error) {
	l(strings.TrimSpace(string(text)))
	return len(text), nil
}

// program returns the path of one of the programs in the binary of tools/node.
func (n *Node) program(name string) string { return filepath.Join(n.dir, "bin", name) }

// link links the names of the programs to the binary that contains them.
func (n *Node) link(binary string) error {
	if err := os.MkdirAll(n.program(""), 0o755); err != nil {
		return fmt.Errorf("create the directory of the programs: %w", err)
	}
	for _, name := range []string{
		"machine", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
		"coredns", "kubectl",
	} {
		if err := os.Symlink(binary, n.program(name)); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

// startMachine starts the process with the node's namespaces, its network and its control groups.
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

// startControlPlane starts etcd and the API server, and waits until the API server is ready.
func (n *Node) startControlPlane(ctx context.Context) error {
	// Only the node's components can reach its loopback, and its data need not survive a crash.
	err := n.run("etcd", "--data-dir="+filepath.Join(n.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-peer-urls=http://127.0.0.1:2380", "--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379")
	if err != nil {
		return err
	}
	err = n.run("kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
		"--bind-address="+n.network.address(), "--advertise-address="+n.network.address(),
		"--service-cluster-ip-range="+n.network.services(),
		"--tls-cert-file="+n.etc("node.crt"), "--tls-private-key-file="+n.etc("node.key"),
		"--client-ca-file="+n.etc("ca.crt"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+n.etc("accounts.crt"),
		"--service-account-signing-key-file="+n.etc("accounts.key"),
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority="+n.etc("ca.crt"),
		"--kubelet-client-certificate="+n.etc("admin.crt"), "--kubelet-client-key="+n.etc("admin.key"))
	if err != nil {
		return err
	}
	return n.wait(ctx, "kube-apiserver", n.answers("https", ":6443/readyz"))
}

// startNode starts the other components and applies cluster.yaml. It waits until all of them are ready.
func (n *Node) startNode(ctx context.Context) error {
	if err := n.run("containerd", "--config="+n.etc("containerd.toml")); err != nil {
		return err
	}
	// A kubelet does not wait for containerd.
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
	err = n.run("kube-controller-manager", "--bind-address=127.0.0.1", "--leader-elect=false",
		"--use-service-account-credentials",
		"--root-ca-file="+n.etc("ca.crt"), "--service-account-private-key-file="+n.etc("accounts.key"),
		"--cluster-signing-cert-file="+n.etc("ca.crt"), "--cluster-signing-key-file="+n.etc("ca.key"),
		"--kubeconfig="+n.etc("kube-controller-manager.conf"))
	if err != nil {
		return err
	}
	err = n.run("kube-scheduler", "--bind-address=127.0.0.1", "--leader-elect=false",
		"--kubeconfig="+n.etc("kube-scheduler.conf"))
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
		return fmt.Errorf("read the objects of a new cluster: %w", err)
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

// containerd returns the path of containerd's socket.
func (n *Node) containerd() string { return filepath.Join(n.dir, "containerd.sock") }

// run starts a program in the node's namespaces.
func (n *Node) run(name string, args ...string) error {
	path := n.program(name)
	if name == "containerd" { // a Debian package
		path = "/usr/bin/containerd"
	}
	p := stack.Child(n.dir, name, "/usr/bin/nsenter", append([]string{
		"--target=" + strconv.Itoa(n.first), "--pid", "--mount", "--net", "--uts", "--ipc", "--", path,
	}, args...)...)
	n.parts = append(n.parts, p)
	return p.Start()
}

// startTimeout is how long a component may take to become ready.
const startTimeout = 2 * time.Minute

// wait waits until a component is ready. Its error contains the end of the component's log, or the log of another
// component that ended.
func (n *Node) wait(ctx context.Context, part string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready within %s", startTimeout))
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

// answers returns a check that a port and path of the node answer 200.
func (n *Node) answers(scheme, where string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := n.get(ctx, scheme+"://"+n.network.address()+where)
		return err
	}
}

// kubeletReady checks that the kubelet has reported to the API server that it accepts pods.
func (n *Node) kubeletReady(ctx context.Context) error {
	text, err := n.get(ctx, "https://"+n.network.address()+":6443/api/v1/nodes/node")
	if err != nil {
		return err
	}
	var object struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(text, &object); err != nil {
		return fmt.Errorf("parse the node object: %w", err)
	}
	for _, c := range object.Status.Conditions {
		if c.Type == "Ready" {
			if c.Status == "True" {
				return nil
			}
			return errors.New(c.Message)
		}
	}
	return errors.New("the kubelet has not reported")
}

// get requests a URL of the node with the administrator's client certificate. Any status but 200 is an error.
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

// Kubeconfig returns the path of the administrator's kubeconfig.
func (n *Node) Kubeconfig() string { return n.etc("admin.conf") }

// Env returns the environment of this process, changed so that kubectl in PATH is the node's and reaches the cluster.
func (n *Node) Env() []string {
	path := filepath.Join(n.dir, "bin") + ":" + os.Getenv("PATH")
	return append(os.Environ(), "PATH="+path, "KUBECONFIG="+n.Kubeconfig(),
		"NO_PROXY="+n.network.all())
}

// Command returns a kubectl command, not started.
func (n *Node) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, n.program("kubectl"), args...)
	cmd.Env = n.Env()
	return cmd
}

// Kubectl runs kubectl and returns its standard output. Its error contains the standard error output.
func (n *Node) Kubectl(ctx context.Context, args ...string) ([]byte, error) {
	return n.KubectlIn(ctx, nil, args...)
}

// KubectlIn is Kubectl with a standard input.
func (n *Node) KubectlIn(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := n.Command(ctx, args...)
	cmd.Stdin = stdin
	return output(cmd)
}

// Import imports the images of an OCI archive, under their names in the archive.
func (n *Node) Import(ctx context.Context, archive string) error {
	_, err := output(exec.CommandContext(ctx, "ctr", "--address="+n.containerd(), "--namespace=k8s.io",
		"images", "import", archive))
	return err
}

// output runs a command and returns its standard output. Its error contains the standard error output.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return text, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return text, nil
}

// Close ends the node, and with it every process, mount, network namespace, interface, packet filter and control group
// that the node created. Its files stay. Close may be called after a failed start, and repeatedly.
func (n *Node) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var failures []error
	if n.machine != nil {
		failures = append(failures, n.machine.Stop(ctx, 30*time.Second))
	}
	// The components ended with the machine, but their nsenter processes outside of it can still be there.
	for _, p := range n.parts {
		failures = append(failures, p.Kill())
	}
	if n.network.number != 0 {
		// disconnect comes last, because another node may use the name afterwards.
		failures = append(failures, removeGroups(n.network.name()), n.network.disconnect(ctx))
	}
	return errors.Join(failures...)
}

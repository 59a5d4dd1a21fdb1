//go:build kubernetes

package kubernetes_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/tests/kubernetes/node"
)

// namespace is the system's namespace.
const namespace = "eventbooking"

// cluster is a node, and what the steps of the test have set up in it so far.
type cluster struct {
	*node.Node
	root   string
	people demo.Client // calls through the ingress
	mail   demo.Sink

	retried []string // failures after which buyers retried
}

// start starts a node and imports all images. The node is removed when the test ends.
func start(ctx context.Context, t *testing.T) *cluster {
	t.Helper()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	cfg, err := stack.FromEnv(root)
	require.NoError(t, err)
	cfg.Out = os.Stderr
	images, err := stack.EnsureImages(ctx, cfg)
	require.NoError(t, err)

	dir, err := os.MkdirTemp("", "eventbooking-node-") // not t.TempDir, because it stays with KEEP=1
	require.NoError(t, err)
	began := time.Now()
	n, err := node.Start(ctx, root, dir, func(line string) { progress("node: %s", line) })
	c := &cluster{Node: n, root: root}
	t.Cleanup(func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			c.explain(ending, filepath.Join(dir, "pods"))
			for _, failure := range c.retried {
				progress("a buyer retried: %s", failure)
			}
		}
		assert.NoError(t, n.Close())
		if os.Getenv("KEEP") != "" {
			progress("the logs of the node and its pods are in %s", dir)
		} else {
			assert.NoError(t, os.RemoveAll(dir))
		}
	})
	require.NoError(t, err)
	for _, image := range images {
		require.NoError(t, n.Import(ctx, image))
	}
	progress("node: started and images imported after %s", time.Since(began).Round(100*time.Millisecond))
	return c
}

// kubectl runs kubectl, which has to succeed, and returns its output.
func (c *cluster) kubectl(ctx context.Context, t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := c.Kubectl(ctx, args...)
	require.NoError(t, err)
	return out
}

// get reads objects in the system's namespace with kubectl get.
func get[T any](ctx context.Context, t *testing.T, c *cluster, args ...string) T {
	t.Helper()
	var object T
	out := c.kubectl(ctx, t, append([]string{"-n", namespace, "get", "-o", "json"}, args...)...)
	require.NoError(t, json.Unmarshal(out, &object))
	return object
}

// pod is a pod of one of the services.
type pod struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Status struct{ ContainerStatuses []containerStatus }
}

type containerStatus struct {
	Name  string
	Ready bool
}

// ready returns the names of the containers that are ready.
func (p pod) ready() []string {
	var names []string
	for _, container := range p.Status.ContainerStatuses {
		if container.Ready {
			names = append(names, container.Name)
		}
	}
	return names
}

// pods returns the pods of the services, without those of the servers that they use.
func (c *cluster) pods(ctx context.Context, t *testing.T) []pod {
	t.Helper()
	pods := get[struct{ Items []pod }](ctx, t, c, "pods", "-l", "app.kubernetes.io/component=service").Items
	require.NotEmpty(t, pods)
	return pods
}

// secret reads an entry of a Secret.
func (c *cluster) secret(ctx context.Context, t *testing.T, name, key string) []byte {
	t.Helper()
	return get[struct{ Data map[string][]byte }](ctx, t, c, "secret", name).Data[key]
}

// program returns a command that runs in the root of the checkout, with the node's kubectl in its PATH. Its process
// group is killed when ctx is done.
func (c *cluster) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.root
	cmd.Env = c.Env()
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// shell runs shell lines as if pasted by a reader, and returns their output. It kills the background processes that
// they leave.
func (c *cluster) shell(ctx context.Context, t *testing.T, lines string) string {
	t.Helper()
	cmd := c.program(ctx, "sh", "-euc", lines)
	out, err := cmd.Output()
	_ = cmd.Cancel()
	require.NoError(t, err, "%s\n%s", lines, out)
	return string(out)
}

var fence = regexp.MustCompile("(?s)\n```sh\n(.*?)```\n")

// readme returns the first shell block of deploy/kubernetes/README.md that contains word.
func readme(t *testing.T, word string) string {
	t.Helper()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "deploy", "kubernetes", "README.md"))
	require.NoError(t, err)
	for _, block := range fence.FindAllSubmatch(text, -1) {
		if bytes.Contains(block[1], []byte(word)) {
			return string(block[1])
		}
	}
	require.Fail(t, "no shell block in deploy/kubernetes/README.md contains "+word)
	return ""
}

var forwarding = regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:\d+) -> `)

// forward forwards a local port to a port of a pod or service until ctx is done, and returns its address.
func (c *cluster) forward(ctx context.Context, t *testing.T, target string, port int) string {
	t.Helper()
	cmd := c.Command(ctx, "-n", namespace, "port-forward", "--address", "127.0.0.1", target, ":"+strconv.Itoa(port))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	if lines.Scan() {
		if address := forwarding.FindStringSubmatch(lines.Text()); address != nil {
			go func() {
				for lines.Scan() { // kubectl prints a line for each connection
				}
				_ = cmd.Wait() // ends with ctx
			}()
			return address[1]
		}
	}
	_ = cmd.Wait()
	require.Fail(t, "port-forward to "+target+" failed", stderr.String())
	return ""
}

// await retries something every second until it succeeds. It fails the test after a minute.
func (c *cluster) await(ctx context.Context, t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return
		}
		if pauseErr := pause(ctx, time.Second); pauseErr != nil {
			require.NoError(t, errors.Join(err, pauseErr), "wait for %s", what)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// explain prints the state of the cluster after a failure, and writes the logs of all containers to a directory.
func (c *cluster) explain(ctx context.Context, dir string) {
	for _, args := range []string{
		"get pods -A -o wide",
		"get events -A --field-selector type!=Normal,involvedObject.kind=Pod --sort-by .lastTimestamp",
	} {
		out, err := c.Kubectl(ctx, strings.Fields(args)...)
		progress("kubectl %s\n%s", args, out)
		if err != nil {
			progress("%v", err)
			return
		}
	}
	var all struct {
		Items []struct {
			Metadata struct{ Name, Namespace string }
			Status   struct{ InitContainerStatuses, ContainerStatuses []containerStatus }
		}
	}
	out, err := c.Kubectl(ctx, "get", "pods", "-A", "-o", "json")
	if err == nil {
		err = errors.Join(json.Unmarshal(out, &all), os.MkdirAll(dir, 0o755))
	}
	if err != nil {
		progress("%v", err)
		return
	}
	for _, p := range all.Items {
		described := false
		for _, container := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			logs, err := c.Kubectl(ctx, "-n", p.Metadata.Namespace, "logs", p.Metadata.Name, "-c", container.Name)
			name := p.Metadata.Name + "-" + container.Name
			if err := errors.Join(err, os.WriteFile(filepath.Join(dir, name+".log"), logs, 0o644)); err != nil {
				progress("%v", err)
			}
			if container.Ready {
				continue
			}
			if !described {
				described = true
				description, _ := c.Kubectl(ctx, "-n", p.Metadata.Namespace, "describe", "pod", p.Metadata.Name)
				progress("%s is not ready:\n%s", p.Metadata.Name, description)
			}
			lines := strings.SplitAfter(string(logs), "\n")
			progress("the end of the log of %s:\n%s", name, strings.Join(lines[max(0, len(lines)-40):], ""))
		}
	}
}

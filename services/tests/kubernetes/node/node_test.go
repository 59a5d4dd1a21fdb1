//go:build kubernetes

package node_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/tests/kubernetes/node"
)

func TestMain(m *testing.M) {
	if err := node.Requirements(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "no node can run on this machine:\n%v\n", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Pods can do what other tests rely on, and nothing of the node remains after Close.
func TestNodeRunsPodsAndLeavesNothingBehind(t *testing.T) {
	root, err := stack.FindRoot()
	require.NoError(t, err)
	dir := t.TempDir()
	const settings = "sysctl vm kernel net.ipv4.ip_forward 2>/dev/null | grep -E 'overcommit|panic|keys|forward'"
	before := shell(t, settings)

	ctx := t.Context()
	n, err := node.Start(ctx, root, dir, func(progress string) { t.Log(progress) })
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	require.NoError(t, err)
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := n.Kubectl(ctx, append([]string{"--namespace=proof"}, args...)...)
		require.NoError(t, err)
		return string(out)
	}

	require.NoError(t, n.Import(ctx, probeImage(t)))
	kubectl("apply", "--filename=testdata/pods.yaml")
	kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
	// A pod that becomes ready is added to its service asynchronously.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		out, err := n.Kubectl(ctx, "--namespace=proof", "exec", "client", "--", "/probe", "http://server.proof")
		require.NoError(c, err)
		assert.Equal(c, "server", string(out))
	}, 30*time.Second, 100*time.Millisecond, "through the cluster's DNS and the service's address")
	assert.Contains(t, kubectl("logs", "server", "--container=server"), "serving")

	service := kubectl("get", "service", "server", "--output=jsonpath={.spec.clusterIP}")
	pod := kubectl("get", "pod", "server", "--output=jsonpath={.status.podIP}")
	for _, url := range []string{"http://" + service, "http://" + pod + ":8080", forward(t, n)} {
		assert.Equal(t, "server", get(t, url), "from the machine, at %s", url)
	}

	_, err = n.Kubectl(ctx, "--namespace=proof", "run", "root", "--image=eventbooking.local/probe:latest")
	require.ErrorContains(t, err, "violates PodSecurity")
	_, err = n.Kubectl(ctx, "--namespace=proof", "exec", "client", "--", "/probe", "http://outside.example")
	require.ErrorContains(t, err, "no such host")

	address := kubectl("get", "node", "node", "--output=jsonpath={.status.addresses[?(@.type=='InternalIP')].address}")
	for what, found := range traces(t, dir, address) {
		// Mounts and packet filters are in the node's namespaces only.
		hidden := what == "mounts" || what == "packet filters"
		assert.Equal(t, hidden, found == "", "%s while the node runs: %s", what, found)
	}
	require.NoError(t, n.Close())
	// The kernel finishes its clean-up some time after the last process ended.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for what, found := range traces(t, dir, address) {
			assert.Empty(c, found, what)
		}
	}, 10*time.Second, 100*time.Millisecond)
	assert.Equal(t, before, shell(t, settings), "the kernel settings of the machine")
}

// forward returns a URL that kubectl forwards to the server until the test ends.
func forward(t *testing.T, n *node.Node) string {
	t.Helper()
	cmd := n.Command(t.Context(), "--namespace=proof", "port-forward", "service/server", ":80")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return "http://" + regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(text)
}

// traces returns what is visible of a node on the machine that runs it, except for the files in its directory.
func traces(t *testing.T, dir, address string) map[string]string {
	t.Helper()
	number := strings.Split(address, ".")[1]
	found := map[string]string{
		"mounts":         shell(t, "grep "+dir+" /proc/self/mountinfo"),
		"interfaces":     shell(t, "ip -oneline link | grep eventbooking"+number+"@"),
		"routes":         shell(t, "ip route | grep '^10\\."+number+"\\.'"),
		"packet filters": shell(t, "iptables-save | grep KUBE"),
		"control groups": shell(t, "find /sys/fs/cgroup -name eventbooking"+number),
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, p := range processes {
		if command, err := os.ReadFile(p); err == nil && bytes.Contains(command, []byte(dir)) {
			found["processes"] += string(command) + "\n"
		}
	}
	return found
}

// shell returns the standard output of a command line. It ignores the exit status.
func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line+"; true").Output()
	require.NoError(t, err)
	return string(out)
}

// The JSON documents of an image archive.
type (
	imageManifest struct {
		Config           string
		Layers, RepoTags []string
	}

	imageConfig struct {
		OS           string          `json:"os"`
		Architecture string          `json:"architecture"`
		Config       containerConfig `json:"config"`
		RootFS       rootFS          `json:"rootfs"`
	}

	containerConfig struct{ Entrypoint, Cmd []string }

	rootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
)

// probeImage returns the path of an archive with the image of the test's containers, which is also the pause image.
func probeImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "probe")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	program, err := os.ReadFile(binary)
	require.NoError(t, err)

	layer := pack(t, map[string][]byte{"probe": program})
	digest := sha256.Sum256(layer)
	config, err := json.Marshal(imageConfig{
		OS: "linux", Architecture: runtime.GOARCH,
		Config: containerConfig{Entrypoint: []string{"/probe"}, Cmd: []string{"wait"}},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{"sha256:" + hex.EncodeToString(digest[:])}},
	})
	require.NoError(t, err)
	manifest, err := json.Marshal([]imageManifest{{
		Config: "config.json", Layers: []string{"layer.tar"},
		RepoTags: []string{node.PauseImage, "eventbooking.local/probe:latest"},
	}})
	require.NoError(t, err)
	path := filepath.Join(dir, "image.tar")
	image := pack(t, map[string][]byte{"manifest.json": manifest, "config.json": config, "layer.tar": layer})
	require.NoError(t, os.WriteFile(path, image, 0o600))
	return path
}

// pack returns a tar archive of executable files.
func pack(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
		_, err := w.Write(content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

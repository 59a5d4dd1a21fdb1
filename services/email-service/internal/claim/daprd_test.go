package claim_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

// startDaprd starts a sidecar whose state store is in a schema of the test's PostgreSQL server. The sidecar is stopped
// when the test ends.
func startDaprd(t *testing.T) dapr.Client {
	t.Helper()
	binary, err := filepath.Abs("../../../../.local/bin/daprd")
	require.NoError(t, err)
	if _, err := os.Stat(binary); err != nil {
		binary, err = exec.LookPath("daprd")
		require.NoError(t, err, "no daprd in .local/bin or on the PATH: run `make test`")
	}
	dir := t.TempDir()
	for file, content := range map[string]string{
		"resources/statestore.yaml": fmt.Sprintf(`
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: statestore
spec:
  type: state.postgresql
  version: v2
  metadata:
    - name: connectionString
      value: %q
`, postgrestest.New(t).Config().ConnString()),
		// The default name resolution is multicast, which leaves the machine.
		"config.yaml": fmt.Sprintf(`
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: test
spec:
  nameResolution:
    component: sqlite
    version: v1
    configuration:
      connectionString: %q
      cleanupInterval: "0"
`, filepath.Join(dir, "names.db")),
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
	}

	ports := freePorts(t, 4)
	var output bytes.Buffer
	cmd := exec.Command(binary, "--app-id", "email-service",
		"--resources-path", filepath.Join(dir, "resources"), "--config", filepath.Join(dir, "config.yaml"),
		"--dapr-listen-addresses", "127.0.0.1",
		"--dapr-http-port", strconv.Itoa(ports[0]), "--dapr-grpc-port", strconv.Itoa(ports[1]),
		"--dapr-internal-grpc-listen-address", "127.0.0.1", "--dapr-internal-grpc-port", strconv.Itoa(ports[2]),
		"--metrics-listen-address", "127.0.0.1", "--metrics-port", strconv.Itoa(ports[3]),
		"--placement-host-address", " ", "--scheduler-host-address", " ")
	cmd.Stdout, cmd.Stderr = &output, &output
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("daprd: %s", output.String())
		}
	})

	// The binary is large: a first start waits for the disk.
	client, err := sidecar.Connect(t.Context(), "email-service", ports[0], ports[1])
	require.NoError(t, err)
	t.Cleanup(client.Close)
	require.Eventually(t, func() bool {
		metadata, err := client.Dapr.GetMetadata(t.Context())
		return err == nil && len(metadata.RegisteredComponents) > 0
	}, deadline, deadline/400)
	return client.Dapr
}

// freePorts returns n different ports without a listener.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }() // open until all ports are chosen, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain runs the simulator instead of the tests when BE_STRIPE_SIMULATOR is set, so that a test can kill a real
// process without building the command.
func TestMain(m *testing.M) {
	if os.Getenv("BE_STRIPE_SIMULATOR") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start starts a simulator with its state in dir and returns its process and its URL.
func start(t *testing.T, dir string) (process *exec.Cmd, address string) {
	t.Helper()
	process = exec.CommandContext(t.Context(), os.Args[0], "-addr", "127.0.0.1:0", "-data", dir)
	process.Env = append(os.Environ(), "BE_STRIPE_SIMULATOR=1")
	output, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	lines := bufio.NewScanner(output)
	require.True(t, lines.Scan(), "the simulator logs its address")
	var line struct{ Addr string }
	require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
	go func() { _, _ = io.Copy(io.Discard, output) }()
	return process, "http://" + line.Addr
}

func TestSurvivesSIGKILL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	charge := func(address string) (body, replayed string) {
		const form = "amount=5000&currency=usd&confirm=true&payment_method=pm_card_visa&payment_method_types[]=card"
		request, err := http.NewRequestWithContext(
			t.Context(), http.MethodPost, address+"/v1/payment_intents", strings.NewReader(form))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer sk_test_local")
		request.Header.Set("Idempotency-Key", "attempt-1")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		raw, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, string(raw))
		return string(raw), response.Header.Get("Idempotent-Replayed")
	}

	process, address := start(t, dir)
	first, _ := charge(address)
	require.NoError(t, process.Process.Kill())
	_ = process.Wait()

	process, address = start(t, dir)
	again, replayed := charge(address)
	require.Equal(t, "true", replayed)
	require.JSONEq(t, first, again)

	require.NoError(t, process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, process.Wait(), "SIGTERM is a graceful stop")
}

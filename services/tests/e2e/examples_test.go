package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
)

// Ports of the examples, as in their README.
const (
	consumerPort        = 8090
	consumerSidecarPort = 3590
	callerSidecarPort   = 3595
)

// A consumer and a caller in each language join the system with their own sidecars, as the examples' README describes.
func TestExamplesInOtherLanguagesJoinTheSystem(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../contracts/examples")
	require.NoError(t, err)
	callerSidecar := startSidecar(t, examples, "example-caller", 0, callerSidecarPort)
	await(t, callerSidecar+"/v1.0/healthz")

	// One language after the other: they share one queue.
	for _, language := range []struct {
		name, program    string
		consumer, caller string
	}{
		{"Python", "python3", "python/consumer.py", "python/caller.py"},
		{"JavaScript", system.Node(), "javascript/consumer.mjs", "javascript/caller.mjs"},
	} {
		t.Run(language.name, func(t *testing.T) {
			program, err := exec.LookPath(language.program)
			if language.name == "Python" && err != nil {
				t.Skip("python3 is not on the PATH: the Python examples did not run")
			}
			require.NoError(t, err)
			// The stopped sidecar of the previous consumer may have received the message. The queue hides it then.
			ctx, cancel := context.WithTimeout(t.Context(), redeliveryTimeout)
			defer cancel()
			s := newSale(t, 5)

			consumer := startProcess(t, "example-consumer", []string{"APP_PORT=" + port(consumerPort)},
				program, filepath.Join(examples, language.consumer))
			await(t, startSidecar(t, examples, "example-consumer", consumerPort, consumerSidecarPort)+"/v1.0/healthz")
			_, err = demo.Await(ctx, func() (bool, error) { return system.Subscribed(ctx, "ticket-events", "example-queue") },
				func(subscribed bool) bool { return subscribed })
			require.NoError(t, err)
			order, err := s.Buy(ctx, s.buyer, s.purchase(2, demo.GoodCard))
			require.NoError(t, err)
			received, err := demo.Await(ctx,
				func() ([]receivedEvent, error) { return receivedEvents(consumer.Log, order.OrderID) },
				func(received []receivedEvent) bool { return len(received) > 0 })
			require.NoError(t, err, "the consumer did not receive the event")
			require.Len(t, received, 1)
			require.NotEqual(t, uuid.Nil, received[0].id)
			require.Equal(t, "TICKETS_GENERATED", received[0].eventType)
			require.NoError(t, contracttest.Envelope(received[0].eventType, received[0].envelope))

			call := func(event uuid.UUID) (stdout, stderr string, err error) {
				cmd := exec.CommandContext(ctx, program, filepath.Join(examples, language.caller), event.String())
				cmd.Env = append(os.Environ(), "DAPR_HTTP_PORT="+port(callerSidecarPort))
				var out, errOut bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errOut
				err = cmd.Run()
				return out.String(), errOut.String(), err
			}
			answer, stderr, err := call(s.event.EventID)
			require.NoError(t, err, stderr)
			var event demo.Event
			require.NoError(t, json.Unmarshal([]byte(answer), &event))
			require.Equal(t, s.event, event)
			_, stderr, err = call(uuid.New())
			require.Error(t, err)
			require.Contains(t, stderr, "404")
			require.Contains(t, stderr, "EVENT_NOT_FOUND")
		})
	}
}

// startSidecar starts the sidecar of an example and returns the URL of its API. An app that serves nothing has the
// appPort 0.
func startSidecar(t *testing.T, examples, app string, appPort, sidecarPort int) string {
	t.Helper()
	args := []string{
		"--app-id", app, "--dapr-http-port", port(sidecarPort), "--dapr-grpc-port", port(sidecarPort + 1),
		"--dapr-internal-grpc-port", port(sidecarPort + 2), "--metrics-port", port(sidecarPort + 3),
		"--dapr-listen-addresses", "127.0.0.1", "--resources-path", filepath.Join(examples, "components"),
		"--config", filepath.Join(examples, "config.yaml"), "--log-level", "warn",
	}
	if appPort != 0 {
		args = append(args, "--app-port", port(appPort))
	}
	startProcess(t, app+"-sidecar", nil, filepath.Join(system.DataDir(), ".dapr/bin/daprd"), args...)
	return "http://127.0.0.1:" + port(sidecarPort)
}

// startProcess runs a process until the test ends.
func startProcess(t *testing.T, name string, env []string, program string, args ...string) *stack.Process {
	t.Helper()
	p := system.Companion(name, env, program, args...)
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		require.NoError(t, p.Stop(context.WithoutCancel(t.Context()), 10*time.Second))
		if log, err := os.ReadFile(p.Log); t.Failed() && err == nil {
			t.Logf("%s:\n%s", name, log)
		}
	})
	return p
}

// port returns a port of the README, shifted by the port offset of this stack.
func port(documented int) string { return strconv.Itoa(documented + system.PortOffset()) }

// await waits until url answers with a 2xx status.
func await(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := demo.Await(ctx, func() (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return 0, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, nil // not reachable yet
		}
		return res.StatusCode, res.Body.Close()
	}, func(status int) bool { return status >= 200 && status < 300 })
	require.NoError(t, err, url)
}

// receivedEvent is a line that a consumer printed.
type receivedEvent struct {
	id        uuid.UUID
	eventType string
	envelope  []byte
}

// receivedEvents returns the events of an order that a consumer printed.
func receivedEvents(log string, order uuid.UUID) ([]receivedEvent, error) {
	content, err := os.ReadFile(log)
	if err != nil {
		return nil, fmt.Errorf("read the consumer's output: %w", err)
	}
	var received []receivedEvent
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		var line struct {
			ID        uuid.UUID
			EventType string
			Payload   struct{ OrderID uuid.UUID }
		}
		var envelope map[string]json.RawMessage
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Payload.OrderID != order {
			continue // an incomplete line, or an event of another order
		}
		if err := json.Unmarshal(lines.Bytes(), &envelope); err != nil {
			return nil, err
		}
		delete(envelope, "id") // the id of the CloudEvent, which the schema of the envelope does not have
		data, err := json.Marshal(envelope)
		if err != nil {
			return nil, err
		}
		received = append(received, receivedEvent{line.ID, line.EventType, data})
	}
	return received, nil
}

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

// The examples' ports, as in their README.
const (
	consumerPort        = 8090
	consumerSidecarPort = 3590
	callerSidecarPort   = 3595
)

// Services in other languages join with what the examples' README says: a consumer and a caller, each with a sidecar.
func TestExamplesInOtherLanguages(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../contracts/examples")
	require.NoError(t, err)
	callerSidecar := joined(t, examples, "example-caller", 0, callerSidecarPort)
	await(t, callerSidecar+"/v1.0/healthz")

	// One after the other: they take turns at the same queue.
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
				t.Skip("python3 is not on the PATH: the examples in Python have not been run")
			}
			require.NoError(t, err)
			// A message may meet the sidecar of the consumer before, which is no more, and is hidden then.
			ctx, cancel := context.WithTimeout(t.Context(), longerThanTheQueueHides)
			defer cancel()
			s := newSale(t, 5)

			consumer := companion(t, "example-consumer", []string{"APP_PORT=" + port(consumerPort)}, program, filepath.Join(examples, language.consumer))
			await(t, joined(t, examples, "example-consumer", consumerPort, consumerSidecarPort)+"/v1.0/healthz")
			_, err = demo.Await(ctx, func() (bool, error) { return system.Subscribed(ctx, "ticket-events", "example-queue") },
				func(subscribed bool) bool { return subscribed })
			require.NoError(t, err)
			order, err := s.Buy(ctx, s.buyer, s.purchase(2, demo.GoodCard))
			require.NoError(t, err)
			heard, err := demo.Await(ctx, func() ([]heardEvent, error) { return heardOf(consumer.Log, order.OrderID) },
				func(heard []heardEvent) bool { return len(heard) > 0 })
			require.NoError(t, err, "the consumer hears of the tickets")
			require.Len(t, heard, 1)
			require.NotEqual(t, uuid.Nil, heard[0].id)
			require.Equal(t, "TICKETS_GENERATED", heard[0].kind)
			require.NoError(t, contracttest.Envelope(heard[0].kind, heard[0].envelope))

			call := func(event uuid.UUID) (stdout, stderr string, err error) {
				cmd := exec.CommandContext(ctx, program, filepath.Join(examples, language.caller), event.String())
				cmd.Env = append(os.Environ(), "DAPR_HTTP_PORT="+port(callerSidecarPort))
				var out, refused bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &refused
				err = cmd.Run()
				return out.String(), refused.String(), err
			}
			answer, refused, err := call(s.event.EventID)
			require.NoError(t, err, refused)
			var event demo.Event
			require.NoError(t, json.Unmarshal([]byte(answer), &event))
			require.Equal(t, s.event, event)
			_, refused, err = call(uuid.New())
			require.Error(t, err)
			require.Contains(t, refused, "404")
			require.Contains(t, refused, "EVENT_NOT_FOUND")
		})
	}
}

// joined starts the sidecar of an app from elsewhere and gives the address of its API.
func joined(t *testing.T, examples, app string, appPort, sidecarPort int) string {
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
	companion(t, app+"-sidecar", nil, filepath.Join(system.DataDir(), ".dapr/bin/daprd"), args...)
	return "http://127.0.0.1:" + port(sidecarPort)
}

// companion runs a process until the test ends.
func companion(t *testing.T, name string, env []string, program string, args ...string) *stack.Process {
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

func port(usual int) string { return strconv.Itoa(usual + system.PortOffset()) }

// await waits until url answers with success.
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
			return 0, nil //nolint:nilerr // not yet
		}
		return res.StatusCode, res.Body.Close()
	}, func(status int) bool { return status >= 200 && status < 300 })
	require.NoError(t, err, url)
}

// heardEvent is a line that a consumer printed.
type heardEvent struct {
	id       uuid.UUID
	kind     string
	envelope []byte
}

// heardOf gives what a consumer printed of an order.
func heardOf(log string, order uuid.UUID) ([]heardEvent, error) {
	content, err := os.ReadFile(log)
	if err != nil {
		return nil, fmt.Errorf("what the consumer printed: %w", err)
	}
	var heard []heardEvent
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		var line struct {
			ID        uuid.UUID
			EventType string
			Payload   struct{ OrderID uuid.UUID }
		}
		var envelope map[string]json.RawMessage
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Payload.OrderID != order {
			continue // the beginning of a line, or of somebody else's order
		}
		if err := json.Unmarshal(lines.Bytes(), &envelope); err != nil {
			return nil, err
		}
		delete(envelope, "id") // the CloudEvent's
		data, err := json.Marshal(envelope)
		if err != nil {
			return nil, err
		}
		heard = append(heard, heardEvent{line.ID, line.EventType, data})
	}
	return heard, nil
}

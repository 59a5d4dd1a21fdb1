package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/app"
)

// serviceKind is the variable that makes the test binary a service instead of a test, so that a test can run Main in a
// process of its own.
const serviceKind = "APP_TEST_SERVICE"

// validated has a variable of each type that validates its value.
type validated struct {
	app.Config
	Limit   app.Positive         `envconfig:"LIMIT" default:"1"`
	MaxWait app.PositiveDuration `envconfig:"MAX_WAIT" default:"1s"`
	URL     app.URL              `envconfig:"PUBLIC_URL" default:"http://127.0.0.1:8082"`
	Address app.Address          `envconfig:"OPERATIONS_EMAIL" default:"operations@example.com"`
}

func TestMain(m *testing.M) {
	switch os.Getenv(serviceKind) {
	case "":
		os.Exit(m.Run())
	case "failing":
		app.Main("test-service", func(context.Context, app.Config) error { return errors.New("the database is gone") })
	case "running":
		app.Main("test-service", func(ctx context.Context, _ validated) error {
			fmt.Println("up")
			<-ctx.Done()
			return ctx.Err()
		})
	}
}

// command returns a command that runs the test binary as a service with these variables.
func command(t *testing.T, kind string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append([]string{serviceKind + "=" + kind}, env...)
	return cmd
}

var validEnv = []string{"APP_PORT=8080", "DAPR_HTTP_PORT=3500", "DAPR_GRPC_PORT=50001", "APP_API_TOKEN=t"}

func TestMainExitsWithOneLineThatNamesTheInvalidVariable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		env      []string
		variable string
	}{
		{"Missing", validEnv[1:], "APP_PORT"},
		{"NotANumber", append([]string{"APP_PORT=http"}, validEnv[1:]...), "APP_PORT"},
		{"NoToken", validEnv[:3], "APP_API_TOKEN"},
		{"EmptyToken", append([]string{"APP_API_TOKEN="}, validEnv[:3]...), "APP_API_TOKEN"},
		{"LogLevel", append([]string{"LOG_LEVEL=LOUD"}, validEnv...), "LOG_LEVEL"},
		{"Zero", append([]string{"LIMIT=0"}, validEnv...), "LIMIT"},
		{"NoTime", append([]string{"MAX_WAIT=0s"}, validEnv...), "MAX_WAIT"},
		{"RelativeURL", append([]string{"PUBLIC_URL=/api"}, validEnv...), "PUBLIC_URL"},
		{"AddressWithAName", append([]string{"OPERATIONS_EMAIL=Ann <ann@example.com>"}, validEnv...), "OPERATIONS_EMAIL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := command(t, "running", tt.env...).CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "%v: %s", err, out)
			require.Equal(t, 1, exit.ExitCode())
			require.Contains(t, string(out), tt.variable)
			require.Equal(t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
		})
	}
}

func TestMainExitsWithOneLineThatSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	out, err := command(t, "failing", validEnv...).CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "%v: %s", err, out)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, string(out), "the database is gone")
	require.Equal(t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
}

func TestMainStopsOnSIGTERM(t *testing.T) {
	t.Parallel()
	cmd := command(t, "running", validEnv...)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	up := make([]byte, 3)
	_, err = stdout.Read(up)
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	var rest bytes.Buffer
	_, err = rest.ReadFrom(stdout)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait(), rest.String())
}

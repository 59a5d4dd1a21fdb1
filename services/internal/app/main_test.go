package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/app"
)

// beService makes the test binary a service, so that Main can be watched from outside.
const beService = "APP_TEST_SERVICE"

func TestMain(m *testing.M) {
	switch os.Getenv(beService) {
	case "":
		os.Exit(m.Run())
	case "failing":
		app.Main("test-service", func(context.Context, app.Config) error { return errors.New("the database is gone") })
	case "running":
		app.Main("test-service", func(ctx context.Context, _ app.Config) error {
			fmt.Println("up")
			<-ctx.Done()
			return ctx.Err()
		})
	}
}

// service is the test binary as a service with these variables.
func service(t *testing.T, kind string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append([]string{beService + "=" + kind}, env...)
	return cmd
}

var goodEnv = []string{"APP_PORT=8080", "DAPR_HTTP_PORT=3500", "DAPR_GRPC_PORT=50001", "APP_API_TOKEN=t"}

func TestMainNamesABadVariable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		env      []string
		variable string
	}{
		{"Missing", goodEnv[1:], "APP_PORT"},
		{"NotANumber", append([]string{"APP_PORT=http"}, goodEnv[1:]...), "APP_PORT"},
		{"NoToken", goodEnv[:3], "APP_API_TOKEN"},
		{"EmptyToken", append([]string{"APP_API_TOKEN="}, goodEnv[:3]...), "APP_API_TOKEN"},
		{"LogLevel", append([]string{"LOG_LEVEL=LOUD"}, goodEnv...), "LOG_LEVEL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := service(t, "running", tt.env...).CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "%v: %s", err, out)
			require.Equal(t, 1, exit.ExitCode())
			require.Contains(t, string(out), tt.variable)
			require.Equal(t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
		})
	}
}

func TestMainFailsWithOneLine(t *testing.T) {
	t.Parallel()
	out, err := service(t, "failing", goodEnv...).CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "%v: %s", err, out)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, string(out), "the database is gone")
	require.Equal(t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
}

func TestMainEndsWellOnSIGTERM(t *testing.T) {
	t.Parallel()
	cmd := service(t, "running", goodEnv...)
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

// deadline bounds whatever these tests wait for.
const deadline = 10 * time.Second

// running is a Serve under way.
type running struct {
	url   string
	stop  context.CancelFunc
	ended chan error
}

func run(t *testing.T, handler http.Handler, workers ...func(context.Context) error) running {
	t.Helper()
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	require.NoError(t, free.Close())

	ctx, stop := context.WithCancel(t.Context())
	r := running{fmt.Sprintf("http://127.0.0.1:%d", port), stop, make(chan error, 1)}
	go func() {
		r.ended <- app.Serve(ctx, app.Config{ListenHost: "127.0.0.1", Port: port}, handler, workers...)
	}()
	t.Cleanup(stop)
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", free.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, deadline, 5*time.Millisecond)
	return r
}

func (r running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(deadline):
		require.Fail(t, "Serve does not return")
		return nil
	}
}

func TestServeLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	workerStopped := make(chan struct{})
	r := run(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		w.WriteHeader(http.StatusTeapot)
	}), func(ctx context.Context) error {
		<-ctx.Done()
		close(workerStopped)
		return ctx.Err()
	})

	answer := make(chan int, 1)
	go func() {
		res, err := http.Get(r.url) //nolint:noctx // ends with the server
		if err != nil {
			answer <- 0
			return
		}
		_ = res.Body.Close()
		answer <- res.StatusCode
	}()
	<-arrived
	r.stop()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, deadline, 5*time.Millisecond, "nothing new is taken")
	select {
	case <-workerStopped:
		require.Fail(t, "the worker stopped while a request still counted on it")
	default:
	}
	close(release)
	require.Equal(t, http.StatusTeapot, <-answer)
	require.NoError(t, r.wait(t))
	<-workerStopped
}

func TestServeEndsWithAFailedWorker(t *testing.T) {
	t.Parallel()
	errWorker := errors.New("relay broke")
	fail := make(chan struct{})
	otherStopped := make(chan struct{})
	r := run(t, http.NotFoundHandler(),
		func(context.Context) error { <-fail; return errWorker },
		func(ctx context.Context) error { <-ctx.Done(); close(otherStopped); return ctx.Err() })
	close(fail)
	require.ErrorIs(t, r.wait(t), errWorker)
	<-otherStopped
}

func TestServeOnATakenPort(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })

	err = app.Serve(t.Context(), app.Config{ListenHost: "127.0.0.1", Port: taken.Addr().(*net.TCPAddr).Port}, http.NotFoundHandler(),
		func(context.Context) error { require.Fail(t, "no worker runs without the server"); return nil })
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.ErrorContains(t, err, "APP_PORT", "it says what to change")
	require.NotContains(t, err.Error(), "\n")
}

func TestServeGivesProfilesWhereItIsAskedTo(t *testing.T) {
	t.Parallel()
	var ports [2]int
	for i := range ports {
		free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ports[i] = free.Addr().(*net.TCPAddr).Port
		require.NoError(t, free.Close())
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- app.Serve(ctx, app.Config{ListenHost: "127.0.0.1", Port: ports[0], ProfilePort: ports[1]}, http.NotFoundHandler())
	}()
	status := func(port int) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/heap", port), nil)
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	require.Eventually(t, func() bool { return status(ports[1]) == http.StatusOK }, deadline, 5*time.Millisecond)
	require.Equal(t, http.StatusNotFound, status(ports[0]), "never where the API is")
	stop()
	require.NoError(t, <-ended)
}

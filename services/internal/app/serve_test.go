package app_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/app"
)

// deadline bounds what the tests of this package wait for.
const deadline = 10 * time.Second

// running is a call of Serve in progress.
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
		require.Fail(t, "Serve did not return")
		return nil
	}
}

func TestServeFinishesRequestsBeforeItStopsWorkers(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	workerStopped := make(chan struct{})
	r := run(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-release
		w.WriteHeader(http.StatusTeapot)
	}), func(ctx context.Context) error {
		<-ctx.Done()
		close(workerStopped)
		return ctx.Err()
	})

	status := make(chan int, 1)
	go func() {
		res, err := http.Get(r.url)
		if err != nil {
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	<-started
	r.stop()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, deadline, 5*time.Millisecond, "no new connection is accepted")
	select {
	case <-workerStopped:
		require.Fail(t, "the worker stopped before the request finished")
	default:
	}
	close(release)
	require.Equal(t, http.StatusTeapot, <-status)
	require.NoError(t, r.wait(t))
	<-workerStopped
}

func TestServeReturnsTheErrorOfAWorker(t *testing.T) {
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

func TestServeNamesTheVariableOfATakenPort(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })

	cfg := app.Config{ListenHost: "127.0.0.1", Port: taken.Addr().(*net.TCPAddr).Port}
	err = app.Serve(t.Context(), cfg, http.NotFoundHandler(),
		func(context.Context) error { require.Fail(t, "no worker runs without the server"); return nil })
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.ErrorContains(t, err, "APP_PORT", "the variable to change")
	require.NotContains(t, err.Error(), "\n")
}

func TestProfilesAreServedOnTheirOwnPort(t *testing.T) {
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
		cfg := app.Config{ListenHost: "127.0.0.1", Port: ports[0], ProfilePort: ports[1]}
		ended <- app.Serve(ctx, cfg, http.NotFoundHandler())
	}()
	get := func(port int) int {
		url := fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/heap", port)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	require.Eventually(t, func() bool { return get(ports[1]) == http.StatusOK }, deadline, 5*time.Millisecond)
	require.Equal(t, http.StatusNotFound, get(ports[0]), "not on the port of the API")
	stop()
	require.NoError(t, <-ended)
}

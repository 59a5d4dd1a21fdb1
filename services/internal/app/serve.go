package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/web"
)

// The phases of a shutdown, one after the other.
const (
	// requestsGrace is how long requests in progress may take to finish: as long as a request may take, and the time to
	// record an outcome after its deadline.
	requestsGrace = web.RequestTimeout + recordTimeout
	// recordTimeout is how long requests and workers may take to record an outcome after their context has ended.
	recordTimeout = 5 * time.Second
	// flushTimeout is how long the export of the last spans may take.
	flushTimeout = 3 * time.Second
)

// ShutdownTimeout bounds the time from SIGTERM until the process has exited. Kubernetes
// (deploy/kubernetes/base/deployment.yaml) and the local stack (deploy/local/stack) must wait longer before they kill
// the process. Otherwise they interrupt requests.
const ShutdownTimeout = requestsGrace + recordTimeout + flushTimeout

// Bounds on how slowly a client may send its headers, and on how long it may keep an idle connection.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
)

// Worker is a background task. It runs until ctx is done; if it returns an error before that, the service stops.
type Worker = func(ctx context.Context) error

// Serve serves handler on cfg's address, and Prometheus' metrics beside it, and runs the workers until ctx is done or
// one of them fails. Then the requests in progress finish, and after them the workers are stopped.
func Serve(ctx context.Context, cfg Config, handler http.Handler, workers ...Worker) error {
	address := net.JoinHostPort(cfg.ListenHost, strconv.Itoa(cfg.Port))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s (APP_PORT, LISTEN_HOST): %w", address, err)
	}
	server := &http.Server{
		Handler:           web.WithMetrics(handler),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}

	if cfg.ProfilePort != 0 {
		workers = append(workers, profiles(cfg.ProfilePort))
	}

	// The workers outlive ctx until the last request has been answered, because requests depend on them.
	workersCtx, stopWorkers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorkers()
	g, gctx := errgroup.WithContext(ctx)
	for _, work := range workers {
		g.Go(func() error {
			if err := work(workersCtx); err != nil && workersCtx.Err() == nil {
				return err
			}
			return nil
		})
	}
	g.Go(func() error {
		slog.InfoContext(ctx, "listening", "address", listener.Addr().String())
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-gctx.Done()
		defer stopWorkers()
		graceCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestsGrace)
		defer cancel()
		return server.Shutdown(graceCtx)
	})
	return g.Wait()
}

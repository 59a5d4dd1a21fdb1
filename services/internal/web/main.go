// Package web serves a service's HTTP API: its process, its server, its JSON and its errors.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/kelseyhightower/envconfig"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Config is what every service reads from its environment. A service embeds it in its own struct.
type Config struct {
	ListenHost   string     `envconfig:"LISTEN_HOST" default:"127.0.0.1"`
	Port         int        `envconfig:"APP_PORT" required:"true"`
	DaprHTTPPort int        `envconfig:"DAPR_HTTP_PORT" required:"true"`
	DaprGRPCPort int        `envconfig:"DAPR_GRPC_PORT" required:"true"`
	AppAPIToken  string     `envconfig:"APP_API_TOKEN" required:"true"` // what the sidecar shows to us
	LogLevel     slog.Level `envconfig:"LOG_LEVEL" default:"INFO"`
	OTLPEndpoint string     `envconfig:"OTEL_EXPORTER_OTLP_ENDPOINT"` // empty: no spans are made
	ProfilePort  int        `envconfig:"PPROF_PORT"`                  // 0: no profiles are given
}

// common lets Main read the embedded part of a service's own struct.
func (c Config) common() Config { return c }

// Main is the body of a service's main function. It reads C, a struct that embeds Config, from
// the environment; sets the default logger; has spans exported if somebody collects them; and
// calls run with a context that ends on SIGINT or SIGTERM. A failure ends the process with
// status 1 and one line that says why.
func Main[C interface{ common() Config }](service string, run func(ctx context.Context, cfg C) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	var cfg C
	err := envconfig.Process("", &cfg)
	if err == nil && cfg.common().AppAPIToken == "" { // to envconfig, required is set, if to nothing
		err = errors.New("APP_API_TOKEN is empty")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: configuration: %v\n", service, err)
		os.Exit(1)
	}
	slog.SetDefault(telemetry.NewLogger(service, cfg.common().LogLevel))

	export := func(context.Context) error { return nil }
	if cfg.common().OTLPEndpoint != "" {
		export, err = telemetry.Export(ctx, service)
	}
	if err == nil {
		err = run(ctx, cfg)
		flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := export(flushing); err != nil {
			slog.WarnContext(ctx, "last spans not exported", "error", err.Error())
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		slog.ErrorContext(ctx, "stopped", "error", err.Error())
		os.Exit(1)
	}
	slog.InfoContext(ctx, "stopped")
}

// flushTimeout bounds how long a process that ends tries to get rid of its last spans.
const flushTimeout = 3 * time.Second

// Time that requests under way get to finish once the process was told to stop, and the bounds on
// how slowly a client may send its headers or idle.
const (
	shutdownGrace     = 15 * time.Second
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
)

// Serve listens on cfg's address and runs each worker beside the server, until ctx ends or one of
// them fails. On the way down requests under way finish first, then the workers are told to stop.
func Serve(ctx context.Context, cfg Config, handler http.Handler, workers ...func(context.Context) error) error {
	address := net.JoinHostPort(cfg.ListenHost, strconv.Itoa(cfg.Port))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s (APP_PORT, LISTEN_HOST): %w", address, err)
	}
	server := &http.Server{
		Handler:           withMetrics(handler),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}

	if cfg.ProfilePort != 0 {
		workers = append(workers, profiles(cfg.ProfilePort))
	}

	// The workers outlive ctx until the last request is answered, since requests count on them.
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
		graceCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		return server.Shutdown(graceCtx)
	})
	return g.Wait()
}

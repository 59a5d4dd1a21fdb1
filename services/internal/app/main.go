package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // time zones of events, which an image or a machine may lack

	"github.com/kelseyhightower/envconfig"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Config is the configuration that every service reads from its environment. A service embeds it in its own struct.
type Config struct {
	ListenHost   string     `envconfig:"LISTEN_HOST" default:"127.0.0.1"`
	Port         int        `envconfig:"APP_PORT" required:"true"`
	DaprHTTPPort int        `envconfig:"DAPR_HTTP_PORT" required:"true"`
	DaprGRPCPort int        `envconfig:"DAPR_GRPC_PORT" required:"true"`
	AppAPIToken  string     `envconfig:"APP_API_TOKEN" required:"true"` // the sidecar authenticates with it
	LogLevel     slog.Level `envconfig:"LOG_LEVEL" default:"INFO"`
	OTLPEndpoint string     `envconfig:"OTEL_EXPORTER_OTLP_ENDPOINT"` // empty: no spans are exported
	ProfilePort  int        `envconfig:"PPROF_PORT"`                  // 0: no profiles are served
}

// common lets Main read the embedded part of a service's own struct.
func (c Config) common() Config { return c }

// Main is the body of a service's main function. It reads C, a struct that embeds Config, from the environment; sets
// the default logger; exports spans if a collector is configured; and calls run with a context that ends on SIGINT or
// SIGTERM. If any of these fails, the process exits with status 1 after one line that says why.
func Main[C interface{ common() Config }](service string, run func(ctx context.Context, cfg C) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	var cfg C
	err := envconfig.Process("", &cfg)
	if err == nil && cfg.common().AppAPIToken == "" { // envconfig accepts a required variable that is set but empty
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
			slog.WarnContext(ctx, "export last spans failed", "error", err.Error())
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		slog.ErrorContext(ctx, "stopped", "error", err.Error())
		os.Exit(1)
	}
	slog.InfoContext(ctx, "stopped")
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
)

// stopTimeout is how long a stop waits for requests in progress, delayed ones included.
const stopTimeout = 5 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:12111", "`host:port` to listen on")
	data := flag.String("data", ".local/stripe", "`directory` of the journal")
	webhookURL := flag.String("webhook-url", "", "`URL` to send webhooks to; empty sends none")
	flag.Parse()
	hook := simulator.Endpoint{URL: *webhookURL, Secret: os.Getenv("STRIPE_WEBHOOK_SECRET")}
	if hook.URL != "" && hook.Secret == "" {
		fmt.Fprintln(os.Stderr, "stripe-simulator: set STRIPE_WEBHOOK_SECRET, which signs the events sent to -webhook-url")
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *data, hook); err != nil {
		fmt.Fprintln(os.Stderr, "stripe-simulator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, data string, hook simulator.Endpoint) (err error) {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("app", "stripe-simulator")

	sim, err := simulator.Open(data, "http://"+addr, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	if hook.URL != "" {
		go sim.Webhooks(hook)(ctx)
	}

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("-addr %s: %w", addr, err)
	}
	server := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("listening", "addr", listener.Addr().String(), "data", data)

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return errors.Join(err, server.Close())
	}
	log.Info("stopped")
	return nil
}

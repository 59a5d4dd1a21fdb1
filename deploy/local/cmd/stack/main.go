// Command stack starts and stops the local stack, and runs the tests. It is used through the Makefile.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

const usage = "usage: stack demo | up | servers | down | clean | status | logs | images | test"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New(usage)
	}
	root, err := stack.FindRoot()
	if err != nil {
		return err
	}
	cfg, err := stack.FromEnv(root)
	if err != nil {
		return err
	}
	began := time.Now()
	switch args[0] {
	case "up":
		st, err := stack.Up(ctx, cfg)
		if err != nil {
			return err
		}
		fmt.Printf("\nStarted after %s.\n\n", time.Since(began).Round(100*time.Millisecond))
		return st.Describe(os.Stdout)
	case "demo":
		st, err := stack.Up(ctx, cfg)
		if err != nil {
			return err
		}
		_, err = demo.Run(ctx, demo.Config{
			// The sidecar of any app can be used.
			Sidecar: st.App("auth-service").SidecarURL(), Mail: demo.Sink(st.MailURL()),
			Out: os.Stdout, Color: term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "",
		})
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		fmt.Printf("The system is still running:\n\n")
		if err := st.Describe(os.Stdout); err != nil {
			return err
		}
		fmt.Printf("\nmake logs follows the logs, make down stops everything and keeps the data.\n")
		return nil
	case "servers":
		_, err := stack.UpServers(ctx, cfg)
		return err
	case "down":
		return stack.Down(ctx, cfg)
	case "clean":
		return stack.Clean(ctx, cfg)
	case "status":
		return stack.Status(ctx, cfg, os.Stdout)
	case "logs":
		return stack.Logs(ctx, cfg, os.Stdout)
	case "images":
		return stack.Images(ctx, cfg)
	case "test":
		return stack.Test(ctx, cfg)
	default:
		return errors.New(usage)
	}
}

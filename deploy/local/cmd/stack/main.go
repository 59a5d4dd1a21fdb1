// Command stack starts and stops the local stack, and runs the tests. It is used through the Makefile.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

const usage = "usage: stack demo | up | servers | down | clean | status | logs | images | test"

// commands has the function of each command.
var commands = map[string]func(context.Context, stack.Config) error{
	"demo":   runDemo,
	"up":     runUp,
	"down":   stack.Down,
	"clean":  stack.Clean,
	"images": stack.Images,
	"test":   stack.Test,
	"servers": func(ctx context.Context, cfg stack.Config) error {
		_, err := stack.UpServers(ctx, cfg)
		return err
	},
	"status": func(ctx context.Context, cfg stack.Config) error { return stack.Status(ctx, cfg, os.Stdout) },
	"logs":   func(ctx context.Context, cfg stack.Config) error { return stack.Logs(ctx, cfg, os.Stdout) },
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 || commands[args[0]] == nil {
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
	return commands[args[0]](ctx, cfg)
}

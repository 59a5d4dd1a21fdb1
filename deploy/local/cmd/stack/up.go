package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// runUp starts the stack and prints its addresses.
func runUp(ctx context.Context, cfg stack.Config) error {
	began := time.Now()
	st, err := stack.Up(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Printf("\nStarted after %s.\n\n", time.Since(began).Round(100*time.Millisecond))
	return st.Describe(os.Stdout)
}

// runDemo starts the stack, runs the demo, and prints the addresses of the stack.
func runDemo(ctx context.Context, cfg stack.Config) error {
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
}

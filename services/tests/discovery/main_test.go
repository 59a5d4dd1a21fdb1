// Package discovery_test tests service discovery in the whole system, with two replicas of ticket-service. Services are
// found by app-id, every healthy replica receives requests, and an unhealthy one receives none. The package also tests
// the health endpoints of all apps.
package discovery_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// replicated is the service with two replicas.
const replicated = "ticket-service"

// system is the stack that all tests share. Each test that breaks it repairs it again before the next one starts.
var system *stack.Stack

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "discovery:", err)
		return 1
	}
	root, err := stack.FindRoot()
	if err != nil {
		return fail(err)
	}
	cfg, err := stack.Throwaway(root)
	if err != nil {
		return fail(err)
	}
	cfg.Out, cfg.Replicas = os.Stderr, []string{replicated}
	system, err = stack.Start(ctx, cfg)
	done := make(chan int, 1)
	if err == nil {
		go func() { done <- m.Run() }()
	} else {
		done <- fail(err)
	}
	select {
	case code = <-done:
	case <-ctx.Done():
		code = fail(ctx.Err())
	}
	// Stop the stack even if the tests were interrupted.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := system.Stop(stopping); err != nil {
		code = fail(err)
	}
	if code != 0 {
		fmt.Fprintln(os.Stderr, "discovery: logs and data are kept in", cfg.DataDir)
	} else if err := os.RemoveAll(cfg.DataDir); err != nil {
		code = fail(err)
	}
	return code
}

// shop is an event on sale, with its organizer and a buyer.
type shop struct {
	demo.Client
	organizer, buyer demo.Person
	event            demo.Event
	floor            demo.TicketType
}

// capacity is the number of tickets of each event.
const capacity = 1000

// newShop publishes an event. Its requests go through the sidecar of auth-service, which no test stops.
func newShop(t *testing.T) shop {
	t.Helper()
	ctx := t.Context()
	s := shop{Client: demo.Client{
		Sidecar: system.App("auth-service").SidecarURL(), HTTP: &http.Client{Timeout: time.Minute},
	}}
	var err error
	s.organizer, err = s.Join(ctx, "Olivia", "Stone", true)
	require.NoError(t, err)
	s.buyer, err = s.Join(ctx, "Ben", "Ito", false)
	require.NoError(t, err)
	s.event, err = s.Draft(ctx, s.organizer, t.Name())
	require.NoError(t, err)
	s.floor, err = s.AddTicketType(ctx, s.organizer, s.event.EventID, "Floor", "49.50", capacity)
	require.NoError(t, err)
	s.event, err = s.Publish(ctx, s.organizer, s.event.EventID)
	require.NoError(t, err)
	return s
}

// purchase returns an order of one ticket with a new idempotency key.
func (s shop) purchase() demo.Purchase {
	return demo.Purchase{
		Event: s.event.EventID, TicketType: s.floor.TicketTypeID, Quantity: 1, Card: demo.GoodCard, Key: uuid.NewString(),
	}
}

// Package discovery_test holds the whole system, with two replicas of ticket-service, to what it promises about finding
// services: by their app-ids alone, every replica that is well, and none that is not; and to what each says of its health.
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

// replicated is the service that runs twice.
const replicated = "ticket-service"

// system is the stack that all tests share. They break it and put it right again, one after the other.
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
	ended := make(chan int, 1)
	if err == nil {
		go func() { ended <- m.Run() }()
	} else {
		ended <- fail(err)
	}
	select {
	case code = <-ended:
	case <-ctx.Done():
		code = fail(ctx.Err())
	}
	// Whatever ended the tests, what they started ends with them.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := system.Stop(stopping); err != nil {
		code = fail(err)
	}
	if code != 0 {
		fmt.Fprintln(os.Stderr, "discovery: logs and data are left in", cfg.DataDir)
	} else if err := os.RemoveAll(cfg.DataDir); err != nil {
		code = fail(err)
	}
	return code
}

// shop is an event on sale and somebody who buys.
type shop struct {
	demo.Client
	organizer, buyer demo.Person
	event            demo.Event
	floor            demo.TicketType
}

// capacity is how many tickets there are.
const capacity = 1000

// newShop calls through a sidecar that no test takes away.
func newShop(t *testing.T) shop {
	t.Helper()
	ctx := t.Context()
	s := shop{Client: demo.Client{Sidecar: system.App("auth-service").SidecarURL(), HTTP: &http.Client{Timeout: time.Minute}}}
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

// purchase is of one ticket, under a new key.
func (s shop) purchase() demo.Purchase {
	return demo.Purchase{
		Event: s.event.EventID, TicketType: s.floor.TicketTypeID, Quantity: 1, Card: demo.GoodCard, Key: uuid.NewString(),
	}
}

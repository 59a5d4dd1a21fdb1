// Package e2e_test tests the whole system from outside: the eight apps, a real sidecar for each, PostgreSQL, the
// SNS/SQS emulator, the mail sink and the Stripe simulator. They run on ports and in a directory of their own.
//
// Tests that break something which other tests need, such as a process or the answers of Stripe, are not parallel. They
// run one after the other before the parallel tests.
package e2e_test

import (
	"context"
	"errors"
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
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
)

// system is the stack that all tests share.
var system *stack.Stack

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root, err := stack.FindRoot()
	if err != nil {
		return fail(err)
	}
	cfg, err := stack.Throwaway(root)
	if err != nil {
		return fail(err)
	}
	cfg.Out = os.Stderr
	if err := os.Setenv("EVENT_CHANGE_DELAY", "3s"); err != nil { // the apps inherit it
		return fail(err)
	}
	if cfg.OTLPEndpoint, err = spans.listen(ctx); err != nil {
		return fail(err)
	}
	system, err = stack.Start(ctx, cfg)
	tearDown := func() {
		// Stop the stack even if the tests were interrupted.
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if err := system.Stop(stopping); err != nil {
			code = fail(err)
		}
		if code != 0 {
			fmt.Fprintln(os.Stderr, "e2e: logs and data are kept in", cfg.DataDir)
		} else if err := os.RemoveAll(cfg.DataDir); err != nil {
			code = fail(err)
		}
	}
	if err != nil {
		code = fail(err)
		tearDown()
		return code
	}
	done := make(chan int, 1)
	go func() { done <- m.Run() }()
	select {
	case code = <-done:
	case <-ctx.Done():
		code = fail(ctx.Err())
	}
	if err := checkEvents(context.WithoutCancel(ctx)); err != nil {
		code = fail(err)
	}
	if err := checkMetrics(context.WithoutCancel(ctx)); err != nil {
		code = fail(err)
	}
	if err := errors.Join(checkLogs(), checkSpans()); err != nil {
		code = fail(err)
	}
	tearDown()
	return code
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	return 1
}

// client returns a client that checks every answer against the OpenAPI documents. Its requests go through a sidecar
// that no test stops.
func client(t *testing.T) demo.Client {
	t.Helper()
	httpClient := contracttest.Client(t, nil)
	httpClient.Transport = secretRecorder{httpClient.Transport}
	return demo.Client{Sidecar: system.App("auth-service").SidecarURL(), HTTP: httpClient}
}

// sale is an event on sale with one ticket type, with its organizer and a buyer.
type sale struct {
	demo.Client
	organizer, buyer demo.Person
	event            demo.Event
	tickets          demo.TicketType
}

// newSale publishes an event of a new organizer with capacity tickets, and registers a new buyer.
func newSale(t *testing.T, capacity int) sale {
	t.Helper()
	ctx := t.Context()
	s := sale{Client: client(t)}
	var err error
	s.organizer, err = s.Join(ctx, "Olivia", "Stone", true)
	require.NoError(t, err)
	s.buyer, err = s.Join(ctx, "Ben", "Ito", false)
	require.NoError(t, err)
	s.event, err = s.Draft(ctx, s.organizer, t.Name())
	require.NoError(t, err)
	s.tickets, err = s.AddTicketType(ctx, s.organizer, s.event.EventID, "Floor", "49.50", capacity)
	require.NoError(t, err)
	s.event, err = s.Publish(ctx, s.organizer, s.event.EventID)
	require.NoError(t, err)
	return s
}

// purchase returns an order with a new idempotency key.
func (s sale) purchase(quantity int, card string) demo.Purchase {
	return demo.Purchase{
		Event: s.event.EventID, TicketType: s.tickets.TicketTypeID, Quantity: quantity, Card: card, Key: uuid.NewString(),
	}
}

// available returns the number of tickets for sale.
func (s sale) available(t *testing.T) int {
	t.Helper()
	a, err := s.Availability(t.Context(), s.event.EventID)
	require.NoError(t, err)
	return a.Of(s.tickets.TicketTypeID)
}

// fulfilled waits for the buyer's n tickets and the mail, and requires exactly n tickets and one confirmation.
func (s sale) fulfilled(ctx context.Context, t *testing.T, order uuid.UUID, n int) {
	t.Helper()
	tickets, err := demo.Await(ctx, func() ([]demo.Ticket, error) { return s.Tickets(ctx, s.buyer) },
		func(got []demo.Ticket) bool { return len(got) >= n })
	require.NoError(t, err)
	require.Len(t, tickets, n)
	for _, ticket := range tickets {
		require.Equal(t, order, ticket.OrderID)
	}
	inbox, err := demo.Await(ctx, func() ([]demo.Mail, error) { return sink().Inbox(ctx, s.buyer.Email, s.event.Name) },
		func(got []demo.Mail) bool { return len(got) > 0 })
	require.NoError(t, err)
	require.Len(t, inbox, 1)
	require.Len(t, inbox[0].Attachments, n)
}

func sink() demo.Sink { return demo.Sink(system.MailURL()) }

// refusal sends a request and requires that it is rejected.
func refusal(t *testing.T, c demo.Client, req demo.Request) *demo.Refusal {
	t.Helper()
	err := c.Do(t.Context(), req, nil)
	require.Error(t, err)
	var r *demo.Refusal
	require.ErrorAs(t, err, &r)
	return r
}

// get returns a request without a body.
func get(app, path string, token demo.Token) demo.Request {
	return demo.Request{Method: http.MethodGet, App: app, Path: path, Token: token}
}

// post returns a request with a body, unless body is nil.
func post(app, path string, token demo.Token, body any) demo.Request {
	return demo.Request{Method: http.MethodPost, App: app, Path: path, Token: token, Body: body}
}

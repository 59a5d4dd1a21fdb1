// Command stripe-simulator is the local Stripe: as much of Stripe's HTTP API as
// this system uses, spoken so that stripe-go cannot tell the difference, with
// its state on disk. Nothing in the services knows of it; STRIPE_API_BASE points
// payment-gateway here, and an empty one points it at Stripe.
//
//	stripe-simulator -addr 127.0.0.1:12111 -data .local/stripe -webhook-url http://127.0.0.1:8083/api/payments/webhooks/stripe
//
// # What it has of Stripe
//
//	POST /v1/payment_intents                create; confirm=true charges in the same call
//	POST /v1/payment_intents/{id}/confirm
//	POST /v1/payment_intents/{id}/cancel
//	GET  /v1/payment_intents/{id}
//	GET  /v1/payment_intents                newest first; limit, starting_after, ending_before, created[gt|gte|lt|lte]
//	GET  /v1/payment_intents/search         query=metadata['k']:'v' AND status:'succeeded'; limit, page
//	POST /v1/refunds                        by payment_intent or charge; whole or in parts
//	GET  /v1/refunds/{id}
//	GET  /v1/refunds                        payment_intent, charge; paged like the list above
//
// Requests are form-encoded, objects and errors have Stripe's JSON, a secret key
// is required as a bearer token (or as the basic user), a live key is refused.
// A parameter the simulator has no meaning for is a 400 parameter_unknown and
// never ignored: what passes here was understood.
//
// Payment methods are Stripe's test methods, each with its published outcome:
// pm_card_visa, pm_card_mastercard and other brands succeed; generic decline,
// insufficient funds, lost and stolen card, expired card, incorrect CVC,
// processing error and velocity limit answer 402 with a card_error;
// pm_card_authenticationRequired asks for 3-D Secure, which nobody can answer
// here, so it rests in requires_action unless error_on_requires_action declines it.
//
// Idempotency-Key means what it means there: the same key with the same
// parameters gets the saved answer (200, 402 and 500 alike) and the header
// Idempotent-Replayed, other parameters get 400 idempotency_error, and a key
// whose first request still runs gets 409 idempotency_key_in_use. A request that
// fails validation saves nothing. Keys are forgotten after 24 hours.
//
// With -webhook-url it is a webhook endpoint's Stripe too: payment_intent.* as they
// come to be, refund.created and charge.refunded, signed with the secret in
// STRIPE_WEBHOOK_SECRET, in no certain order, and again for two minutes where they
// are not taken. They are in no journal: a stop loses those that nobody took.
//
// # What it has not
//
// Customers, saved cards, manual capture, expand, disputes, fees,
// balances, 3-D Secure, Connect, refunds that settle later, rate limits, and API
// versions (any Stripe-Version is answered alike). Search sees a write at once,
// unless the switch searchLagMs gives it Stripe's lag.
//
// # State
//
// Every change is one line of an append-only journal in the data directory,
// holding the objects and the saved answer together, written and fsynced before
// anybody is answered. A start replays it; a torn last line, which nobody can
// have seen, is cut off. SIGKILL at any point loses nothing that was answered.
//
// # Control, for tests and auditors
//
//	GET /healthz
//	GET /_charges      every PaymentIntent with what was refunded of it, oldest first
//	GET /_counters     what happened since the start: charges, declines, replays, …, and inFlight, the keys in use now
//	GET, PUT, DELETE /_switches
//
// The switches (see [simulator.Switches]) delay, fail or lose answers, and delay,
// lose or repeat webhooks:
//
//	curl -X PUT localhost:12111/_switches -d '{"loseAnswer":1}'
//
// makes the next charge happen without anyone hearing of it.
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

// stopTimeout bounds how long a stop waits for answers under way, delayed ones
// included.
const stopTimeout = 5 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:12111", "`host:port` to listen on")
	data := flag.String("data", ".local/stripe", "`directory` of the journal")
	webhookURL := flag.String("webhook-url", "", "`URL` to send events to; none are sent without")
	flag.Parse()
	hook := simulator.Endpoint{URL: *webhookURL, Secret: os.Getenv("STRIPE_WEBHOOK_SECRET")}
	if hook.URL != "" && hook.Secret == "" {
		fmt.Fprintln(os.Stderr, "stripe-simulator: -webhook-url needs a secret to sign with in STRIPE_WEBHOOK_SECRET")
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

	sim, err := simulator.Open(data, log)
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

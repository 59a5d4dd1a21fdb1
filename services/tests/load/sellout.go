package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/contracts"
	"github.com/eventbooking/eventbooking/services/tests/audit"
)

// sellOut measures the start of a sale: more buyers than tickets, all at the same time.
func (b *bench) sellOut(ctx context.Context) (r results, err error) {
	const concurrent = 256
	times, buyers, tickets := b.times(2), 20_000, 10_000
	if b.quick {
		times, buyers, tickets = 1, 200, 100
	}
	h, err := b.openShop(ctx, "on sale", setup{}, buyers, tickets)
	defer func() { err = h.stop(ctx, err) }()
	if err != nil {
		return r, err
	}
	r.Sides = []string{"the system"}
	r.note("With all limits as shipped. Each of %s buyers orders once, through payment-service's sidecar. %d buyers are "+
		"active at any time; when one has an answer, the next one starts. A rejected buyer retries after the time in "+
		"Retry-After, or after 1 s if a sidecar's rate limit rejects, which counts all buyers as one caller. The wait "+
		"before a retry is part of the latency.", number(float64(buyers)), concurrent)
	name := fmt.Sprintf("%s buyers, %s tickets", number(float64(buyers)), number(float64(tickets)))
	err = turns(ctx, times, []int{0}, func(side, turn int) error {
		if turn > 0 {
			if h.event, h.floor, err = h.startSale(ctx, h.buyers[0], tickets); err != nil {
				return err
			}
		}
		transport := &retrier{next: http.DefaultTransport.(*http.Transport).Clone()}
		transport.next.MaxIdleConns, transport.next.MaxIdleConnsPerHost = concurrent, concurrent
		o, err := attack(ctx, load{
			clients: concurrent, requests: buyers, client: &http.Client{Transport: transport},
		}, h.purchases(h.buyersInOrder()))
		if err != nil {
			return err
		}
		rejected := transport.rejected.Load()
		progress("  turn %d of %d: %s sold after %s; answers by status: %v; rejected and retried: %d", turn+1, times,
			number(float64(o.answers[http.StatusCreated])), o.last[http.StatusCreated].Round(100*time.Millisecond),
			o.answers, rejected)
		// Wait until every paid order has its mail and no work is left.
		answered := time.Now()
		if err := errors.Join(h.awaitMails(ctx), h.awaitCleanAudit(ctx)); err != nil {
			return err
		}
		drained := time.Since(answered)
		sold, err := h.sold(ctx)
		if err != nil {
			return err
		}
		exact := r.row(name, "tickets sold", "")
		exact.add(side, float64(sold))
		exact.aim("exactly "+number(float64(tickets)), sold == tickets && (turn == 0 || exact.Met))
		lastSold := o.last[http.StatusCreated].Seconds()
		r.row(name, "time until the last ticket was sold", "s").add(side, lastSold)
		r.row(name, "sold", "per second").add(side, float64(o.answers[http.StatusCreated])/lastSold)
		r.row(name, "answered", "per second").add(side, float64(buyers)/o.took.Seconds())
		o.latencies(&r, name, side)
		r.row(name, "rejected and retried", "requests").add(side, float64(rejected))
		others := buyers - o.answers[http.StatusCreated] - o.answers[http.StatusConflict] - o.answers[http.StatusAccepted]
		failed := r.row(name, "other failures", "")
		failed.add(side, float64(others))
		failed.aim("none", others == 0 && (turn == 0 || failed.Met))
		r.row(name, "time until all mails were sent and the exact audit was clean", "s").add(side, drained.Seconds())
		if others > 0 {
			r.note("Turn %d: the first failure: %s.", turn+1, o.firstFailure)
		}
		return nil
	})
	return r, err
}

// sold returns the number of issued tickets. It is an error if the counter of the ticket type differs.
func (h *shop) sold(ctx context.Context) (int, error) {
	db, err := h.database(ctx, "ticket-service")
	if err != nil {
		return 0, err
	}
	var counted, issued int
	err = db.QueryRow(ctx, `
		SELECT sold, (SELECT count(*) FROM tickets WHERE ticket_type_id = t.id) FROM ticket_types AS t WHERE id = $1`,
		h.floor.TicketTypeID).Scan(&counted, &issued)
	if err == nil && counted != issued {
		err = fmt.Errorf("the counter has %d sold tickets, but %d were issued", counted, issued)
	}
	if err != nil {
		return 0, fmt.Errorf("count the tickets: %w", err)
	}
	return issued, nil
}

// awaitCleanAudit waits until an exact audit finds no discrepancy.
func (h *shop) awaitCleanAudit(ctx context.Context) error {
	sources := audit.Sources{Databases: map[string]*pgxpool.Pool{}, Stripe: h.StripeURL(), AWS: h.AWSEndpoint()}
	var err error
	if sources.Subscriptions, err = contracts.Subscriptions(); err != nil {
		return err
	}
	for _, service := range audit.Services {
		if sources.Databases[service], err = h.database(ctx, service); err != nil {
			return err
		}
		defer sources.Databases[service].Close()
	}
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	_, err = demo.Await(ctx, func() ([]audit.Finding, error) {
		report, err := sources.Audit(ctx, true)
		return report.Discrepancies(), err
	}, func(found []audit.Finding) bool { return len(found) == 0 })
	if err != nil {
		return fmt.Errorf("the audit is not clean: %w", err)
	}
	return nil
}

// retrier is a transport that retries rejected requests: after the time in Retry-After, or after 1 s if a sidecar's
// rate limit rejects, which sends no Retry-After.
type retrier struct {
	next     *http.Transport
	rejected atomic.Int64
}

// RoundTrip sends the request until an answer is no such rejection.
func (t *retrier) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		attempt := r.Clone(r.Context())
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			attempt.Body = body
		}
		res, err := t.next.RoundTrip(attempt)
		if err != nil ||
			res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
			return res, err
		}
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		switch {
		case err == nil:
		case res.StatusCode == http.StatusTooManyRequests: // a sidecar's limit, which applies per second
			seconds = 1
		default:
			return res, nil // a failure like any other
		}
		t.rejected.Add(1)
		_, _ = io.Copy(io.Discard, res.Body) // so that the connection is reused
		_ = res.Body.Close()
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(time.Duration(seconds) * time.Second):
		}
	}
}

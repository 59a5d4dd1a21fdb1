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

// sellOut measures the minute in which sales open: more people than tickets, all at once.
func (b *bench) sellOut(ctx context.Context) (r results, err error) {
	const atOnce = 256
	times, people, tickets := b.times(2), 20_000, 10_000
	if b.quick {
		times, people, tickets = 1, 200, 100
	}
	h, err := b.openShop(ctx, "on sale", setup{}, people, tickets)
	defer func() { err = h.stop(ctx, err) }()
	if err != nil {
		return r, err
	}
	r.Sides = []string{"the system"}
	r.note("With all limits as shipped. Each of %s people buys once, through payment-service's sidecar. %d are at it at any moment; when one has an answer, the next comes. "+
		"Who is refused early comes again, after the time that Retry-After says, or after a second where a sidecar's limit of calls refuses, "+
		"to which all of them are one caller; the wait is in the latency.", number(float64(people)), atOnce)
	err = turns(ctx, times, []int{0}, func(side, turn int) error {
		if turn > 0 {
			if h.event, h.floor, err = h.sale(ctx, h.buyers[0], tickets); err != nil {
				return err
			}
		}
		queue := &insistent{next: http.DefaultTransport.(*http.Transport).Clone()}
		queue.next.MaxIdleConns, queue.next.MaxIdleConnsPerHost = atOnce, atOnce
		s, err := fire(ctx, load{clients: atOnce, requests: people, client: &http.Client{Transport: queue}}, h.purchases(h.eachOnce()))
		if err != nil {
			return err
		}
		say("  turn %d of %d: %s sold after %s; answers by status: %v, refused early: %d", turn+1, times,
			number(float64(s.answers[http.StatusCreated])), s.last[http.StatusCreated].Round(100*time.Millisecond), s.answers, queue.refused.Load())
		// Everybody who paid has a mail, and nothing is left to do.
		settled := time.Now()
		if err := errors.Join(h.settle(ctx), h.audited(ctx)); err != nil {
			return err
		}
		sold, err := h.sold(ctx)
		if err != nil {
			return err
		}
		other := people - s.answers[http.StatusCreated] - s.answers[http.StatusConflict] - s.answers[http.StatusAccepted]
		name := fmt.Sprintf("%s buyers, %s tickets", number(float64(people)), number(float64(tickets)))
		exact := r.row(name, "tickets sold", "")
		exact.add(side, float64(sold))
		exact.aim("exactly "+number(float64(tickets)), sold == tickets && (turn == 0 || exact.Met))
		r.row(name, "time until the last was sold", "s").add(side, s.last[http.StatusCreated].Seconds())
		r.row(name, "sold", "a second").add(side, float64(s.answers[http.StatusCreated])/s.last[http.StatusCreated].Seconds())
		r.row(name, "answered", "a second").add(side, float64(people)/s.took.Seconds())
		s.latencies(&r, name, side)
		r.row(name, "refused early, and came again", "times").add(side, float64(queue.refused.Load()))
		failed := r.row(name, "other failures", "")
		failed.add(side, float64(other))
		failed.aim("none", other == 0 && (turn == 0 || failed.Met))
		r.row(name, "until all mails were sent and the exact audit found nothing", "s").add(side, time.Since(settled).Seconds())
		if other > 0 {
			r.note("Turn %d: a failure was %s.", turn+1, s.trouble)
		}
		return nil
	})
	return r, err
}

// sold is how many tickets of the event there are, by the count and one by one.
func (h *shop) sold(ctx context.Context) (int, error) {
	db, err := h.database(ctx, "ticket-service")
	if err != nil {
		return 0, err
	}
	var counted, issued int
	err = db.QueryRow(ctx, `SELECT sold, (SELECT count(*) FROM tickets WHERE ticket_type_id = t.id) FROM ticket_types AS t WHERE id = $1`,
		h.floor.TicketTypeID).Scan(&counted, &issued)
	if err == nil && counted != issued {
		err = fmt.Errorf("%d are counted as sold, and %d were issued", counted, issued)
	}
	if err != nil {
		return 0, fmt.Errorf("count the tickets: %w", err)
	}
	return issued, nil
}

// audited waits until an exact audit finds nothing.
func (h *shop) audited(ctx context.Context) error {
	books := audit.Sources{Databases: map[string]*pgxpool.Pool{}, Stripe: h.StripeURL(), AWS: h.AWSEndpoint()}
	var err error
	if books.Subscriptions, err = contracts.Subscriptions(); err != nil {
		return err
	}
	for _, service := range audit.Services {
		if books.Databases[service], err = h.database(ctx, service); err != nil {
			return err
		}
		defer books.Databases[service].Close()
	}
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	_, err = demo.Await(ctx, func() ([]audit.Finding, error) {
		report, err := books.Audit(ctx, true)
		return report.Discrepancies(), err
	}, func(found []audit.Finding) bool { return len(found) == 0 })
	if err != nil {
		return fmt.Errorf("the audit is not clean: %w", err)
	}
	return nil
}

// insistent comes again when it is refused early, as a refusal with Retry-After asks for, and after a second where a sidecar's
// limit of calls refuses, which says nothing of that.
type insistent struct {
	next    *http.Transport
	refused atomic.Int64
}

// RoundTrip sends the request until it is not refused early.
func (i *insistent) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		again := r.Clone(r.Context())
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			again.Body = body
		}
		res, err := i.next.RoundTrip(again)
		if err != nil || res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
			return res, err
		}
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		switch {
		case err == nil:
		case res.StatusCode == http.StatusTooManyRequests: // a sidecar's limit, which is for this second
			seconds = 1
		default:
			return res, nil // a failure like any other
		}
		i.refused.Add(1)
		_, _ = io.Copy(io.Discard, res.Body) // so that the connection can be used again
		_ = res.Body.Close()
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(time.Duration(seconds) * time.Second):
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

const (
	// owners is the number of ticket owners who list their tickets, and ticketsPerOwner what each owns.
	owners          = 1000
	ticketsPerOwner = 10
	// sweepSize is the number of expired holds before a sweep.
	sweepSize = 500
)

// archive is a testbed whose database contains a number of sold tickets.
type archive struct {
	*testbed
	owners []demo.Person
	types  []uuid.UUID // on sale now
}

// growth measures the cost of ticket-service's operations with few and with many tickets in its database.
func (b *bench) growth(ctx context.Context) (r results, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sizes := []int{b.large, b.small}
	var archives []*archive
	for _, size := range sizes {
		r.Sides = append(r.Sides, number(float64(size))+" tickets")
		a, openErr := b.openArchive(ctx, size)
		defer func() { err = a.stop(ctx, err) }()
		if openErr != nil {
			return r, openErr
		}
		archives = append(archives, a)
	}
	r.note("Tickets of past and future events, with their orders and reservations: two tickets to an order, %s to an "+
		"event. On both sides, %s owners have %d tickets each. Four clients call ticket-service directly; a sweep runs "+
		"alone. notification-service is stopped, because it would request the drawing of every order's tickets for a mail "+
		"at the same time.",
		number(ticketsPerEvent), number(owners), ticketsPerOwner)

	times, requests, sweeps := b.times(5), 4000, 10
	if b.quick {
		times, requests, sweeps = 1, 200, 2
	}
	operations := []struct {
		name string
		do   func(a *archive) (outcome, error)
	}{
		{"reserve", func(a *archive) (outcome, error) { return a.reserve(ctx, requests) }},
		{"confirm", func(a *archive) (outcome, error) { return a.confirm(ctx, requests) }},
		{"availability", func(a *archive) (outcome, error) { return a.availability(ctx, requests) }},
		{"my tickets", func(a *archive) (outcome, error) { return a.listMine(ctx, requests) }},
		{
			fmt.Sprintf("sweep, %d expired holds", sweepSize),
			func(a *archive) (outcome, error) { return a.sweep(ctx, sweeps, sweepSize) },
		},
		{"sweep, no expired hold", func(a *archive) (outcome, error) { return a.sweep(ctx, 10*sweeps, 0) }},
	}
	for _, op := range operations {
		// Turn 0 warms up and does not count.
		for turn := range times + 1 {
			for side, a := range archives {
				o, err := op.do(a)
				if err == nil {
					err = o.expect(http.StatusOK)
				}
				if err != nil {
					return r, fmt.Errorf("%s with %s: %w", op.name, r.Sides[side], err)
				}
				if turn == 0 {
					continue
				}
				mean := r.row(op.name, "mean", "ms")
				mean.add(side, o.latency.Mean()/1000)
				r.row(op.name, "p99", "ms").add(side, o.percentile(99))
				progress("  %s, turn %d of %d: %s, mean %s ms", op.name, turn, times, r.Sides[side],
					number(o.latency.Mean()/1000))
			}
		}
		mean := r.row(op.name, "mean", "ms")
		mean.aim("within 1.3 times", mean.ratio(1).median <= 1.3)
	}
	return r, nil
}

// openArchive starts a system and fills its database with tickets. The caller must stop it, even after an error.
func (b *bench) openArchive(ctx context.Context, tickets int) (*archive, error) {
	t, err := b.openTestbed(ctx)
	a := &archive{testbed: t}
	if err != nil {
		return a, err
	}
	if a.owners, err = t.accounts(ctx, owners); err != nil {
		return a, err
	}
	if err := t.App("notification-service").Process.Stop(ctx, 10*time.Second); err != nil {
		return a, fmt.Errorf("stop notification-service: %w", err)
	}
	began := time.Now()
	if err := a.fill(ctx, tickets); err != nil {
		return a, fmt.Errorf("fill the database: %w", err)
	}
	var size string
	err = t.db.QueryRow(ctx, `SELECT pg_size_pretty(pg_database_size(current_database()))`).Scan(&size)
	if err != nil {
		return a, fmt.Errorf("measure the database: %w", err)
	}
	progress("  %s tickets written to a database of %s after %s", number(float64(tickets)), size,
		time.Since(began).Round(time.Second))
	if a.types, err = t.addTicketTypes(ctx, 5); err != nil {
		return a, err
	}
	// A service that does not know the key of a token fetches the keys, but only every few seconds.
	_, err = demo.Await(ctx, func() ([]demo.Ticket, error) {
		return demo.Client{Sidecar: t.App("ticket-service").SidecarURL()}.Tickets(ctx, a.owners[0])
	}, func(mine []demo.Ticket) bool { return len(mine) == ticketsPerOwner })
	return a, errors.Join(err, t.authenticate(ctx))
}

// lightLoad is a load of few clients, so that latencies consist of work and not of waiting.
func lightLoad(requests int) load { return load{clients: 4, requests: requests} }

func (a *archive) reserve(ctx context.Context, requests int) (outcome, error) {
	o, err := attack(ctx, lightLoad(requests), a.reservations(a.contenders[0], a.types))
	return o, errors.Join(err, a.deleteHolds(ctx))
}

// confirm confirms purchases of holds that it writes before.
func (a *archive) confirm(ctx context.Context, requests int) (outcome, error) {
	ids, err := a.hold(ctx, requests, time.Hour)
	if err != nil {
		return outcome{}, err
	}
	url := a.contenders[0].url + "/api/tickets/internal/confirm-purchase"
	var next atomic.Int64
	return attack(ctx, lightLoad(requests), func(t *vegeta.Target) error {
		t.Method, t.URL, t.Header = http.MethodPost, url, *a.header.Load()
		t.Body = fmt.Appendf(nil, `{"reservationId":"%s","orderId":"%s","userId":"%s","holderName":"Ben Ito"}`,
			ids[next.Add(1)-1], uuid.Must(uuid.NewV7()), a.owners[0].UserID)
		return nil
	})
}

func (a *archive) availability(ctx context.Context, requests int) (outcome, error) {
	return attack(ctx, lightLoad(requests), func(t *vegeta.Target) error {
		t.Method = http.MethodGet
		t.URL = a.contenders[0].url + "/api/tickets/events/" + a.event.String() + "/availability"
		return nil
	})
}

// listMine lists the tickets of random owners.
func (a *archive) listMine(ctx context.Context, requests int) (outcome, error) {
	return attack(ctx, lightLoad(requests), func(t *vegeta.Target) error {
		owner := a.owners[1+rand.IntN(len(a.owners)-1)] //nolint:gosec // not a secret
		t.Method, t.URL = http.MethodGet, a.contenders[0].url+"/api/tickets/mine"
		t.Header = http.Header{"Authorization": {"Bearer " + string(owner.Token)}}
		return nil
	})
}

// sweep triggers a number of sweeps, and writes the given number of expired holds before each.
func (a *archive) sweep(ctx context.Context, times, holds int) (outcome, error) {
	var all outcome
	for range times {
		if _, err := a.hold(ctx, holds, -time.Second); err != nil {
			return all, err
		}
		o, err := attack(ctx, load{clients: 1, requests: 1}, func(t *vegeta.Target) error {
			t.Method, t.URL = http.MethodPost, a.contenders[0].url+"/bindings/expire-reservations"
			t.Header = *a.header.Load()
			return nil
		})
		if err != nil {
			return all, err
		}
		all.merge(o)
	}
	return all, nil
}

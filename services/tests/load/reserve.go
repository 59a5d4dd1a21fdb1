package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// oneType measures reservations that all update the same row of the database.
func (b *bench) oneType(ctx context.Context) (results, error) { return b.reservations(ctx, 1) }

// manyTypes measures reservations that rarely update the same row.
func (b *bench) manyTypes(ctx context.Context) (results, error) { return b.reservations(ctx, 1000) }

func (b *bench) reservations(ctx context.Context, types int) (r results, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t, err := b.openTestbed(ctx)
	defer func() { err = t.stop(ctx, err) }()
	if err != nil {
		return r, err
	}
	if err := t.authenticate(ctx); err != nil {
		return r, err
	}
	settings, err := durability(ctx, t.db)
	if err != nil {
		return r, err
	}
	r.note("%s.", settings)
	r.note("Each reservation is one ticket, requested directly from the process. A plain transaction is one conditional "+
		"UPDATE and one commit for each reservation, in a process of the same shape, on the same tables, with %d "+
		"connections, which is its optimum. A plain statement does the same in one round trip.", plainConnections)
	var sides []int
	for i, of := range t.contenders {
		r.Sides, sides = append(r.Sides, of.name), append(sides, i)
	}

	// An open load sends fewer requests. It runs longer, so that a single stall of the machine does not decide its p99.
	times, during, openDuring := b.times(5), 8*time.Second, 20*time.Second
	if b.quick {
		times, during, openDuring = 1, 2*time.Second, 2*time.Second
	}
	for _, clients := range []int{64, 256} {
		name := fmt.Sprintf("%d clients", clients)
		err := turns(ctx, times, sides, func(side, turn int) error {
			of := t.contenders[side]
			if b.profile && side == 0 && turn == 0 {
				profile := fmt.Sprintf("ticket-service-%d-types-%d-clients.pprof", types, clients)
				go t.profile(ctx, during, b.out, profile)
			}
			o, err := t.measure(ctx, of, types, load{clients: clients, during: during})
			if err != nil {
				return err
			}
			progress("  %s, turn %d of %d: %s %s reservations per second, p99 %s ms", name, turn+1, times, of.name,
				number(o.perSecond(http.StatusOK)), number(o.percentile(99)))
			o.add(&r, name, side)
			return nil
		})
		if err != nil {
			return r, err
		}
	}
	// The open load is one that all sides can handle. It is the same for all of them.
	perSecond := int(r.row("64 clients", "reservations", "per second").median(1) / 2)
	name := fmt.Sprintf("open load, %d per second", perSecond)
	err = turns(ctx, times, sides, func(side, turn int) error {
		o, err := t.measure(ctx, t.contenders[side], types, load{perSecond: perSecond, during: openDuring})
		if err != nil {
			return err
		}
		progress("  %s, turn %d of %d: %s p50 %s ms, p99 %s ms", name, turn+1, times, t.contenders[side].name,
			number(o.percentile(50)), number(o.percentile(99)))
		o.latencies(&r, name, side)
		return nil
	})
	r.aims(types, name)
	return r, err
}

// add adds one side's turn to the results.
func (o reserving) add(r *results, name string, side int) {
	r.row(name, "reservations", "per second").add(side, o.perSecond(http.StatusOK))
	o.latencies(r, name, side)
	for _, user := range cpuUsers {
		r.row(name, "CPU time of the "+user, "µs per reservation").add(side, float64(o.cpu[user].Microseconds()))
	}
	if len(o.answers) > 1 {
		rejected := o.perSecond(http.StatusTooManyRequests) + o.perSecond(http.StatusServiceUnavailable)
		r.row(name, "rejected", "per second").add(side, rejected)
	}
}

// aims compares the figures with the aims of the project.
func (r *results) aims(types int, openLoad string) {
	rate := r.row("64 clients", "reservations", "per second")
	if types > 1 {
		rate.aim("no worse", rate.ratio(1).median >= 1)
		return
	}
	rate.aim("at least 5 times", rate.ratio(1).median >= 5)
	for _, name := range []string{"64 clients", openLoad} {
		p99 := r.row(name, "p99", "ms")
		p99.aim("no worse", p99.ratio(1).median <= 1)
	}
}

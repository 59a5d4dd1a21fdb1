package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// sidecars compares purchases and single calls through sidecars with the same through a plain proxy.
func (b *bench) sidecars(ctx context.Context) (r results, err error) {
	r.Sides = []string{"sidecars", "plain proxy", "direct"}
	var shops []*shop
	for i, name := range r.Sides[:2] {
		h, openErr := b.openShop(ctx, name, setup{raiseLimits: true, proxied: i == 1}, 200, 1_000_000)
		defer func() { err = h.stop(ctx, err) }()
		if openErr != nil {
			return r, openErr
		}
		shops = append(shops, h)
	}
	r.note("Raised limits: %s.", strings.Join(shops[0].raised, "; "))
	r.note("Both sides run the same programs. On the second side, one plain reverse proxy takes each call from service " +
		"to service and from buyers. Sidecars still deliver events there, and provide secrets.")

	times, during := b.times(3), 15*time.Second
	if b.quick {
		times, during = 1, 3*time.Second
	}
	for _, l := range []struct {
		name string
		load load
	}{
		{"purchases, 1 client", load{clients: 1, during: during}},
		{"purchases, 20 per second", load{perSecond: 20, during: during}},
		{"purchases, 32 clients", load{clients: 32, during: during}},
	} {
		err := turns(ctx, times, []int{0, 1}, func(side, turn int) error {
			h := shops[side]
			o, err := h.buy(ctx, &r, l.name, l.load, side)
			if err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			progress("  %s, turn %d of %d: %s %s per second, p50 %s ms, p99 %s ms", l.name, turn+1, times, h.name,
				number(o.perSecond(http.StatusCreated)), number(o.percentile(50)), number(o.percentile(99)))
			return nil
		})
		if err != nil {
			return r, err
		}
	}
	return r, b.hops(ctx, &r, shops[0])
}

// buy sends a load of purchases, waits for their mails, and adds the figures to the results.
func (h *shop) buy(ctx context.Context, r *results, name string, l load, side int) (outcome, error) {
	before := h.cpuTimes()
	o, err := attack(ctx, l, h.purchases(h.randomBuyer))
	if err != nil {
		return o, err
	}
	if err := o.expect(http.StatusCreated, http.StatusTooManyRequests, http.StatusServiceUnavailable); err != nil {
		return o, err
	}
	if rejected := o.answers[http.StatusTooManyRequests] + o.answers[http.StatusServiceUnavailable]; rejected > 0 {
		r.row(name, "rejected", "requests").add(side, float64(rejected))
	}
	if err := h.awaitMails(ctx); err != nil {
		return o, err
	}
	r.row(name, "completed", "per second").add(side, o.perSecond(http.StatusCreated))
	o.latencies(r, name, side)
	after := h.cpuTimes()
	for _, part := range slices.Sorted(maps.Keys(after)) {
		each := (after[part] - before[part]) / time.Duration(max(o.answers[http.StatusCreated], 1))
		r.row(name, "CPU time of the "+part+", including tickets and mails", "ms per order").
			add(side, each.Seconds()*1000)
	}
	return o, nil
}

// hops measures a call that costs the service almost nothing, on each path to it: through the sidecars of the caller
// and the callee, through the callee's sidecar only, through a plain proxy, and directly.
func (b *bench) hops(ctx context.Context, r *results, h *shop) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	app := h.App("ticket-service")
	proxy, _, err := h.companion(ctx, "hop-proxy", b.program("proxy"), port, "PROXY_APPS="+app.ID+":"+portOf(app))
	if err != nil {
		return err
	}
	const health = "/actuator/health/live"
	invoke := "/v1.0/invoke/" + app.ID + "/method" + health
	const both = "a call through the sidecars of caller and callee"
	const one = "a call through the callee's sidecar"
	type hop struct {
		name string
		side int
		url  string
	}
	hops := []hop{
		{both, 0, h.App("payment-service").SidecarURL() + invoke},
		{both, 1, proxy + invoke},
		{both, 2, app.URL() + health},
		{one, 0, app.SidecarURL() + invoke},
		{one, 1, proxy + invoke},
		{one, 2, app.URL() + health},
	}
	times, during := b.times(5), 3*time.Second
	if b.quick {
		times, during = 1, time.Second
	}
	return turns(ctx, times, hops, func(hop hop, turn int) error {
		o, err := attack(ctx, load{clients: 1, during: during}, func(t *vegeta.Target) error {
			t.Method, t.URL = http.MethodGet, hop.url
			return nil
		})
		if err != nil {
			return err
		}
		progress("  %s, turn %d of %d: %s p50 %s ms, p99 %s ms", hop.name, turn+1, times, r.Sides[hop.side],
			number(o.percentile(50)), number(o.percentile(99)))
		o.latencies(r, hop.name, hop.side)
		return o.expect(http.StatusOK)
	})
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// shop is a system with an event on sale, and people who may buy.
type shop struct {
	*system
	name   string
	entry  string // where people's calls arrive: a sidecar, or what is in its place
	mails  *mailbox
	buyers []demo.Person
	event  demo.Event
	floor  demo.TicketType
	// The databases of payment-service and of notification-service.
	orders, told *pgxpool.Pool
}

// openShop starts a system that sells so many tickets of an event to so many people. It must be stopped, also after a failure.
func (b *bench) openShop(ctx context.Context, name string, s setup, people, tickets int) (*shop, error) {
	mails, err := newMailbox()
	h := &shop{system: &system{}, name: name, mails: mails}
	if err != nil {
		return h, err
	}
	s.mails = mails
	h.system, err = b.start(ctx, s)
	h.closing = append(h.closing, mails.close)
	if err != nil {
		return h, err
	}
	h.entry = h.App("payment-service").SidecarURL()
	if h.proxy != 0 {
		h.entry = "http://127.0.0.1:" + strconv.Itoa(h.proxy)
	}
	if h.buyers, err = h.people(ctx, people); err != nil {
		return h, err
	}
	if h.orders, err = h.database(ctx, "payment-service"); err != nil {
		return h, err
	}
	if h.told, err = h.database(ctx, "notification-service"); err != nil {
		return h, err
	}
	h.event, h.floor, err = h.sale(ctx, h.buyers[0], tickets)
	return h, err
}

// purchases has buyer after buyer buy one ticket.
func (h *shop) purchases(buyer func() demo.Person) vegeta.Targeter {
	return func(t *vegeta.Target) error {
		p := demo.Purchase{Event: h.event.EventID, TicketType: h.floor.TicketTypeID, Quantity: 1, Card: demo.GoodCard, Key: uuid.NewString()}
		req := p.Request(buyer())
		body, err := json.Marshal(req.Body)
		if err != nil {
			return err
		}
		t.Method, t.URL, t.Body = req.Method, h.entry+"/v1.0/invoke/"+req.App+"/method"+req.Path, body
		t.Header = http.Header{
			"Content-Type": {"application/json"}, "Authorization": {"Bearer " + string(req.Token)}, "Idempotency-Key": {p.Key},
		}
		return nil
	}
}

// anybody buys again and again.
func (h *shop) anybody() demo.Person { return h.buyers[rand.IntN(len(h.buyers))] } //nolint:gosec // no secret

// eachOnce has everybody buy once, in their order.
func (h *shop) eachOnce() func() demo.Person {
	var next atomic.Int64
	return func() demo.Person { return h.buyers[next.Add(1)-1] }
}

// settling is how long a backlog of events and mails may take to be worked off.
const settling = 10 * time.Minute

// settle waits until everybody has the mail about the order that they paid.
func (h *shop) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	_, err := demo.Await(ctx, func() (int, error) {
		var paid, told int
		err := errors.Join(
			h.orders.QueryRow(ctx, `SELECT count(*) FROM orders WHERE status = 'COMPLETED' OR step <> 'DONE'`).Scan(&paid),
			h.told.QueryRow(ctx, `SELECT count(*) FROM notifications WHERE kind = 'ORDER_CONFIRMATION' AND status = 'SENT'`).Scan(&told))
		return paid - told, err
	}, func(left int) bool { return left == 0 })
	if err != nil {
		return fmt.Errorf("mails about paid orders are missing: %w", err)
	}
	return nil
}

// spent is the processor time that the parts of the system have used, by what they are.
func (h *shop) spent() map[string]time.Duration {
	spent := map[string]time.Duration{
		"database": use(h.Server("postgres").PID(), true).cpu, "SNS/SQS emulator": use(h.Server("fauxqs").PID(), true).cpu,
	}
	for _, app := range h.Apps() {
		spent["services"] += use(app.Process.PID(), false).cpu
		spent["sidecars"] += use(app.Sidecar.PID(), false).cpu
	}
	return spent
}

// purchase measures what people who buy notice of the sidecars.
func (b *bench) purchase(ctx context.Context) (r results, err error) {
	r.Sides = []string{"sidecars", "plain proxy", "straight"}
	var shops []*shop
	for i, name := range r.Sides[:2] {
		h, openErr := b.openShop(ctx, name, setup{loosen: true, proxied: i == 1}, 200, 1_000_000)
		defer func() { err = h.stop(ctx, err) }()
		if openErr != nil {
			return r, openErr
		}
		shops = append(shops, h)
	}
	r.note("Raised: %s.", strings.Join(shops[0].loosened, "; "))
	r.note("Both sides are the same programs. On the second, one plain reverse proxy takes each call of a service by another, " +
		"and people's. Sidecars still deliver events there, and give secrets.")

	times, during := b.times(3), 15*time.Second
	if b.quick {
		times, during = 1, 3*time.Second
	}
	sides := []int{0, 1}
	for _, l := range []load{{clients: 1, during: during}, {perSecond: 20, during: during}, {clients: 32, during: during}} {
		name := fmt.Sprintf("purchases, %d clients", l.clients)
		if l.clients == 0 {
			name = fmt.Sprintf("purchases, %d a second", l.perSecond)
		}
		err := turns(ctx, times, sides, func(side, turn int) error {
			h := shops[side]
			before := h.spent()
			s, err := fire(ctx, l, h.purchases(h.anybody))
			if err != nil {
				return err
			}
			if err := s.only(http.StatusCreated, http.StatusTooManyRequests, http.StatusServiceUnavailable); err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			if refused := s.answers[http.StatusTooManyRequests] + s.answers[http.StatusServiceUnavailable]; refused > 0 {
				r.row(name, "refused", "times").add(side, float64(refused))
			}
			if err := h.settle(ctx); err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			say("  %s, turn %d of %d: %s %s a second, p50 %s ms, p99 %s ms", name, turn+1, times, h.name,
				number(s.perSecond(http.StatusCreated)), number(s.percentile(50)), number(s.percentile(99)))
			r.row(name, "completed", "a second").add(side, s.perSecond(http.StatusCreated))
			s.latencies(&r, name, side)
			after := h.spent()
			for _, what := range slices.Sorted(maps.Keys(after)) {
				each := (after[what] - before[what]) / time.Duration(max(s.answers[http.StatusCreated], 1))
				r.row(name, "processor time of the "+what+", with tickets and mails", "ms each").add(side, each.Seconds()*1000)
			}
			return nil
		})
		if err != nil {
			return r, err
		}
	}
	return r, b.hops(ctx, &r, shops[0])
}

// way is how a call gets to a service.
type way struct {
	name string
	side int
	url  string
}

// hops measures what one call costs on its way: one whose answer costs the service next to nothing, by each of the ways there.
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
	const path = "/actuator/health/live"
	invoke := "/v1.0/invoke/" + app.ID + "/method" + path
	const both, one = "a call by the caller's and the callee's sidecar", "a call by the callee's sidecar"
	ways := []way{
		{both, 0, h.App("payment-service").SidecarURL() + invoke},
		{both, 1, proxy + invoke},
		{both, 2, app.URL() + path},
		{one, 0, app.SidecarURL() + invoke},
		{one, 1, proxy + invoke},
		{one, 2, app.URL() + path},
	}
	times, during := b.times(5), 3*time.Second
	if b.quick {
		times, during = 1, time.Second
	}
	return turns(ctx, times, ways, func(w way, turn int) error {
		s, err := fire(ctx, load{clients: 1, during: during}, func(t *vegeta.Target) error {
			t.Method, t.URL = http.MethodGet, w.url
			return nil
		})
		if err != nil {
			return err
		}
		say("  %s, turn %d of %d: %s p50 %s ms, p99 %s ms", w.name, turn+1, times, r.Sides[w.side], number(s.percentile(50)), number(s.percentile(99)))
		s.latencies(r, w.name, w.side)
		return s.only(http.StatusOK)
	})
}

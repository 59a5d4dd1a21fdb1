package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// contender is a process that reserves tickets.
type contender struct {
	name    string
	url     string
	process *stack.Process
}

// counter is where tickets are reserved: ticket-service, and what it is compared with, on one database.
type counter struct {
	*system
	contenders []contender
	db         *pgx.Conn // of ticket-service, a superuser's
	event      uuid.UUID
	profiles   string // where ticket-service gives its profiles
	token      atomic.Pointer[http.Header]
}

// plainConnections is how many connections to the database the plain process has: as many as serve it best. With the 16 of
// ticket-service, more of them wait for the same row, and it does half as much.
const plainConnections = 4

// openCounter starts a system with both shapes of the plain transaction beside it. It must be stopped, also after a failure.
func (b *bench) openCounter(ctx context.Context) (*counter, error) {
	c := &counter{system: &system{}, event: uuid.New()}
	port, err := freePort(ctx)
	if err != nil {
		return c, err
	}
	c.profiles = fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/profile", port)
	c.system, err = b.start(ctx, setup{env: map[string]map[string]string{"ticket-service": {"PPROF_PORT": strconv.Itoa(port)}}})
	if err != nil {
		return c, err
	}
	if c.db, err = c.superuser(ctx, "ticket-service"); err != nil {
		return c, err
	}
	if _, err := c.db.Exec(ctx, `
		INSERT INTO events (id, organizer_id, name, event_date, venue_name, status)
		VALUES ($1, gen_random_uuid(), 'Stadium Festival', now() + interval '1 year', 'Stadium', 'PUBLISHED')`, c.event); err != nil {
		return c, fmt.Errorf("put an event on sale: %w", err)
	}
	app := c.App("ticket-service")
	c.contenders = []contender{{"ticket-service", app.URL(), app.Process}}
	for _, shape := range []string{"transaction", "statement"} {
		name := "plain " + shape
		port, err := freePort(ctx)
		if err != nil {
			return c, err
		}
		url, process, err := c.companion(ctx, "plain-"+shape, b.program("plain"), port, "PLAIN_SHAPE="+shape,
			fmt.Sprintf("PLAIN_DATABASE_URL=%s&pool_max_conns=%d", c.DatabaseURL("ticket-service"), plainConnections), "PLAIN_SERVICE_SECRET="+string(c.ServiceSecret()))
		if err != nil {
			return c, err
		}
		c.contenders = append(c.contenders, contender{name, url, process})
	}
	return c, nil
}

// offer puts so many new types of tickets on sale, with more of each than anybody will take.
func (c *counter) offer(ctx context.Context, types int) ([]uuid.UUID, error) {
	rows, err := c.db.Query(ctx, `
		INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity)
		SELECT gen_random_uuid(), $1, gen_random_uuid()::text, 4950, 'USD', 100000000 FROM generate_series(1, $2::integer)
		RETURNING id`, c.event, types)
	if err != nil {
		return nil, fmt.Errorf("offer tickets: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("offer tickets: %w", err)
	}
	return ids, nil
}

// authenticate keeps a token of payment-service's in the requests, which lives for a minute.
func (c *counter) authenticate(ctx context.Context) error {
	renew := func() error {
		token, err := identity.SignServiceToken(c.ServiceSecret(), "payment-service")
		if err != nil {
			return fmt.Errorf("sign a service token: %w", err)
		}
		c.token.Store(&http.Header{
			"Content-Type": {"application/json"}, "Dapr-Api-Token": {c.APIToken()},
			"X-Service-Token": {token}, "X-Service-Name": {"payment-service"},
		})
		return nil
	}
	if err := renew(); err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Second):
				_ = renew() // it could sign before
			}
		}
	}()
	return nil
}

// reservations asks a contender for one ticket of any of these types at a time.
func (c *counter) reservations(of contender, types []uuid.UUID) vegeta.Targeter {
	url := of.url + "/api/tickets/internal/reserve"
	return func(t *vegeta.Target) error {
		body := make([]byte, 0, 320)
		body = append(body, `{"userId":"`...)
		body = append(body, uuid.NewString()...)
		body = append(body, `","eventId":"`...)
		body = append(body, c.event.String()...)
		body = append(body, `","reservationId":"`...)
		body = append(body, uuid.Must(uuid.NewV7()).String()...) // as payment-service makes them
		body = append(body, `","reservationDurationMinutes":15,"ticketRequests":[{"ticketTypeId":"`...)
		body = append(body, types[rand.IntN(len(types))].String()...) //nolint:gosec // no secret
		body = append(body, `","quantity":1}]}`...)
		t.Method, t.URL, t.Body, t.Header = http.MethodPost, url, body, *c.token.Load()
		return nil
	}
}

// volley is a contender's turn: a load on so many types, after a short one that opens connections and fills caches.
type volley struct {
	shots
	cpu map[string]time.Duration // that a reservation cost, by who used it
}

// users are those whose processor time is told.
var users = []string{"service", "database", "load generator"}

func (c *counter) volley(ctx context.Context, of contender, types int, l load) (volley, error) {
	// Each turn begins with empty tables, and with nothing that is left to write.
	for _, sql := range []string{"TRUNCATE reservations CASCADE", "CHECKPOINT"} {
		if _, err := c.db.Exec(ctx, sql); err != nil {
			return volley{}, fmt.Errorf("forget the reservations: %w", err)
		}
	}
	ids, err := c.offer(ctx, types)
	if err != nil {
		return volley{}, err
	}
	warmUp := l
	warmUp.during = min(l.during/5, 2*time.Second)
	if _, err := fire(ctx, warmUp, c.reservations(of, ids)); err != nil {
		return volley{}, err
	}
	spent := func() map[string]time.Duration {
		return map[string]time.Duration{
			users[0]: use(of.process.PID(), false).cpu, users[1]: use(c.Server("postgres").PID(), true).cpu, users[2]: use(os.Getpid(), false).cpu,
		}
	}
	cpu := spent()
	s, err := fire(ctx, l, c.reservations(of, ids))
	if err != nil {
		return volley{}, err
	}
	for who, after := range spent() {
		cpu[who] = (after - cpu[who]) / time.Duration(max(s.answers[http.StatusOK], 1))
	}
	if err := s.only(http.StatusOK, http.StatusTooManyRequests, http.StatusServiceUnavailable); err != nil {
		return volley{}, fmt.Errorf("%s: %w", of.name, err)
	}
	return volley{s, cpu}, nil
}

// hotType measures reservations that all want the same row of the database.
func (b *bench) hotType(ctx context.Context) (results, error) { return b.reserving(ctx, 1) }

// manyTypes measures reservations that hardly ever want the same row.
func (b *bench) manyTypes(ctx context.Context) (results, error) { return b.reserving(ctx, 1000) }

func (b *bench) reserving(ctx context.Context, types int) (r results, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := b.openCounter(ctx)
	defer func() { err = c.stop(ctx, err) }()
	if err != nil {
		return r, err
	}
	if err := c.authenticate(ctx); err != nil {
		return r, err
	}
	settings, err := durability(ctx, c.db)
	if err != nil {
		return r, err
	}
	r.note("%s.", settings)
	r.note("Each reservation is one ticket, straight to the process. A plain transaction is one conditional UPDATE and one "+
		"commit for each reservation, in a process of the same shape, on the same tables, with %d connections, which serve it best; a plain statement does the same in one round trip.", plainConnections)
	var sides []int
	for i, of := range c.contenders {
		r.Sides, sides = append(r.Sides, of.name), append(sides, i)
	}

	// Long enough, where few come, that no single stall of the machine's makes their p99.
	times, during, steadily := b.times(5), 8*time.Second, 20*time.Second
	if b.quick {
		times, during, steadily = 1, 2*time.Second, 2*time.Second
	}
	for _, clients := range []int{64, 256} {
		name := fmt.Sprintf("%d clients", clients)
		err := turns(ctx, times, sides, func(side, turn int) error {
			of := c.contenders[side]
			if b.profile && side == 0 && turn == 0 {
				go c.profile(ctx, during, filepath.Join(b.out, fmt.Sprintf("ticket-service-%d-types-%d-clients.pprof", types, clients)))
			}
			v, err := c.volley(ctx, of, types, load{clients: clients, during: during})
			if err != nil {
				return err
			}
			rate := v.perSecond(http.StatusOK)
			say("  %s, turn %d of %d: %s %s reservations a second, p99 %s ms", name, turn+1, times, of.name, number(rate), number(v.percentile(99)))
			r.row(name, "reservations", "a second").add(side, rate)
			v.latencies(&r, name, side)
			for _, who := range users {
				r.row(name, "processor time of the "+who, "µs each").add(side, float64(v.cpu[who].Microseconds()))
			}
			if refused := len(v.answers) - 1; refused > 0 {
				r.row(name, "refused early", "a second").add(side, v.perSecond(http.StatusTooManyRequests)+v.perSecond(http.StatusServiceUnavailable))
			}
			return nil
		})
		if err != nil {
			return r, err
		}
	}
	// What all sides can take, each at the same times.
	perSecond := int(r.row("64 clients", "reservations", "a second").median(1) / 2)
	name := fmt.Sprintf("open load, %d a second", perSecond)
	err = turns(ctx, times, sides, func(side, turn int) error {
		v, err := c.volley(ctx, c.contenders[side], types, load{perSecond: perSecond, during: steadily})
		if err != nil {
			return err
		}
		say("  %s, turn %d of %d: %s p50 %s ms, p99 %s ms", name, turn+1, times, c.contenders[side].name, number(v.percentile(50)), number(v.percentile(99)))
		v.latencies(&r, name, side)
		return nil
	})
	r.aims(types, name)
	return r, err
}

// latencies adds the percentiles of a side's turn.
func (s shots) latencies(r *results, name string, side int) {
	r.row(name, "p50", "ms").add(side, s.percentile(50))
	r.row(name, "p99", "ms").add(side, s.percentile(99))
}

// profile writes a CPU profile of ticket-service to a file. Without it the figures are still good.
func (c *counter) profile(ctx context.Context, during time.Duration, path string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s?seconds=%d", c.profiles, int(during.Seconds())), nil)
	if err == nil {
		var res *http.Response
		if res, err = http.DefaultClient.Do(req); err == nil {
			defer res.Body.Close()
			var content []byte
			if content, err = io.ReadAll(res.Body); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
	}
	if err != nil {
		say("  no profile: %v", err)
		return
	}
	say("  profile written: go tool pprof -top %s", path)
}

// aims compares with what was set out to reach.
func (r *results) aims(types int, openLoad string) {
	rate := r.row("64 clients", "reservations", "a second")
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

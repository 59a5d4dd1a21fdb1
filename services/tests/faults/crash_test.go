//go:build crash

package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// TestEveryCrashPoint kills a process with SIGKILL at each crash point, one after the other, and restarts it. The
// faults of TestRecordsBalanceUnderFaults hit at random times; here the process dies exactly at the point. The services
// have no code for this. A process is stopped at its point from outside: a proxy holds back one of its requests, or a
// trigger makes one of its statements wait for a lock.
//
// In the end every scenario must have the expected outcome, and an exact audit must have no findings.
func TestEveryCrashPoint(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	began := time.Now()
	h := start(ctx, t)
	c := &crasher{Client: demo.Client{Sidecar: h.system.App(authService).SidecarURL()}, harness: h}
	t.Cleanup(func() {
		if c.stateStore != nil {
			c.stateStore.Close()
		}
	})
	points := slices.Concat(paymentPoints, crashPoints, lastPoints)
	runs, err := c.prepare(ctx, points)
	if err != nil {
		t.Fatal(err)
	}
	progress("%d crash points, prepared after %s", len(points), time.Since(began).Round(time.Second))
	for i, p := range points {
		t.Run(p.name, func(t *testing.T) {
			began := time.Now()
			if err := c.renewTokens(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.crashAt(ctx, p, runs[i]); err != nil {
				t.Fatal(err)
			}
			progress("%2d/%d %s (%.1fs)", i+1, len(points), p.name, time.Since(began).Seconds())
		})
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	progress("all crash points done after %s, waiting for the system to settle", time.Since(began).Round(time.Second))
	if err := c.finish(ctx, points, runs); err != nil {
		t.Error(err)
	}
	for i, p := range points {
		if err := c.check(ctx, p, runs[i]); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
	progress("%d kills, settled after %s; %d duplicate mails",
		len(points), time.Since(began).Round(time.Second), c.mails.duplicates())
}

// crashPoint is a moment at which a process dies.
type crashPoint struct {
	name     string // which process dies, and when
	scenario scenario
	at       breakpoint
	kill     string // the app whose process dies
	want     outcome
}

// breakpoint is a place between two instructions of a process at which it can be stopped from outside. It is either in
// a request to an app or in a statement.
type breakpoint struct {
	// A request to an app. The process is stopped before the app receives the request, or if answered is set, before
	// the caller receives the answer.
	app, path string
	event     string // the type of the event that the request delivers; empty for other requests
	answered  bool
	lost      bool // the app never receives the request

	// A statement of the process in its own database. The process is stopped within the statement, so that its
	// transaction is never committed. The condition when selects the row.
	statement, when string
	inStateStore    bool // the statement is one of the sidecar in the database of the Dapr state store
}

// scenario is a sequence of actions of users. Functions that are nil are skipped.
type scenario struct {
	draft    bool          // the event is not published yet
	startsIn time.Duration // when the event starts, if it is not the demo's date

	prepare action
	arrange func(context.Context, *scenarioRun) // injects further faults before act
	act     action
	once    bool // act is not repeated if it gets no answer

	whileDown    action // while the process is down
	afterRestart action
	finish       action // after all crash points
}

type action func(ctx context.Context, s *scenarioRun) error

// outcome is the expected end of a scenario: the number of orders and of tickets by status, and the number of sent
// notifications by kind.
type outcome struct{ orders, tickets, notifications counts }

type counts map[string]int

// scenarioRun is one run of a scenario, with an event of its own.
type scenarioRun struct {
	*crasher
	trace string // the correlation id of the scenario's action
	event demo.Event
	floor demo.TicketType
	email string    // of the user who registers
	id    uuid.UUID // of the reservation, order or event that the scenario is about
}

// crasher is a harness with the users of the scenarios.
type crasher struct {
	demo.Client
	*harness
	organizer, buyer demo.Person
	loggedIn         time.Time     // when they logged in
	stateStore       *pgxpool.Pool // the database of the Dapr state store
}

// prepare registers the users, and prepares a run for each crash point.
func (c *crasher) prepare(ctx context.Context, points []crashPoint) ([]*scenarioRun, error) {
	var err error
	if c.organizer, err = c.Join(ctx, "Olivia", "Stone", true); err != nil {
		return nil, err
	}
	if c.buyer, err = c.Join(ctx, "Ben", "Ito", false); err != nil {
		return nil, err
	}
	c.loggedIn = time.Now()
	secrets, err := c.secrets()
	if err != nil {
		return nil, err
	}
	if c.stateStore, err = pgxpool.New(ctx, secrets["statestore-connection-string"]); err != nil {
		return nil, fmt.Errorf("connect to the database of the state store: %w", err)
	}
	// An app that started before auth-service fetches the signing keys when it verifies its first token. It rejects
	// that token.
	for app, path := range map[string]string{
		eventService: "/api/events/mine", ticketService: "/api/tickets/mine", paymentService: "/api/payments/orders",
	} {
		request := demo.Request{Method: http.MethodGet, App: app, Path: path, Token: c.organizer.Token}
		if err := await(ctx, func() error { return c.Do(ctx, request, nil) }); err != nil {
			return nil, err
		}
	}
	runs := make([]*scenarioRun, len(points))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, p := range points {
		s := &scenarioRun{crasher: c, trace: uuid.NewString(), id: uuid.New()}
		s.email = "nora-" + s.trace + "@example.com"
		runs[i] = s
		g.Go(func() error {
			if err := s.prepare(ctx, p.scenario); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		})
	}
	return runs, g.Wait()
}

// renewTokens logs the users in again before their access tokens expire.
func (c *crasher) renewTokens(ctx context.Context) error {
	if time.Since(c.loggedIn) < tokenAge {
		return nil
	}
	for _, p := range []*demo.Person{&c.organizer, &c.buyer} {
		var err error
		if p.Token, err = login(ctx, c.Client, p.Email, demo.Password); err != nil {
			return fmt.Errorf("log in %s: %w", p.Email, err)
		}
	}
	c.loggedIn = time.Now()
	return nil
}

// prepare creates an event with tickets for sale, and does what else the scenario needs.
func (s *scenarioRun) prepare(ctx context.Context, sc scenario) (err error) {
	if s.event, err = s.Draft(ctx, s.organizer, "Festival "+s.trace); err != nil {
		return err
	}
	if sc.startsIn > 0 {
		if err := startIn(ctx, s.Client, s.organizer, s.event, sc.startsIn); err != nil {
			return err
		}
	}
	s.floor, err = s.AddTicketType(ctx, s.organizer, s.event.EventID, "Floor", "49.50", 300)
	if err != nil || sc.draft {
		return err
	}
	if s.event, err = s.Publish(ctx, s.organizer, s.event.EventID); err != nil || sc.prepare == nil {
		return err
	}
	return sc.prepare(ctx, s)
}

const (
	// reachTimeout is how long a scenario may take to reach its crash point. Most take milliseconds. But the crashes
	// before it may have opened a circuit breaker. Then the sweeper continues the saga up to a minute later.
	reachTimeout = 100 * time.Second
	// restartTimeout is how long a process may take to become ready again and users may wait for their answers. An open
	// circuit breaker may take half of it.
	restartTimeout = time.Minute
)

// crashAt starts the scenario, kills the process when it reaches the crash point, and restarts it. It returns an error
// if the process does not reach the crash point.
func (c *crasher) crashAt(ctx context.Context, p crashPoint, s *scenarioRun) error {
	defer c.proxies.clear()
	killed, err := c.setBreakpoint(ctx, p, s)
	if err != nil {
		return err
	}
	if p.scenario.arrange != nil {
		p.scenario.arrange(ctx, s)
	}
	acting, cancel := context.WithTimeout(ctx, reachTimeout+restartTimeout)
	defer cancel()
	acted := make(chan error, 1)
	go func() { acted <- s.act(acting, p.scenario) }()
	if err := killed(); err != nil {
		cancel()
		return errors.Join(err, <-acted)
	}

	ctx, cancelRestart := context.WithTimeout(ctx, restartTimeout)
	defer cancelRestart()
	if p.scenario.whileDown != nil {
		err = p.scenario.whileDown(ctx, s)
	}
	if err := errors.Join(err, c.system.App(p.kill).Process.Start()); err != nil {
		return err
	}
	if err := await(ctx, func() error {
		return c.asSidecar(ctx, p.kill, http.MethodGet, "/actuator/health/ready", nil)
	}); err != nil {
		return err
	}
	if p.scenario.afterRestart != nil {
		if err := p.scenario.afterRestart(ctx, s); err != nil {
			return err
		}
	}
	return <-acted
}

// act executes the scenario's action, and repeats it until there is an answer, as users do.
func (s *scenarioRun) act(ctx context.Context, sc scenario) error {
	for {
		err := sc.act(ctx, s)
		if err == nil || final(err) || sc.once {
			return nil
		}
		if pauseErr := pause(ctx, 200*time.Millisecond); pauseErr != nil {
			return fmt.Errorf("no answer: %w", errors.Join(err, pauseErr))
		}
	}
}

// await repeats try until it succeeds.
func await(ctx context.Context, try func() error) error {
	_, err := demo.Await(ctx, func() (bool, error) { return true, try() }, func(done bool) bool { return done })
	return err
}

// asSidecar sends a request to an app as its sidecar does. header has names and values in turn.
func (c *crasher) asSidecar(ctx context.Context, app, method, path string, body []byte, header ...string) error {
	req, err := http.NewRequestWithContext(ctx, method, c.system.App(app).URL()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("dapr-api-token", c.system.APIToken())
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return errors.New(path + ": " + strconv.Itoa(res.StatusCode))
	}
	return nil
}

// finish executes what scenarios do after all crash points, and waits until the system has settled.
func (c *crasher) finish(ctx context.Context, points []crashPoint, runs []*scenarioRun) error {
	for i, p := range points {
		if p.scenario.finish != nil {
			if err := p.scenario.finish(ctx, runs[i]); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return c.awaitSettled(ctx)
}

// check compares the outcome of a scenario with the expected one.
func (c *crasher) check(ctx context.Context, p crashPoint, s *scenarioRun) error {
	var wrong []error
	for _, q := range []struct {
		rows, service, query string
		want                 counts
	}{
		{"orders", paymentService, `
			SELECT status, count(*) FROM orders WHERE event_id::text = $1 AND $2 <> '' GROUP BY status`, p.want.orders},
		{"tickets", ticketService, `
			SELECT status, count(*) FROM tickets WHERE event_id::text = $1 AND $2 <> '' GROUP BY status`, p.want.tickets},
		{"notifications", notificationService, `
			SELECT kind, count(*) FROM notifications
			WHERE status = 'SENT' AND (facts ->> 'eventId' = $1 OR user_id::text = $2) GROUP BY kind`, p.want.notifications},
	} {
		got, err := c.count(ctx, q.service, q.query, s)
		if err != nil {
			return err
		}
		if !maps.Equal(got, q.want) {
			wrong = append(wrong, fmt.Errorf("%s of event %s are %v instead of %v", q.rows, s.event.EventID, got, q.want))
		}
	}
	return errors.Join(wrong...)
}

// count returns the rows of a query as counts. The query has two parameters, the scenario's event and the user who
// registered, and two columns, a name and a number.
func (c *crasher) count(ctx context.Context, service, query string, s *scenarioRun) (counts, error) {
	var registered uuid.UUID
	if err := c.sources.Databases[authService].QueryRow(ctx, `
		SELECT coalesce((SELECT id FROM users WHERE email = $1), $2)`, s.email, s.trace).Scan(&registered); err != nil {
		return nil, fmt.Errorf("find the registered user: %w", err)
	}
	found, err := c.sources.Databases[service].Query(ctx, query, s.event.EventID.String(), registered.String())
	if err != nil {
		return nil, fmt.Errorf("read the outcome at %s: %w", service, err)
	}
	got := counts{}
	var name string
	var n int
	if _, err := pgx.ForEachRow(found, []any{&name, &n}, func() error { got[name] = n; return nil }); err != nil {
		return nil, fmt.Errorf("read the outcome at %s: %w", service, err)
	}
	return got, nil
}

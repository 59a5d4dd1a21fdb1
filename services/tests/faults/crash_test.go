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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// TestEveryCrashPoint kills a process with SIGKILL at each of the named points, one by one, and starts it again: not about
// then, as the faults by chance do, but right there. Nothing in the services helps. What stops a process at its point comes
// from outside: a request of its that is held back on its way, or a statement of its that waits for a lock.
//
// In the end each story must have ended as it should, and an exact audit must find nothing.
func TestEveryCrashPoint(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	began := time.Now()
	b := start(ctx, t)
	c := &crashes{Client: demo.Client{Sidecar: b.system.App(authService).SidecarURL()}, breaker: b}
	stories, err := c.prepare(ctx, crashPoints)
	if err != nil {
		t.Fatal(err)
	}
	say("%d crash points, prepared after %s", len(crashPoints), time.Since(began).Round(time.Second))
	for i, p := range crashPoints {
		t.Run(p.name, func(t *testing.T) {
			struck := time.Now()
			if err := c.strike(ctx, p, stories[i]); err != nil {
				t.Fatal(err)
			}
			say("%2d/%d %s (%.1fs)", i+1, len(crashPoints), p.name, time.Since(struck).Seconds())
		})
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	say("all points are struck after %s, waiting for rest", time.Since(began).Round(time.Second))
	if err := c.finish(ctx, crashPoints, stories); err != nil {
		t.Error(err)
	}
	for i, p := range crashPoints {
		if err := c.check(ctx, p, stories[i]); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
	say("%d kills, at rest after %s; %d mails came a second time", len(crashPoints), time.Since(began).Round(time.Second), c.mails.repeated())
}

// point is a moment at which a process dies.
type point struct {
	name string // who dies, and with what in its hands
	plot plot   // what people are doing
	at   spot
	kill string // whom
	end  end    // how the story has to end all the same
}

// spot is a place between two instructions at which a process can be stopped from outside.
type spot struct {
	// A request to an app. It has not arrived there; or it is answered, and the answer has not arrived.
	app, path string
	event     string // the type of the event that the request delivers; empty for other requests
	answered  bool
	lost      bool // nor will it ever

	// A statement that is carried out in the database of the process that dies, and not committed.
	statement, when string
}

// plot is what people do.
type plot struct {
	draft   bool // of an event that is not on sale yet
	prepare deed
	arrange func(context.Context, *story) // what is to happen to them on the way
	act     deed
	once    bool // nobody does it again who got no answer

	down   deed // what happens while the process is down
	up     deed // and when it is up again
	finish deed // and after all points
}

type deed func(ctx context.Context, s *story) error

// end is how a story ends: how many orders and tickets have which status, and how often who was told what.
type end struct{ orders, tickets, told counts }

type counts map[string]int

// story is a plot with an event of its own.
type story struct {
	*crashes
	trace string // the correlation id of what is done
	event demo.Event
	floor demo.TicketType
	email string    // of somebody who registers
	id    uuid.UUID // of whatever else there is one of
}

// crashes is a system of which processes die at their points.
type crashes struct {
	demo.Client
	*breaker
	organizer, buyer demo.Person
	admin            demo.Token
}

// prepare brings people, and each story to where its point can strike.
func (c *crashes) prepare(ctx context.Context, points []point) ([]*story, error) {
	var err error
	if c.organizer, err = c.Join(ctx, "Olivia", "Stone", true); err != nil {
		return nil, err
	}
	if c.buyer, err = c.Join(ctx, "Ben", "Ito", false); err != nil {
		return nil, err
	}
	if c.admin, err = c.loginAdmin(ctx); err != nil {
		return nil, err
	}
	// An app that was up before auth-service knows only after its first token who signs tokens, and refuses that one.
	for app, path := range map[string]string{eventService: "/api/events/mine", ticketService: "/api/tickets/mine", paymentService: "/api/payments/orders"} {
		if _, err := demo.Await(ctx, func() (known bool, err error) {
			return true, c.Do(ctx, demo.Request{Method: http.MethodGet, App: app, Path: path, Token: c.organizer.Token}, nil)
		}, func(known bool) bool { return known }); err != nil {
			return nil, err
		}
	}
	stories := make([]*story, len(points))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, p := range points {
		s := &story{crashes: c, trace: uuid.NewString(), id: uuid.New()}
		s.email = "nora-" + s.trace + "@example.com"
		stories[i] = s
		g.Go(func() error {
			if err := s.prepare(ctx, p.plot); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		})
	}
	return stories, g.Wait()
}

// prepare has tickets of an event on sale, and whatever else the plot needs.
func (s *story) prepare(ctx context.Context, p plot) (err error) {
	if s.event, err = s.Draft(ctx, s.organizer, "Festival "+s.trace); err != nil {
		return err
	}
	if s.floor, err = s.AddTicketType(ctx, s.organizer, s.event.EventID, "Floor", "49.50", 300); err != nil || p.draft {
		return err
	}
	if s.event, err = s.Publish(ctx, s.organizer, s.event.EventID); err != nil || p.prepare == nil {
		return err
	}
	return p.prepare(ctx, s)
}

const (
	// reach is how long a story may take until it comes to its point. Mostly it is there at once; but the deaths before it
	// may have opened a circuit breaker, and then it is the sweeper that brings it there, a minute later.
	reach = 100 * time.Second
	// revival is how long a process may take to be ready again, and people to get their answers; half of that may go by
	// behind a breaker.
	revival = time.Minute
)

// strike lets the story begin, kills the process when it is at the point, and starts it again. It is an error if the
// story does not come there.
func (c *crashes) strike(ctx context.Context, p point, s *story) error {
	defer c.hops.clear()
	await, err := c.lieInWait(ctx, p, s)
	if err != nil {
		return err
	}
	if p.plot.arrange != nil {
		p.plot.arrange(ctx, s)
	}
	acting, cancel := context.WithTimeout(ctx, reach+revival)
	defer cancel()
	acted := make(chan error, 1)
	go func() { acted <- s.insist(acting, p.plot) }()
	if err := await(); err != nil {
		cancel()
		return errors.Join(err, <-acted)
	}

	ctx, cancelRevival := context.WithTimeout(ctx, revival)
	defer cancelRevival()
	if p.plot.down != nil {
		err = p.plot.down(ctx, s)
	}
	if err := errors.Join(err, c.system.App(p.kill).Process.Start()); err != nil {
		return err
	}
	if _, err := demo.Await(ctx, func() (ready bool, err error) {
		return true, c.bySidecar(ctx, p.kill, http.MethodGet, "/actuator/health/ready", nil)
	}, func(ready bool) bool { return ready }); err != nil {
		return err
	}
	if p.plot.up != nil {
		if err := p.plot.up(ctx, s); err != nil {
			return err
		}
	}
	return <-acted
}

// insist acts again until there is an answer, as people do.
func (s *story) insist(ctx context.Context, p plot) error {
	for {
		err := p.act(ctx, s)
		if err == nil || final(err) || p.once {
			return nil
		}
		if pauseErr := pause(ctx, 200*time.Millisecond); pauseErr != nil {
			return fmt.Errorf("no answer: %w", errors.Join(err, pauseErr))
		}
	}
}

// lieInWait gives what waits until the process has come to the point, and has died there.
func (c *crashes) lieInWait(ctx context.Context, p point, s *story) (func() error, error) {
	if p.at.statement != "" {
		return c.lieInWaitAtStatement(ctx, p, s)
	}
	dead := make(chan error, 1)
	kill := func() { dead <- c.system.App(p.kill).Process.Kill() }
	m := &meddling{path: p.at.path, event: p.at.event, about: s.concerns, left: 1, before: kill, drop: p.at.lost}
	if p.at.answered {
		// Of an app that has died after its answer, nobody gets that.
		m = &meddling{path: p.at.path, event: p.at.event, about: s.concerns, left: 1, after: kill, lose: p.kill == p.at.app}
	}
	c.hops.add(p.at.app, m)
	return func() error {
		select {
		case err := <-dead:
			return err
		case <-time.After(reach):
			return fmt.Errorf("no such request after %s: %s%s of %s", reach, p.at.path, p.at.event, p.at.app)
		}
	}, nil
}

// concerns reports whether a request is of this story.
func (s *story) concerns(r *http.Request, body []byte) bool {
	return r.Header.Get("X-Correlation-Id") == s.trace ||
		bytes.Contains(body, []byte(s.trace)) || bytes.Contains(body, []byte(s.event.EventID.String()))
}

// trapLock is the advisory lock that a process waits for in a statement.
const trapLock = 4711

// lieInWaitAtStatement lets the point's statement wait for a lock, inside of its transaction. The process that waits there
// is killed before its session in the database, so that nothing of it is committed after its death.
func (c *crashes) lieInWaitAtStatement(ctx context.Context, p point, s *story) (await func() error, err error) {
	holder, err := c.books.Databases[p.kill].Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("set the trap: %w", err)
	}
	release := func() error {
		defer holder.Release()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		// In this order: another session of the dead process, which wanted the same row, may wait in the trap by now.
		_, unlockErr := holder.Exec(ctx, `SELECT pg_advisory_unlock_all()`)
		_, dropErr := holder.Exec(ctx, `DROP FUNCTION IF EXISTS trap CASCADE`)
		return errors.Join(unlockErr, dropErr)
	}
	when := strings.NewReplacer("{trace}", s.trace, "{event}", s.event.EventID.String(), "{type}", s.floor.TicketTypeID.String(), "{email}", s.email).Replace(p.at.when)
	if _, err := holder.Exec(ctx, fmt.Sprintf(`
		SELECT pg_advisory_lock(%[1]d);
		CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(%[1]d); RETURN NEW; END $$;
		CREATE TRIGGER trap BEFORE %[2]s FOR EACH ROW WHEN (%[3]s) EXECUTE FUNCTION trap()`, trapLock, p.at.statement, when)); err != nil {
		return nil, fmt.Errorf("set the trap: %w", errors.Join(err, release()))
	}
	const caught = `FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4711
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	return func() (err error) {
		defer func() { err = errors.Join(err, release()) }()
		ctx, cancel := context.WithTimeout(ctx, reach)
		defer cancel()
		_, err = demo.Await(ctx, func() (found bool, err error) {
			return found, holder.QueryRow(ctx, `SELECT EXISTS (SELECT `+caught+`)`).Scan(&found)
		}, func(found bool) bool { return found })
		if err != nil {
			return fmt.Errorf("no such statement: %s when %s: %w", p.at.statement, when, err)
		}
		if err := c.system.App(p.kill).Process.Kill(); err != nil {
			return err
		}
		var ended bool
		if err := holder.QueryRow(ctx, `SELECT bool_and(pg_terminate_backend(pid, 5000)) `+caught).Scan(&ended); err != nil || !ended {
			return fmt.Errorf("the session of the dead process does not end: %w", err)
		}
		return nil
	}, nil
}

// bySidecar asks an app for something as its sidecar does.
func (c *crashes) bySidecar(ctx context.Context, app, method, path string, body []byte, header ...string) error {
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

// finish brings what is left to people to its end, and waits until there is nothing left to wait for.
func (c *crashes) finish(ctx context.Context, points []point, stories []*story) error {
	for i, p := range points {
		if p.plot.finish != nil {
			if err := p.plot.finish(ctx, stories[i]); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return c.rest(ctx)
}

// check holds what became of a story to how it has to end.
func (c *crashes) check(ctx context.Context, p point, s *story) error {
	var wrong []error
	for _, q := range []struct {
		what, service, query string
		want                 counts
	}{
		{"orders", paymentService, `SELECT status, count(*) FROM orders WHERE event_id::text = $1 AND $2 <> '' GROUP BY status`, p.end.orders},
		{"tickets", ticketService, `SELECT status, count(*) FROM tickets WHERE event_id::text = $1 AND $2 <> '' GROUP BY status`, p.end.tickets},
		{"told", notificationService, `
			SELECT kind, count(*) FROM notifications WHERE status = 'SENT' AND (facts ->> 'eventId' = $1 OR user_id::text = $2) GROUP BY kind`, p.end.told},
	} {
		got, err := c.count(ctx, q.service, q.query, s)
		if err != nil {
			return err
		}
		if !maps.Equal(got, q.want) {
			wrong = append(wrong, fmt.Errorf("%s of event %s are %v, not %v", q.what, s.event.EventID, got, q.want))
		}
	}
	return errors.Join(wrong...)
}

// count gives what a query of two columns finds about the story's event, or about who registered in it.
func (c *crashes) count(ctx context.Context, service, query string, s *story) (counts, error) {
	var registered uuid.UUID
	if err := c.books.Databases[authService].QueryRow(ctx, `
		SELECT coalesce((SELECT id FROM users WHERE email = $1), $2)`, s.email, s.trace).Scan(&registered); err != nil {
		return nil, fmt.Errorf("who registered: %w", err)
	}
	found, err := c.books.Databases[service].Query(ctx, query, s.event.EventID.String(), registered.String())
	if err != nil {
		return nil, fmt.Errorf("how it ended at %s: %w", service, err)
	}
	got := counts{}
	var name string
	var n int
	if _, err := pgx.ForEachRow(found, []any{&name, &n}, func() error { got[name] = n; return nil }); err != nil {
		return nil, fmt.Errorf("how it ended at %s: %w", service, err)
	}
	return got, nil
}

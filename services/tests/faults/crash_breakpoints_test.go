//go:build crash

package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// setBreakpoint sets the breakpoint of a crash point. The returned function waits until the process has reached it and
// is killed there.
func (c *crasher) setBreakpoint(ctx context.Context, p crashPoint, s *scenarioRun) (killed func() error, err error) {
	if p.at.statement != "" {
		return c.breakAtStatement(ctx, p, s)
	}
	dead := make(chan error, 1)
	die := func() { dead <- c.system.App(p.kill).Process.Kill() }
	i := &interception{path: p.at.path, event: p.at.event, matches: s.owns, left: 1, before: die, drop: p.at.lost}
	if p.at.answered {
		// The answer of an app that died after it answered is lost.
		i = &interception{
			path: p.at.path, event: p.at.event, matches: s.owns, left: 1, after: die, lose: p.kill == p.at.app,
		}
	}
	c.proxies.add(p.at.app, i)
	return func() error {
		select {
		case err := <-dead:
			return err
		case <-time.After(reachTimeout):
			return fmt.Errorf("no such request within %s: %s%s of %s", reachTimeout, p.at.path, p.at.event, p.at.app)
		}
	}, nil
}

// owns reports whether a request belongs to this run.
func (s *scenarioRun) owns(r *http.Request, body []byte) bool {
	return r.Header.Get("X-Correlation-Id") == s.trace ||
		bytes.Contains(body, []byte(s.trace)) || bytes.Contains(body, []byte(s.event.EventID.String()))
}

// breakpointLock is the advisory lock that a process waits for at a breakpoint in a statement.
const breakpointLock = 4711

// breakAtStatement sets a breakpoint in a statement: a trigger makes the statement wait for a lock, within its
// transaction. There the process is killed first, so that it does not see the end of its database session. Then the
// session is ended, so that the statement does not take effect after the death of the process.
func (c *crasher) breakAtStatement(ctx context.Context, p crashPoint, s *scenarioRun) (killed func() error, err error) {
	database := c.sources.Databases[p.kill]
	if p.at.inStateStore {
		database = c.stateStore
	}
	holder, err := database.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("set the breakpoint: %w", err)
	}
	release := func() error {
		defer holder.Release()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		// The order matters: another session of the dead process that needed the same row may wait at the breakpoint by
		// now, and DROP FUNCTION would wait for it.
		_, unlockErr := holder.Exec(ctx, `SELECT pg_advisory_unlock_all()`)
		_, dropErr := holder.Exec(ctx, `DROP FUNCTION IF EXISTS breakpoint CASCADE`)
		return errors.Join(unlockErr, dropErr)
	}
	when := strings.NewReplacer(
		"{trace}", s.trace, "{event}", s.event.EventID.String(), "{type}", s.floor.TicketTypeID.String(), "{email}", s.email,
		"{id}", s.id.String(),
	).Replace(p.at.when)
	if _, err := holder.Exec(ctx, fmt.Sprintf(`
		SELECT pg_advisory_lock(%[1]d);
		CREATE FUNCTION breakpoint() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN PERFORM pg_advisory_xact_lock(%[1]d); RETURN NEW; END $$;
		CREATE TRIGGER breakpoint BEFORE %[2]s FOR EACH ROW WHEN (%[3]s) EXECUTE FUNCTION breakpoint()`,
		breakpointLock, p.at.statement, when)); err != nil {
		return nil, fmt.Errorf("set the breakpoint: %w", errors.Join(err, release()))
	}
	waiting := fmt.Sprintf(`FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %d
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, breakpointLock)
	return func() (err error) {
		defer func() { err = errors.Join(err, release()) }()
		ctx, cancel := context.WithTimeout(ctx, reachTimeout)
		defer cancel()
		_, err = demo.Await(ctx, func() (found bool, err error) {
			return found, holder.QueryRow(ctx, `SELECT EXISTS (SELECT `+waiting+`)`).Scan(&found)
		}, func(found bool) bool { return found })
		if err != nil {
			return fmt.Errorf("no such statement: %s when %s: %w", p.at.statement, when, err)
		}
		if err := c.system.App(p.kill).Process.Kill(); err != nil {
			return err
		}
		var ended bool
		err = holder.QueryRow(ctx, `SELECT bool_and(pg_terminate_backend(pid, 5000)) `+waiting).Scan(&ended)
		if err == nil && !ended {
			err = errors.New("it has not ended after 5 s")
		}
		if err != nil {
			return fmt.Errorf("end the database session of the dead process: %w", err)
		}
		return nil
	}, nil
}

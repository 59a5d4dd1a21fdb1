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

// testbed is a system with the contenders: ticket-service, and the plain processes on the same database.
type testbed struct {
	*system
	contenders []contender
	db         *pgx.Conn // a superuser's connection to the database of ticket-service
	event      uuid.UUID
	profiles   string                      // URL of ticket-service's CPU profiles
	header     atomic.Pointer[http.Header] // of requests to the contenders
}

// plainConnections is the number of database connections of a plain process. 4 are its optimum: with 16, as many as
// ticket-service has, more of them wait for the same row, and throughput halves.
const plainConnections = 4

// openTestbed starts a system and both shapes of the plain process. The caller must stop it, even after an error.
func (b *bench) openTestbed(ctx context.Context) (*testbed, error) {
	t := &testbed{system: &system{}, event: uuid.New()}
	port, err := freePort(ctx)
	if err != nil {
		return t, err
	}
	t.profiles = fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/profile", port)
	t.system, err = b.start(ctx, setup{
		env: map[string]map[string]string{"ticket-service": {"PPROF_PORT": strconv.Itoa(port)}},
	})
	if err != nil {
		return t, err
	}
	if t.db, err = t.superuser(ctx, "ticket-service"); err != nil {
		return t, err
	}
	if _, err := t.db.Exec(ctx, `
		INSERT INTO events (id, organizer_id, name, event_date, venue_name, status)
		VALUES ($1, gen_random_uuid(), 'Stadium Festival', now() + interval '1 year', 'Stadium', 'PUBLISHED')`,
		t.event); err != nil {
		return t, fmt.Errorf("insert an event: %w", err)
	}
	app := t.App("ticket-service")
	t.contenders = []contender{{"ticket-service", app.URL(), app.Process}}
	database := fmt.Sprintf("%s&pool_max_conns=%d", t.DatabaseURL("ticket-service"), plainConnections)
	for _, shape := range []string{"transaction", "statement"} {
		port, err := freePort(ctx)
		if err != nil {
			return t, err
		}
		url, process, err := t.companion(ctx, "plain-"+shape, b.program("plain"), port, "PLAIN_SHAPE="+shape,
			"PLAIN_DATABASE_URL="+database, "PLAIN_SERVICE_SECRET="+string(t.ServiceSecret()))
		if err != nil {
			return t, err
		}
		t.contenders = append(t.contenders, contender{"plain " + shape, url, process})
	}
	return t, nil
}

// addTicketTypes creates ticket types that do not sell out, and returns their ids.
func (t *testbed) addTicketTypes(ctx context.Context, n int) ([]uuid.UUID, error) {
	rows, err := t.db.Query(ctx, `
		INSERT INTO ticket_types (id, event_id, name, price_minor, currency, capacity)
		SELECT gen_random_uuid(), $1, gen_random_uuid()::text, 4950, 'USD', 100000000
		FROM generate_series(1, $2::integer)
		RETURNING id`, t.event, n)
	if err != nil {
		return nil, fmt.Errorf("add ticket types: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("add ticket types: %w", err)
	}
	return ids, nil
}

// authenticate sets the header of the requests, and renews the service token in it every 20 s until ctx is done. A
// token expires after one minute.
func (t *testbed) authenticate(ctx context.Context) error {
	renew := func() error {
		token, err := identity.SignServiceToken(t.ServiceSecret(), "payment-service")
		if err != nil {
			return fmt.Errorf("sign a service token: %w", err)
		}
		t.header.Store(&http.Header{
			"Content-Type": {"application/json"}, "Dapr-Api-Token": {t.APIToken()},
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
				_ = renew() // the same call succeeded before
			}
		}
	}()
	return nil
}

// reservations generates requests to a contender. Each reserves one ticket of a random one of the types.
func (t *testbed) reservations(of contender, types []uuid.UUID) vegeta.Targeter {
	url := of.url + "/api/tickets/internal/reserve"
	return func(target *vegeta.Target) error {
		body := make([]byte, 0, 320)
		body = append(body, `{"userId":"`...)
		body = append(body, uuid.NewString()...)
		body = append(body, `","eventId":"`...)
		body = append(body, t.event.String()...)
		body = append(body, `","reservationId":"`...)
		body = append(body, uuid.Must(uuid.NewV7()).String()...) // version 7, as payment-service uses
		body = append(body, `","reservationDurationMinutes":15,"ticketRequests":[{"ticketTypeId":"`...)
		body = append(body, types[rand.IntN(len(types))].String()...) //nolint:gosec // not a secret
		body = append(body, `","quantity":1}]}`...)
		target.Method, target.URL, target.Body, target.Header = http.MethodPost, url, body, *t.header.Load()
		return nil
	}
}

// reserving is the outcome of a load of reservations.
type reserving struct {
	outcome
	cpu map[string]time.Duration // CPU time per reservation, by one of cpuUsers
}

// cpuUsers are the processes whose CPU time is measured.
var cpuUsers = []string{"service", "database", "load generator"}

// measure sends a load of reservations for n new ticket types to a contender. A short load before it opens connections
// and fills caches.
func (t *testbed) measure(ctx context.Context, of contender, n int, l load) (reserving, error) {
	// Every load starts with empty tables, and with nothing left for the database to write.
	for _, sql := range []string{"TRUNCATE reservations CASCADE", "CHECKPOINT"} {
		if _, err := t.db.Exec(ctx, sql); err != nil {
			return reserving{}, fmt.Errorf("delete the reservations: %w", err)
		}
	}
	types, err := t.addTicketTypes(ctx, n)
	if err != nil {
		return reserving{}, err
	}
	warmUp := l
	warmUp.during = min(l.during/5, 2*time.Second)
	if _, err := attack(ctx, warmUp, t.reservations(of, types)); err != nil {
		return reserving{}, err
	}
	cpuTimes := func() map[string]time.Duration {
		return map[string]time.Duration{
			cpuUsers[0]: usageOf(of.process.PID(), false).cpu,
			cpuUsers[1]: usageOf(t.Server("postgres").PID(), true).cpu,
			cpuUsers[2]: usageOf(os.Getpid(), false).cpu,
		}
	}
	cpu := cpuTimes()
	o, err := attack(ctx, l, t.reservations(of, types))
	if err != nil {
		return reserving{}, err
	}
	for user, after := range cpuTimes() {
		cpu[user] = (after - cpu[user]) / time.Duration(max(o.answers[http.StatusOK], 1))
	}
	if err := o.expect(http.StatusOK, http.StatusTooManyRequests, http.StatusServiceUnavailable); err != nil {
		return reserving{}, fmt.Errorf("%s: %w", of.name, err)
	}
	return reserving{o, cpu}, nil
}

// profile writes a CPU profile of ticket-service to a file of out. A failure is only printed, because it does not
// affect the figures.
func (t *testbed) profile(ctx context.Context, during time.Duration, out, name string) {
	path := filepath.Join(out, name)
	url := fmt.Sprintf("%s?seconds=%d", t.profiles, int(during.Seconds()))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
		progress("  write the CPU profile failed: %v", err)
		return
	}
	progress("  CPU profile written: go tool pprof -top %s", path)
}

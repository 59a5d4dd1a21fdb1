// Package hostile sends invalid requests to a running system. It derives them from the services' OpenAPI documents:
// wrong types, missing and unknown fields, texts that are too long or not UTF-8, invalid ids, amounts out of range,
// bodies that are too large or too deeply nested, and missing or forged credentials. The services must reject every
// request with a status of 4xx, and no request may add or remove a row of a database.
//
// The requests go to the apps directly, as from their sidecars. Through the sidecars, the circuit breakers would open
// and reject the requests before an app receives them.
package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// minAttacks is the minimum number of requests of a run.
const minAttacks = 2000

// concurrency is the number of concurrent requests.
const concurrency = 8

// ignoredTables has the tables whose rows rejected requests may add: the counters of failed logins.
var ignoredTables = map[string]bool{"login_failures": true}

// Run attacks every operation of every service, and compares the numbers of rows before and after. The system must be
// idle otherwise. The same seed creates the same requests, except for random ids.
func Run(t *testing.T, system *stack.Stack, seed uint64) {
	t.Helper()
	t.Logf("hostile requests with seed %d", seed)
	r := run{T: t, system: system}
	ids := r.prepare()
	before := r.settledRows()

	var attacks []attack
	for _, service := range contracttest.Services() {
		operations, d, err := operations(service)
		require.NoError(t, err)
		g := &generator{random: rand.New(rand.NewPCG(seed, 0)), ids: ids, d: d} //nolint:gosec // repeatable, and not secret
		for _, op := range operations {
			attacks = append(attacks, g.attacks(op)...)
		}
	}
	require.GreaterOrEqual(t, len(attacks), minAttacks)

	apps := contracttest.Apps{}
	for _, app := range system.Apps() {
		apps[strings.TrimPrefix(app.URL(), "http://")] = app.ID
	}
	r.client = contracttest.Client(t, apps)
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var g errgroup.Group
	g.SetLimit(concurrency)
	for _, a := range attacks {
		g.Go(func() error {
			r.send(a)
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, before, r.settledRows(), "rejected requests changed the number of rows")
	t.Logf("%d hostile requests sent", len(attacks))
}

type run struct {
	*testing.T
	system *stack.Stack
	token  string
	client *http.Client
}

// prepare creates an event, an order, tickets and users for the attacks. It returns their ids by the documents' names.
func (r *run) prepare() map[string]string {
	ctx := r.Context()
	client := demo.Client{Sidecar: r.system.App("auth-service").SidecarURL(), HTTP: contracttest.Client(r, nil)}
	owner, err := client.Join(ctx, "Olga", "Owner", true)
	require.NoError(r, err)
	friend, err := client.Join(ctx, "Fred", "Friend", false)
	require.NoError(r, err)
	event, err := client.Draft(ctx, owner, "Attacked")
	require.NoError(r, err)
	ticketType, err := client.AddTicketType(ctx, owner, event.EventID, "Seat", "50.00", 100)
	require.NoError(r, err)
	_, err = client.Publish(ctx, owner, event.EventID)
	require.NoError(r, err)
	order, err := client.Buy(ctx, owner, demo.Purchase{
		Event: event.EventID, TicketType: ticketType.TicketTypeID, Quantity: 2, Card: demo.GoodCard, Key: uuid.NewString(),
	})
	require.NoError(r, err)
	tickets, err := demo.Await(ctx, func() ([]demo.Ticket, error) { return client.Tickets(ctx, owner) },
		func(got []demo.Ticket) bool { return len(got) == 2 })
	require.NoError(r, err)
	r.token = string(owner.Token)
	return map[string]string{
		"eventId": event.EventID.String(), "ticketTypeId": ticketType.TicketTypeID.String(),
		"orderId":  order.OrderID.String(),
		"ticketId": tickets[0].TicketID.String(), "userId": owner.UserID.String(), "toUserId": friend.UserID.String(),
	}
}

// send sends one attack and reports an error unless the service rejects it in the documented form.
func (r *run) send(a attack) {
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, a.method, r.system.App(a.service).URL()+a.url, bytes.NewReader(a.body))
	if err != nil {
		r.Errorf("%s, %s: %v", a.operation, a.name, err)
		return
	}
	if !a.anon {
		if err := r.authorize(req, a.operation); err != nil {
			r.Errorf("%s, %s: %v", a.operation, a.name, err)
			return
		}
	}
	for name, value := range a.header {
		req.Header.Set(name, value)
	}
	res, err := r.client.Do(req)
	if err != nil {
		// A server may close the connection if it answers before it has read a large request.
		if len(a.body) < megabyte {
			r.Errorf("%s, %s: no answer: %v", a.operation, a.name, err)
		}
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode < http.StatusBadRequest || res.StatusCode >= http.StatusInternalServerError {
		r.Errorf("%s, %s: not rejected: %d %.300s (%v)\nrequest: %s %.500s",
			a.operation, a.name, res.StatusCode, body, err, a.url, a.body)
		return
	}
	var form struct{ Error, Message string }
	if err := json.Unmarshal(body, &form); err != nil || form.Error == "" || form.Message == "" {
		r.Errorf("%s, %s: the body of status %d is not an error of the documents: %.300s",
			a.operation, a.name, res.StatusCode, body)
	}
}

// authorize adds the credentials that the operation requires.
func (r *run) authorize(req *http.Request, op operation) error {
	if op.security == "service" || op.security == "sidecar" {
		req.Header.Set("dapr-api-token", r.system.APIToken())
	}
	switch op.security {
	case "user":
		req.Header.Set("Authorization", "Bearer "+r.token)
	case "service":
		token, err := identity.SignServiceToken(r.system.ServiceSecret(), op.caller)
		if err != nil {
			return err
		}
		req.Header.Set("X-Service-Token", token)
		req.Header.Set("X-Service-Name", op.caller)
	}
	return nil
}

// settledRows returns the number of rows of every table of every service, after no number has changed for 3 s.
func (r *run) settledRows() map[string]int64 {
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	last, changed := r.rows(ctx), time.Now()
	rows, err := demo.Await(ctx, func() (map[string]int64, error) { return r.rows(ctx), nil },
		func(now map[string]int64) bool {
			for table, n := range now {
				if last[table] != n {
					last, changed = now, time.Now()
				}
			}
			return time.Since(changed) > 3*time.Second
		})
	require.NoError(r, err)
	return rows
}

// rows returns the number of rows of every table of every service.
func (r *run) rows(ctx context.Context) map[string]int64 {
	counts := map[string]int64{}
	for _, service := range contracttest.Services()[:6] { // the adapters have no database
		conn, err := pgx.Connect(ctx, r.system.DatabaseURL(service))
		require.NoError(r, err)
		rows, err := conn.Query(ctx, `SELECT table_schema || '.' || table_name, table_name FROM information_schema.tables
			WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'`)
		require.NoError(r, err)
		tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Qualified, Name string }])
		require.NoError(r, err)
		for _, table := range tables {
			if ignoredTables[table.Name] {
				continue
			}
			var n int64
			require.NoError(r, conn.QueryRow(ctx, `SELECT count(*) FROM `+table.Qualified).Scan(&n))
			counts[service+" "+table.Name] = n
		}
		require.NoError(r, conn.Close(ctx))
	}
	return counts
}

package discovery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// health is an app's answer at its three health endpoints.
type health struct {
	Status     string
	Timestamp  time.Time
	Components map[string]string

	ready, live string
	took        time.Duration // the longest of the three answers
}

// ask queries the health endpoints of an app directly, without its sidecar.
func ask(ctx context.Context, a *stack.App) (h health, err error) {
	for path, read := range map[string]func(status int, body []byte) error{
		"": func(status int, body []byte) error {
			err := json.Unmarshal(body, &h)
			if up := h.Status == "UP"; err == nil && (status == http.StatusOK) != up {
				err = fmt.Errorf("%s with status %d", h.Status, status)
			}
			return err
		},
		"/ready": func(_ int, body []byte) error { h.ready = string(body); return nil },
		"/live":  func(_ int, body []byte) error { h.live = string(body); return nil },
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL()+"/actuator/health"+path, nil)
		if err != nil {
			return h, err
		}
		start := time.Now()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return h, err
		}
		h.took = max(h.took, time.Since(start))
		body, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return h, err
		}
		if err := read(res.StatusCode, body); err != nil {
			return h, fmt.Errorf("%s of %s: %w", path, a.Name, err)
		}
	}
	return h, nil
}

// components has the component that each app depends on.
var components = map[string]string{
	"auth-service": "database", "event-service": "database", "ticket-service": "database", "payment-service": "database",
	"notification-service": "database", "analytics-service": "database",
	"payment-gateway": "", "email-service": "statestore",
}

// requireHealth compares the answers of an app with those it should give.
func requireHealth(t *testing.T, a *stack.App, h health, healthy bool) {
	t.Helper()
	component := components[a.ID]
	state, status, ready := "UP", "UP", "READY"
	if !healthy && component != "" {
		state, ready = "DOWN", "NOT_READY"
		status = map[string]string{"database": "DOWN", "statestore": "DEGRADED"}[component]
	}
	want := map[string]string{}
	if component != "" {
		want[component] = state
	}
	require.Equal(t, status, h.Status, a.Name)
	require.Equal(t, want, h.Components, a.Name)
	require.Equal(t, ready, h.ready, a.Name)
	require.Equal(t, "ALIVE", h.live, a.Name)
	require.WithinDuration(t, time.Now(), h.Timestamp, time.Minute, a.Name)
}

// An app without its database or state store receives neither requests nor events. Afterwards it receives the events
// that it missed.
func TestReadinessGatesTraffic(t *testing.T) {
	s := newShop(t)
	analytics, email := system.App("analytics-service"), system.App("email-service")
	_, err := demo.Await(t.Context(),
		func() (demo.Sales, error) { return s.Sales(t.Context(), s.organizer, s.event.EventID) },
		func(demo.Sales) bool { return true })
	require.NoError(t, err, "analytics-service did not receive the event's creation")

	content, err := os.ReadFile(filepath.Join(system.DataDir(), "secrets.json"))
	require.NoError(t, err)
	var secrets map[string]string
	require.NoError(t, json.Unmarshal(content, &secrets))
	unlockStates := lock(t, secrets["statestore-connection-string"])
	unlockDatabase := lock(t, system.DatabaseURL("analytics-service"))
	for _, a := range []*stack.App{email, analytics} {
		h, err := demo.Await(t.Context(), func() (health, error) { return ask(t.Context(), a) },
			func(h health) bool { return h.Status != "UP" && h.ready != "READY" })
		require.NoError(t, err)
		requireHealth(t, a, h, false)
		_, err = demo.Await(t.Context(), func() (error, error) {
			return s.Do(t.Context(), demo.Request{Method: http.MethodGet, App: a.ID, Path: "/docs"}, nil), nil
		}, func(refused error) bool {
			return refused != nil && strings.Contains(refused.Error(), "app is not in a healthy state")
		})
		require.NoError(t, err, "the sidecar still lets requests through")
	}
	unlockStates()

	before, err := served(t.Context(), analytics, "/events")
	require.NoError(t, err)
	order, err := s.Buy(t.Context(), s.buyer, s.purchase())
	require.NoError(t, err)
	require.Equal(t, "COMPLETED", order.PaymentStatus, "a purchase needs analytics-service")
	_, err = demo.Await(t.Context(), func() ([]demo.Ticket, error) { return s.Tickets(t.Context(), s.buyer) },
		func(tickets []demo.Ticket) bool { return len(tickets) == 1 })
	require.NoError(t, err, "other services receive no events")
	after, err := served(t.Context(), analytics, "/events")
	require.NoError(t, err)
	require.Equal(t, before, after, "an app that is not ready received events")

	unlockDatabase()
	require.NoError(t, system.WaitHealthy(t.Context()))
	for _, a := range []*stack.App{email, analytics} {
		h, err := ask(t.Context(), a)
		require.NoError(t, err)
		requireHealth(t, a, h, true)
	}
	// All processes are up again, but a queue may hide for half a minute what it delivered to a sidecar that had hung up.
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	_, err = demo.Await(ctx, func() (demo.Sales, error) { return s.Sales(ctx, s.organizer, s.event.EventID) },
		func(s demo.Sales) bool { return s.OrdersCompleted == 1 && s.TicketsGenerated == 1 })
	require.NoError(t, err)
}

// lock closes all connections to a database and refuses new ones until unlock is called.
func lock(t *testing.T, url string) (unlock func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	owner, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	limit := func(connections int) error {
		_, err := owner.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d",
			pgx.Identifier{owner.Config().Database}.Sanitize(), connections))
		return err
	}
	require.NoError(t, limit(0))
	_, err = owner.Exec(ctx, `
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	require.NoError(t, err)
	unlock = func() {
		t.Helper()
		require.NoError(t, limit(-1))
	}
	t.Cleanup(func() { _ = errors.Join(limit(-1), owner.Close(ctx)) }) // in case the test fails in between
	return unlock
}

// A frozen server accepts connections and does not answer, which is worse than a stopped one.
func TestHealthWhileEverythingIsFrozen(t *testing.T) {
	var frozen []*stack.Process
	for _, a := range system.Apps() {
		h, err := ask(t.Context(), a)
		require.NoError(t, err)
		requireHealth(t, a, h, true)
		frozen = append(frozen, a.Sidecar)
	}
	for _, server := range []string{"fauxqs", "maildev", "stripe-simulator"} {
		frozen = append(frozen, system.Server(server))
	}
	thaw := func() error {
		var failures []error
		for _, p := range frozen {
			failures = append(failures, p.Resume())
		}
		return errors.Join(append(failures, postgres(syscall.SIGCONT))...)
	}
	t.Cleanup(func() { _ = thaw() }) // in case the test fails in between
	require.NoError(t, postgres(syscall.SIGSTOP))
	for _, p := range frozen {
		require.NoError(t, p.Pause())
	}

	answers := make([]health, len(system.Apps()))
	var askers errgroup.Group
	for i, a := range system.Apps() {
		askers.Go(func() (err error) {
			answers[i], err = ask(t.Context(), a)
			return err
		})
	}
	require.NoError(t, askers.Wait())
	for i, a := range system.Apps() {
		requireHealth(t, a, answers[i], false)
		require.Less(t, answers[i].took, 2*time.Second, "%s: a sidecar's health check times out after that", a.Name)
	}

	require.NoError(t, thaw())
	require.NoError(t, system.WaitHealthy(t.Context()))
}

// postgres signals PostgreSQL and its child processes, which serve the connections and would otherwise keep running.
func postgres(signal syscall.Signal) error {
	server := system.Server("postgres")
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", server.PID()))
	if err != nil {
		return fmt.Errorf("find the processes of PostgreSQL: %w", err)
	}
	failures := []error{server.Signal(signal)}
	for child := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(child)
		if err == nil {
			err = syscall.Kill(pid, signal)
		}
		if !errors.Is(err, syscall.ESRCH) { // a child that has already ended is no failure
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

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

// health is what an app says of itself.
type health struct {
	Status     string
	Timestamp  time.Time
	Components map[string]string

	ready, live string
	took        time.Duration // to the answer that took longest
}

// ask asks an app, not its sidecar, at all three endpoints.
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
		began := time.Now()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return h, err
		}
		h.took = max(h.took, time.Since(began))
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

// components are what each app can do nothing without.
var components = map[string]string{
	"auth-service": "database", "event-service": "database", "ticket-service": "database", "payment-service": "database",
	"notification-service": "database", "analytics-service": "database", "payment-gateway": "", "email-service": "statestore",
}

// requireHealth holds what the app said to what it should have.
func requireHealth(t *testing.T, a *stack.App, h health, well bool) {
	t.Helper()
	component := components[a.ID]
	state, status, ready := "UP", "UP", "READY"
	if !well && component != "" {
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

// What lacks its database, or its state store, gets neither calls nor events, and then all that it missed.
func TestReadinessGatesTraffic(t *testing.T) {
	s := newShop(t)
	analytics, email := system.App("analytics-service"), system.App("email-service")
	_, err := demo.Await(t.Context(), func() (demo.Sales, error) { return s.Sales(t.Context(), s.organizer, s.event.EventID) },
		func(demo.Sales) bool { return true })
	require.NoError(t, err, "it has heard of the event")

	content, err := os.ReadFile(filepath.Join(system.DataDir(), "secrets.json"))
	require.NoError(t, err)
	var secrets map[string]string
	require.NoError(t, json.Unmarshal(content, &secrets))
	openStates := lock(t, secrets["statestore-connection-string"])
	openDatabase := lock(t, system.DatabaseURL("analytics-service"))
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
		require.NoError(t, err, "its sidecar lets no call through")
	}
	openStates()

	heard, err := served(t.Context(), analytics, "/events/")
	require.NoError(t, err)
	order, err := s.Buy(t.Context(), s.buyer, s.purchase())
	require.NoError(t, err)
	require.Equal(t, "COMPLETED", order.PaymentStatus, "others go on")
	_, err = demo.Await(t.Context(), func() ([]demo.Ticket, error) { return s.Tickets(t.Context(), s.buyer) },
		func(tickets []demo.Ticket) bool { return len(tickets) == 1 })
	require.NoError(t, err, "others hear of it")
	now, err := served(t.Context(), analytics, "/events/")
	require.NoError(t, err)
	require.Equal(t, heard, now, "but not what is not ready")

	openDatabase()
	require.NoError(t, system.WaitHealthy(t.Context()))
	for _, a := range []*stack.App{email, analytics} {
		h, err := ask(t.Context(), a)
		require.NoError(t, err)
		requireHealth(t, a, h, true)
	}
	t.Parallel() // nothing is broken any more, and a queue may hide for half a minute what it gave to a sidecar that had hung up
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	_, err = demo.Await(ctx, func() (demo.Sales, error) { return s.Sales(ctx, s.organizer, s.event.EventID) },
		func(s demo.Sales) bool { return s.OrdersCompleted == 1 && s.TicketsGenerated == 1 })
	require.NoError(t, err)
}

// lock has a database lose its connections and take no new ones, until it is opened again.
func lock(t *testing.T, url string) (open func()) {
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
	_, err = owner.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	require.NoError(t, err)
	open = func() {
		t.Helper()
		require.NoError(t, limit(-1))
	}
	t.Cleanup(func() { _ = errors.Join(limit(-1), owner.Close(ctx)) }) // should we fail before
	return open
}

// Frozen servers take connections and answer nothing, which is worse than being gone.
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
	t.Cleanup(func() { _ = thaw() }) // should we fail before
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
		require.Less(t, answers[i].took, 2*time.Second, "%s: no sidecar waits longer", a.Name)
	}

	require.NoError(t, thaw())
	require.NoError(t, system.WaitHealthy(t.Context()))
}

// postgres signals PostgreSQL, and its processes that serve connections, which go on without it.
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
		if !errors.Is(err, syscall.ESRCH) { // it may have ended by itself
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

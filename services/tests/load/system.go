package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// setup is how a system differs from the shipped one.
type setup struct {
	// raiseLimits raises the limits on what one caller may use. Otherwise they would be what is measured.
	raiseLimits bool
	// env are additional environment variables of an app, by app-id.
	env map[string]map[string]string
	// proxied routes calls between services through one plain proxy. The sidecars keep their other functions.
	proxied bool
	// mails, if set, receives the mails instead of the mail sink.
	mails *mailbox
}

// system is a whole stack that belongs to one measurement.
type system struct {
	*stack.Stack
	raised  []string // the raised limits
	dir     string
	proxy   int // port of the proxy that replaces the sidecars, 0 if there is none
	closing []func()
}

// start starts a system. The caller must stop it, even after an error.
func (b *bench) start(ctx context.Context, set setup) (*system, error) {
	began := time.Now()
	s := &system{}
	cfg, err := stack.Throwaway(b.root)
	if err != nil {
		return s, err
	}
	s.dir = cfg.DataDir
	if set.proxied {
		if s.proxy, err = freePort(ctx); err != nil {
			return s, err
		}
	}
	cfg.Overlay = func(path string, content []byte) ([]byte, error) { return s.overlay(set, path, content) }
	if set.mails != nil {
		cfg.SMTP = stack.SMTP{
			Host: "127.0.0.1", Port: strconv.Itoa(set.mails.port), TLS: "none",
			From: "Event Booking <tickets@eventbooking.local>",
		}
	}
	if s.Stack, err = stack.Start(ctx, cfg); err != nil {
		return s, err
	}
	if set.proxied {
		var apps []string
		for _, app := range s.Apps() {
			apps = append(apps, app.ID+":"+portOf(app))
		}
		_, _, err := s.companion(ctx, "proxy", b.program("proxy"), s.proxy, "PROXY_APPS="+strings.Join(apps, ","))
		if err != nil {
			return s, err
		}
	}
	progress("system started after %s", time.Since(began).Round(100*time.Millisecond))
	return s, nil
}

// portOf returns the port that an app itself listens on.
func portOf(app *stack.App) string { return app.URL()[strings.LastIndexByte(app.URL(), ':')+1:] }

// stop stops the system and removes its files. It returns the failure of the measurement joined with its own errors.
// After a failure other than an interrupt, the logs stay.
func (s *system) stop(ctx context.Context, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for i := len(s.closing) - 1; i >= 0; i-- {
		s.closing[i]()
	}
	err := errors.Join(failure, s.Stop(ctx))
	if s.dir == "" { // the system was not started
		return err
	}
	remove := []string{"."}
	if failure != nil && !errors.Is(failure, context.Canceled) {
		remove = []string{"postgres", "fauxqs", "mail", "stripe", "secrets.json"}
		err = fmt.Errorf("%w (the logs are in %s)", err, filepath.Join(s.dir, "logs"))
	}
	for _, name := range remove {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, name)))
	}
	return err
}

// database opens a service's database. It is closed when the system stops.
func (s *system) database(ctx context.Context, service string) (*pgxpool.Pool, error) {
	pool, err := pgxpool.New(ctx, s.DatabaseURL(service))
	if err != nil {
		return nil, fmt.Errorf("open the database of %s: %w", service, err)
	}
	s.closing = append(s.closing, pool.Close)
	return pool, nil
}

// superuser connects to a service's database as PostgreSQL's superuser.
func (s *system) superuser(ctx context.Context, service string) (*pgx.Conn, error) {
	var secrets map[string]string
	content, err := os.ReadFile(filepath.Join(s.DataDir(), "secrets.json"))
	if err == nil {
		err = json.Unmarshal(content, &secrets)
	}
	if err != nil {
		return nil, fmt.Errorf("read the secrets: %w", err)
	}
	config, err := pgx.ParseConfig(s.DatabaseURL(service))
	if err != nil {
		return nil, fmt.Errorf("connect to the database of %s: %w", service, err)
	}
	config.User, config.Password = "postgres", secrets["postgres-superuser-password"]
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database of %s: %w", service, err)
	}
	s.closing = append(s.closing, func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	return conn, nil
}

// durability returns the database settings that affect the speed and durability of commits.
func durability(ctx context.Context, db *pgx.Conn) (string, error) {
	rows, err := db.Query(ctx, `
		SELECT name || ' ' || current_setting(name) FROM unnest(ARRAY[
			'server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'shared_buffers',
			'max_wal_size']) AS name`)
	if err != nil {
		return "", fmt.Errorf("read the settings of the database: %w", err)
	}
	settings, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", fmt.Errorf("read the settings of the database: %w", err)
	}
	return "PostgreSQL: " + strings.Join(settings, ", "), nil
}

// companion starts one of our programs beside the system, on the given port, waits until it is ready, and returns its
// URL. It ends when the system stops.
func (s *system) companion(
	ctx context.Context, name, program string, port int, env ...string,
) (string, *stack.Process, error) {
	// The shared configuration of services requires the ports of a sidecar. A companion has none and does not use them.
	env = append([]string{"APP_PORT=" + strconv.Itoa(port), "DAPR_HTTP_PORT=1", "DAPR_GRPC_PORT=1"}, env...)
	p := s.Companion(name, env, program)
	if err := p.Start(); err != nil {
		return "", nil, err
	}
	s.closing = append(s.closing, func() { _ = p.Kill() }) //nolint:contextcheck // Kill takes no context
	url := "http://127.0.0.1:" + strconv.Itoa(port)
	_, err := demo.Await(ctx, func() (int, error) { return get(ctx, url+"/actuator/health/ready") },
		func(status int) bool { return status == http.StatusOK })
	if err != nil {
		return "", nil, fmt.Errorf("%s is not ready (log: %s): %w", name, p.Log, err)
	}
	return url, p, nil
}

func get(ctx context.Context, url string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

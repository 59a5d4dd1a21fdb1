package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
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

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.yaml.in/yaml/v3"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// setup is how a system differs from what is shipped.
type setup struct {
	// loosen raises the limits that keep one caller from taking all: they would be what is measured.
	loosen bool
	// env are further variables of an app, by its id.
	env map[string]map[string]string
	// proxied has calls between services go by one plain proxy, and not by sidecars. What else they do stays with them.
	proxied bool
	// mails, where set, gets the mails instead of the sink.
	mails *mailbox
}

// system is a whole stack of its own.
type system struct {
	*stack.Stack
	loosened []string // what was raised
	dir      string
	proxy    int // the port of what is in the place of the sidecars, 0 if nothing is
	closing  []func()
}

// start starts a system. It must be stopped, also after a failure.
func (b *bench) start(ctx context.Context, s setup) (*system, error) {
	began := time.Now()
	sys := &system{}
	cfg, err := stack.Throwaway(b.root)
	if err != nil {
		return sys, err
	}
	sys.dir = cfg.DataDir
	if s.proxied {
		if sys.proxy, err = freePort(ctx); err != nil {
			return sys, err
		}
	}
	cfg.Overlay = func(path string, content []byte) ([]byte, error) { return sys.overlay(s, path, content) }
	if s.mails != nil {
		cfg.SMTP = stack.SMTP{Host: "127.0.0.1", Port: strconv.Itoa(s.mails.port), TLS: "none", From: "Event Booking <tickets@eventbooking.local>"}
	}
	if sys.Stack, err = stack.Start(ctx, cfg); err != nil {
		return sys, err
	}
	if s.proxied {
		var apps []string
		for _, app := range sys.Apps() {
			apps = append(apps, app.ID+":"+portOf(app))
		}
		if _, _, err := sys.companion(ctx, "proxy", b.program("proxy"), sys.proxy, "PROXY_APPS="+strings.Join(apps, ",")); err != nil {
			return sys, err
		}
	}
	say("a system is up after %s", time.Since(began).Round(100*time.Millisecond))
	return sys, nil
}

// portOf is the port of an app's own address.
func portOf(app *stack.App) string { return app.URL()[strings.LastIndexByte(app.URL(), ':')+1:] }

// stop ends the system and removes what it wrote, but for its logs if there was a failure, which it gives with its own.
func (s *system) stop(ctx context.Context, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for i := len(s.closing) - 1; i >= 0; i-- {
		s.closing[i]()
	}
	err := errors.Join(failure, s.Stop(ctx))
	if s.dir == "" { // it never began
		return err
	}
	remove := []string{"."}
	if failure != nil && !errors.Is(failure, context.Canceled) {
		remove = []string{"postgres", "fauxqs", "mail", "stripe", "secrets.json"}
		err = fmt.Errorf("%w (logs are left in %s)", err, filepath.Join(s.dir, "logs"))
	}
	for _, name := range remove {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, name)))
	}
	return err
}

// without is a limit that nobody reaches.
const without = 100_000

// overlay changes the files that a system is made from.
func (s *system) overlay(set setup, path string, content []byte) ([]byte, error) {
	limiter := strings.HasPrefix(filepath.Base(path), "rate-limit-")
	if path != "dapr.yaml" && (!limiter || !set.loosen) {
		return content, nil
	}
	var doc map[string]any
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, err
	}
	raise := func(what string, at map[string]any, key string, to any) {
		before := at[key]
		if before == nil {
			before = "what it is by itself"
		}
		s.loosened = append(s.loosened, fmt.Sprintf("%s: %s %v instead of %v", what, key, to, before))
		at[key] = to
	}
	if limiter {
		for _, m := range doc["spec"].(map[string]any)["metadata"].([]any) {
			raise(strings.TrimSuffix(filepath.Base(path), ".yaml"), m.(map[string]any), "value", strconv.Itoa(without))
		}
	} else {
		for _, a := range doc["apps"].([]any) {
			app := a.(map[string]any)
			id := app["appID"].(string)
			if set.loosen && app["appMaxConcurrency"] != nil {
				raise(id, app, "appMaxConcurrency", without)
			}
			env, _ := app["env"].(map[string]any)
			if env == nil {
				env = map[string]any{}
			}
			for name, value := range set.env[id] {
				env[name] = value
			}
			if set.loosen && id == "payment-service" {
				raise(id, env, "CHARGES_PER_SECOND", strconv.Itoa(without))
			}
			if s.proxy != 0 {
				env["DAPR_HTTP_PORT"] = strconv.Itoa(s.proxy)
			}
			app["env"] = env
		}
	}
	return yaml.Marshal(doc)
}

// database opens a service's database.
func (s *system) database(ctx context.Context, service string) (*pgxpool.Pool, error) {
	pool, err := pgxpool.New(ctx, s.DatabaseURL(service))
	if err != nil {
		return nil, fmt.Errorf("open the database of %s: %w", service, err)
	}
	s.closing = append(s.closing, pool.Close)
	return pool, nil
}

// superuser connects to a service's database as whoever may do anything there.
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

// durability says of a database how it keeps what is committed.
func durability(ctx context.Context, db *pgx.Conn) (string, error) {
	rows, err := db.Query(ctx, `
		SELECT name || ' ' || current_setting(name) FROM unnest(ARRAY[
			'server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'shared_buffers', 'max_wal_size']) AS name`)
	if err != nil {
		return "", fmt.Errorf("ask the database for its settings: %w", err)
	}
	settings, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", fmt.Errorf("ask the database for its settings: %w", err)
	}
	return "PostgreSQL: " + strings.Join(settings, ", "), nil
}

// companion starts a program of ours beside the system, on this port, and waits until it is ready. It gives its URL.
func (s *system) companion(ctx context.Context, name, program string, port int, env ...string) (string, *stack.Process, error) {
	// Each service wants to know of a sidecar, and these have none.
	env = append([]string{"APP_PORT=" + strconv.Itoa(port), "DAPR_HTTP_PORT=1", "DAPR_GRPC_PORT=1"}, env...)
	p := s.Companion(name, env, program)
	if err := p.Start(); err != nil {
		return "", nil, err
	}
	s.closing = append(s.closing, func() { _ = p.Kill() }) //nolint:contextcheck // it takes none
	url := "http://127.0.0.1:" + strconv.Itoa(port)
	_, err := demo.Await(ctx, func() (int, error) { return get(ctx, url+"/actuator/health/ready") }, func(status int) bool { return status == http.StatusOK })
	if err != nil {
		return "", nil, fmt.Errorf("%s does not come up (its log is %s): %w", name, p.Log, err)
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

// people lets so many people have accounts, and logs them in. Registering each would mean to hash a password for each,
// which takes its time for good reasons; so they share the hash of one, and their tokens are ours: signed with a key that
// auth-service publishes like its own, though it will never sign with it.
func (s *system) people(ctx context.Context, n int) ([]demo.Person, error) {
	first, err := demo.Client{Sidecar: s.App("auth-service").SidecarURL()}.Join(ctx, "Ben", "Ito", false)
	if err != nil {
		return nil, err
	}
	db, err := s.database(ctx, "auth-service")
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	kid := uuid.NewString()
	if _, err := db.Exec(ctx, `
		INSERT INTO signing_keys (kid, public_key, private_key, not_before) VALUES ($1, $2, '', now() + interval '10 years')`,
		kid, []byte(public)); err != nil {
		return nil, fmt.Errorf("publish a key: %w", err)
	}
	rows, err := db.Query(ctx, `
		INSERT INTO users (email, password_hash, first_name, last_name, roles, email_verified)
		SELECT left(md5($1::uuid::text || i), 12) || '-' || i || '@example.com', password_hash, first_name, last_name, ARRAY['USER', 'ORGANIZER'], true
		FROM users, generate_series(1, $2::integer) AS i WHERE id = $1::uuid
		RETURNING id, email`, first.UserID, n)
	if err != nil {
		return nil, fmt.Errorf("register people: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (demo.Person, error) {
		p := demo.Person{FirstName: first.FirstName, LastName: first.LastName}
		return p, row.Scan(&p.UserID, &p.Email)
	})
	if err != nil {
		return nil, fmt.Errorf("register people: %w", err)
	}
	now := time.Now()
	for i := range all {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: all[i].UserID.String(),
				IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(24 * time.Hour)),
			},
			Name: all[i].FirstName + " " + all[i].LastName, Roles: []identity.Role{identity.RoleUser, identity.RoleOrganizer},
			Session: uuid.New(),
		})
		token.Header["kid"] = kid
		signed, err := token.SignedString(private)
		if err != nil {
			return nil, fmt.Errorf("sign a token: %w", err)
		}
		all[i].Token = demo.Token(signed)
	}
	return all, nil
}

// sale puts an event with one type of tickets on sale, whose organizer is one of the people.
func (s *system) sale(ctx context.Context, organizer demo.Person, capacity int) (demo.Event, demo.TicketType, error) {
	c := demo.Client{Sidecar: s.App("event-service").SidecarURL()}
	// The first use of a key makes each service ask for it, which it does every few seconds at most.
	event, err := demo.Await(ctx, func() (demo.Event, error) { return c.Draft(ctx, organizer, "Stadium Festival") },
		func(demo.Event) bool { return true })
	if err != nil {
		return event, demo.TicketType{}, err
	}
	floor, err := demo.Await(ctx, func() (demo.TicketType, error) {
		return c.AddTicketType(ctx, organizer, event.EventID, "Floor", "49.50", capacity)
	}, func(demo.TicketType) bool { return true })
	if err != nil {
		return event, floor, err
	}
	event, err = c.Publish(ctx, organizer, event.EventID)
	return event, floor, errors.Join(err, s.ready(ctx, organizer))
}

// ready has payment-service, which has not seen the key yet, ask for it.
func (s *system) ready(ctx context.Context, buyer demo.Person) error {
	c := demo.Client{Sidecar: s.App("payment-service").SidecarURL()}
	_, err := demo.Await(ctx, func() (any, error) {
		return nil, c.Do(ctx, demo.Request{Method: http.MethodGet, App: "payment-service", Path: "/api/payments/orders", Token: buyer.Token}, nil)
	}, func(any) bool { return true })
	return err
}

package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// server is a server that the components or the adapters connect to.
type server struct {
	*Process
	claims  []claim
	prepare func(ctx context.Context) error // called before the start; nil for nothing to prepare
	healthy func(ctx context.Context) error
}

// process returns a process of this stack, with its record in the data directory.
func (c *Config) process(name, path string, args ...string) *Process {
	return &Process{
		Name: name, path: path, args: args, dir: c.DataDir, stopSignal: syscall.SIGTERM, owned: c.owned,
		Log:    filepath.Join(c.DataDir, "logs", name+".log"),
		record: filepath.Join(c.DataDir, "run", name+".pid"),
	}
}

// servers returns the servers to start: all but those that are replaced by an external one.
func (c *Config) servers(t tools, s secrets, f *runFile) ([]*server, error) {
	var all []*server
	if c.PostgresURL == "" {
		postgres, err := c.postgres(t, s)
		if err != nil {
			return nil, err
		}
		all = append(all, postgres)
	}
	if c.AWSEndpoint == "" {
		p := c.process("fauxqs", t.node,
			filepath.Join(c.Root, "deploy/local/fauxqs.mjs"), t.packages, filepath.Join(c.DataDir, "fauxqs"))
		p.env = append(os.Environ(), "FAUXQS_PORT="+strconv.Itoa(c.AWSPort), "NODE_NO_WARNINGS=1")
		all = append(all, &server{
			Process: p,
			claims:  []claim{{"the SNS/SQS emulator", c.AWSPort, "SNSSQS_PORT"}},
			healthy: answers("http://" + loopback(c.AWSPort) + "/health"),
		})
	}
	if c.SMTP.Host == "" {
		keep := "1000"
		if c.owned {
			keep = "0" // no limit, for tests that count e-mails
		}
		all = append(all, &server{
			Process: c.process("maildev", t.node, filepath.Join(t.packages, "maildev/dist/bin/maildev.js"),
				"--ip", "127.0.0.1", "--smtp", strconv.Itoa(c.SMTPPort),
				"--web-ip", "127.0.0.1", "--web", strconv.Itoa(c.MailWebPort),
				"--mail-directory", filepath.Join(c.DataDir, "mail"), "--max-emails", keep),
			claims: []claim{
				{"the mail sink (SMTP)", c.SMTPPort, "SMTP_PORT"},
				{"the mail sink (web)", c.MailWebPort, "MAIL_WEB_PORT"},
			},
			healthy: answers("http://" + loopback(c.MailWebPort) + "/api/healthz"),
		})
	}
	if c.StripeAPIKey == "" {
		args := []string{"-addr", loopback(c.StripeSimulatorPort), "-data", filepath.Join(c.DataDir, "stripe")}
		for _, a := range f.Apps {
			if a.AppID == "payment-service" {
				args = append(args, "-webhook-url", "http://"+loopback(a.AppPort)+"/api/payments/webhooks/stripe")
			}
		}
		p := c.process("stripe-simulator", c.bin("stripe-simulator"), args...)
		p.env = append(os.Environ(), "STRIPE_WEBHOOK_SECRET="+s[secretStripeWebhook])
		all = append(all, &server{
			Process: p,
			claims:  []claim{{"the Stripe simulator", c.StripeSimulatorPort, "STRIPE_SIMULATOR_PORT"}},
			healthy: answers("http://" + loopback(c.StripeSimulatorPort) + "/healthz"),
		})
	}
	return all, nil
}

// pollInterval is the pause between two checks of a process that is starting.
const pollInterval = 100 * time.Millisecond

// serverDeadline is how long a server may take to start.
const serverDeadline = time.Minute

// startServers starts the servers that are not running, restarts those that do not answer, and creates the databases.
func (c *Config) startServers(ctx context.Context, servers []*server, s secrets) error {
	var claims []claim
	for _, srv := range servers {
		if !srv.Alive() {
			claims = append(claims, srv.claims...)
		}
	}
	if err := checkPorts(claims); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, srv := range servers {
		g.Go(func() error { return c.startServer(gctx, srv) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return c.ensureDatabases(ctx, s)
}

func (c *Config) startServer(ctx context.Context, srv *server) error {
	if srv.Alive() {
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if srv.healthy(short) == nil {
			return nil
		}
		c.report(srv.Name, "running but not answering: restarting it")
		if err := srv.Stop(ctx, 10*time.Second); err != nil {
			return err
		}
	}
	if srv.prepare != nil {
		if err := srv.prepare(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := srv.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, serverDeadline)
	defer cancel()
	for {
		err := srv.healthy(ctx)
		if err == nil {
			c.report(srv.Name, fmt.Sprintf("started after %s", time.Since(began).Round(100*time.Millisecond)))
			return nil
		}
		if !srv.Alive() {
			return fmt.Errorf("%s ended during its start; the last lines of %s:\n%s", srv.Name, srv.Log, srv.Tail())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not start: %w; the last lines of %s:\n%s", srv.Name, err, srv.Log, srv.Tail())
		case <-time.After(pollInterval):
		}
	}
}

var probe = &http.Client{Timeout: 3 * time.Second}

// answers returns a check that a GET of the URL is answered with 2xx.
func answers(url string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := probe.Do(req)
		if err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil {
			return err
		}
		if res.StatusCode/100 != 2 {
			return errors.New(res.Status)
		}
		return nil
	}
}

package stack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Stack is a running stack.
type Stack struct {
	cfg     Config
	secrets secrets
	apps    []*App
	servers []*server
	queues  []subscription
	run     *runFile
	node    string
}

// App is one of the eight apps with its sidecar.
type App struct {
	ID string
	// Name is the ID, or the ID with "-2" for a replica.
	Name string
	// Process and Sidecar are set only by Start, whose processes are children of the caller.
	Process, Sidecar *Process

	port, sidecarPort, metricsPort int
}

// open returns the stack of a configuration, without starting anything.
func open(cfg Config, s secrets, f *runFile) (*Stack, error) {
	st := &Stack{cfg: cfg, secrets: s, run: f}
	for _, a := range f.Apps {
		st.apps = append(st.apps, &App{
			ID: a.AppID, Name: a.name, port: a.AppPort, sidecarPort: a.DaprHTTPPort, metricsPort: a.MetricsPort,
		})
	}
	var err error
	st.queues, err = readSubscriptions(f.Common.ResourcesPaths)
	return st, err
}

// App returns the app with an id, for the first replica, or nil for an unknown id.
func (s *Stack) App(id string) *App {
	for _, a := range s.apps {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// Apps returns all apps in the order of dapr.yaml, and after them the replicas.
func (s *Stack) Apps() []*App { return s.apps }

// Server returns a server that Start has started: postgres, fauxqs, maildev or stripe-simulator. It returns nil for
// another name.
func (s *Stack) Server(name string) *Process {
	for _, srv := range s.servers {
		if srv.Name == name {
			return srv.Process
		}
	}
	return nil
}

// Companion returns a further process, such as another app or its sidecar, to run beside a stack that Start has
// started. It runs in the data directory, with the environment of the apps and env. The caller starts and stops it. It
// ends with this process at the latest.
func (s *Stack) Companion(name string, env []string, program string, args ...string) *Process {
	p := s.cfg.process(name, program, args...)
	p.env = append(s.cfg.processEnv(s.secrets, s.run), env...)
	return p
}

// Node returns the path of the Node.js with which Start has started servers.
func (s *Stack) Node() string { return s.node }

// DataDir returns the directory with the stack's logs and data.
func (s *Stack) DataDir() string { return s.cfg.DataDir }

// PortOffset returns the difference between the stack's ports and the standard ones.
func (s *Stack) PortOffset() int { return s.cfg.PortOffset }

// DatabaseURL returns the URL of a service's database, with the service's role.
func (s *Stack) DatabaseURL(appID string) string { return s.secrets[appID+"-database-url"] }

// ServiceSecret returns the key that signs the tokens of calls between services.
func (s *Stack) ServiceSecret() []byte { return []byte(s.secrets["service-auth-secret"]) }

// MailURL returns the URL of the mail sink's web page and REST API. It is empty with an external mail server.
func (s *Stack) MailURL() string {
	if s.cfg.SMTP.Host != "" {
		return ""
	}
	return "http://" + loopback(s.cfg.MailWebPort)
}

// StripeURL returns the URL of the Stripe simulator. It is empty with the real Stripe.
func (s *Stack) StripeURL() string {
	if s.cfg.StripeAPIKey != "" {
		return ""
	}
	return "http://" + loopback(s.cfg.StripeSimulatorPort)
}

// AWSEndpoint returns the URL of SNS and SQS.
func (s *Stack) AWSEndpoint() string { return s.cfg.awsEndpoint() }

// APIToken returns the token that a sidecar sends to its app (APP_API_TOKEN).
func (s *Stack) APIToken() string { return s.secrets[secretAppToken] }

// URL returns the address of the app itself.
func (a *App) URL() string { return "http://" + loopback(a.port) }

// SidecarURL returns the address of the Dapr API of the app's sidecar. A request with the header dapr-app-id is
// forwarded to the same path of that app.
func (a *App) SidecarURL() string { return "http://" + loopback(a.sidecarPort) }

// MetricsURL returns the URL of the sidecar's metrics.
func (a *App) MetricsURL() string { return "http://" + loopback(a.metricsPort) + "/metrics" }

// readyPath is the path of an app's readiness endpoint.
const readyPath = "/actuator/health/ready"

// pending returns what the stack is still waiting for before it is healthy.
func (s *Stack) pending(ctx context.Context) []string {
	answers := make([]string, len(s.apps)+1)
	var g errgroup.Group
	for i, a := range s.apps {
		g.Go(func() error {
			switch {
			case a.healthy(ctx, a.URL()+readyPath) != nil:
				answers[i] = a.Name
			case a.healthy(ctx, a.SidecarURL()+"/v1.0/healthz") != nil:
				answers[i] = "the sidecar of " + a.Name
			// A healthy sidecar refuses calls to its app until its next health check finds the app healthy too.
			case a.healthy(ctx, a.SidecarURL()+"/v1.0/invoke/"+a.ID+"/method"+readyPath) != nil:
				answers[i] = "the sidecar of " + a.Name + " to find its app healthy"
			}
			return nil
		})
	}
	g.Go(func() error {
		answers[len(s.apps)] = s.unsubscribed(ctx)
		return nil
	})
	_ = g.Wait() // no function returns an error
	return slices.DeleteFunc(answers, func(a string) bool { return a == "" })
}

func (a *App) healthy(ctx context.Context, url string) error { return answers(url)(ctx) }

// WaitHealthy waits until every app is ready, every sidecar is healthy and every queue is subscribed. Meanwhile it
// reports what it is waiting for. It returns an error when a process has ended, with the last lines of its log, or
// after 2 minutes.
func (s *Stack) WaitHealthy(ctx context.Context) error {
	return s.waitHealthy(ctx, func() error {
		for _, a := range s.apps {
			for _, p := range []*Process{a.Process, a.Sidecar} {
				if p != nil && !p.Alive() {
					return fmt.Errorf("%s ended; the last lines of %s:\n%s", p.Name, p.Log, p.Tail())
				}
			}
		}
		return nil
	})
}

// healthyDeadline is how long the apps may take to start.
const healthyDeadline = 2 * time.Minute

func (s *Stack) waitHealthy(ctx context.Context, failed func() error) error {
	ctx, cancel := context.WithTimeout(ctx, healthyDeadline)
	defer cancel()
	var reported string
	var reportedAt time.Time
	began := time.Now()
	for {
		pending := s.pending(ctx)
		if len(pending) == 0 {
			return nil
		}
		if err := failed(); err != nil {
			return err
		}
		now := strings.Join(pending, ", ")
		quiet := time.Since(reportedAt)
		if time.Since(began) > 3*time.Second && (quiet > heartbeat || (now != reported && quiet > 2*time.Second)) {
			reported, reportedAt = now, time.Now()
			s.cfg.report("apps", "waiting for "+now)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not healthy after %s: waiting for %s (logs in %s): %w",
				time.Since(began).Round(time.Second), now, s.cfg.DataDir, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

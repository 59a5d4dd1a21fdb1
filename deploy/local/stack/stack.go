package stack

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"
)

// Stack is a running system seen from outside.
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
	// Name is the ID, and for a replica the ID with "-2".
	Name string
	// Process and Sidecar are set in a stack made by Start, whose processes belong to the caller.
	Process, Sidecar *Process

	port, sidecarPort, metricsPort int
}

// subscription is a queue's subscription to a topic.
type subscription struct{ topic, queue string }

// open describes the stack of a configuration.
func open(cfg Config, s secrets, f *runFile) (*Stack, error) {
	st := &Stack{cfg: cfg, secrets: s, run: f}
	for _, a := range f.Apps {
		st.apps = append(st.apps, &App{ID: a.AppID, Name: a.name, port: a.AppPort, sidecarPort: a.DaprHTTPPort, metricsPort: a.MetricsPort})
	}
	var err error
	st.queues, err = readSubscriptions(f.Common.ResourcesPaths)
	return st, err
}

// App is the app of that id, the first of its replicas, or nil.
func (s *Stack) App(id string) *App {
	for _, a := range s.apps {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// Apps are all apps in the order of dapr.yaml, and then the replicas.
func (s *Stack) Apps() []*App { return s.apps }

// Server is a server of a stack made by Start: postgres, fauxqs, maildev or stripe-simulator. It is nil for another name.
func (s *Stack) Server(name string) *Process {
	for _, srv := range s.servers {
		if srv.Name == name {
			return srv.Process
		}
	}
	return nil
}

// Companion gives a further process for a stack made by Start, such as an app that joins it with its sidecar: in the data
// directory, with the apps' environment and env. It is the caller's to start and to stop; at the latest it ends with us.
func (s *Stack) Companion(name string, env []string, program string, args ...string) *Process {
	p := s.cfg.process(name, program, args...)
	p.env = append(s.cfg.processEnv(s.secrets, s.run), env...)
	return p
}

// Node is the Node.js that a stack made by Start runs its servers with.
func (s *Stack) Node() string { return s.node }

// Subscribed reports whether a queue gets what is published to a topic.
func (s *Stack) Subscribed(ctx context.Context, topic, queue string) (bool, error) {
	have, err := s.subscriptions(ctx)
	return have[subscription{topic, queue}], err
}

// DataDir holds the stack's logs and data.
func (s *Stack) DataDir() string { return s.cfg.DataDir }

// PortOffset is how far the stack's ports are from the usual ones.
func (s *Stack) PortOffset() int { return s.cfg.PortOffset }

// DatabaseURL is the URL of a service's own database with its own role.
func (s *Stack) DatabaseURL(appID string) string { return s.secrets[appID+"-database-url"] }

// ServiceSecret is the key of the tokens that services show each other.
func (s *Stack) ServiceSecret() []byte { return []byte(s.secrets["service-auth-secret"]) }

// MailURL is where the mail sink's web page and REST API are; empty with a person's own mail server.
func (s *Stack) MailURL() string {
	if s.cfg.SMTP.Host != "" {
		return ""
	}
	return "http://" + loopback(s.cfg.MailWebPort)
}

// StripeURL is where the Stripe simulator is; empty with the real Stripe.
func (s *Stack) StripeURL() string {
	if s.cfg.StripeAPIKey != "" {
		return ""
	}
	return "http://" + loopback(s.cfg.StripeSimulatorPort)
}

// AWSEndpoint is where SNS and SQS are.
func (s *Stack) AWSEndpoint() string { return s.cfg.awsEndpoint() }

// APIToken is what a sidecar shows its app (APP_API_TOKEN).
func (s *Stack) APIToken() string { return s.secrets[secretAppToken] }

// URL is the app's own address.
func (a *App) URL() string { return "http://" + loopback(a.port) }

// SidecarURL is the address of the Dapr API of the app's sidecar. A call with the header dapr-app-id, at the path of the
// app that it names, is a service invocation.
func (a *App) SidecarURL() string { return "http://" + loopback(a.sidecarPort) }

// MetricsURL is the page of the sidecar's metrics.
func (a *App) MetricsURL() string { return "http://" + loopback(a.metricsPort) + "/metrics" }

// readyPath is the contract's readiness endpoint.
const readyPath = "/actuator/health/ready"

// waiting is what still keeps the stack from being healthy, empty when it is.
func (s *Stack) waiting(ctx context.Context) []string {
	answers := make([]string, len(s.apps)+1)
	var g errgroup.Group
	for i, a := range s.apps {
		g.Go(func() error {
			switch {
			case a.healthy(ctx, a.URL()+readyPath) != nil:
				answers[i] = a.Name
			case a.healthy(ctx, a.SidecarURL()+"/v1.0/healthz") != nil:
				answers[i] = "the sidecar of " + a.Name
			// It lets nothing through until it has found that its app is well, which it looks for now and then.
			case a.healthy(ctx, a.SidecarURL()+"/v1.0/invoke/"+a.ID+"/method"+readyPath) != nil:
				answers[i] = "the sidecar of " + a.Name + " to trust its app"
			}
			return nil
		})
	}
	g.Go(func() error {
		answers[len(s.apps)] = s.unsubscribed(ctx)
		return nil
	})
	_ = g.Wait() // none of them fails
	var waiting []string
	for _, a := range answers {
		if a != "" {
			waiting = append(waiting, a)
		}
	}
	return waiting
}

func (a *App) healthy(ctx context.Context, url string) error { return answers(url)(ctx) }

// WaitHealthy waits until every app is ready, every sidecar is healthy and every queue is subscribed, and says now and then
// what it still waits for. A process that ended ends the wait, with what it logged last.
func (s *Stack) WaitHealthy(ctx context.Context) error {
	return s.waitHealthy(ctx, func() error {
		for _, a := range s.apps {
			for _, p := range []*Process{a.Process, a.Sidecar} {
				if p != nil && !p.Alive() {
					return fmt.Errorf("%s ended; the end of %s:\n%s", p.Name, p.Log, p.Tail())
				}
			}
		}
		return nil
	})
}

// healthyDeadline is how long the apps may take to come up.
const healthyDeadline = 2 * time.Minute

func (s *Stack) waitHealthy(ctx context.Context, failed func() error) error {
	ctx, cancel := context.WithTimeout(ctx, healthyDeadline)
	defer cancel()
	var said string
	var saidAt time.Time
	began := time.Now()
	for {
		waiting := s.waiting(ctx)
		if len(waiting) == 0 {
			return nil
		}
		if err := failed(); err != nil {
			return err
		}
		now := strings.Join(waiting, ", ")
		if time.Since(began) > 3*time.Second && (time.Since(saidAt) > heartbeat || (now != said && time.Since(saidAt) > 2*time.Second)) {
			said, saidAt = now, time.Now()
			s.cfg.say("apps", "waiting for "+now)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not healthy after %s: %s (logs in %s): %w", time.Since(began).Round(time.Second), now, s.cfg.DataDir, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// readSubscriptions reads from the resources which queue is subscribed to which topic.
func readSubscriptions(dirs []string) ([]subscription, error) {
	var all []subscription
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "subscription-*.yaml"))
		if err != nil {
			return nil, fmt.Errorf("find the subscriptions: %w", err)
		}
		for _, path := range files {
			file, err := os.Open(path)
			if err != nil {
				return nil, fmt.Errorf("read the subscriptions: %w", err)
			}
			defer file.Close()
			for dec := yaml.NewDecoder(file); ; {
				var doc struct {
					Spec struct {
						PubsubName string `yaml:"pubsubname"`
						Topic      string `yaml:"topic"`
					} `yaml:"spec"`
				}
				if err := dec.Decode(&doc); err != nil {
					break // the end of the file; a sidecar names any other error better than we could
				}
				all = append(all, subscription{doc.Spec.Topic, doc.Spec.PubsubName})
			}
		}
	}
	return all, nil
}

// unsubscribed names a queue that does not get its topic yet. What is published to a topic without subscriptions is
// gone, and sidecars subscribe some time after they call themselves healthy.
func (s *Stack) unsubscribed(ctx context.Context) string {
	have, err := s.subscriptions(ctx)
	if err != nil {
		return "SNS (" + err.Error() + ")"
	}
	for _, sub := range s.queues {
		if !have[sub] {
			return sub.queue + " to subscribe to " + sub.topic
		}
	}
	return ""
}

func (s *Stack) subscriptions(ctx context.Context) (map[subscription]bool, error) {
	have := map[subscription]bool{}
	for next := ""; ; {
		form := url.Values{"Action": {"ListSubscriptions"}, "Version": {"2010-03-31"}}
		if next != "" {
			form.Set("NextToken", next)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.AWSEndpoint(), strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		// An emulator reads region and service from the scope and checks no signature.
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=local/20250101/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=0")
		res, err := probe.Do(req)
		if err != nil {
			return nil, errors.Unwrap(err)
		}
		var page struct {
			Members []struct {
				TopicArn string
				Endpoint string
			} `xml:"ListSubscriptionsResult>Subscriptions>member"`
			NextToken string `xml:"ListSubscriptionsResult>NextToken"`
		}
		err = xml.NewDecoder(res.Body).Decode(&page)
		if cerr := res.Body.Close(); err == nil {
			err = cerr
		}
		if res.StatusCode != http.StatusOK {
			err = errors.New(res.Status)
		}
		if err != nil {
			return nil, err
		}
		for _, m := range page.Members {
			have[subscription{m.TopicArn[strings.LastIndexByte(m.TopicArn, ':')+1:], m.Endpoint[strings.LastIndexByte(m.Endpoint, ':')+1:]}] = true
		}
		if next = page.NextToken; next == "" {
			return have, nil
		}
	}
}

// Package resiliency_test tests the policies of resiliency/, the bulkheads and the rate limits. It runs the sidecars of
// dapr.yaml with their configurations, in front of stand-ins for the apps that fail, hang and count on demand. The
// policies are the shipped files with shorter waits. The tests read their expectations from those files, so that a
// policy for another service is tested as soon as it exists.
//
// Each test calls paths of its own, because a sidecar has a breaker and a limiter for every path.
package resiliency_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// deadline is the time limit of every wait for a condition. Conditions usually hold much earlier.
const deadline = 30 * time.Second

// Shared by all tests.
var (
	root        string
	long, short map[string]document // the files of resiliency/, as shipped and with shorter waits
	allHops     []hop               // with shorter waits
	sidecars    *stack.Stack
	apps        = &standIns{routes: map[string]http.HandlerFunc{}}
)

func TestMain(m *testing.M) {
	// The tests mostly wait, so many more of them run in parallel than there are processors.
	if err := flag.Set("test.parallel", "200"); err != nil {
		panic(err)
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // discards the access logs of the stand-ins
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "resiliency:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if root, err = stack.FindRoot(); err != nil {
		return 1, err
	}
	if long, err = shipped(root); err != nil {
		return 1, err
	}
	cfg, err := stack.Throwaway(root)
	if err != nil {
		return 1, err
	}
	cfg.Interpose = apps.serve
	stopFaulty, err := faulty.serve(filepath.Join(cfg.DataDir, "sockets"))
	if err != nil {
		return 1, err
	}
	defer stopFaulty()
	resources := filepath.Join(cfg.DataDir, "resources")
	if err := writeResources(resources); err != nil {
		return 1, err
	}
	sidecars, err = stack.StartSidecars(ctx, cfg, resources)
	done := make(chan int, 1)
	if err == nil {
		go func() { done <- m.Run() }()
	} else {
		done <- 1
	}
	select {
	case code = <-done:
	case <-ctx.Done():
		code = 1
	}
	// Stop the sidecars even if the tests were interrupted.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err = errors.Join(err, sidecars.Stop(stopping))
	if code != 0 || err != nil {
		return 1, errors.Join(err, fmt.Errorf("logs and data are kept in %s", cfg.DataDir))
	}
	return 0, os.RemoveAll(cfg.DataDir)
}

// writeResources writes the sidecars' resources. It shortens the waits of the policies, copies limiters and
// subscriptions, lets cron bindings tick every second, replaces queues by in-memory ones, and replaces other servers by
// the faulty one.
func writeResources(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a directory for resources: %w", err)
	}
	var err error
	if short, err = shipped(root); err != nil {
		return err
	}
	for file, d := range short {
		if err := d.shorten(); err != nil {
			return fmt.Errorf("shorten %s: %w", file, err)
		}
		content, err := yaml.Marshal(d)
		if err != nil {
			return fmt.Errorf("shorten %s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "policy-"+file), content, 0o600); err != nil {
			return fmt.Errorf("shorten %s: %w", file, err)
		}
	}
	if allHops, err = hops(short); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(root, "components", "local", "*.yaml"))
	if err != nil {
		return fmt.Errorf("find the components: %w", err)
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a component: %w", err)
		}
		var c component
		if err := yaml.Unmarshal(content, &c); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		kind, _, _ := strings.Cut(c.Spec.Type, ".")
		_, outbound := outbound(c.Metadata.Name)
		switch {
		case c.Kind != "Component" || kind == "middleware":
		case c.Spec.Type == "bindings.cron":
			content = regexp.MustCompile(`@every \w+`).ReplaceAll(content, []byte("@every 1s"))
		case kind == "bindings":
			continue
		default:
			c.Spec.Type, c.Spec.Version, c.Spec.Metadata = kind+".in-memory", "v1", nil
			if outbound {
				c.Spec.Type = kind + ".faulty"
			}
			if content, err = yaml.Marshal(c); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), content, 0o600); err != nil {
			return fmt.Errorf("copy a component: %w", err)
		}
	}
	return nil
}

// component is the part of a component in components/local that the tests need.
type component struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Type     string `yaml:"type"`
		Version  string `yaml:"version"`
		Metadata []struct {
			Name  string `yaml:"name"`
			Value string `yaml:"value"`
		} `yaml:"metadata"`
	} `yaml:"spec"`
	Scopes []string `yaml:"scopes"`
}

// standIns replace the apps. They are healthy, and answer on the routes that tests register.
type standIns struct {
	mu     sync.Mutex
	routes map[string]http.HandlerFunc
}

// on registers a handler for a path of an app. To the path of an event handler, append a blank and the queue.
func (s *standIns) on(app, path string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes[app+path] = answer
}

// serve serves the stand-in of an app and returns its port. It is the Interpose function of the stack.
func (s *standIns) serve(app, _ string) (port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		// net/http notices that a caller has disconnected only after the whole body is read.
		body, _ := io.ReadAll(r.Body)
		path := r.URL.Path
		if path == "/events" {
			var event struct{ PubsubName string }
			_ = json.Unmarshal(body, &event)
			path += " " + event.PubsubName
		}
		s.mu.Lock()
		answer := s.routes[app+path]
		s.mu.Unlock()
		switch {
		case r.URL.Path == "/actuator/health/ready" || r.Method == http.MethodOptions: // the probe of a binding's route
		case answer != nil:
			answer(w, r)
		default:
			http.NotFound(w, r)
		}
	}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(handler)}
	go func() { _ = server.Serve(l) }() // until the tests end
	return l.Addr().(*net.TCPAddr).Port, nil
}

// answer is the answer to a call.
type answer struct {
	status int
	body   string
	took   time.Duration
}

// byBreaker reports whether a breaker rejected the call.
func (a answer) byBreaker() bool {
	return a.status == http.StatusInternalServerError &&
		(strings.Contains(a.body, "circuit breaker is open") || strings.Contains(a.body, "too many requests"))
}

// post calls a path of an app through the sidecar of another.
func post(ctx context.Context, from, to, path string) (answer, error) {
	start := time.Now()
	// Not a GET: net/http retries a GET when a connection breaks.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		sidecars.App(from).SidecarURL()+"/v1.0/invoke/"+to+"/method"+path, bytes.NewReader([]byte("{}")))
	if err != nil {
		return answer{}, err
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, string(body), time.Since(start)}, err
}

var client = func() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 200
	return &http.Client{Transport: transport}
}()

func call(t *testing.T, h hop, path string) answer {
	t.Helper()
	a, err := post(t.Context(), h.caller, h.callee, path)
	require.NoError(t, err)
	return a
}

// eachHop runs a test for every hop, in parallel, with a path of its own.
func eachHop(t *testing.T, test func(t *testing.T, h hop, path string)) {
	t.Helper()
	t.Parallel()
	require.NotEmpty(t, allHops)
	for _, h := range allHops {
		t.Run(h.callee, func(t *testing.T) {
			t.Parallel()
			test(t, h, "/"+t.Name())
		})
	}
}

// eventually waits until a condition holds. The failure message is why.
func eventually(t *testing.T, condition func() bool, why string) {
	t.Helper()
	require.Eventually(t, condition, deadline, 10*time.Millisecond, why)
}

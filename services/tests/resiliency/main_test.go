// Package resiliency_test proves the policies of resiliency/, the limits on the apps' concurrency and the rate limits, on
// real sidecars in front of apps that fail, hang and count on demand. The sidecars are dapr.yaml's, and so are their
// configurations; the policies are the shipped files with shorter waits. What a test expects it reads from those files,
// so that a policy for another service is proven as soon as it is there.
//
// Each test calls paths of its own, since a sidecar has a breaker and a limiter for every path.
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

// deadline is for what should have happened long before.
const deadline = 30 * time.Second

// What all tests share.
var (
	root        string
	long, short map[string]document // resiliency/ as it is, and with shorter waits
	allHops     []hop               // with shorter waits
	sidecars    *stack.Stack
	apps        = &standIns{routes: map[string]http.HandlerFunc{}}
)

func TestMain(m *testing.M) {
	// They wait more than they work, so that more of them fit at once than there are processors.
	if err := flag.Set("test.parallel", "200"); err != nil {
		panic(err)
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // no access log of stand-ins
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
	ended := make(chan int, 1)
	if err == nil {
		go func() { ended <- m.Run() }()
	} else {
		ended <- 1
	}
	select {
	case code = <-ended:
	case <-ctx.Done():
		code = 1
	}
	// Whatever ended the tests, what they started ends with them.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err = errors.Join(err, sidecars.Stop(stopping))
	if code != 0 || err != nil {
		return 1, errors.Join(err, fmt.Errorf("logs and data are left in %s", cfg.DataDir))
	}
	return 0, os.RemoveAll(cfg.DataDir)
}

// writeResources writes the sidecars' resources: the policies with shorter waits, the limiters and subscriptions as they
// are, clocks that tick every second, queues that need no server, and in the place of each server one that fails.
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

// component is what a test has to know of a file of components/local.
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

// standIns are in the place of the apps. They are well, and answer on the routes that tests give them.
type standIns struct {
	mu     sync.Mutex
	routes map[string]http.HandlerFunc
}

// on has an app answer calls of a path. That of a queue's event has its queue behind a blank.
func (s *standIns) on(app, path string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes[app+path] = answer
}

// serve is the stack's Interpose.
func (s *standIns) serve(app, _ string) (port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only when all of it is read does net/http notice that the caller is gone.
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
		case r.URL.Path == "/actuator/health/ready" || r.Method == http.MethodOptions: // asks for a binding's route
		case answer != nil:
			answer(w, r)
		default:
			http.NotFound(w, r)
		}
	})}
	go func() { _ = server.Serve(l) }() // until the tests end
	return l.Addr().(*net.TCPAddr).Port, nil
}

// answer is what came of a call.
type answer struct {
	status int
	body   string
	took   time.Duration
}

// byBreaker tells whether the call got no further than a breaker.
func (a answer) byBreaker() bool {
	return a.status == http.StatusInternalServerError &&
		(strings.Contains(a.body, "circuit breaker is open") || strings.Contains(a.body, "too many requests"))
}

// post calls a path of an app through the sidecar of another.
func post(ctx context.Context, from, to, path string) (answer, error) {
	began := time.Now()
	// A POST: net/http repeats a GET by itself when a connection breaks.
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
	return answer{res.StatusCode, string(body), time.Since(began)}, err
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

// eachHop runs a test for every hop, all at once, with a path of its own.
func eachHop(t *testing.T, test func(t *testing.T, h hop, path string)) {
	t.Parallel()
	require.NotEmpty(t, allHops)
	for _, h := range allHops {
		t.Run(h.callee, func(t *testing.T) {
			t.Parallel()
			test(t, h, "/"+t.Name())
		})
	}
}

// eventually waits for what has to come about.
func eventually(t *testing.T, condition func() bool, why string) {
	t.Helper()
	require.Eventually(t, condition, deadline, 10*time.Millisecond, why)
}
